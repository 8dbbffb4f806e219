"""Receiving: only what every signature vouches for is taken; the rest is rejected with its reason, or stops the round."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.contract import Collected, HubUnreachableError, RefusedByHub
from connectors.hub_client.trust import HubKeyNotPinnedError
from hub.crypto.sealing import generate_unsealing_key, seal
from hub.crypto.signatures import generate_signing_key
from hub.domain.encoding import new_uuid7
from hub.domain.keys import KeyState, KeyUse
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe
from tests.simulators.hub_double import digest_of, key_record, now, sign_general
from tests.unit.connectors.conftest import AUTHORITY, SENDER, Bench, message_from

both_profiles = pytest.mark.parametrize("profile", list(SealingProfile), indirect=True)


def assert_rejected(bench: Bench, code: RefusalCode) -> Collected:
    """The one item is refused here with the code, nobody gets it, and the hub is told the same."""
    one = bench.collect_one()
    assert one.refusal is not None
    assert one.refusal.code is code
    assert bench.taken == []
    assert bench.hub.statements[one.delivery, "rejected"]["reason"] == code.value
    return one


@both_profiles
def test_an_original_is_taken_and_confirmed_with_the_digest_of_what_was_signed(bench: Bench) -> None:
    letter = bench.deliver()
    assert bench.collect_one().refusal is None
    statement = bench.hub.statements[letter.delivery, "delivered"]
    assert statement["message"] == {"sender": SENDER, "id": letter.message_id, "digest": letter.original}
    assert (statement["issuer"], statement["recipient"], statement["exchange"]) == (AUTHORITY, AUTHORITY, letter.exchange)
    assert bench.taken[0].digest == letter.original


def test_what_was_settled_is_not_asked_for_again(bench: Bench) -> None:
    bench.deliver()
    bench.collect()
    assert bench.collect() == []


def test_more_than_a_page_is_collected_in_order(bench: Bench) -> None:
    letters = [bench.deliver() for _ in range(52)]
    bench.collect()
    assert [one.delivery for one in bench.taken] == [letter.delivery for letter in letters]


def test_a_message_is_not_confirmed_before_it_is_stored(bench: Bench) -> None:
    letter = bench.deliver()

    def fail(_incoming: object) -> None:
        raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space left"):
        bench.client.collect(fail)
    assert (letter.delivery, "delivered") not in bench.hub.statements
    bench.restart()
    assert bench.collect_one().refusal is None


def test_a_confirmation_whose_answer_was_lost_is_repeated_octet_for_octet(bench: Bench) -> None:
    letter = bench.deliver()
    bench.hub.wrong.receipt = lambda members: {**members, "exchange": "another"}
    with pytest.raises(Refusal) as caught:
        bench.collect()
    assert caught.value.code is RefusalCode.RECEIPT_MISMATCH
    bench.hub.wrong.receipt = lambda members: members
    bench.restart()
    bench.collect()
    posts = [one.content for one in bench.hub.requests if one.url.path == f"/v1/inbox/{letter.delivery}/receipts"]
    assert (len(posts), len(set(posts))) == (2, 1)


def test_a_forged_countersignature_is_rejected(bench: Bench) -> None:
    bench.hub.wrong.countersignature_key = generate_signing_key(bench.hub.signing.kid)
    bench.deliver()
    assert_rejected(bench, RefusalCode.BAD_SIGNATURE)


def test_a_countersignature_over_another_signature_is_rejected(bench: Bench) -> None:
    bench.hub.wrong.over = lambda over: over[::-1]
    bench.deliver()
    assert_rejected(bench, RefusalCode.BAD_SIGNATURE)


def test_a_hub_key_that_nobody_pinned_stops_the_round_and_rejects_nothing(bench: Bench) -> None:
    bench.hub.wrong.countersignature_key = generate_signing_key("hub-sig-2")
    letter = bench.deliver()
    with pytest.raises(HubKeyNotPinnedError) as caught:
        bench.collect()
    assert caught.value.code is RefusalCode.UNKNOWN_SENDER
    assert (letter.delivery, "rejected") not in bench.hub.statements
    bench.hub.wrong.countersignature_key = None


def test_a_signature_that_the_sender_did_not_make_is_rejected(bench: Bench) -> None:
    key = generate_signing_key(f"{SENDER}-sig")
    bench.hub.deliver(AUTHORITY, message_from(SENDER, AUTHORITY), key=key)
    assert_rejected(bench, RefusalCode.BAD_SIGNATURE)


def test_a_key_that_the_registry_does_not_know_is_rejected(bench: Bench) -> None:
    bench.hub.deliver(AUTHORITY, message_from(SENDER, AUTHORITY), key=generate_signing_key("stranger"))
    assert_rejected(bench, RefusalCode.UNKNOWN_SENDER)


@pytest.mark.parametrize(
    "change", [{"state": KeyState.REVOKED}, {"signs": frozenset({SignatureType.RECEIPT})}, {"not_after": now()}]
)
def test_a_key_that_is_revoked_ended_or_for_something_else_is_rejected(bench: Bench, change: dict[str, Any]) -> None:
    (key,) = bench.hub.registry[SENDER]
    bench.hub.registry[SENDER] = [replace(key, **change)]
    bench.deliver()
    assert_rejected(bench, RefusalCode.KEY_NOT_VALID)


def test_another_key_under_a_key_id_that_was_seen_before_stops_the_round(bench: Bench) -> None:
    bench.deliver()
    bench.collect()
    key = generate_signing_key(f"{SENDER}-sig")
    bench.hub.registry[SENDER] = [replace(bench.hub.registry[SENDER][0], jwk=key.public_jwk)]
    bench.hub.deliver(AUTHORITY, message_from(SENDER, AUTHORITY), key=key)
    with pytest.raises(Refusal) as caught:
        bench.collect()
    assert caught.value.code is RefusalCode.KEY_NOT_VALID
    assert len(bench.taken) == 1


def test_a_message_for_somebody_else_is_rejected(bench: Bench) -> None:
    bench.hub.deliver(AUTHORITY, message_from(SENDER, "tw.taipei"))
    assert_rejected(bench, RefusalCode.SENDER_MISMATCH)


@pytest.mark.parametrize("announced", [{"sender": "tw.npa"}, {"type": "info-request"}])
def test_a_message_other_than_the_announced_one_is_rejected(bench: Bench, announced: dict[str, Any]) -> None:
    bench.hub.peer("tw.npa")
    letter = bench.deliver()
    bench.hub.inbox = [replace(letter, **announced)]
    assert_rejected(bench, RefusalCode.SENDER_MISMATCH)


def test_a_seal_that_names_another_message_id_is_rejected(bench: Bench) -> None:
    message = message_from(SENDER, AUTHORITY)
    payload = json.dumps(message).encode()
    signed = bench.hub.countersign(sign_general(payload, bench.hub.peer(SENDER), SignatureType.MESSAGE))
    bench.hub.put(AUTHORITY, {**message["header"], "id": new_uuid7(now())}, signed, digest_of(payload))
    assert_rejected(bench, RefusalCode.SENDER_MISMATCH)


def test_another_message_under_a_delivery_that_was_taken_is_rejected(bench: Bench) -> None:
    letter = bench.deliver()
    bench.collect()
    bench.taken.clear()
    other = bench.deliver()
    bench.hub.inbox[-1] = replace(other, delivery=letter.delivery)
    assert_rejected(bench, RefusalCode.MESSAGE_ID_REUSED)


def test_a_message_that_came_in_another_exchange_before_is_rejected(bench: Bench) -> None:
    letter = bench.deliver()
    bench.collect()
    bench.taken.clear()
    bench.hub.inbox.append(replace(letter, delivery=new_uuid7(now()), exchange=new_uuid7(now()), position=2))
    assert_rejected(bench, RefusalCode.MESSAGE_ID_REUSED)


def test_a_message_signed_by_another_party_than_its_sender_is_rejected(bench: Bench) -> None:
    other = bench.hub.peer("tw.npa")
    bench.hub.deliver(AUTHORITY, message_from(SENDER, AUTHORITY), key=other)
    assert_rejected(bench, RefusalCode.UNKNOWN_SENDER)


def test_a_body_that_does_not_fit_the_catalogue_is_rejected(bench: Bench) -> None:
    message = message_from(SENDER, AUTHORITY)
    del message["body"]["person"]
    bench.hub.deliver(AUTHORITY, message)
    assert_rejected(bench, RefusalCode.SCHEMA_VIOLATION)


@both_profiles
def test_a_copy_sealed_under_another_profile_is_rejected(bench: Bench, profile: SealingProfile) -> None:
    other = next(one for one in SealingProfile if one is not profile)
    letter, key = bench.deliver(), generate_unsealing_key("other", other)
    record = key_record(AUTHORITY, key.kid, KeyUse.SEALING, key.public_jwk)
    letter.envelope = bench.hub.seal_for(AUTHORITY, b"anything", letter.message_id, record)
    assert_rejected(bench, RefusalCode.WRONG_PROFILE)


def test_a_copy_sealed_to_a_role_key_is_rejected(bench: Bench) -> None:
    letter = bench.deliver()
    role_key = next(key for key in bench.hub.registry[AUTHORITY] if key.use is KeyUse.ROLE)
    letter.envelope = bench.hub.seal_for(AUTHORITY, b"anything", letter.message_id, role_key)
    assert_rejected(bench, RefusalCode.CANNOT_UNSEAL)


def test_a_copy_sealed_to_somebody_else_as_well_is_rejected(bench: Bench) -> None:
    letter, own, other = (
        bench.deliver(),
        bench.hub.sealing_key_of(AUTHORITY),
        generate_unsealing_key("other", SealingProfile.PQ_1),
    )
    recipients = [(own.kid, own.jwk), (other.kid, other.public_jwk)]
    protected = jwe.envelope_header(SealingProfile.PQ_1, SealedContentType.JWS, letter.message_id, [one for one, _ in recipients])
    sealed = seal(SealingProfile.PQ_1, b"anything", protected.encode(), recipients)
    letter.envelope = jwe.serialise_envelope(SealingProfile.PQ_1, protected, sealed.recipients, sealed.content)
    assert_rejected(bench, RefusalCode.SENDER_MISMATCH)


def test_bytes_that_are_no_envelope_are_rejected(bench: Bench) -> None:
    bench.deliver().envelope = b"not sealed at all"
    assert_rejected(bench, RefusalCode.MALFORMED_ENVELOPE)


def rendition() -> tuple[dict[str, Any], list[tuple[str, str]]]:
    message = message_from(SENDER, AUTHORITY)
    del message["body"]["person"]["documents"]
    return message, [("/person/documents/0/number", "Art. 5(2)")]


def test_a_shortened_copy_says_what_was_removed_and_under_which_article(bench: Bench) -> None:
    message, removed = rendition()
    letter = bench.hub.deliver_rendition(AUTHORITY, message, removed, of="B" * 43)
    assert bench.collect_one().refusal is None
    found = bench.taken[0].rendition
    assert found is not None
    assert (found.of, [(one.path, one.article) for one in found.removed]) == ("B" * 43, removed)
    assert bench.hub.statements[letter.delivery, "delivered"]["of"] == "B" * 43


def test_a_shortened_copy_that_lacks_more_than_it_lists_is_rejected(bench: Bench) -> None:
    message, removed = rendition()
    del message["body"]["referral_date"]
    bench.hub.deliver_rendition(AUTHORITY, message, removed)
    assert_rejected(bench, RefusalCode.SCHEMA_VIOLATION)


def test_a_shortened_copy_in_which_nothing_was_removed_is_rejected(bench: Bench) -> None:
    bench.hub.deliver_rendition(AUTHORITY, message_from(SENDER, AUTHORITY), [])
    assert_rejected(bench, RefusalCode.SCHEMA_VIOLATION)


def test_a_shortened_copy_that_a_partner_signed_is_rejected(bench: Bench) -> None:
    forger = generate_signing_key(bench.hub.signing.kid)
    honest, bench.hub.signing = bench.hub.signing, forger
    message, removed = rendition()
    bench.hub.deliver_rendition(AUTHORITY, message, removed)
    bench.hub.signing = honest
    assert_rejected(bench, RefusalCode.BAD_SIGNATURE)


def test_an_original_without_the_hubs_countersignature_is_rejected(bench: Bench) -> None:
    message = message_from(SENDER, AUTHORITY)
    payload = json.dumps(message).encode()
    signed = sign_general(payload, bench.hub.peer(SENDER), SignatureType.MESSAGE)
    bench.hub.put(AUTHORITY, message["header"], signed, digest_of(payload))
    assert_rejected(bench, RefusalCode.MALFORMED_ENVELOPE)


def test_what_the_hub_withholds_is_asked_for_again_by_the_next_client(bench: Bench) -> None:
    letter = bench.deliver()
    letter.refuses = RefusalCode.AGREEMENT_SUSPENDED
    one = bench.collect_one()
    assert isinstance(one.refusal, RefusedByHub)
    assert one.refusal.code is RefusalCode.AGREEMENT_SUSPENDED
    assert bench.collect() == []
    letter.refuses = None
    bench.restart()
    assert bench.collect_one().refusal is None
    bench.restart()
    assert bench.collect() == []


def test_a_silent_hub_leaves_the_rest_for_the_next_time(bench: Bench) -> None:
    bench.deliver()
    bench.hub.wrong.breaks_off = 1
    with pytest.raises(HubUnreachableError):
        bench.collect()
    assert bench.collect_one().refusal is None


@pytest.mark.parametrize("change", [{"delivery": "../../etc/passwd"}, {"position": 0}, {"exchange": 7}, {"sender": None}])
def test_an_inbox_of_another_form_is_refused(bench: Bench, change: dict[str, Any]) -> None:
    bench.deliver()
    bench.hub.wrong.item = lambda item: {**item, **change}
    with pytest.raises(Refusal) as caught:
        bench.collect()
    assert caught.value.code is RefusalCode.INVALID_REQUEST


def test_that_a_person_opened_it_is_told_the_sender(bench: Bench) -> None:
    letter = bench.deliver()
    bench.collect()
    assert bench.client.confirm_retrieved(letter.delivery).event == "retrieved"
    assert bench.hub.statements[letter.delivery, "retrieved"]["message"]["digest"] == letter.original


def test_what_was_not_taken_cannot_be_opened_by_a_person(bench: Bench) -> None:
    letter = bench.deliver()
    with pytest.raises(Refusal) as caught:
        bench.client.confirm_retrieved(letter.delivery)
    assert caught.value.code is RefusalCode.NOT_FOUND
