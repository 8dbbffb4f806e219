"""JWS as the wire uses it (RFC 7515): general JSON for messages, compact and detached compact for everything else.

Nothing here verifies. What is handed out is the exact signing input as received, for the code that holds the keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson

from hub.domain.encoding import b64url_encode
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.jose import key_id_of, octets_of, read_header, require_members, require_parameters, unsupported
from hub.formats.json_gate import malformed, parse_object

ALGORITHM = "ES256"
_SIGNATURE_OCTETS = 64
_DIGEST_OCTETS = 32
_MAX_PROTECTED_CHARACTERS = 1024  # kid 64, over 43, the rest fixed; room for a pretty-printing partner
_MAX_STRUCTURE = 16

TypeSequence = tuple[SignatureType, ...]
MESSAGE_ALONE: TypeSequence = (SignatureType.MESSAGE,)
COUNTERSIGNED_MESSAGE: TypeSequence = (SignatureType.MESSAGE, SignatureType.COUNTERSIGNATURE)
RENDITION_ALONE: TypeSequence = (SignatureType.RENDITION,)


@dataclass(frozen=True)
class SignatureHeader:
    """A protected header that was read. `over` is the SHA-256 (32 octets) of the signature it countersigns, or None."""

    kid: str
    type: SignatureType
    over: bytes | None = None


@dataclass(frozen=True)
class SignatureElement:
    """One signature, not yet verified: the header as received, what it says, and r || s (64 octets)."""

    protected_text: str
    header: SignatureHeader
    signature: bytes


@dataclass(frozen=True)
class GeneralJws:
    """A signed text, not yet verified: the payload as received (base64url) and its signatures, in order."""

    payload_text: str
    payload: bytes
    elements: tuple[SignatureElement, ...]

    @property
    def types(self) -> TypeSequence:
        """The signature types, in order: one of the sequences that the reader asked for."""
        return tuple(element.header.type for element in self.elements)

    def signing_input(self, position: int) -> bytes:
        """The octets that the signature at `position` was made over."""
        return signing_input(self.elements[position].protected_text, self.payload_text)

    def check_over(self) -> None:
        """Check that the countersignature is tied to the sender's signature that stands before it.

        Raises:
            Refusal: BAD_SIGNATURE.
        """
        if self.types == COUNTERSIGNED_MESSAGE:
            first, second = self.elements
            if second.header.over != over_digest(first.protected_text, first.signature):
                raise Refusal(RefusalCode.BAD_SIGNATURE, "the countersignature is over another signature")


@dataclass(frozen=True)
class CompactJws:
    """A compact JWS, not yet verified. In the detached form the payload is what the caller gave."""

    payload_text: str
    payload: bytes
    element: SignatureElement

    def signing_input(self) -> bytes:
        """The octets that the signature was made over."""
        return signing_input(self.element.protected_text, self.payload_text)


def signing_input(protected_text: str, payload_text: str) -> bytes:
    """ASCII(protected "." payload), both base64url (RFC 7515 section 5.1)."""
    return f"{protected_text}.{payload_text}".encode("ascii")


def over_digest(protected_text: str, signature: bytes) -> bytes:
    """SHA-256 of ASCII(p "." s): what a countersignature names in `over` (wire rule A2), 32 octets."""
    return hashlib.sha256(f"{protected_text}.{b64url_encode(signature)}".encode("ascii")).digest()


def protected_header(kid: str, typ: SignatureType, over: bytes | None = None) -> str:
    """Write a protected header as base64url text; `over` for a countersignature in general JSON only."""
    header = {"alg": ALGORITHM, "kid": kid, "typ": typ.value}
    if over is not None:
        header["over"] = b64url_encode(over)
    return b64url_encode(orjson.dumps(header))


def parse_general(octets: bytes, *accepted: TypeSequence) -> GeneralJws:
    """Read a JWS in the general JSON serialisation.

    Args:
        octets: the JSON text; the caller bounds its length.
        accepted: the sequences of signature types that may stand here, for instance `MESSAGE_ALONE`.

    Raises:
        Refusal: MALFORMED_ENVELOPE (shape, encoding, another sequence of types), UNSUPPORTED_PROFILE (another algorithm or
            header parameter), BAD_SIGNATURE (a countersignature over another signature).
    """
    members = parse_object(octets, max_structure=_MAX_STRUCTURE)
    require_members(members, ("payload", "signatures"), "the JWS")
    entries = members["signatures"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise malformed("signatures is not an array of objects")
    elements = tuple(_read_entry(entry) for entry in entries)
    if tuple(element.header.type for element in elements) not in accepted:
        raise malformed("these signature types may not stand here")
    if any((element.header.over is None) == (element.header.type is SignatureType.COUNTERSIGNATURE) for element in elements):
        raise malformed("a countersignature, and nothing else, names what it is over")
    signed = GeneralJws(members["payload"], octets_of(members["payload"], "payload"), elements)
    signed.check_over()
    return signed


def serialise_general(payload_text: str, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    """Write general JSON from the payload (base64url) and (protected header, r || s) pairs, always as an array."""
    entries = [{"protected": protected, "signature": b64url_encode(signature)} for protected, signature in signatures]
    return orjson.dumps({"payload": payload_text, "signatures": entries})


def parse_compact(text: str, accepted: SignatureType) -> CompactJws:
    """Read a compact JWS of one type.

    Raises:
        Refusal: MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE, as `parse_general`.
    """
    protected_text, payload_text, signature_text = _split(text)
    element = _read_compact_element(protected_text, signature_text, accepted)
    return CompactJws(payload_text, octets_of(payload_text, "payload"), element)


def serialise_compact(protected_text: str, payload_text: str, signature: bytes) -> str:
    """Write protected "." payload "." signature."""
    return f"{protected_text}.{payload_text}.{b64url_encode(signature)}"


def parse_detached(text: str, payload: bytes, accepted: SignatureType) -> CompactJws:
    """Read a compact JWS whose payload stands elsewhere (RFC 7515 appendix F): `header..signature`.

    Args:
        text: the detached JWS.
        payload: the octets it is said to be over.
        accepted: the one signature type that may stand here.

    Raises:
        Refusal: MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE, as `parse_general`.
    """
    protected_text, empty, signature_text = _split(text)
    if empty:
        raise malformed("a detached JWS carries a payload")
    element = _read_compact_element(protected_text, signature_text, accepted)
    return CompactJws(b64url_encode(payload), payload, element)


def serialise_detached(protected_text: str, signature: bytes) -> str:
    """Write protected ".." signature."""
    return serialise_compact(protected_text, "", signature)


def _split(text: str) -> tuple[str, str, str]:
    try:
        protected_text, payload_text, signature_text = text.split(".", 3)
    except ValueError:
        raise malformed("a compact JWS has three parts") from None
    return protected_text, payload_text, signature_text


def _read_entry(entry: dict[str, object]) -> SignatureElement:
    require_members(entry, ("protected", "signature"), "a signature")
    protected_text = entry["protected"]
    if not isinstance(protected_text, str):
        raise malformed("protected is not a string")
    signature = octets_of(entry["signature"], "signature", _SIGNATURE_OCTETS)
    return SignatureElement(protected_text, _read_signature_header(protected_text), signature)


def _read_compact_element(protected_text: str, signature_text: str, accepted: SignatureType) -> SignatureElement:
    element = _read_entry({"protected": protected_text, "signature": signature_text})
    if element.header.type is not accepted or element.header.over is not None:
        raise malformed("this signature type may not stand here")
    return element


@lru_cache(maxsize=1024)
def _read_signature_header(protected_text: str) -> SignatureHeader:
    """Read a header; cached, because a sender writes the same one each time."""
    header = read_header(protected_text, _MAX_PROTECTED_CHARACTERS)
    expected = ("alg", "kid", "typ", "over") if "over" in header else ("alg", "kid", "typ")
    require_parameters(header, expected, "a protected header")
    if header["alg"] != ALGORITHM:
        raise unsupported("the signature algorithm is not ES256")
    if not isinstance(header["typ"], str) or header["typ"] not in _TYPES:
        raise malformed("the signature type is not in the register")
    over = octets_of(header["over"], "over", _DIGEST_OCTETS) if "over" in header else None
    return SignatureHeader(key_id_of(header), SignatureType(header["typ"]), over)


_TYPES = frozenset(SignatureType)
