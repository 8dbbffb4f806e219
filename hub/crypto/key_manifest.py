"""The manifest of the private keys in a folder: which there are, what for, in which state. It is public and can be committed."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from hub.crypto.jwks import thumbprint
from hub.crypto.key_files import KeyAlgorithm, generate, store_key, sync_directory
from hub.domain.encoding import format_time, parse_time
from hub.domain.keys import KeyState
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import is_key_id

MANIFEST_NAME = "manifest.json"


class HeldKeyUse(StrEnum):
    """What a private key in the folder is for. One key has one use for ever."""

    SIGNING = "signing"
    SEALING = "sealing"
    ROLE = "role"
    CLIENT_AUTH = "client_auth"
    LOG = "log"
    LOG_COSIGNATURE = "log_cosignature"
    STORAGE = "storage"
    TOKENS = "tokens"


HUB_KEYS: tuple[tuple[HeldKeyUse, KeyAlgorithm], ...] = (
    (HeldKeyUse.SIGNING, KeyAlgorithm.ES256),
    (HeldKeyUse.SEALING, KeyAlgorithm.HPKE_9_KE),
    (HeldKeyUse.SEALING, KeyAlgorithm.ECDH_ES),
    (HeldKeyUse.LOG, KeyAlgorithm.ED25519),
    (HeldKeyUse.LOG_COSIGNATURE, KeyAlgorithm.ML_DSA_44),
    (HeldKeyUse.STORAGE, KeyAlgorithm.A256GCM),
    (HeldKeyUse.TOKENS, KeyAlgorithm.ES256),
)
"""What a hub holds: separate keys for each use, and one sealing key for each profile."""


@dataclass(frozen=True)
class HeldKey:
    """One line of the manifest. Valid from `not_before`, until before `not_after`.

    `owner` is the authority id of the organisation for which the key is kept, "" for the holder's own. `file` is a name in the
    manifest's folder. `public_jwk` is empty for a storage key.
    """

    kid: str
    use: HeldKeyUse
    algorithm: KeyAlgorithm
    state: KeyState
    not_before: datetime
    not_after: datetime
    file: str
    public_jwk: Mapping[str, str] = field(hash=False)
    owner: str = ""

    def is_current(self, now: datetime) -> bool:
        """Whether something new may be made with this key at `now`."""
        return self.state is KeyState.ACTIVE and self.not_before <= now < self.not_after


def create_key(
    directory: Path,
    use: HeldKeyUse,
    algorithm: KeyAlgorithm,
    validity: tuple[datetime, datetime],
    passphrase: bytes,
    *,
    state: KeyState = KeyState.ACTIVE,
    owner: str = "",
) -> HeldKey:
    """Make a key, write its private file, and return its line, which the caller adds to the manifest.

    The key id is the RFC 7638 thumbprint; a storage key, which has no public half, gets a random one.
    """
    key = generate(algorithm)
    kid = thumbprint(key.public_jwk) if key.public_jwk else f"storage-{secrets.token_hex(8)}"
    name = f"{use}-{kid}.key"
    store_key(directory / name, key, passphrase)
    return HeldKey(kid, use, algorithm, state, *validity, name, key.public_jwk, owner)


def read_manifest(directory: Path) -> tuple[HeldKey, ...]:
    """Read the manifest of a folder.

    Raises:
        Refusal: INVALID_KEY if it is malformed or names a key id twice.
        FileNotFoundError: there is none.
    """
    octets = (directory / MANIFEST_NAME).read_bytes()
    try:
        keys = tuple(_read_line(line) for line in json.loads(octets)["keys"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(RefusalCode.INVALID_KEY, "the key manifest is malformed") from None
    if len({key.kid for key in keys}) != len(keys):
        raise Refusal(RefusalCode.INVALID_KEY, "the key manifest names a key id twice")
    return keys


def write_manifest(directory: Path, keys: Iterable[HeldKey]) -> None:
    """Replace the manifest of a folder in one step."""
    lines = [_write_line(key) for key in sorted(keys, key=lambda key: (key.owner, key.use, key.not_before, key.kid))]
    draft = directory / f".{MANIFEST_NAME}.{secrets.token_hex(8)}"
    with draft.open("x", encoding="utf-8") as file:
        file.write(json.dumps({"keys": lines}, indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(directory / MANIFEST_NAME)
    sync_directory(directory)


def with_state(keys: Iterable[HeldKey], kid: str, state: KeyState) -> tuple[HeldKey, ...]:
    """The manifest with one key in another state.

    Raises:
        Refusal: NOT_FOUND for a key id that is not there; INVALID_KEY for waking a revoked key.
    """
    lines = tuple(keys)
    found = next((key for key in lines if key.kid == kid), None)
    if found is None:
        raise Refusal(RefusalCode.NOT_FOUND, "no key of that id in the manifest")
    if found.state is KeyState.REVOKED and state is not KeyState.REVOKED:
        raise Refusal(RefusalCode.INVALID_KEY, "a revoked key stays revoked")
    return tuple(replace(key, state=state) if key.kid == kid else key for key in lines)


def _read_line(line: Mapping[str, object]) -> HeldKey:
    text = {name: str(line[name]) for name in ("kid", "file", "use", "algorithm", "state", "not_before", "not_after")}
    jwk = line["public_jwk"]
    if not is_key_id(text["kid"]) or Path(text["file"]).name != text["file"] or not isinstance(jwk, dict):
        raise ValueError("not a line of the manifest")
    return HeldKey(
        text["kid"],
        HeldKeyUse(text["use"]),
        KeyAlgorithm(text["algorithm"]),
        KeyState(text["state"]),
        parse_time(text["not_before"]),
        parse_time(text["not_after"]),
        text["file"],
        {str(name): str(value) for name, value in jwk.items()},
        str(line.get("owner", "")),
    )


def _write_line(key: HeldKey) -> dict[str, object]:
    line: dict[str, object] = {
        "kid": key.kid,
        "use": key.use,
        "algorithm": key.algorithm,
        "state": key.state,
        "not_before": format_time(key.not_before),
        "not_after": format_time(key.not_after),
        "file": key.file,
        "public_jwk": dict(key.public_jwk),
    }
    return line | ({"owner": key.owner} if key.owner else {})
