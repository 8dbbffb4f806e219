import copy
import json
import time
from typing import Any

import pytest

from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import EncryptedContent, SealedContentType, WrappedKey
from hub.formats import jwe
from tests.vectors.files import ACCEPTED, read_cases, read_json
from tests.vectors.patches import patched

EXAMPLE = read_json("wire/classic-1.json")["jwe"]
HYBRID_EXAMPLE = read_json("wire/pq-1.json")["jwe"]
CASES = read_cases("wire/jwe-refusals.json")
MESSAGE_ID = "01930000-0000-7000-8000-000000000001"
LIMIT = 1_000_000
CONTENT = EncryptedContent(bytes(12), b"sealed", bytes(16))
WRAPPED = {
    SealingProfile.CLASSIC_1: WrappedKey("role-1", b"\x04" + bytes(64), bytes(40)),
    SealingProfile.PQ_1: WrappedKey("role-1", bytes(1120), bytes(48)),
}


def refusal_of(octets: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        jwe.open_envelope(octets, LIMIT)
    return caught.value


def outcome(octets: bytes) -> str:
    try:
        jwe.open_envelope(octets, LIMIT)
    except Refusal as refusal:
        return refusal.code
    return ACCEPTED


def with_shared_epk(epk: object, example: dict[str, Any] = EXAMPLE) -> bytes:
    """One recipient, the ephemeral key in the protected header, as the npm library jose writes it."""
    single = copy.deepcopy(example)
    single["recipients"] = single["recipients"][:1]
    kid = single["recipients"][0]["header"]["kid"]
    header = json.loads(b64url_decode(single["protected"]))
    header["hub"]["to"] = [kid]
    single["protected"] = b64url_encode(json.dumps(header | {"epk": epk}).encode())
    single["recipients"][0]["header"].pop("epk", None)
    return json.dumps(single).encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_an_envelope_is_read_exactly(case: dict[str, Any]) -> None:
    assert outcome(patched(EXAMPLE, case)) == case["expect"]


def test_an_envelope_is_read_into_octets() -> None:
    envelope = jwe.open_envelope(patched(HYBRID_EXAMPLE, {}), LIMIT)
    assert (envelope.profile, envelope.content_type) == (SealingProfile.PQ_1, SealedContentType.JWS)
    assert (envelope.message_id, envelope.to) == (MESSAGE_ID, ("a-pq-1", "b-pq-1"))
    assert [len(one.encapsulated) for one in envelope.recipients] == [1120, 1120]
    assert [len(part) for part in (envelope.content.iv, envelope.content.tag)] == [12, 16]
    assert envelope.aad == envelope.protected_text.encode()


def test_the_aad_is_the_protected_text_as_received() -> None:
    spaced = b64url_encode(b" " + b64url_decode(EXAMPLE["protected"]).replace(b",", b",\n "))
    envelope = jwe.open_envelope(patched(EXAMPLE, {"set_text": {"/protected": spaced}}), LIMIT)
    assert envelope.aad == spaced.encode()


@pytest.mark.parametrize("name", ["wire/classic-1.json", "wire/pq-1.json"])
def test_what_is_written_is_the_worked_example_again(name: str) -> None:
    example = read_json(name)["jwe"]
    read = jwe.open_envelope(json.dumps(example).encode(), LIMIT)
    written = jwe.serialise_envelope(read.profile, read.protected_text, read.recipients, read.content)
    assert json.loads(written) == example
    assert jwe.envelope_header(read.profile, read.content_type, read.message_id, read.to) == read.protected_text


def test_classic_1_takes_the_ephemeral_key_from_the_protected_header_for_one_recipient() -> None:
    epk = EXAMPLE["recipients"][0]["header"]["epk"]
    assert jwe.open_envelope(with_shared_epk(epk), LIMIT).recipients[0].encapsulated[1:33] == b64url_decode(epk["x"])


def test_an_ephemeral_key_in_both_headers_is_refused() -> None:
    envelope = json.loads(with_shared_epk(EXAMPLE["recipients"][0]["header"]["epk"]))
    envelope["recipients"][0]["header"] = EXAMPLE["recipients"][0]["header"]
    assert refusal_of(json.dumps(envelope).encode()).code is RefusalCode.UNSUPPORTED_PROFILE


def test_a_null_ephemeral_key_in_the_protected_header_is_malformed() -> None:
    envelope = json.loads(with_shared_epk(None))
    envelope["recipients"][0]["header"] = EXAMPLE["recipients"][0]["header"]
    assert refusal_of(json.dumps(envelope).encode()).code is RefusalCode.MALFORMED_ENVELOPE


def test_pq_1_takes_no_epk() -> None:
    refusal = refusal_of(with_shared_epk(EXAMPLE["recipients"][0]["header"]["epk"], HYBRID_EXAMPLE))
    assert refusal.code is RefusalCode.UNSUPPORTED_PROFILE


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"set": {"/recipients/0/header/ek": "A" * 1492}}, RefusalCode.MALFORMED_ENVELOPE),
        ({"set": {"/recipients/0/encrypted_key": "A" * 54}}, RefusalCode.MALFORMED_ENVELOPE),
        ({"set": {"/recipients/0/header/alg": "HPKE-10-KE"}}, RefusalCode.UNSUPPORTED_PROFILE),
        ({"set": {"/recipients/1": EXAMPLE["recipients"][1]}}, RefusalCode.UNSUPPORTED_PROFILE),
        ({"set": {"/recipients/0/header/psk_id": "QQ"}}, RefusalCode.UNSUPPORTED_PROFILE),
    ],
    ids=["ek", "encrypted_key", "alg", "mixed", "psk_id"],
)
def test_a_hybrid_recipient_is_read_exactly(change: dict[str, Any], code: RefusalCode) -> None:
    assert refusal_of(patched(HYBRID_EXAMPLE, change)).code is code


def test_an_envelope_that_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(Refusal) as caught:
        jwe.open_envelope(b"{" * 101, 100)
    assert caught.value.code is RefusalCode.TOO_LARGE


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"a.b.c.d.e", b'{"protected":"","protected":""}'])
def test_what_is_not_the_general_form_is_malformed(text: bytes) -> None:
    assert outcome(text) == RefusalCode.MALFORMED_ENVELOPE


def envelope_for(count: int) -> bytes:
    kids = [f"k-{number}" for number in range(count)]
    wrapped = [WrappedKey(kid, b"\x04" + bytes(64), bytes(40)) for kid in kids]
    protected = jwe.envelope_header(SealingProfile.CLASSIC_1, SealedContentType.JWS, MESSAGE_ID, kids)
    return jwe.serialise_envelope(SealingProfile.CLASSIC_1, protected, wrapped, CONTENT)


def test_sixty_four_recipients_are_read() -> None:
    assert len(jwe.open_envelope(envelope_for(64), LIMIT).recipients) == 64


def test_sixty_five_recipients_are_refused() -> None:
    assert outcome(envelope_for(65)) == RefusalCode.MALFORMED_ENVELOPE


def test_ten_thousand_recipients_are_refused_cheaply() -> None:
    octets = envelope_for(10_000)
    before = time.process_time()
    with pytest.raises(Refusal) as caught:
        jwe.open_envelope(octets, 10 * LIMIT)
    assert caught.value.detail == "the JSON has too many members or elements"
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize("profile", SealingProfile)
def test_a_sealed_part_is_written_and_read(profile: SealingProfile) -> None:
    protected = jwe.part_header(profile, MESSAGE_ID, "/reporter/identity", WRAPPED[profile])
    part = jwe.parse_part(jwe.serialise_part(protected, WRAPPED[profile], CONTENT))
    assert (part.profile, part.message_id, part.path) == (profile, MESSAGE_ID, "/reporter/identity")
    assert (part.recipient, part.content, part.aad) == (WRAPPED[profile], CONTENT, protected.encode())


def part_with(change: dict[str, Any]) -> str:
    """A classic-1 part whose protected header was changed; a member that is None is left out."""
    wrapped = WRAPPED[SealingProfile.CLASSIC_1]
    header = json.loads(b64url_decode(jwe.part_header(SealingProfile.CLASSIC_1, MESSAGE_ID, "/a", wrapped)))
    header["hub"] |= change.pop("hub", {})
    changed = {name: value for name, value in (header | change).items() if value is not None}
    return jwe.serialise_part(b64url_encode(json.dumps(changed).encode()), wrapped, CONTENT)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"zip": "DEF"}, RefusalCode.UNSUPPORTED_PROFILE),
        ({"alg": "dir"}, RefusalCode.UNSUPPORTED_PROFILE),
        ({"enc": "A128GCM"}, RefusalCode.UNSUPPORTED_PROFILE),
        ({"hub": {"x": 1}}, RefusalCode.UNSUPPORTED_PROFILE),
        ({"hub": {"profile": "pq-1"}}, RefusalCode.UNSUPPORTED_PROFILE),
        ({"typ": "hub+jwe"}, RefusalCode.MALFORMED_ENVELOPE),
        ({"epk": None}, RefusalCode.MALFORMED_ENVELOPE),
        ({"kid": "a b"}, RefusalCode.MALFORMED_ENVELOPE),
        ({"hub": {"path": "reporter"}}, RefusalCode.MALFORMED_ENVELOPE),
        ({"hub": {"path": 1}}, RefusalCode.MALFORMED_ENVELOPE),
        ({"hub": {"id": "1"}}, RefusalCode.MALFORMED_ENVELOPE),
    ],
    ids=str,
)
def test_the_header_of_a_sealed_part_is_read_exactly(change: dict[str, Any], code: RefusalCode) -> None:
    with pytest.raises(Refusal) as caught:
        jwe.parse_part(part_with(change))
    assert caught.value.code is code


@pytest.mark.parametrize("text", ["", "a.b.c.d", "a.b.c.d.e.f", "....", "e30....", "é.é.é.é.é"])
def test_a_sealed_part_of_another_form_is_malformed(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        jwe.parse_part(text)
    assert caught.value.code is RefusalCode.MALFORMED_ENVELOPE


def test_a_sealed_part_that_is_too_large_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        jwe.parse_part("A" * (jwe.MAX_PART_BYTES + 1))
    assert caught.value.code is RefusalCode.TOO_LARGE
