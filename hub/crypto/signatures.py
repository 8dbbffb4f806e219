"""ES256: deterministic signatures of 64 octets, r || s, over octets that this module knows nothing about."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from hub.crypto.jwks import COORDINATE_OCTETS, Jwk, ec_public_jwk, load_p256, require_public_members
from hub.domain.encoding import b64url_decode
from hub.domain.refusals import Refusal, RefusalCode

SIGNATURE_OCTETS = 64
_SIGN = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFY = ec.ECDSA(hashes.SHA256())


class SigningKey:
    """A P-256 private key with its key id. It signs; what it is made of does not leave this package."""

    def __init__(self, kid: str, private: ec.EllipticCurvePrivateKey) -> None:
        self.kid = kid
        self._private = private
        self.public_jwk = ec_public_jwk(private.public_key())

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"

    def sign(self, octets: bytes) -> bytes:
        """Sign with ECDSA, SHA-256 and the nonce of RFC 6979: the same octets always give the same r || s (64 octets)."""
        r, s = decode_dss_signature(self._private.sign(octets, _SIGN))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def generate_signing_key(kid: str) -> SigningKey:
    """Make a new P-256 key."""
    return SigningKey(kid, ec.generate_private_key(ec.SECP256R1()))


def signing_key_from_jwk(jwk: Jwk) -> SigningKey:
    """Load a private JWK (kty, crv, kid, d; x and y are recomputed). For a partner's own key and for test vectors.

    Raises:
        Refusal: INVALID_KEY.
    """
    return SigningKey(jwk["kid"], p256_private_key(jwk))


def p256_private_key(jwk: Jwk) -> ec.EllipticCurvePrivateKey:
    """Load the `d` of a private P-256 JWK.

    Raises:
        Refusal: INVALID_KEY.
    """
    try:
        secret = b64url_decode(jwk["d"])
        if len(secret) != COORDINATE_OCTETS or (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
            raise ValueError("not a P-256 private key")
        return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
    except (KeyError, ValueError):
        raise Refusal(RefusalCode.INVALID_KEY, "not a private P-256 key") from None


def verify_es256(jwk: Jwk, octets: bytes, signature: bytes) -> None:
    """Verify an ES256 signature with a key from the registry. Low-s is not required (wire rule A1.5).

    Args:
        jwk: the public P-256 key; members beside kty, crv, x and y are not looked at.
        octets: what was signed, exactly as received.
        signature: r || s, 64 octets; DER is refused.

    Raises:
        Refusal: BAD_SIGNATURE; KEY_NOT_VALID if the registry's key is not a P-256 key (key confusion).
    """
    try:
        key = load_p256(jwk)
    except ValueError:
        raise Refusal(RefusalCode.KEY_NOT_VALID, "the key is not one for ES256") from None
    if len(signature) != SIGNATURE_OCTETS:
        raise Refusal(RefusalCode.BAD_SIGNATURE, "the signature does not have 64 octets")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), octets, _VERIFY)
    except InvalidSignature:
        raise Refusal(RefusalCode.BAD_SIGNATURE) from None


def check_public_jwk(jwk: Jwk) -> None:
    """Check a signature key at registration: exactly kty, crv, x, y; 32-octet coordinates; a point of the curve.

    Raises:
        Refusal: INVALID_KEY.
    """
    require_public_members(jwk, ("kty", "crv", "x", "y"))
    try:
        load_p256(jwk)
    except ValueError:
        raise Refusal(RefusalCode.INVALID_KEY, "not a P-256 public key with coordinates of 32 octets") from None
