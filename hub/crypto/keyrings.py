"""The private keys that a process holds: loaded once from their folder, handed out for one use each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from hub.crypto.content_keys import StorageKey
from hub.crypto.key_files import KeyAlgorithm, PrivateKey, load_key
from hub.crypto.key_manifest import HeldKey, HeldKeyUse, read_manifest
from hub.crypto.notes import Cosigner, LogSigner
from hub.crypto.sealing import UnsealingKey
from hub.crypto.signatures import SigningKey
from hub.domain.keys import KeyState
from hub.domain.refusals import HubFault, Refusal, RefusalCode


class Keyring:
    """The keys of one folder, without the revoked ones. A change of the folder is seen by a new process, or a new keyring.

    A revoked signing key of one's own stays for one thing: to give out again what it signed before it was revoked.
    """

    def __init__(self, lines: tuple[HeldKey, ...], keys: Mapping[str, PrivateKey]) -> None:
        self.lines = tuple(line for line in lines if line.state is not KeyState.REVOKED)
        self._signing: dict[str, SigningKey] = {}
        signed = (line.kid for line in lines if line.use is HeldKeyUse.SIGNING and not line.owner and line.kid in keys)
        self._signed_with = {kid: keys[kid].for_signing(kid) for kid in signed}
        self._unsealing: dict[str, UnsealingKey] = {}
        self._storage: dict[str, StorageKey] = {}
        self._keys = {line.kid: keys[line.kid] for line in self.lines}
        for line in self.lines:
            key = self._keys[line.kid]
            if line.use is HeldKeyUse.STORAGE:
                self._storage[line.kid] = key.for_storage(line.kid)
            elif line.use in (HeldKeyUse.SEALING, HeldKeyUse.ROLE):
                self._unsealing[line.kid] = key.for_unsealing(line.kid)
            elif key.algorithm is KeyAlgorithm.ES256:
                self._signing[line.kid] = key.for_signing(line.kid)

    @classmethod
    def load(cls, directory: Path, passphrase: bytes) -> Keyring:
        """Read the manifest and every private key in it that is not revoked, or may have to sign again. About 0.06 s for each.

        Raises:
            Refusal: KEY_FILE_UNSAFE, INVALID_KEY.
            FileNotFoundError: the manifest or a key file is missing.
        """
        lines = read_manifest(directory)
        held = [line for line in lines if line.state is not KeyState.REVOKED or _may_sign_again(directory, line)]
        keys = {line.kid: load_key(directory / line.file, line.algorithm, passphrase) for line in held}
        for line in held:
            if keys[line.kid].public_jwk != line.public_jwk:
                raise Refusal(RefusalCode.INVALID_KEY, f"{line.file} is not the private half of the key in the manifest")
        return cls(lines, keys)

    def signing_key(self, now: datetime, owner: str = "") -> SigningKey:
        """The current ES256 key for documents: one's own, or that of an organisation for which it is kept."""
        return self._signing[self._current(HeldKeyUse.SIGNING, now, owner).kid]

    def signed_with(self, kid: str) -> SigningKey:
        """One's own signing key of this id, whatever its state: to sign again the very octets that it signed before.

        Raises:
            HubFault: there is none.
        """
        if kid not in self._signed_with:
            raise HubFault("the signing key of something stored is not in the keyring")
        return self._signed_with[kid]

    def token_key(self, now: datetime) -> SigningKey:
        """The current ES256 key for access tokens."""
        return self._signing[self._current(HeldKeyUse.TOKENS, now).kid]

    def client_key(self, now: datetime) -> SigningKey:
        """The current ES256 key with which a partner authenticates at the token endpoint."""
        return self._signing[self._current(HeldKeyUse.CLIENT_AUTH, now).kid]

    def unsealing_key(self, kid: str, now: datetime) -> UnsealingKey:
        """The key that opens what is sealed to `kid`: active or retiring, and within its time.

        Raises:
            Refusal: CANNOT_UNSEAL if there is none.
        """
        for line in self.lines:
            in_state = line.state in (KeyState.ACTIVE, KeyState.RETIRING)
            if line.kid == kid and kid in self._unsealing and in_state and line.not_before <= now < line.not_after:
                return self._unsealing[kid]
        raise Refusal(RefusalCode.CANNOT_UNSEAL, "not sealed to a key that is held here now")

    def current_storage_key(self, now: datetime) -> StorageKey:
        """The key under which new content keys are wrapped."""
        return self._storage[self._current(HeldKeyUse.STORAGE, now).kid]

    def storage_key(self, kid: str) -> StorageKey:
        """The key under which something stored was wrapped, in whatever state but revoked.

        Raises:
            HubFault: there is none.
        """
        if kid not in self._storage:
            raise HubFault("the storage key of something stored is not in the keyring")
        return self._storage[kid]

    def log_signer(self, origin: str, now: datetime) -> LogSigner:
        """The Ed25519 key of the log, under the log's origin."""
        return self._keys[self._current(HeldKeyUse.LOG, now).kid].for_log(origin)

    def log_cosigner(self, name: str, now: datetime) -> Cosigner:
        """The ML-DSA-44 key that cosigns checkpoints, under that name."""
        return self._keys[self._current(HeldKeyUse.LOG_COSIGNATURE, now).kid].for_cosigning(name)

    def _current(self, use: HeldKeyUse, now: datetime, owner: str = "") -> HeldKey:
        usable = [line for line in self.lines if line.use is use and line.owner == owner and line.is_current(now)]
        if not usable:
            raise HubFault(f"there is no active key for {use}")
        return max(usable, key=lambda line: (line.not_before, line.kid))


def _may_sign_again(directory: Path, line: HeldKey) -> bool:
    return line.use is HeldKeyUse.SIGNING and not line.owner and (directory / line.file).exists()
