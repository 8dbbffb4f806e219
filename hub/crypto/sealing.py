"""Sealing: one content key for a text, wrapped for each recipient key under the profile classic-1 or pq-1 (wire rules A3 to A5).

classic-1 is ECDH-ES+A256KW on P-256 (RFC 7518 section 4.6). pq-1 is HPKE-9-KE of draft-ietf-jose-hpke-pq-pqt-01: HPKE base mode
with MLKEM768-X25519, SHAKE256 and AES-256-GCM. The content is AES-256-GCM in both.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.crypto.jwks import Jwk, ec_public_jwk, load_hybrid, load_p256, require_public_members
from hub.crypto.signatures import p256_private_key
from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import EncryptedContent, WrappedKey

CONTENT_KEY_OCTETS = 32
SEED_OCTETS = 32
_IV_OCTETS = 12
_TAG_OCTETS = 16
_HPKE_ENC_OCTETS = 1120  # ML-KEM-768 ciphertext 1088 || X25519 32
_HPKE_SUITE = Suite(KEM.MLKEM768_X25519, KDF.SHAKE256, AEAD.AES_256_GCM)
_HPKE_INFO = b"JOSE-HPKE rcpt\xffA256GCM\xff"
_CONCAT_KDF_ROUND = b"\x00\x00\x00\x01"
_CONCAT_KDF_OTHER_INFO = (
    b"\x00\x00\x00\x0eECDH-ES+A256KW"  # AlgorithmID
    b"\x00\x00\x00\x00\x00\x00\x00\x00"  # no apu, no apv
    b"\x00\x00\x01\x00"  # 256 bits
)


@dataclass(frozen=True)
class Sealed:
    """A sealed text: the content once, and one wrapped key for each recipient, in the order they were given."""

    recipients: tuple[WrappedKey, ...]
    content: EncryptedContent


class UnsealingKey:
    """A private sealing key with its key id and its one profile."""

    def __init__(self, kid: str, private: ec.EllipticCurvePrivateKey | MLKEM768X25519PrivateKey, public_jwk: Jwk) -> None:
        self.kid = kid
        self.public_jwk = dict(public_jwk)
        self._private = private

    def __repr__(self) -> str:
        return f"UnsealingKey({self.kid})"

    @property
    def profile(self) -> SealingProfile:
        """The profile whose envelopes this key opens."""
        return SealingProfile.CLASSIC_1 if isinstance(self._private, ec.EllipticCurvePrivateKey) else SealingProfile.PQ_1

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Open one wrapped content key (32 octets).

        Raises:
            Refusal: CANNOT_UNSEAL, the same for a wrong key and for altered octets.
        """
        try:
            if isinstance(self._private, ec.EllipticCurvePrivateKey):
                content_key = _unwrap_classic(self._private, wrapped)
            else:
                content_key = _HPKE_SUITE.decrypt(wrapped.encapsulated + wrapped.encrypted_key, self._private, _HPKE_INFO)
        except (ValueError, InvalidTag, InvalidUnwrap):
            raise _cannot_unseal() from None
        if len(content_key) != CONTENT_KEY_OCTETS:
            raise _cannot_unseal()
        return content_key


def generate_unsealing_key(kid: str, profile: SealingProfile) -> UnsealingKey:
    """Make a new sealing key pair; a hybrid one from a new seed."""
    if profile is SealingProfile.PQ_1:
        return unsealing_key_from_seed(kid, secrets.token_bytes(SEED_OCTETS))
    return classic_unsealing_key(kid, ec.generate_private_key(ec.SECP256R1()))


def classic_unsealing_key(kid: str, private: ec.EllipticCurvePrivateKey) -> UnsealingKey:
    """Make a classic-1 key of a P-256 private key."""
    return UnsealingKey(kid, private, ec_public_jwk(private.public_key()))


def unsealing_key_from_seed(kid: str, seed: bytes) -> UnsealingKey:
    """Expand the 32-octet seed of a hybrid key (wire rule A5): SHAKE256 to the ML-KEM seed (64) and the X25519 key (32)."""
    if len(seed) != SEED_OCTETS:
        raise ValueError("the seed of a hybrid key has 32 octets")
    expanded = hashlib.shake_256(seed).digest(96)
    mlkem_key = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    x25519_key = x25519.X25519PrivateKey.from_private_bytes(expanded[64:])
    pub = mlkem_key.public_key().public_bytes_raw() + x25519_key.public_key().public_bytes_raw()
    jwk = {"kty": "AKP", "alg": "HPKE-9-KE", "pub": b64url_encode(pub)}
    return UnsealingKey(kid, MLKEM768X25519PrivateKey(mlkem_key, x25519_key), jwk)


def unsealing_key_from_jwk(jwk: Jwk) -> UnsealingKey:
    """Load a private JWK with its kid: EC with `d`, or AKP HPKE-9-KE with the seed as `priv`. For test vectors and import.

    Raises:
        Refusal: INVALID_KEY.
    """
    if jwk.get("kty") == "EC":
        return classic_unsealing_key(jwk["kid"], p256_private_key(jwk))
    try:
        if jwk["alg"] != "HPKE-9-KE":
            raise ValueError("another algorithm")
        return unsealing_key_from_seed(jwk["kid"], b64url_decode(jwk["priv"]))
    except (KeyError, ValueError):
        raise Refusal(RefusalCode.INVALID_KEY, "not a private sealing key") from None


def seal(profile: SealingProfile, plaintext: bytes, aad: bytes, recipients: Sequence[tuple[str, Jwk]]) -> Sealed:
    """Seal a text for one or more recipient keys, with a fresh content key and a fresh ephemeral key for each.

    Args:
        profile: the one profile of all recipients.
        plaintext: any length.
        aad: ASCII of the protected header, which names the recipients' key ids in the same order.
        recipients: (key id, public JWK) pairs, at least one, checked at registration by `check_sealing_jwk`.

    Raises:
        ValueError: a key does not belong to the profile, or there is no recipient.
    """
    if not recipients:
        raise ValueError("a text is sealed to at least one recipient")
    content_key = secrets.token_bytes(CONTENT_KEY_OCTETS)
    wrapped = tuple(_wrap(profile, content_key, kid, jwk) for kid, jwk in recipients)
    return Sealed(wrapped, _encrypt(content_key, plaintext, aad))


def unseal(key: UnsealingKey, wrapped: WrappedKey, content: EncryptedContent, aad: bytes) -> bytes:
    """Open a sealed text with one's own key, on the entry that carries one's own key id only.

    Raises:
        Refusal: CANNOT_UNSEAL.
    """
    if wrapped.kid != key.kid:
        raise _cannot_unseal()
    content_key = key.unwrap(wrapped)
    try:
        return AESGCM(content_key).decrypt(content.iv, content.ciphertext + content.tag, aad)
    except (ValueError, InvalidTag):
        raise _cannot_unseal() from None


def seal_part(
    profile: SealingProfile, plaintext: bytes, recipient: tuple[str, Jwk], write_header: Callable[[WrappedKey], str]
) -> tuple[str, Sealed]:
    """Seal one part to one role key.

    Args:
        profile: the profile of the key.
        plaintext: any length.
        recipient: (key id, public JWK).
        write_header: writes the protected header, which in the compact form carries the ephemeral key.

    Returns:
        The protected header and what was sealed under it.
    """
    content_key = secrets.token_bytes(CONTENT_KEY_OCTETS)
    wrapped = _wrap(profile, content_key, *recipient)
    protected_text = write_header(wrapped)
    return protected_text, Sealed((wrapped,), _encrypt(content_key, plaintext, protected_text.encode("ascii")))


def check_sealing_jwk(jwk: Jwk) -> SealingProfile:
    """Check a sealing key at registration by sealing to it once, and tell the profile it belongs to.

    This refuses an ML-KEM key that is not reduced, an X25519 key of low order and a point off the curve, whatever a sender's
    library would do with them.

    Raises:
        Refusal: INVALID_KEY.
    """
    is_classic = jwk.get("kty") == "EC"
    require_public_members(jwk, ("kty", "crv", "x", "y") if is_classic else ("kty", "alg", "pub"))
    profile = SealingProfile.CLASSIC_1 if is_classic else SealingProfile.PQ_1
    try:
        _wrap(profile, bytes(CONTENT_KEY_OCTETS), "trial", jwk)
    except ValueError:
        raise Refusal(RefusalCode.INVALID_KEY, f"not a public key for the profile {profile}") from None
    return profile


def _cannot_unseal() -> Refusal:
    return Refusal(RefusalCode.CANNOT_UNSEAL)


def _encrypt(content_key: bytes, plaintext: bytes, aad: bytes) -> EncryptedContent:
    iv = secrets.token_bytes(_IV_OCTETS)
    sealed = AESGCM(content_key).encrypt(iv, plaintext, aad)
    return EncryptedContent(iv, sealed[:-_TAG_OCTETS], sealed[-_TAG_OCTETS:])


def _wrap(profile: SealingProfile, content_key: bytes, kid: str, jwk: Jwk) -> WrappedKey:
    if profile is SealingProfile.PQ_1:
        sealed = _HPKE_SUITE.encrypt(content_key, load_hybrid(jwk), _HPKE_INFO)
        return WrappedKey(kid, sealed[:_HPKE_ENC_OCTETS], sealed[_HPKE_ENC_OCTETS:])
    public = load_p256(jwk)
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return WrappedKey(kid, point, aes_key_wrap(_key_encryption_key(ephemeral.exchange(ec.ECDH(), public)), content_key))


def _unwrap_classic(private: ec.EllipticCurvePrivateKey, wrapped: WrappedKey) -> bytes:
    ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), wrapped.encapsulated)
    return aes_key_unwrap(_key_encryption_key(private.exchange(ec.ECDH(), ephemeral)), wrapped.encrypted_key)


def _key_encryption_key(shared: bytes) -> bytes:
    """Concat KDF of NIST SP 800-56A section 5.8.1 with the one other-info that classic-1 has."""
    return hashlib.sha256(_CONCAT_KDF_ROUND + shared + _CONCAT_KDF_OTHER_INFO).digest()
