"""Small signed tokens, all ES256: client assertions (RFC 7523), DPoP proofs (RFC 9449) and access tokens (RFC 9068).

The only importer of PyJWT. PyJWT takes the compact form apart; signatures are made and verified by this package's own ES256,
and the claims are judged here, because PyJWT reads the machine's clock and the hub has one of its own.

What makes a DPoP nonce: the SHA-256 of the hub's deterministic signature over the number of the current time window. Every node
that holds the token key computes the same nonces, nothing is stored, and nobody without the key can tell the next one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt

from hub.crypto.jwks import Jwk, load_p256, thumbprint
from hub.crypto.signatures import SigningKey, verify_es256
from hub.domain.encoding import b64url_encode
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import is_key_id

MAX_TOKEN_CHARACTERS = 8192
"""PyJWT looks at each character in Python: 0.7 ms at 4 KiB, 98 ms at 1 MiB."""

LEEWAY = timedelta(seconds=30)
"""How far a client's clock may be ahead, or an expiry behind."""

MAX_ASSERTION_LIFETIME = timedelta(minutes=10)
PROOF_LIFETIME = timedelta(minutes=5)
NONCE_WINDOW = timedelta(minutes=5)
"""A nonce is accepted in the window it was made in and in the next one."""

MAX_TOKEN_ID_CHARACTERS = 128

_ALGORITHM = "ES256"
_ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 - a media type
_PROOF_TYPE = "dpop+jwt"
_PROOF_KEY_MEMBERS = {"kty", "crv", "x", "y"}
_PROOF_KEY_MEMBERS_IGNORED = {"kid", "alg", "use", "ext", "key_ops"}  # what WebCrypto and JOSE libraries write beside the key
_NONCE_LABEL = b"accord DPoP nonce\x00"


class NonceNeededError(Refusal):
    """The proof is right but carries no current nonce: the client takes the one it is given and asks again."""


@dataclass(frozen=True)
class Spent:
    """A token id that may be used once, and until when it must be remembered."""

    jti: str
    until: datetime


@dataclass(frozen=True)
class Proof:
    """A verified DPoP proof. `thumbprint` is the RFC 7638 thumbprint of the key that made it (43 characters)."""

    thumbprint: str
    spent: Spent


@dataclass(frozen=True)
class AccessToken:
    """What an access token says: the client, the key its assertion was signed with, and the key it is bound to."""

    client: str
    client_kid: str
    thumbprint: str
    scope: str
    jti: str
    expires: datetime


class _Es256(jwt.algorithms.Algorithm):
    """ES256 by this package: one implementation of signatures, deterministic, with loaded keys cached."""

    def prepare_key(self, key: Any) -> Any:
        return key

    def sign(self, msg: bytes, key: SigningKey) -> bytes:
        return key.sign(msg)

    def verify(self, msg: bytes, key: Jwk, sig: bytes) -> bool:
        verify_es256(key, msg, sig)
        return True

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> Any:
        raise NotImplementedError

    @staticmethod
    def from_jwk(jwk: Any) -> Any:
        raise NotImplementedError


_JWS = jwt.PyJWS(algorithms=[])
_JWS.register_algorithm(_ALGORITHM, _Es256())


# --- client assertions (RFC 7523 section 3) ---


def make_assertion(key: SigningKey, client: str, audience: str, now: datetime) -> str:
    """Write the assertion with which a client shows who it is; good for one minute and one use."""
    issued = int(now.timestamp())
    claims = {"iss": client, "sub": client, "aud": audience, "iat": issued, "exp": issued + 60, "jti": secrets.token_urlsafe(16)}
    return _write(key, claims, {"kid": key.kid})


def claimed_key_id(token: str) -> str:
    """The `kid` of a token that is not verified yet: only good for looking a key up.

    Raises:
        Refusal: INVALID_TOKEN.
    """
    kid = _read_header(token, {"alg", "kid", "typ"}).get("kid")
    if not is_key_id(kid):
        raise _invalid("the token names no key")
    return str(kid)


def verify_assertion(token: str, jwk: Jwk, client: str, audiences: Collection[str], now: datetime) -> Spent:
    """Verify a client assertion with the key that the registry holds under its `kid`.

    Args:
        token: the compact JWS.
        jwk: the client's registered key.
        client: the owner of that key, which must be both issuer and subject.
        audiences: the names of this hub that are accepted; the assertion must name exactly one of them.
        now: the present instant.

    Raises:
        Refusal: INVALID_TOKEN, BAD_SIGNATURE, KEY_NOT_VALID.
    """
    claims = _read_verified(token, jwk)
    if claims.get("iss") != client or claims.get("sub") != client:
        raise _invalid("issuer and subject are not the owner of the key")
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(audience, str) or audience not in audiences:
        raise _invalid("the audience is not this hub")
    expires = _instant(claims, "exp")
    if not now - LEEWAY < expires <= now + MAX_ASSERTION_LIFETIME + LEEWAY:
        raise _invalid("the assertion is expired, or good for too long")
    for name in ("nbf", "iat"):
        if name in claims and _instant(claims, name) > now + LEEWAY:
            raise _invalid("the assertion is from the future")
    return Spent(_token_id(claims), expires + LEEWAY)


# --- DPoP proofs (RFC 9449 section 4) ---


def make_proof(key: SigningKey, method: str, url: str, now: datetime, *, nonce: str = "", access_token: str = "") -> str:
    """Write the proof that one request is made by the holder of `key`; `url` without query and fragment."""
    claims: dict[str, object] = {
        "htm": method,
        "htu": url,
        "iat": int(now.timestamp()),
        "jti": secrets.token_urlsafe(16),
        **({"nonce": nonce} if nonce else {}),
        **({"ath": token_hash(access_token)} if access_token else {}),
    }
    return _write(key, claims, {"typ": _PROOF_TYPE, "jwk": key.public_jwk})


def verify_proof(
    proof: str, *, method: str, url: str, nonces: Collection[str], now: datetime, access_token: str | None = None
) -> Proof:
    """Verify the proof of one request (RFC 9449 section 4.3).

    Args:
        proof: the value of the request's one DPoP header.
        method: the request's method.
        url: its address as the client sees it, without query.
        nonces: those accepted now.
        now: the present instant.
        access_token: the token that came with it, or None at the token endpoint.

    Raises:
        Refusal: INVALID_TOKEN, BAD_SIGNATURE.
        NonceNeededError: everything else is right.
    """
    header = _read_header(proof, {"alg", "typ", "jwk"})
    if header.get("typ") != _PROOF_TYPE:
        raise _invalid("the proof is not of type dpop+jwt")
    key = _proof_key(header.get("jwk"))
    claims = _read_verified(proof, key)
    if claims.get("htm") != method or claims.get("htu") != url:
        raise _invalid("the proof is for another request")
    if not now - PROOF_LIFETIME <= _instant(claims, "iat") <= now + LEEWAY:
        raise _invalid("the proof is too old, or from the future")
    if access_token is not None and claims.get("ath") != token_hash(access_token):
        raise _invalid("the proof is for another access token")
    spent = Spent(_token_id(claims), now + PROOF_LIFETIME + LEEWAY)
    if claims.get("nonce") not in nonces:
        raise NonceNeededError(RefusalCode.INVALID_TOKEN, "the proof needs the nonce that comes with this answer")
    return Proof(thumbprint(key), spent)


def token_hash(access_token: str) -> str:
    """The `ath` of an access token: base64url SHA-256 of its ASCII."""
    return b64url_encode(hashlib.sha256(access_token.encode("ascii", "replace")).digest())


def current_nonces(key: SigningKey, now: datetime) -> tuple[str, str]:
    """The nonce to hand out now, and the one before it, which is still accepted."""
    window = int(now.timestamp() // NONCE_WINDOW.total_seconds())
    return _nonce(key, window), _nonce(key, window - 1)


# --- access tokens (RFC 9068, bound by RFC 9449 section 6) ---


def make_access_token(key: SigningKey, issuer: str, token: AccessToken, now: datetime) -> str:
    """Write an access token for this hub; `issuer` is its audience too."""
    claims = {
        "iss": issuer,
        "aud": issuer,
        "sub": token.client,
        "client_id": token.client,
        "client_kid": token.client_kid,
        "cnf": {"jkt": token.thumbprint},
        "scope": token.scope,
        "jti": token.jti,
        "iat": int(now.timestamp()),
        "exp": int(token.expires.timestamp()),
    }
    return _write(key, claims, {"typ": _ACCESS_TOKEN_TYPE, "kid": key.kid})


def verify_access_token(text: str, find_key: Callable[[str], Jwk | None], issuer: str, now: datetime) -> AccessToken:
    """Verify an access token of this hub.

    Args:
        text: the token.
        find_key: gives the hub's token key under a kid, or None.
        issuer: this hub.
        now: the present instant.

    Raises:
        Refusal: INVALID_TOKEN, BAD_SIGNATURE.
    """
    header = _read_header(text, {"alg", "typ", "kid"})
    jwk = find_key(claimed_key_id(text))
    if header.get("typ") != _ACCESS_TOKEN_TYPE or jwk is None:
        raise _invalid("not an access token of this hub")
    claims = _read_verified(text, jwk)
    if claims.get("iss") != issuer or claims.get("aud") != issuer:
        raise _invalid("not an access token of this hub")
    expires = _instant(claims, "exp")
    if now >= expires:
        raise _invalid("the access token is expired")
    confirmation = claims.get("cnf")
    if not isinstance(confirmation, dict):
        raise _invalid("the access token is bound to no key")
    return AccessToken(
        client=_text(claims, "sub"),
        client_kid=_text(claims, "client_kid"),
        thumbprint=_text(confirmation, "jkt"),
        scope=_text(claims, "scope"),
        jti=_token_id(claims),
        expires=expires,
    )


# --- what they have in common ---


def _invalid(detail: str) -> Refusal:
    return Refusal(RefusalCode.INVALID_TOKEN, detail)


def _write(key: SigningKey, claims: Mapping[str, object], header: dict[str, Any]) -> str:
    payload = json.dumps(claims, separators=(",", ":")).encode("ascii")
    return _JWS.encode(payload, key, algorithm=_ALGORITHM, headers=header)  # type: ignore[arg-type]  # our algorithm, our key


def _read_header(token: str, accepted: set[str]) -> dict[str, Any]:
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _invalid("the token is too long")
    try:
        header = _JWS.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise _invalid("not a compact JWS") from None
    if not header.keys() <= accepted:
        raise _invalid("the token's header holds a parameter that is not accepted")
    return header


def _read_verified(token: str, jwk: Jwk) -> dict[str, Any]:
    """The claims, after the signature: the header was read before, so the length is bounded."""
    try:
        payload = _JWS.decode_complete(token, jwk, algorithms=[_ALGORITHM])["payload"]  # type: ignore[arg-type]  # our own key
        claims = json.loads(payload, object_pairs_hook=_members_once)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise _invalid("not an ES256 token") from None
    if not isinstance(claims, dict):
        raise _invalid("the claims are not an object")
    return claims


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a claim stands twice")
    return members


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(f"the claim {name} is missing")
    return value


def _token_id(claims: Mapping[str, Any]) -> str:
    jti = _text(claims, "jti")
    if len(jti) > MAX_TOKEN_ID_CHARACTERS or not jti.isprintable():
        raise _invalid("the token id is too long")
    return jti


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    try:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(name)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise _invalid(f"the claim {name} is not an instant") from None


def _proof_key(jwk: object) -> dict[str, str]:
    if not isinstance(jwk, dict) or not _PROOF_KEY_MEMBERS <= jwk.keys() <= _PROOF_KEY_MEMBERS | _PROOF_KEY_MEMBERS_IGNORED:
        raise _invalid("the proof's key is not a public key on P-256")
    key = {name: jwk[name] for name in sorted(_PROOF_KEY_MEMBERS)}
    try:
        if not all(isinstance(value, str) for value in key.values()):
            raise ValueError("not text")
        load_p256(key)
    except ValueError:
        raise _invalid("the proof's key is not a public key on P-256") from None
    return key


@lru_cache(maxsize=8)
def _nonce(key: SigningKey, window: int) -> str:
    return b64url_encode(hashlib.sha256(key.sign(_NONCE_LABEL + window.to_bytes(8, "big"))).digest())
