"""The inbox: each recipient finds its own, and gets a copy that today's agreement allows, sealed to today's key."""

import json
import threading
from base64 import b64decode
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import select, update

from hub.crypto.signatures import verify_es256
from hub.domain.audit import AuditEvent
from hub.domain.deliveries import DeliveryState
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyState
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.formats import jwe, jws
from hub.formats.json_gate import parse_object
from hub.services.hub import Limits
from hub.services.pull_inbox import fetch_delivery, list_inbox
from hub.services.read_exchange import find_exchange, read_exchange
from hub.services.waiting_room import MOST_OF_ONE_PARTY
from hub.storage.tables import messages
from tests.simulators.exchange import REFERRAL_ORDER, Agency, Exchange, attachment
from tests.simulators.stores import StoreThatMoves

POLICE, IMMIGRATION, SHELTER, CITY = "tw.npa", "tw.nia", "tw.shelter.garden", "tw.kaohsiung"


def send(exchange: Exchange, *recipients: str, **header: Any) -> tuple[dict[str, Any], str]:
    """Send a referral from immigration and let a worker hold it: the message and its exchange id."""
    sender = exchange.agencies[IMMIGRATION]
    message = sender.message(recipients=list(recipients), **header)
    issued = sender.send(message)
    exchange.deliver()
    return message, issued.exchange


def refused_fetch(exchange: Exchange, agency: Agency, delivery: str) -> RefusalCode:
    with pytest.raises(Refusal) as caught:
        fetch_delivery(exchange.hub, agency.caller, delivery)
    return caught.value.code


# listing


def test_nothing_stands_in_the_inbox_before_a_worker_held_it(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    sender.send(sender.message(recipients=[SHELTER]))
    assert referrals.agencies[SHELTER].inbox() == []


def test_each_recipient_finds_its_own_delivery_only(referrals: Exchange) -> None:
    _message, exchange = send(referrals, POLICE, SHELTER)
    found = {name: [item.delivery.recipient for item in referrals.agencies[name].inbox()] for name in (POLICE, SHELTER, CITY)}
    assert found == {POLICE: [POLICE], SHELTER: [SHELTER], CITY: []}
    assert referrals.agencies[POLICE].inbox()[0].delivery.exchange == exchange


def test_positions_rise_by_one_from_one(referrals: Exchange) -> None:
    for _ in range(3):
        send(referrals, SHELTER)
    assert [item.delivery.position for item in referrals.agencies[SHELTER].inbox()] == [1, 2, 3]


def test_the_cursor_leads_through_the_pages(referrals: Exchange) -> None:
    for _ in range(3):
        send(referrals, SHELTER)
    caller = referrals.agencies[SHELTER].caller
    first = list_inbox(referrals.hub, caller, 0, 2)
    second = list_inbox(referrals.hub, caller, first.next, 2)
    assert [item.delivery.position for item in (*first.items, *second.items)] == [1, 2, 3]
    assert list_inbox(referrals.hub, caller, second.next, 2) == replace(second, items=())


@pytest.mark.parametrize(("after", "limit", "wait"), [(-1, 10, 0), (0, 0, 0), (0, 101, 0), (0, 10, 31), (0, 10, -1)])
def test_a_page_out_of_bounds_is_refused(referrals: Exchange, after: int, limit: int, wait: int) -> None:
    with pytest.raises(Refusal) as caught:
        list_inbox(referrals.hub, referrals.agencies[SHELTER].caller, after, limit, wait)
    assert caught.value.code is RefusalCode.INVALID_REQUEST


def test_a_waiting_caller_gets_what_arrives_meanwhile(referrals: Exchange) -> None:
    pages: list[int] = []
    caller = referrals.agencies[SHELTER].caller
    waiting = threading.Thread(target=lambda: pages.append(len(list_inbox(referrals.hub, caller, 0, 10, 30).items)))
    waiting.start()
    send(referrals, SHELTER)
    waiting.join(timeout=40)
    assert pages == [1]


def test_no_party_takes_every_seat_of_those_who_wait(referrals: Exchange) -> None:
    hub, shelter = referrals.hub, referrals.agencies[SHELTER].caller
    with ExitStack() as seated:
        for _ in range(MOST_OF_ONE_PARTY):
            seated.enter_context(hub.waiting.seat(SHELTER, hub.limits.max_waiting_requests))
        with pytest.raises(Refusal) as caught:
            list_inbox(hub, shelter, 0, 10, 30)
        assert list_inbox(hub, referrals.agencies[POLICE].caller, 0, 10, 1).items == ()
    assert caught.value.code is RefusalCode.RATE_LIMITED
    assert list_inbox(hub, shelter, 0, 10, 1).items == ()


def test_only_so_many_wait_at_a_time(referrals: Exchange) -> None:
    hub = replace(referrals.hub, limits=Limits(max_waiting_requests=1))
    with hub.waiting.seat(POLICE, 1), pytest.raises(Refusal) as caught:
        list_inbox(hub, referrals.agencies[SHELTER].caller, 0, 10, 30)
    assert caught.value.code is RefusalCode.RATE_LIMITED


def test_what_stands_there_is_given_without_a_seat(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    hub = replace(referrals.hub, limits=Limits(max_waiting_requests=1))
    with hub.waiting.seat(POLICE, 1):
        assert len(list_inbox(hub, referrals.agencies[SHELTER].caller, 0, 10, 30).items) == 1


def test_listing_is_audited_with_a_count(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    referrals.agencies[SHELTER].inbox()
    (entry,) = referrals.audit(AuditEvent.INBOX_LISTED)
    assert (entry["actor"], entry["details"]["count"]) == (SHELTER, 1)


# the unchanged copy


def test_an_unchanged_copy_holds_the_senders_signed_octets_and_the_hubs_countersignature(referrals: Exchange) -> None:
    sender, police = referrals.agencies[IMMIGRATION], referrals.agencies[POLICE]
    message = sender.message(recipients=[POLICE])
    original = jws.parse_general(sender.sign(json.dumps(message, ensure_ascii=False).encode()), jws.MESSAGE_ALONE)
    sender.send(message)
    referrals.deliver()
    _item, copy, payload = police.fetch()
    assert copy.types == jws.COUNTERSIGNED_MESSAGE
    assert (copy.payload_text, copy.elements[0]) == (original.payload_text, original.elements[0])
    assert payload == message


def test_the_countersignature_is_over_the_senders_signature_and_verifies(referrals: Exchange) -> None:
    send(referrals, POLICE)
    _item, copy, _payload = referrals.agencies[POLICE].fetch()
    first, second = copy.elements
    assert second.header.over == jws.over_digest(first.protected_text, first.signature)
    verify_es256(referrals.hub_signing_jwk(), copy.signing_input(1), second.signature)
    verify_es256(referrals.agencies[IMMIGRATION].signing.public_jwk, copy.signing_input(0), first.signature)


def test_a_copy_is_sealed_to_its_recipient_alone(referrals: Exchange) -> None:
    send(referrals, POLICE, SHELTER)
    police = referrals.agencies[POLICE]
    _exchange, envelope = fetch_delivery(referrals.hub, police.caller, police.inbox()[0].delivery.id)
    assert jwe.open_envelope(envelope, 10_000_000).to == (police.sealing.kid,)


# the minimised copy


def test_a_minimised_copy_is_signed_by_the_hub_alone(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    _item, copy, _payload = referrals.agencies[SHELTER].fetch()
    assert copy.types == jws.RENDITION_ALONE
    verify_es256(referrals.hub_signing_jwk(), copy.signing_input(0), copy.elements[0].signature)


def test_a_minimised_copy_names_the_original_and_what_was_taken_out_under_which_article(referrals: Exchange) -> None:
    _message, exchange = send(referrals, SHELTER)
    _item, _copy, payload = referrals.agencies[SHELTER].fetch()
    with referrals.hub.store.reading() as work:
        digest = work.exec_driver_sql("SELECT digest FROM messages").scalar_one()
    assert payload["rendition"]["of"] == digest
    removed = {gone["path"]: gone["article"] for gone in payload["rendition"]["minimised"]}
    assert removed["/person/documents/0/number"] == "4(3)"
    assert set(removed.values()) == {"4(3)"}
    stated = next(one for one in referrals.receipts_of(exchange) if one.event is ReceiptEvent.ACCEPTED)
    assert {gone["path"] for gone in parse_object(stated.payload)["recipients"][0]["removed"]} == set(removed)


def test_a_minimised_copy_has_no_salt(referrals: Exchange) -> None:
    message, _exchange = send(referrals, SHELTER)
    _item, copy, payload = referrals.agencies[SHELTER].fetch()
    assert "salt" not in payload["header"]
    assert message["header"]["salt"].encode() not in copy.payload


def test_removed_values_stand_nowhere_in_a_minimised_copy(referrals: Exchange) -> None:
    message, _exchange = send(referrals, SHELTER)
    _item, copy, payload = referrals.agencies[SHELTER].fetch()
    gone = [value_at(message["body"], one["path"]) for one in payload["rendition"]["minimised"]]
    assert "C4471902" in gone
    unique = [text for value in gone for text in texts_of(value) if len(text) > 6 and text not in str(payload["body"])]
    assert len(unique) > 3
    assert not [text for text in unique if text.encode() in copy.payload]


def test_what_is_covered_stays_as_the_sender_wrote_it(referrals: Exchange) -> None:
    message, _exchange = send(referrals, SHELTER)
    _item, _copy, payload = referrals.agencies[SHELTER].fetch()
    assert payload["body"]["person"]["identity"] == message["body"]["person"]["identity"]
    assert payload["body"]["consent"] == message["body"]["consent"]
    assert {**payload["header"], "salt": message["header"]["salt"]} == message["header"]


def test_a_rendition_passes_the_check_that_a_recipient_makes(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    _item, _copy, payload = referrals.agencies[SHELTER].fetch()
    bodies = referrals.hub.bodies
    header = bodies.read_rendition_header(payload["header"])
    assert bodies.check_rendition(header, payload["body"], [one["path"] for one in payload["rendition"]["minimised"]])


def test_an_uncovered_attachment_is_taken_out_of_the_header(referrals: Exchange) -> None:
    secret = attachment("chat.txt", b"a transcript that only police may see", "intelligence")
    kept = attachment("photo.txt", b"a note for the case worker", "victim")
    send(referrals, SHELTER, attachments=[secret, kept])
    _item, copy, payload = referrals.agencies[SHELTER].fetch()
    assert payload["header"]["attachments"] == [kept]
    assert secret["sha256"].encode() not in copy.payload
    assert b64decode(secret["content"]) not in copy.payload


def test_two_recipients_get_what_each_may_have(referrals: Exchange) -> None:
    send(referrals, POLICE, CITY, SHELTER)
    fields = {}
    for name in (POLICE, CITY, SHELTER):
        _item, _copy, payload = referrals.agencies[name].fetch()
        fields[name] = ("perpetrators" in payload["body"], "documents" in payload["body"]["person"])
    assert fields == {POLICE: (True, True), CITY: (False, True), SHELTER: (False, False)}


# who may fetch, and what holds in between


def test_another_partys_delivery_is_not_found(referrals: Exchange) -> None:
    send(referrals, POLICE, SHELTER)
    police, shelter = referrals.agencies[POLICE], referrals.agencies[SHELTER]
    assert refused_fetch(referrals, shelter, police.inbox()[0].delivery.id) is RefusalCode.NOT_FOUND
    assert referrals.audit(AuditEvent.DELIVERY_FETCHED)[-1]["outcome"] == "not_found"


def test_the_sender_does_not_fetch_a_recipients_copy(referrals: Exchange) -> None:
    send(referrals, POLICE)
    delivery = referrals.agencies[POLICE].inbox()[0].delivery.id
    assert refused_fetch(referrals, referrals.agencies[IMMIGRATION], delivery) is RefusalCode.NOT_FOUND


def test_what_no_worker_has_held_is_not_found(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    exchange = sender.send(sender.message(recipients=[POLICE])).exchange
    delivery = referrals.deliveries_of(exchange)[POLICE].id
    assert refused_fetch(referrals, referrals.agencies[POLICE], delivery) is RefusalCode.NOT_FOUND


def test_fetching_again_gives_the_same_signed_octets_under_a_fresh_seal(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    shelter = referrals.agencies[SHELTER]
    delivery = shelter.inbox()[0].delivery.id
    one, other = (fetch_delivery(referrals.hub, shelter.caller, delivery)[1] for _ in range(2))
    assert one != other
    assert shelter.open(one) == shelter.open(other)


def test_a_fetch_is_audited_with_the_digest_that_was_released(referrals: Exchange) -> None:
    _message, exchange = send(referrals, SHELTER)
    _item, copy, _payload = referrals.agencies[SHELTER].fetch()
    (entry,) = referrals.audit(AuditEvent.DELIVERY_FETCHED)
    assert (entry["actor"], entry["outcome"], entry["exchange"]) == (SHELTER, "ok", exchange)
    assert entry["details"]["released"] == b64url_encode(sha256(copy.payload).digest())


def test_a_suspension_after_acceptance_holds_at_the_fetch(referrals: Exchange) -> None:
    send(referrals, POLICE)
    police = referrals.agencies[POLICE]
    delivery = police.inbox()[0].delivery.id
    referrals.agreement_event(REFERRAL_ORDER, "suspended")
    assert refused_fetch(referrals, police, delivery) is RefusalCode.AGREEMENT_SUSPENDED
    entry = referrals.audit(AuditEvent.DELIVERY_FETCHED)[-1]
    assert (entry["outcome"], entry["details"]["findings"][0]["code"]) == ("agreement_suspended", "agreement_suspended")


def test_what_was_held_back_by_a_suspension_can_be_fetched_after_it(referrals: Exchange) -> None:
    message, _exchange = send(referrals, POLICE)
    police = referrals.agencies[POLICE]
    referrals.agreement_event(REFERRAL_ORDER, "suspended")
    refused_fetch(referrals, police, police.inbox()[0].delivery.id)
    referrals.clock.advance(hours=1)
    referrals.agreement_event(REFERRAL_ORDER, "resumed")
    assert police.fetch()[2] == message


def test_the_end_of_an_agreement_holds_at_the_fetch(referrals: Exchange) -> None:
    send(referrals, POLICE)
    police = referrals.agencies[POLICE]
    referrals.agreement_event(REFERRAL_ORDER, "ended")
    assert refused_fetch(referrals, police, police.inbox()[0].delivery.id) is RefusalCode.AGREEMENT_NOT_IN_FORCE


def test_a_recipient_whose_sealing_key_was_revoked_gets_nothing(referrals: Exchange) -> None:
    send(referrals, POLICE)
    police = referrals.agencies[POLICE]
    referrals.revoke(referrals.keys_of(police)[1])
    assert refused_fetch(referrals, police, police.inbox()[0].delivery.id) is RefusalCode.RECIPIENT_NOT_REACHABLE


def test_a_copy_is_sealed_to_the_key_that_is_current_at_the_fetch(referrals: Exchange) -> None:
    send(referrals, POLICE)
    police = referrals.agencies[POLICE]
    old = referrals.keys_of(police)[1]
    successor = replace(old, kid="tw.npa-seal-2", not_before=referrals.clock.now())
    referrals.record(replace(old, state=KeyState.RETIRING), successor)
    _exchange, envelope = fetch_delivery(referrals.hub, police.caller, police.inbox()[0].delivery.id)
    assert jwe.open_envelope(envelope, 10_000_000).to == ("tw.npa-seal-2",)


def test_an_expired_message_cannot_be_fetched(referrals: Exchange) -> None:
    send(referrals, POLICE)
    police = referrals.agencies[POLICE]
    delivery = police.inbox()[0].delivery.id
    referrals.clock.advance(days=31)
    assert refused_fetch(referrals, police, delivery) is RefusalCode.EXPIRED


def test_facts_that_were_changed_in_the_database_release_nothing(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    shelter = referrals.agencies[SHELTER]
    delivery = shelter.inbox()[0].delivery
    with referrals.hub.store.reading() as work:
        (facts,) = work.execute(select(messages.c.facts)).one()
    harmless = facts.replace(b'"travel"', b'"identity"').replace(b'"intelligence"', b'"identity"')
    assert harmless != facts
    referrals.hub.store.write(lambda work: work.execute(update(messages).values(facts=harmless)))
    with pytest.raises(HubFault):
        fetch_delivery(referrals.hub, shelter.caller, delivery.id)


def test_a_suspension_between_the_decision_and_the_release_is_decided_again(referrals: Exchange) -> None:
    send(referrals, POLICE)
    police = referrals.agencies[POLICE]
    delivery = police.inbox()[0].delivery.id
    moving = StoreThatMoves(referrals.hub.store, lambda: referrals.agreement_event(REFERRAL_ORDER, "suspended"))
    with pytest.raises(Refusal) as caught:
        fetch_delivery(replace(referrals.hub, store=moving), police.caller, delivery)
    assert caught.value.code is RefusalCode.AGREEMENT_SUSPENDED
    with referrals.hub.store.reading() as work:
        assert work.exec_driver_sql("SELECT count(*) FROM releases").scalar_one() == 0


# reading an exchange


def test_the_sender_sees_every_delivery_and_receipt(referrals: Exchange) -> None:
    _message, exchange = send(referrals, POLICE, SHELTER)
    view = read_exchange(referrals.hub, referrals.agencies[IMMIGRATION].caller, exchange)
    assert {one.recipient: one.state for one in view.deliveries} == dict.fromkeys((POLICE, SHELTER), DeliveryState.HELD)
    assert [referrals.statement(one.jws)["event"] for one in view.receipts] == ["accepted", "relayed", "relayed"]


def test_a_recipient_sees_its_own_delivery_and_receipts_only(referrals: Exchange) -> None:
    _message, exchange = send(referrals, POLICE, SHELTER)
    view = read_exchange(referrals.hub, referrals.agencies[SHELTER].caller, exchange)
    assert [one.recipient for one in view.deliveries] == [SHELTER]
    assert [(one.receipt.event, one.receipt.recipient) for one in view.receipts] == [(ReceiptEvent.RELAYED, SHELTER)]


@pytest.mark.parametrize("exchange", ["theirs", "none"])
def test_an_exchange_that_one_had_no_part_in_is_not_found(referrals: Exchange, exchange: str) -> None:
    _message, theirs = send(referrals, POLICE)
    with pytest.raises(Refusal) as caught:
        read_exchange(referrals.hub, referrals.agencies[CITY].caller, theirs if exchange == "theirs" else "no-such-exchange")
    assert caught.value.code is RefusalCode.NOT_FOUND
    assert referrals.audit(AuditEvent.MESSAGE_READ)[-1]["outcome"] == "not_found"


def test_reading_is_audited(referrals: Exchange) -> None:
    _message, exchange = send(referrals, POLICE)
    read_exchange(referrals.hub, referrals.agencies[POLICE].caller, exchange)
    (entry,) = referrals.audit(AuditEvent.MESSAGE_READ)
    assert (entry["actor"], entry["exchange"], entry["details"]["receipts"]) == (POLICE, exchange, 1)


def test_an_exchange_is_found_by_the_senders_own_id(referrals: Exchange) -> None:
    message, exchange = send(referrals, POLICE)
    assert find_exchange(referrals.hub, IMMIGRATION, message["header"]["id"]) == exchange


def test_an_id_is_found_under_its_own_sender_only(referrals: Exchange) -> None:
    message, _exchange = send(referrals, POLICE)
    with pytest.raises(Refusal) as caught:
        find_exchange(referrals.hub, POLICE, message["header"]["id"])
    assert caught.value.code is RefusalCode.NOT_FOUND


def value_at(body: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        body = body[int(step)] if isinstance(body, list) else body[step]
    return body


def texts_of(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]
