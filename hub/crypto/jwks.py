"""Public keys as plain JWK members: their exact forms, their names, and the loaded keys behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PublicKey

from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.refusals import Refusal, RefusalCode

Jwk = Mapping[str, str]

COORDINATE_OCTETS = 32
ML_KEM_768_KEY_OCTETS = 1184
HYBRID_KEY_OCTETS = ML_KEM_768_KEY_OCTETS + 32
_CACHED_KEYS = 4096
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "AKP": ("alg", "kty", "pub")}


def ec_public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The JWK members of a P-256 key: kty, crv, x, y; each coordinate 32 octets, leading zeros kept."""
    numbers = key.public_numbers()
    x, y = (b64url_encode(number.to_bytes(COORDINATE_OCTETS, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def load_p256(jwk: Jwk) -> ec.EllipticCurvePublicKey:
    """Load a P-256 key; cached by its coordinates.

    Raises:
        ValueError: not an EC P-256 JWK with coordinates of exactly 32 octets, or not a point of the curve.
    """
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256":
        raise ValueError("not an EC key on P-256")
    return _load_point(_text_of(jwk, "x"), _text_of(jwk, "y"))


def load_hybrid(jwk: Jwk) -> MLKEM768X25519PublicKey:
    """Load an MLKEM768-X25519 key (AKP, alg HPKE-9-KE, pub = ML-KEM-768 key 1184 || X25519 32 octets); cached.

    Raises:
        ValueError: another form or length, or an ML-KEM key that is not reduced.
    """
    if jwk.get("kty") != "AKP" or jwk.get("alg") != "HPKE-9-KE":
        raise ValueError("not an AKP key for HPKE-9-KE")
    return _load_hybrid(_text_of(jwk, "pub"))


def thumbprint(jwk: Jwk) -> str:
    """The RFC 7638 thumbprint, SHA-256, base64url: 43 characters. AKP keys by alg, kty and pub (RFC 9964).

    Raises:
        KeyError: another key type, or a member is missing.
    """
    members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return b64url_encode(hashlib.sha256(text.encode("ascii")).digest())


def require_public_members(jwk: Jwk, names: tuple[str, ...]) -> None:
    """Check that a registry copy has exactly these members, all strings (wire rule A1.4: no use, alg of EC, key_ops, or d).

    Raises:
        Refusal: INVALID_KEY.
    """
    if jwk.keys() != set(names) or not all(isinstance(value, str) for value in jwk.values()):
        raise Refusal(RefusalCode.INVALID_KEY, f"the key does not have exactly the members {', '.join(names)}")


def _text_of(jwk: Jwk, name: str) -> str:
    """A member's text; a key that somebody sent may hold anything, whatever its type says."""
    value: object = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError("a member of the key is missing, or not a string")
    return value


@lru_cache(maxsize=_CACHED_KEYS)
def _load_point(x: str, y: str) -> ec.EllipticCurvePublicKey:
    point = b64url_decode(x), b64url_decode(y)
    if any(len(coordinate) != COORDINATE_OCTETS for coordinate in point):
        raise ValueError("a coordinate does not have 32 octets")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + b"".join(point))


@lru_cache(maxsize=_CACHED_KEYS)
def _load_hybrid(pub: str) -> MLKEM768X25519PublicKey:
    octets = b64url_decode(pub)
    if len(octets) != HYBRID_KEY_OCTETS:
        raise ValueError("pub does not have 1216 octets")
    try:
        mlkem_key = mlkem.MLKEM768PublicKey.from_public_bytes(octets[:ML_KEM_768_KEY_OCTETS])
    except UnsupportedAlgorithm as error:
        raise RuntimeError("this build of cryptography has no ML-KEM") from error
    return MLKEM768X25519PublicKey(mlkem_key, x25519.X25519PublicKey.from_public_bytes(octets[ML_KEM_768_KEY_OCTETS:]))
