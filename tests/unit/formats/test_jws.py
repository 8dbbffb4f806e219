import hashlib
from typing import Any

import pytest

from hub.domain.encoding import b64url_encode
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats import jws
from tests.vectors.files import ACCEPTED, read_cases, read_json
from tests.vectors.patches import patched

EXAMPLE = read_json("wire/classic-1.json")["jws"]
CASES = read_cases("wire/jws-refusals.json")
SIGNATURE = bytes(range(64))
COMPACT = jws.serialise_compact(jws.protected_header("hub-1", SignatureType.RECEIPT), b64url_encode(b"{}"), SIGNATURE)


def outcome(octets: bytes) -> str:
    try:
        jws.parse_general(octets, jws.COUNTERSIGNED_MESSAGE)
    except Refusal as refusal:
        return refusal.code
    return ACCEPTED


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_general_form_is_read_exactly(case: dict[str, Any]) -> None:
    assert outcome(patched(EXAMPLE, case)) == case["expect"]


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"payload":"","payload":"","signatures":[]}', b'"abc"', COMPACT.encode(), b'{"payload":1.0}']
)
def test_what_is_not_the_general_form_is_malformed(text: bytes) -> None:
    assert outcome(text) == RefusalCode.MALFORMED_ENVELOPE


def test_the_flattened_form_is_malformed() -> None:
    first = EXAMPLE["signatures"][0]
    assert outcome(patched({"payload": EXAMPLE["payload"], **first}, {})) == RefusalCode.MALFORMED_ENVELOPE


def test_many_signatures_are_refused_before_any_is_read() -> None:
    entry = b'{"protected":"e30","signature":""}'
    assert outcome(b'{"payload":"","signatures":[' + b",".join([entry] * 10_000) + b"]}") == RefusalCode.MALFORMED_ENVELOPE


def test_a_sequence_that_was_not_asked_for_is_malformed() -> None:
    with pytest.raises(Refusal) as caught:
        jws.parse_general(patched(EXAMPLE, {}), jws.MESSAGE_ALONE, jws.RENDITION_ALONE)
    assert caught.value.detail == "these signature types may not stand here"


def test_the_signing_input_is_what_was_received_whatever_its_spaces_and_order() -> None:
    protected = b64url_encode(b' {"typ" : "hub-msg+jws",\n "kid":"k\\u002d1", "alg":"ES256"}')
    read = jws.parse_general(jws.serialise_general("YQ", [(protected, SIGNATURE)]), jws.MESSAGE_ALONE)
    assert read.signing_input(0) == f"{protected}.YQ".encode()
    assert read.elements[0].header == jws.SignatureHeader("k-1", SignatureType.MESSAGE)
    assert (read.payload, read.elements[0].signature) == (b"a", SIGNATURE)


def test_the_digest_of_a_countersignature_is_over_the_first_signature_as_text() -> None:
    first, second = EXAMPLE["signatures"]
    read = jws.parse_general(patched(EXAMPLE, {}), jws.COUNTERSIGNED_MESSAGE)
    assert read.elements[1].header.over == hashlib.sha256(f"{first['protected']}.{first['signature']}".encode()).digest()
    assert jws.protected_header("hub-1", SignatureType.COUNTERSIGNATURE, read.elements[1].header.over) == second["protected"]


def test_what_is_written_is_the_worked_example_again() -> None:
    read = jws.parse_general(patched(EXAMPLE, {}), jws.COUNTERSIGNED_MESSAGE)
    pairs = [(element.protected_text, element.signature) for element in read.elements]
    written = jws.serialise_general(read.payload_text, pairs)
    assert jws.parse_general(written, jws.COUNTERSIGNED_MESSAGE) == read
    assert jws.protected_header("sender-1", SignatureType.MESSAGE) == read.elements[0].protected_text


def test_a_compact_jws_is_read_with_its_signing_input() -> None:
    read = jws.parse_compact(COMPACT, SignatureType.RECEIPT)
    assert read.signing_input() == COMPACT.rpartition(".")[0].encode()
    assert (read.payload, read.element.signature, read.element.header.kid) == (b"{}", SIGNATURE, "hub-1")


def test_a_detached_jws_is_read_over_the_octets_given() -> None:
    protected = jws.protected_header("hub-1", SignatureType.PROBLEM)
    payload = b'{"a":1}'
    read = jws.parse_detached(jws.serialise_detached(protected, SIGNATURE), payload, SignatureType.PROBLEM)
    assert read.signing_input() == f"{protected}.{b64url_encode(payload)}".encode()


@pytest.mark.parametrize(
    "text",
    ["", "a.b", "a.b.c.d", "..", COMPACT + "=", COMPACT + "\n", COMPACT[:-1], "é.é.é", COMPACT.replace(".", "..", 1)],
)
def test_a_compact_jws_of_another_form_is_malformed(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        jws.parse_compact(text, SignatureType.RECEIPT)
    assert caught.value.code is RefusalCode.MALFORMED_ENVELOPE


def test_a_compact_jws_of_another_type_is_malformed() -> None:
    with pytest.raises(Refusal) as caught:
        jws.parse_compact(COMPACT, SignatureType.MESSAGE)
    assert caught.value.detail == "this signature type may not stand here"


def test_a_compact_countersignature_names_nothing_it_is_over() -> None:
    protected = jws.protected_header("hub-1", SignatureType.COUNTERSIGNATURE, bytes(32))
    with pytest.raises(Refusal) as caught:
        jws.parse_detached(jws.serialise_detached(protected, SIGNATURE), b"", SignatureType.COUNTERSIGNATURE)
    assert caught.value.code is RefusalCode.MALFORMED_ENVELOPE


def test_a_detached_jws_that_carries_a_payload_is_malformed() -> None:
    with pytest.raises(Refusal) as caught:
        jws.parse_detached(COMPACT, b"{}", SignatureType.RECEIPT)
    assert caught.value.detail == "a detached JWS carries a payload"
