"""JWE as the wire uses it (RFC 7516): general JSON for envelopes, compact for sealed parts inside a message.

Nothing here decrypts. The content's additional authenticated data is ASCII(`protected_text`) as received; the recipients array is
not authenticated by it, which is why `to` repeats the key ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hub.domain.encoding import b64url_encode, is_uuid7
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import EncryptedContent, SealedContentType, WrappedKey
from hub.formats.jose import key_id_of, octets_of, read_header, require_members, require_parameters, unsupported
from hub.formats.json_gate import malformed, parse_object

MAX_RECIPIENTS = 64
"""Recipient keys in one envelope. The worst case costs a receiver one unwrapping whatever the number, but parsing is linear."""

MAX_PROTECTED_CHARACTERS = 16 * 1024  # 64 key ids of 64 characters, as base64url, and room for white space
MAX_PART_BYTES = 1024 * 1024
CONTENT_ALGORITHM = "A256GCM"
ENVELOPE_TYPE = "hub+jwe"
PART_TYPE = "hub-part+jwe"
_STRUCTURE_PER_RECIPIENT = 10  # three opening braces and seven commas
_STRUCTURE_OF_REST = 6
_IV_OCTETS, _TAG_OCTETS, _COORDINATE_OCTETS, _HPKE_ENC_OCTETS = 12, 16, 32, 1120
_ALGORITHMS = {SealingProfile.CLASSIC_1: "ECDH-ES+A256KW", SealingProfile.PQ_1: "HPKE-9-KE"}
_ENCRYPTED_KEY_OCTETS = {SealingProfile.CLASSIC_1: 40, SealingProfile.PQ_1: 48}
_EPHEMERAL_PARAMETER = {SealingProfile.CLASSIC_1: "epk", SealingProfile.PQ_1: "ek"}
_EPK_MEMBERS = ("kty", "crv", "x", "y")


@dataclass(frozen=True)
class SealedEnvelope:
    """An envelope of the right shape. Nothing in it is authenticated until it is opened, `recipients` not even then."""

    protected_text: str
    profile: SealingProfile
    content_type: SealedContentType
    message_id: str
    recipients: tuple[WrappedKey, ...]
    content: EncryptedContent

    @property
    def to(self) -> tuple[str, ...]:
        """The key ids in `to`; they are those of `recipients`, in the same order, none twice."""
        return tuple(recipient.kid for recipient in self.recipients)

    @property
    def aad(self) -> bytes:
        """What the content is authenticated with."""
        return self.protected_text.encode("ascii")


@dataclass(frozen=True)
class SealedPart:
    """A sealed part of the right shape: one field of one message, sealed to one role key."""

    protected_text: str
    profile: SealingProfile
    message_id: str
    path: str
    recipient: WrappedKey
    content: EncryptedContent

    @property
    def aad(self) -> bytes:
        """What the content is authenticated with."""
        return self.protected_text.encode("ascii")


def envelope_header(profile: SealingProfile, content_type: SealedContentType, message_id: str, kids: Sequence[str]) -> str:
    """Write the protected header of an envelope as base64url text; `kids` in the order of the recipients."""
    binding = {"v": 1, "profile": profile.value, "id": message_id, "to": list(kids)}
    header = {"enc": CONTENT_ALGORITHM, "typ": ENVELOPE_TYPE, "cty": content_type.value, "hub": binding}
    return b64url_encode(orjson.dumps(header))


def serialise_envelope(
    profile: SealingProfile, protected_text: str, recipients: Sequence[WrappedKey], content: EncryptedContent
) -> bytes:
    """Write an envelope as general JSON."""
    entries = [
        {"header": _recipient_header(profile, recipient), "encrypted_key": b64url_encode(recipient.encrypted_key)}
        for recipient in recipients
    ]
    return orjson.dumps(
        {
            "protected": protected_text,
            "recipients": entries,
            "iv": b64url_encode(content.iv),
            "ciphertext": b64url_encode(content.ciphertext),
            "tag": b64url_encode(content.tag),
        }
    )


def open_envelope(octets: bytes, max_envelope_bytes: int) -> SealedEnvelope:
    """Read an envelope (wire rules A3 to A5); cheap checks first.

    Raises:
        Refusal: TOO_LARGE; MALFORMED_ENVELOPE; UNSUPPORTED_PROFILE for an algorithm, profile, content type or header parameter
            that is not one of the profile's.
    """
    if len(octets) > max_envelope_bytes:
        raise Refusal(RefusalCode.TOO_LARGE, f"an envelope has at most {max_envelope_bytes} bytes")
    members = parse_object(octets, max_structure=_STRUCTURE_OF_REST + MAX_RECIPIENTS * _STRUCTURE_PER_RECIPIENT)
    require_members(members, ("protected", "recipients", "iv", "ciphertext", "tag"), "the JWE")
    entries = members["recipients"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_RECIPIENTS:
        raise malformed(f"recipients is not an array of 1 to {MAX_RECIPIENTS}")
    header = read_header(members["protected"], MAX_PROTECTED_CHARACTERS)
    shared_epk = "epk" in header and len(entries) == 1
    require_parameters(header, _with_epk(("enc", "typ", "cty", "hub"), shared_epk), "the protected header")
    _check_types(header, ENVELOPE_TYPE)
    profile, binding = _read_binding(header["hub"], "to")
    if shared_epk and profile is not SealingProfile.CLASSIC_1:
        raise unsupported("epk does not belong to this profile")
    if shared_epk and header["epk"] is None:
        raise malformed("epk is not an object")
    recipients = tuple(_read_recipient(entry, profile, header.get("epk")) for entry in entries)
    kids = [recipient.kid for recipient in recipients]
    if binding["to"] != kids or len(set(kids)) != len(kids):
        raise malformed("to is not the list of the recipients' key ids, each once")
    content_type = SealedContentType(header["cty"])
    return SealedEnvelope(members["protected"], profile, content_type, binding["id"], recipients, _read_content(members))


def part_header(profile: SealingProfile, message_id: str, path: str, recipient: WrappedKey) -> str:
    """Write the protected header of a sealed part as base64url text; `path` is the field's JSON Pointer (RFC 6901)."""
    binding = {"v": 1, "profile": profile.value, "id": message_id, "path": path}
    header = _recipient_header(profile, recipient) | {"enc": CONTENT_ALGORITHM, "typ": PART_TYPE, "hub": binding}
    return b64url_encode(orjson.dumps(header))


def serialise_part(protected_text: str, recipient: WrappedKey, content: EncryptedContent) -> str:
    """Write a sealed part as a compact JWE."""
    parts = (recipient.encrypted_key, content.iv, content.ciphertext, content.tag)
    return ".".join((protected_text, *(b64url_encode(part) for part in parts)))


def parse_part(text: str) -> SealedPart:
    """Read a sealed part.

    Raises:
        Refusal: TOO_LARGE, MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE, as `open_envelope`.
    """
    if len(text) > MAX_PART_BYTES:
        raise Refusal(RefusalCode.TOO_LARGE, f"a sealed part has at most {MAX_PART_BYTES} bytes")
    try:
        protected_text, encrypted_key, iv, ciphertext, tag = text.split(".", 5)
    except ValueError:
        raise malformed("a compact JWE has five parts") from None
    header = read_header(protected_text, MAX_PROTECTED_CHARACTERS)
    if "hub" not in header:
        raise malformed("the protected header of a sealed part has no member hub")
    profile, binding = _read_binding(header["hub"], "path")
    _check_algorithm(header, profile)
    ephemeral = _EPHEMERAL_PARAMETER[profile]
    require_parameters(header, ("alg", "kid", ephemeral, "enc", "typ", "hub"), "the protected header")
    _check_types(header, PART_TYPE)
    if not isinstance(binding["path"], str) or not binding["path"].startswith("/"):
        raise malformed("path is not a JSON Pointer to a field")
    recipient = _read_wrapped_key(header, encrypted_key, profile, header[ephemeral])
    content = _read_content({"iv": iv, "ciphertext": ciphertext, "tag": tag})
    return SealedPart(protected_text, profile, binding["id"], binding["path"], recipient, content)


def _with_epk(names: tuple[str, ...], epk_is_shared: bool) -> tuple[str, ...]:
    return (*names, "epk") if epk_is_shared else names


def _recipient_header(profile: SealingProfile, recipient: WrappedKey) -> dict[str, Any]:
    ephemeral: object = b64url_encode(recipient.encapsulated)
    if profile is SealingProfile.CLASSIC_1:
        x, y = recipient.encapsulated[1:33], recipient.encapsulated[33:]
        ephemeral = {"kty": "EC", "crv": "P-256", "x": b64url_encode(x), "y": b64url_encode(y)}
    return {"alg": _ALGORITHMS[profile], "kid": recipient.kid, _EPHEMERAL_PARAMETER[profile]: ephemeral}


def _check_types(header: Mapping[str, Any], typ: str) -> None:
    if header["typ"] != typ:
        raise malformed(f"typ is not {typ}")
    if header["enc"] != CONTENT_ALGORITHM:
        raise unsupported("the content algorithm is not A256GCM")
    if "cty" in header and header["cty"] not in list(SealedContentType):
        raise unsupported("the content type is not one of the profile's")


def _read_binding(binding: object, last_member: str) -> tuple[SealingProfile, dict[str, Any]]:
    if not isinstance(binding, dict):
        raise malformed("the protected member hub is not an object")
    require_parameters(binding, ("v", "profile", "id", last_member), "the protected member hub")
    if binding["v"] != 1 or isinstance(binding["v"], bool):
        raise unsupported("the wire version is not 1")
    if binding["profile"] not in list(SealingProfile):
        raise unsupported("the sealing profile is not known")
    if not isinstance(binding["id"], str) or not is_uuid7(binding["id"]):
        raise malformed("id is not a message id")
    return SealingProfile(binding["profile"]), binding


def _read_recipient(entry: object, profile: SealingProfile, shared_epk: object) -> WrappedKey:
    if not isinstance(entry, dict):
        raise malformed("a recipient is not an object")
    require_members(entry, ("header", "encrypted_key"), "a recipient")
    header = entry["header"]
    if not isinstance(header, dict):
        raise malformed("a recipient's header is not an object")
    _check_algorithm(header, profile)
    if shared_epk is not None:
        require_parameters(header, ("alg", "kid"), "a recipient's header")
        return _read_wrapped_key(header, entry["encrypted_key"], profile, shared_epk)
    ephemeral = _EPHEMERAL_PARAMETER[profile]
    require_parameters(header, ("alg", "kid", ephemeral), "a recipient's header")
    return _read_wrapped_key(header, entry["encrypted_key"], profile, header[ephemeral])


def _check_algorithm(header: Mapping[str, Any], profile: SealingProfile) -> None:
    if header.get("alg") != _ALGORITHMS[profile]:
        raise unsupported("the key algorithm is not the one of the profile")


def _read_wrapped_key(header: Mapping[str, Any], encrypted_key: object, profile: SealingProfile, ephemeral: object) -> WrappedKey:
    encapsulated = _read_epk(ephemeral) if profile is SealingProfile.CLASSIC_1 else octets_of(ephemeral, "ek", _HPKE_ENC_OCTETS)
    wrapped = octets_of(encrypted_key, "encrypted_key", _ENCRYPTED_KEY_OCTETS[profile])
    return WrappedKey(key_id_of(header), encapsulated, wrapped)


def _read_epk(epk: object) -> bytes:
    """Read an ephemeral key as the uncompressed point (SEC 1 section 2.3.3); whether it is on the curve is for crypto."""
    if not isinstance(epk, dict):
        raise malformed("epk is not an object")
    require_members(epk, _EPK_MEMBERS, "epk")
    if epk["kty"] != "EC" or epk["crv"] != "P-256":
        raise unsupported("epk is not a P-256 key")
    return b"\x04" + octets_of(epk["x"], "epk x", _COORDINATE_OCTETS) + octets_of(epk["y"], "epk y", _COORDINATE_OCTETS)


def _read_content(members: Mapping[str, Any]) -> EncryptedContent:
    return EncryptedContent(
        octets_of(members["iv"], "iv", _IV_OCTETS),
        octets_of(members["ciphertext"], "ciphertext"),
        octets_of(members["tag"], "tag", _TAG_OCTETS),
    )
