"""base64url, times and ids as they stand on the wire. Standard library only."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from datetime import UTC, datetime
from uuid import UUID

_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")  # what base64url does not have becomes invalid in base64 too
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LAST_CHARACTERS = (_ALPHABET, "", _ALPHABET[::16], _ALPHABET[::4])  # by length modulo 4: those whose unused bits are zero
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z\Z")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


def b64url_encode(octets: bytes) -> str:
    """Encode as base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """Decode canonical base64url: no padding, no line breaks, unused bits zero.

    Raises:
        ValueError: the text is anything else.
    """
    if text and text[-1] not in _LAST_CHARACTERS[len(text) % 4]:
        raise ValueError("not canonical base64url")
    standard = text.encode("ascii").translate(_TO_STANDARD) + b"==="[: -len(text) % 4]
    return binascii.a2b_base64(standard, strict_mode=True)


def format_time(moment: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, `2026-11-22T09:30:00Z`, with fractions only where it has them."""
    if moment.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Read RFC 3339 in UTC with a capital T and Z.

    Raises:
        ValueError: the text is anything else, or no instant that exists.
    """
    if not _TIME.match(text):
        raise ValueError("not an RFC 3339 time in UTC")
    return datetime.fromisoformat(text)


def is_uuid7(text: str) -> bool:
    """Whether the text is a UUIDv7 (RFC 9562) in lower-case canonical form."""
    return _UUID7.match(text) is not None


def new_uuid7(now: datetime) -> str:
    """Mint a UUIDv7 whose time is `now`; the other 74 bits are random."""
    milliseconds = int(now.timestamp() * 1000)
    value = (milliseconds << 80) | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return str(UUID(int=value))
