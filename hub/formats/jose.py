"""What JWS and JWE have in common: exact members, canonical base64url, and protected headers kept as they were received."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hub.domain.encoding import b64url_decode
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import is_key_id
from hub.formats.json_gate import malformed, parse_object

_HEADER_DEPTH = 4


def unsupported(detail: str) -> Refusal:
    """The refusal for a header that asks for something outside the profile; `detail` names it and quotes nothing."""
    return Refusal(RefusalCode.UNSUPPORTED_PROFILE, detail)


def octets_of(value: object, what: str, length: int | None = None) -> bytes:
    """Decode a member that is canonical base64url text, of exactly `length` octets where one is given.

    Raises:
        Refusal: MALFORMED_ENVELOPE, naming `what`.
    """
    if not isinstance(value, str):
        raise malformed(f"{what} is not a string")
    try:
        octets = b64url_decode(value)
    except ValueError:
        raise malformed(f"{what} is not canonical base64url") from None
    if length is not None and len(octets) != length:
        raise malformed(f"{what} does not have {length} octets")
    return octets


def read_header(protected_text: object, max_characters: int) -> dict[str, Any]:
    """Read a protected header. What is signed or authenticated stays `protected_text`, never a re-serialisation.

    Raises:
        Refusal: MALFORMED_ENVELOPE.
    """
    if not isinstance(protected_text, str) or len(protected_text) > max_characters:
        raise malformed("protected is not a string of acceptable length")
    octets = octets_of(protected_text, "protected")
    return parse_object(octets, max_depth=_HEADER_DEPTH, max_structure=max_characters)


def require_members(members: Mapping[str, Any], names: Collection[str], what: str) -> None:
    """Check that an object has exactly these members.

    Raises:
        Refusal: MALFORMED_ENVELOPE.
    """
    if members.keys() != set(names):
        raise malformed(f"{what} does not have exactly the members {', '.join(names)}")


def require_parameters(header: Mapping[str, Any], names: Collection[str], what: str) -> None:
    """Check that a JOSE header has exactly these parameters (wire rule A1.7).

    Raises:
        Refusal: UNSUPPORTED_PROFILE for any other parameter, MALFORMED_ENVELOPE for a missing one.
    """
    if not header.keys() <= set(names):
        raise unsupported(f"{what} holds a parameter that is not accepted")
    require_members(header, names, what)


def key_id_of(header: Mapping[str, Any]) -> str:
    """The `kid` of a header.

    Raises:
        Refusal: MALFORMED_ENVELOPE if it has not the form of a key id.
    """
    kid = header["kid"]
    if not isinstance(kid, str) or not is_key_id(kid):
        raise malformed("kid is not a key id")
    return kid
