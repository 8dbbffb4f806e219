"""Statements of the hub that are signed beside their octets, as a detached compact JWS."""

from __future__ import annotations

from datetime import datetime

from hub.domain.encoding import b64url_encode
from hub.domain.signatures import SignatureType
from hub.formats.jws import protected_header, serialise_detached, signing_input
from hub.services.hub import Hub


def sign_detached(hub: Hub, kind: SignatureType, octets: bytes, now: datetime) -> str:
    """Sign octets with the hub's signing key of that moment: `header..signature` (RFC 7515 appendix F)."""
    key = hub.keyring.signing_key(now)
    protected = protected_header(key.kid, kind)
    return serialise_detached(protected, key.sign(signing_input(protected, b64url_encode(octets))))
