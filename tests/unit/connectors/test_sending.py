"""Sending: a draft is completed, sealed and sent once, and accepted only by a receipt that verifies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from connectors.contract import Draft, HubUnreachableError, RefusedByHub
from hub.crypto.sealing import generate_unsealing_key, unseal
from hub.crypto.signatures import generate_signing_key
from hub.domain.keys import KeyUse
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats import jwe, jws
from hub.formats.json_gate import parse_object
from tests.simulators.hub_double import HubDouble, key_record
from tests.unit.connectors.conftest import AUTHORITY, Bench, draft_to

OTHER = "tw.kaohsiung"
both_profiles = pytest.mark.parametrize("profile", list(SealingProfile), indirect=True)


def received(hub: HubDouble, envelope: bytes) -> dict[str, Any]:
    """What the hub finds inside a posted envelope."""
    sealed = jwe.open_envelope(envelope, 1 << 24)
    octets = unseal(hub.sealing[sealed.profile], sealed.recipients[0], sealed.content, sealed.aad)
    return parse_object(jws.parse_general(octets, jws.MESSAGE_ALONE).payload)


def code_of_sending(bench: Bench) -> RefusalCode:
    with pytest.raises(Refusal) as caught:
        bench.client.send(bench.client.prepare(draft_to(OTHER)))
    assert not isinstance(caught.value, RefusedByHub)
    return caught.value.code


@both_profiles
def test_a_message_is_sealed_under_the_agencys_profile_and_accepted_with_a_receipt(bench: Bench, profile: SealingProfile) -> None:
    sent = bench.client.send(bench.client.prepare(draft_to(OTHER)))
    assert jwe.open_envelope(bench.hub.posted[0], 1 << 24).profile is profile
    assert bench.hub.accepted[sent.id] == (sent.exchange, sent.receipt)


def test_the_client_fills_in_what_it_knows_better(bench: Bench) -> None:
    bench.client.send(bench.client.prepare(draft_to(OTHER)))
    header = received(bench.hub, bench.hub.posted[0])["header"]
    assert (header["v"], header["sender"], len(header["salt"])) == (1, AUTHORITY, 22)
    assert header["issued"] < header["expires"]


def test_what_the_draft_gives_stays(bench: Bench) -> None:
    draft = draft_to(OTHER)
    bench.client.send(bench.client.prepare(replace(draft, header={**draft.header, "expires": "2036-01-01T00:00:00Z"})))
    assert received(bench.hub, bench.hub.posted[0])["header"]["expires"] == "2036-01-01T00:00:00Z"


def test_a_lost_answer_is_repeated_with_the_same_octets_by_a_new_process(bench: Bench) -> None:
    bench.hub.wrong.breaks_off = 1
    with pytest.raises(HubUnreachableError):
        bench.client.send(bench.client.prepare(draft_to(OTHER)))
    bench.restart()
    bench.client.send(bench.client.prepare(draft_to(OTHER)))
    bench.client.send(bench.client.prepare(draft_to(OTHER)))
    assert len(set(bench.hub.posted)) == 1
    assert len(bench.hub.accepted) == 1


def test_another_draft_is_another_message(bench: Bench) -> None:
    first = bench.client.prepare(draft_to(OTHER))
    second = bench.client.prepare(draft_to(OTHER, referral_date="2026-11-23"))
    assert first.id != second.id


def test_the_same_draft_is_another_message_only_when_asked_for(bench: Bench) -> None:
    first = bench.client.prepare(draft_to(OTHER))
    assert bench.client.prepare(draft_to(OTHER)) == first
    assert bench.client.prepare(draft_to(OTHER), again=True).id != first.id


def test_a_receipt_over_another_digest_is_no_acceptance(bench: Bench) -> None:
    bench.hub.wrong.receipt = lambda members: {**members, "message": {**members["message"], "digest": "A" * 43}}
    assert code_of_sending(bench) is RefusalCode.RECEIPT_MISMATCH
    assert bench.client.sent_as(next(iter(bench.hub.exchanges))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"event": "relayed", "recipient": OTHER},
        {"exchange": "another"},
        {"hub": "other.test/accord"},
        {"event": "thanked"},
        {"v": 2},
    ],
)
def test_a_receipt_that_states_something_else_is_no_acceptance(bench: Bench, change: dict[str, object]) -> None:
    bench.hub.wrong.receipt = lambda members: {**members, **change}
    assert code_of_sending(bench) is RefusalCode.RECEIPT_MISMATCH


def test_a_receipt_by_a_key_that_is_not_pinned_is_no_acceptance(bench: Bench) -> None:
    bench.hub.wrong.receipt_key = generate_signing_key("stranger")
    assert code_of_sending(bench) is RefusalCode.UNKNOWN_SENDER


def test_a_receipt_by_a_forger_under_the_hubs_key_id_is_no_acceptance(bench: Bench) -> None:
    bench.hub.wrong.receipt_key = generate_signing_key(bench.hub.signing.kid)
    assert code_of_sending(bench) is RefusalCode.BAD_SIGNATURE


def test_a_refusal_that_the_hub_signed_is_handed_on_with_its_octets(bench: Bench) -> None:
    bench.hub.wrong.refuses = RefusalCode.PURPOSE_NOT_ALLOWED
    with pytest.raises(RefusedByHub) as caught:
        bench.client.send(bench.client.prepare(draft_to(OTHER)))
    assert caught.value.code is RefusalCode.PURPOSE_NOT_ALLOWED
    assert json.loads(caught.value.problem)["code"] == "purpose_not_allowed"


def test_a_refusal_that_the_hub_did_not_sign_is_not_believed(bench: Bench) -> None:
    bench.hub.wrong.refuses, bench.hub.wrong.signs_problems = RefusalCode.PURPOSE_NOT_ALLOWED, False
    assert code_of_sending(bench) is RefusalCode.BAD_SIGNATURE


def test_a_refusal_signed_by_somebody_else_is_not_believed(bench: Bench) -> None:
    bench.hub.wrong.refuses = RefusalCode.PURPOSE_NOT_ALLOWED
    bench.hub.wrong.receipt_key = generate_signing_key(bench.hub.signing.kid)
    assert code_of_sending(bench) is RefusalCode.BAD_SIGNATURE


@pytest.mark.parametrize("about", ["A" * 43, None])
def test_a_refusal_of_another_request_is_not_believed(bench: Bench, about: str | None) -> None:
    bench.hub.wrong.refuses = RefusalCode.PURPOSE_NOT_ALLOWED
    bench.hub.wrong.problem = lambda members: {**members, "request_sha256": about}
    assert code_of_sending(bench) is RefusalCode.RECEIPT_MISMATCH


@pytest.mark.parametrize("code", [RefusalCode.OVERLOADED, RefusalCode.RATE_LIMITED])
def test_an_overloaded_hub_settles_nothing(bench: Bench, code: RefusalCode) -> None:
    bench.hub.wrong.refuses = code
    with pytest.raises(HubUnreachableError):
        bench.client.send(bench.client.prepare(draft_to(OTHER)))


def test_a_message_that_was_refused_may_be_sent_again_unchanged(bench: Bench) -> None:
    prepared = bench.client.prepare(draft_to(OTHER))
    bench.hub.wrong.refuses = RefusalCode.AGREEMENT_SUSPENDED
    with pytest.raises(RefusedByHub):
        bench.client.send(prepared)
    bench.hub.wrong.refuses = None
    assert bench.client.send(bench.client.prepare(draft_to(OTHER))).id == prepared.id


def sealed_draft(**mark: object) -> Draft:
    return draft_to(OTHER, victim_contact={"$seal_to": "victim_contact", "value": {"phone": "+886900000000"}, **mark})


def give_role_key(hub: HubDouble, profile: SealingProfile) -> Any:
    key = generate_unsealing_key("case-workers", profile)
    hub.registry[OTHER] = [key_record(OTHER, key.kid, KeyUse.ROLE, key.public_jwk, role="victim_contact")]
    return key


@pytest.mark.parametrize("role_profile", list(SealingProfile))
def test_a_marked_value_is_sealed_to_the_recipients_role_key_for_this_message_and_field(
    bench: Bench, role_profile: SealingProfile
) -> None:
    key = give_role_key(bench.hub, role_profile)
    sent = bench.client.send(bench.client.prepare(sealed_draft()))
    part = jwe.parse_part(received(bench.hub, bench.hub.posted[0])["body"]["victim_contact"])
    assert (part.message_id, part.path) == (sent.id, "/victim_contact")
    assert json.loads(unseal(key, part.recipient, part.content, part.aad)) == {"phone": "+886900000000"}


def test_without_a_role_key_nothing_is_made(bench: Bench) -> None:
    with pytest.raises(Refusal) as caught:
        bench.client.prepare(sealed_draft())
    assert caught.value.code is RefusalCode.RECIPIENT_NOT_REACHABLE
    assert list((bench.place.home / "state").glob("outgoing/*")) == []


@pytest.mark.parametrize("mark", [{"authority": "tw.taipei"}, {"colour": "red"}])
def test_a_mark_that_cannot_be_followed_is_refused(bench: Bench, mark: dict[str, object]) -> None:
    give_role_key(bench.hub, SealingProfile.PQ_1)
    with pytest.raises(Refusal) as caught:
        bench.client.prepare(sealed_draft(**mark))
    assert caught.value.code is RefusalCode.SCHEMA_VIOLATION


def test_with_several_recipients_a_mark_says_for_which(bench: Bench) -> None:
    give_role_key(bench.hub, SealingProfile.PQ_1)
    draft = sealed_draft()
    with pytest.raises(Refusal) as caught:
        bench.client.prepare(replace(draft, header={**draft.header, "recipients": [OTHER, "tw.taipei"]}))
    assert caught.value.code is RefusalCode.SCHEMA_VIOLATION


def test_a_draft_that_does_not_fit_the_catalogue_is_refused_before_anything_is_sent(bench: Bench) -> None:
    with pytest.raises(Refusal) as caught:
        bench.client.prepare(draft_to(OTHER, shoe_size=43))
    assert caught.value.code is RefusalCode.SCHEMA_VIOLATION
    assert bench.hub.posted == []


def test_a_draft_in_another_agencys_name_is_refused(bench: Bench) -> None:
    draft = draft_to(OTHER)
    with pytest.raises(Refusal) as caught:
        bench.client.prepare(replace(draft, header={**draft.header, "sender": "tw.npa"}))
    assert caught.value.code is RefusalCode.SENDER_MISMATCH


def test_a_float_in_a_draft_is_refused(bench: Bench) -> None:
    with pytest.raises(Refusal) as caught:
        bench.client.prepare(draft_to(OTHER, age=1.5))
    assert caught.value.code is RefusalCode.SCHEMA_VIOLATION


def test_a_preview_leaves_nothing_behind(bench: Bench) -> None:
    assert bench.client.preview(draft_to(OTHER))["allowed"] is True
    assert not (bench.place.home / "state" / "outgoing").exists()
