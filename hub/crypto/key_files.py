"""Private keys at rest: files of mode 0600, each under a passphrase.

Every private key here is 32 octets: the P-256 scalar, an Ed25519, ML-DSA-44 or hybrid seed, or a storage key. P-256 and Ed25519
are written as encrypted PKCS#8, which other tools read; seeds as JSON. Both with scrypt: cryptography's own PKCS#8 encryption
takes 2,048 rounds of PBKDF2, and the weakest file would give away the passphrase of all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.crypto.content_keys import StorageKey
from hub.crypto.jwks import ec_public_jwk
from hub.crypto.notes import Cosigner, LogSigner
from hub.crypto.sealing import UnsealingKey, classic_unsealing_key, unsealing_key_from_seed
from hub.crypto.signatures import SigningKey
from hub.domain.encoding import b64url_encode
from hub.domain.refusals import Refusal, RefusalCode

SECRET_OCTETS = 32
MAX_KEY_FILE_BYTES = 16 * 1024
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 1  # 16 MiB and 0.06 s; OpenSSL refuses a file that takes twice as much
_SALT_OCTETS, _NONCE_OCTETS, _BLOCK_OCTETS = 16, 12, 16
_SEQUENCE, _OCTET_STRING, _INTEGER, _OID = 0x30, 0x04, 0x02, 0x06
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SCRYPT = bytes.fromhex("2b06010401da47040b")  # RFC 7914 section 7
_AES_256_CBC = bytes.fromhex("60864801650304012a")
_FILE_FORM = "accord-key-1"


class KeyAlgorithm(StrEnum):
    """What a private key is, by the name its public half has in JOSE."""

    ES256 = "ES256"
    ECDH_ES = "ECDH-ES+A256KW"
    HPKE_9_KE = "HPKE-9-KE"
    ED25519 = "Ed25519"
    ML_DSA_44 = "ML-DSA-44"
    A256GCM = "A256GCM"


@dataclass(frozen=True)
class PrivateKey:
    """A private key before it is put to its use. `secret` has 32 octets and does not show in a representation."""

    algorithm: KeyAlgorithm
    secret: bytes = field(repr=False)

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public members; empty for a storage key."""
        return _PUBLIC_JWK[self.algorithm](self.secret)

    def for_signing(self, kid: str) -> SigningKey:
        """The ES256 key."""
        self._require(KeyAlgorithm.ES256)
        return SigningKey(kid, _p256(self.secret))

    def for_unsealing(self, kid: str) -> UnsealingKey:
        """The key that opens envelopes of one profile."""
        if self.algorithm is KeyAlgorithm.HPKE_9_KE:
            return unsealing_key_from_seed(kid, self.secret)
        self._require(KeyAlgorithm.ECDH_ES)
        return classic_unsealing_key(kid, _p256(self.secret))

    def for_storage(self, kid: str) -> StorageKey:
        """The key that wraps content keys at rest."""
        self._require(KeyAlgorithm.A256GCM)
        return StorageKey(kid, self.secret)

    def for_log(self, origin: str) -> LogSigner:
        """The key that signs checkpoints of the log of that origin."""
        self._require(KeyAlgorithm.ED25519)
        return LogSigner(origin, ed25519.Ed25519PrivateKey.from_private_bytes(self.secret))

    def for_cosigning(self, name: str) -> Cosigner:
        """The key that cosigns checkpoints under that name."""
        self._require(KeyAlgorithm.ML_DSA_44)
        return Cosigner(name, mldsa.MLDSA44PrivateKey.from_seed_bytes(self.secret))

    def _require(self, algorithm: KeyAlgorithm) -> None:
        if self.algorithm is not algorithm:
            raise ValueError(f"a key for {self.algorithm} was asked to serve as {algorithm}")


def generate(algorithm: KeyAlgorithm) -> PrivateKey:
    """Make a new private key."""
    if algorithm in (KeyAlgorithm.ES256, KeyAlgorithm.ECDH_ES):
        number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        return PrivateKey(algorithm, number.to_bytes(SECRET_OCTETS, "big"))
    return PrivateKey(algorithm, secrets.token_bytes(SECRET_OCTETS))


def store_key(path: Path, key: PrivateKey, passphrase: bytes) -> None:
    """Write a private key, encrypted, to a file that must not exist yet.

    Raises:
        FileExistsError: there is such a file; a key is never overwritten.
        ValueError: the passphrase is empty.
    """
    if not passphrase:
        raise ValueError("a private key is stored under a passphrase")
    write = _write_pkcs8 if key.algorithm in _AS_PKCS8 else _write_seed
    write_private_file(path, write(key, passphrase))


def load_key(path: Path, algorithm: KeyAlgorithm, passphrase: bytes) -> PrivateKey:
    """Read a private key that the manifest says is of this algorithm.

    Raises:
        Refusal: KEY_FILE_UNSAFE if the file is readable by others, of another form or algorithm, or the passphrase is wrong.
        FileNotFoundError: there is no such file.
    """
    octets = read_private_file(path)
    read = _read_pkcs8 if algorithm in _AS_PKCS8 else _read_seed
    try:
        return PrivateKey(algorithm, read(octets, algorithm, passphrase))
    except (ValueError, TypeError, KeyError, InvalidTag):
        raise Refusal(RefusalCode.KEY_FILE_UNSAFE, f"{path.name} does not open as {algorithm} with this passphrase") from None


def write_private_file(path: Path, octets: bytes) -> None:
    """Write a new file of mode 0600 whole or not at all.

    Raises:
        FileExistsError: there is such a file.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_directory(path.parent)


def read_private_file(path: Path) -> bytes:
    """Read a file that only its owner, the user of this process, may read.

    Raises:
        Refusal: KEY_FILE_UNSAFE if it is open to others, not a regular file, a symbolic link, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError:
        raise Refusal(RefusalCode.KEY_FILE_UNSAFE, f"{path.name} cannot be opened, or is a symbolic link") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & _OPEN_TO_OTHERS or status.st_uid != os.geteuid():
            raise Refusal(RefusalCode.KEY_FILE_UNSAFE, f"{path.name} must be a file of mode 0600 that belongs to this user")
        if status.st_size > MAX_KEY_FILE_BYTES:
            raise Refusal(RefusalCode.KEY_FILE_UNSAFE, f"{path.name} is larger than a key file is")
        return file.read()


def sync_directory(directory: Path) -> None:
    """Make a new or renamed entry of a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _p256(secret: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())


def _ed25519_jwk(secret: bytes) -> dict[str, str]:
    public = ed25519.Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    return {"kty": "OKP", "crv": "Ed25519", "x": b64url_encode(public)}


def _ml_dsa_44_jwk(secret: bytes) -> dict[str, str]:
    public = mldsa.MLDSA44PrivateKey.from_seed_bytes(secret).public_key().public_bytes_raw()
    return {"kty": "AKP", "alg": "ML-DSA-44", "pub": b64url_encode(public)}


def _p256_jwk(secret: bytes) -> dict[str, str]:
    return ec_public_jwk(_p256(secret).public_key())


_PUBLIC_JWK: dict[KeyAlgorithm, Callable[[bytes], dict[str, str]]] = {
    KeyAlgorithm.ES256: _p256_jwk,
    KeyAlgorithm.ECDH_ES: _p256_jwk,
    KeyAlgorithm.HPKE_9_KE: lambda seed: unsealing_key_from_seed("", seed).public_jwk,
    KeyAlgorithm.ED25519: _ed25519_jwk,
    KeyAlgorithm.ML_DSA_44: _ml_dsa_44_jwk,
    KeyAlgorithm.A256GCM: lambda _key: {},
}
_AS_PKCS8 = frozenset({KeyAlgorithm.ES256, KeyAlgorithm.ECDH_ES, KeyAlgorithm.ED25519})


def _write_pkcs8(key: PrivateKey, passphrase: bytes) -> bytes:
    is_ed25519 = key.algorithm is KeyAlgorithm.ED25519
    private = ed25519.Ed25519PrivateKey.from_private_bytes(key.secret) if is_ed25519 else _p256(key.secret)
    plain = private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    body = base64.encodebytes(_encrypt_pkcs8(plain, passphrase))
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + body + b"-----END ENCRYPTED PRIVATE KEY-----\n"


def _encrypt_pkcs8(plain: bytes, passphrase: bytes) -> bytes:
    """EncryptedPrivateKeyInfo (RFC 5958 section 3) with PBES2 (RFC 8018), scrypt and AES-256-CBC."""
    salt, iv = secrets.token_bytes(_SALT_OCTETS), secrets.token_bytes(_BLOCK_OCTETS)
    cost = (_der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P))
    derivation = _der(_SEQUENCE, _der(_OID, _SCRYPT), _der(_SEQUENCE, _der(_OCTET_STRING, salt), *cost))
    cipher = _der(_SEQUENCE, _der(_OID, _AES_256_CBC), _der(_OCTET_STRING, iv))
    scheme = _der(_SEQUENCE, _der(_OID, _PBES2), _der(_SEQUENCE, derivation, cipher))
    padding = _BLOCK_OCTETS - len(plain) % _BLOCK_OCTETS
    encryptor = Cipher(algorithms.AES256(_stretch(passphrase, salt)), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    return _der(_SEQUENCE, scheme, _der(_OCTET_STRING, encrypted))


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content).to_bytes(len(content).bit_length() // 8 + 1, "big")  # of one octet below 128, else with a length first
    long_size = size.lstrip(b"\0")
    length = size if len(size) == 1 else bytes([0x80 | len(long_size)]) + long_size
    return bytes([tag]) + length + content


def _read_pkcs8(octets: bytes, algorithm: KeyAlgorithm, passphrase: bytes) -> bytes:
    private = serialization.load_pem_private_key(octets, passphrase)
    if algorithm is KeyAlgorithm.ED25519 and isinstance(private, ed25519.Ed25519PrivateKey):
        return private.private_bytes_raw()
    if algorithm is not KeyAlgorithm.ED25519 and isinstance(private, ec.EllipticCurvePrivateKey):
        if not isinstance(private.curve, ec.SECP256R1):
            raise ValueError("another curve")
        return private.private_numbers().private_value.to_bytes(SECRET_OCTETS, "big")
    raise ValueError("another algorithm")


def _write_seed(key: PrivateKey, passphrase: bytes) -> bytes:
    salt, nonce = secrets.token_bytes(_SALT_OCTETS), secrets.token_bytes(_NONCE_OCTETS)
    sealed = AESGCM(_stretch(passphrase, salt)).encrypt(nonce, key.secret, _seed_aad(key.algorithm))
    parts = {name: base64.b64encode(value).decode() for name, value in (("salt", salt), ("nonce", nonce), ("sealed", sealed))}
    return (json.dumps({"form": _FILE_FORM, "algorithm": key.algorithm, **parts}, indent=2) + "\n").encode()


def _read_seed(octets: bytes, algorithm: KeyAlgorithm, passphrase: bytes) -> bytes:
    members = json.loads(octets)
    if members["form"] != _FILE_FORM:
        raise ValueError("another form")
    salt, nonce, sealed = (base64.b64decode(members[name], validate=True) for name in ("salt", "nonce", "sealed"))
    secret = AESGCM(_stretch(passphrase, salt)).decrypt(nonce, sealed, _seed_aad(algorithm))
    if len(secret) != SECRET_OCTETS:
        raise ValueError("another length")
    return secret


def _stretch(passphrase: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(passphrase, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, dklen=32)


def _seed_aad(algorithm: KeyAlgorithm) -> bytes:
    return f"{_FILE_FORM} {algorithm}".encode()
