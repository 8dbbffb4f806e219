"""A worker's round: due deliveries are leased, decided again, and held for pulling or made ready for a push."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from hub.domain.audit import AuditEvent
from hub.domain.deliveries import DeliveryState
from hub.domain.encoding import b64url_encode
from hub.domain.parties import DeliveryMode, SealingProfile, Standing
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import RefusalCode
from hub.formats import jwe
from hub.formats.json_gate import parse_object
from hub.services.deliver_message import PushTask, record_push, relay, take_due
from hub.services.record_receipt import record_pushed_receipt
from hub.services.requeue_delivery import requeue_delivery
from hub.storage import deliveries
from tests.simulators.exchange import REFERRAL_ORDER, Exchange
from tests.simulators.stores import other_node

POLICE, IMMIGRATION, SHELTER, CITY, TAIPEI = "tw.npa", "tw.nia", "tw.shelter.garden", "tw.kaohsiung", "tw.taipei"


def send(exchange: Exchange, *recipients: str, **header: Any) -> str:
    sender = exchange.agencies[IMMIGRATION]
    return sender.send(sender.message(recipients=list(recipients), **header)).exchange


def let_push(exchange: Exchange, *names: str) -> None:
    """Make these parties' delivery push."""
    for name in names:
        party = replace(exchange.agencies[name].party, delivery=DeliveryMode.PUSH, push_address=f"https://{name}.example/accord")
        exchange.record(party)
        exchange.agencies[name].party = party


def states(exchange: Exchange, exchange_id: str) -> dict[str, DeliveryState]:
    return {name: one.state for name, one in exchange.deliveries_of(exchange_id).items()}


def receipt_for(exchange: Exchange, task: PushTask) -> str:
    """The receipt of the partner that a push was for."""
    due = task.sealed.copy.due
    partner = exchange.agencies[due.delivery.recipient]
    copy, document = partner.open(task.sealed.envelope)
    members = {
        "v": 1,
        "event": "delivered",
        "issuer": partner.authority,
        "recipient": partner.authority,
        "exchange": due.message.exchange,
        "delivery": due.delivery.id,
        "message": {"sender": due.message.sender, "id": due.message.message_id, "digest": task.sealed.copy.digest},
        "time": "2026-11-22T09:00:00Z",
        **({"of": document["rendition"]["of"]} if "rendition" in document else {}),
    }
    assert copy.payload
    return partner.receipt(**members)


# holding


def test_a_suspension_after_the_lease_holds_before_anything_is_pushed(referrals: Exchange) -> None:
    let_push(referrals, POLICE, SHELTER)
    exchange = send(referrals, POLICE, SHELTER)
    due = take_due(referrals.hub, 100)
    referrals.agreement_event(REFERRAL_ORDER, "suspended")
    assert relay(referrals.hub, due) == []
    assert states(referrals, exchange) == dict.fromkeys((POLICE, SHELTER), DeliveryState.REFUSED)


def test_a_delivery_to_somebody_whom_the_message_does_not_name_is_closed(referrals: Exchange) -> None:
    exchange = send(referrals, SHELTER)
    (queued,) = referrals.deliveries_of(exchange).values()
    referrals.hub.store.write(lambda work: deliveries.add(work, [replace(queued, id="smuggled-in", recipient=POLICE)]))
    referrals.deliver()
    assert states(referrals, exchange) == {SHELTER: DeliveryState.HELD, POLICE: DeliveryState.REFUSED}
    assert referrals.deliveries_of(exchange)[POLICE].last_error == "no_recipient"
    assert referrals.agencies[POLICE].inbox() == []


def test_what_is_due_is_held_in_the_inbox(referrals: Exchange) -> None:
    exchange = send(referrals, POLICE, SHELTER)
    referrals.deliver()
    assert states(referrals, exchange) == dict.fromkeys((POLICE, SHELTER), DeliveryState.HELD)


def test_a_held_delivery_is_relayed_by_receipt_and_audited(referrals: Exchange) -> None:
    exchange = send(referrals, SHELTER)
    referrals.deliver()
    relayed = referrals.receipts_of(exchange)[-1]
    assert (relayed.event, relayed.recipient, relayed.issuer) == (ReceiptEvent.RELAYED, SHELTER, "hub")
    (entry,) = referrals.audit(AuditEvent.DELIVERY_RELAYED)
    assert (entry["exchange"], entry["details"]["recipient"], entry["details"]["receipt"]) == (exchange, SHELTER, relayed.digest)


def test_a_held_delivery_is_not_taken_again(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    referrals.deliver()
    referrals.clock.advance(days=1)
    assert take_due(referrals.hub, 100) == []


def test_a_worker_takes_no_more_than_it_asks_for(referrals: Exchange) -> None:
    for _ in range(3):
        send(referrals, SHELTER)
    assert [len(take_due(referrals.hub, 2)) for _ in range(3)] == [2, 1, 0]


def test_what_one_worker_took_no_other_takes_before_the_lease_ends(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    with other_node(referrals) as node:
        assert len(take_due(node, 100)) == 1
        assert take_due(referrals.hub, 100) == []


def test_when_a_lease_ends_another_worker_takes_the_delivery(referrals: Exchange) -> None:
    exchange = send(referrals, SHELTER)
    with other_node(referrals) as node:
        take_due(node, 100)
    referrals.clock.advance(seconds=61)
    referrals.deliver()
    assert states(referrals, exchange) == {SHELTER: DeliveryState.HELD}


def test_the_worker_whose_lease_ended_changes_nothing(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    with other_node(referrals) as node:
        late = take_due(node, 100)
        referrals.clock.advance(seconds=61)
        referrals.deliver()
        relay(node, late)
    (item,) = referrals.agencies[SHELTER].inbox()
    assert item.delivery.position == 1
    assert len(referrals.audit(AuditEvent.DELIVERY_RELAYED)) == 1


def test_one_lost_lease_does_not_keep_the_others_out_of_their_inboxes(referrals: Exchange) -> None:
    first, second = send(referrals, SHELTER), send(referrals, SHELTER)
    taken = take_due(referrals.hub, 100)
    lost = next(one.delivery for one in taken if one.delivery.exchange == first)
    referrals.hub.store.write(lambda work: deliveries.move(work, lost, DeliveryState.QUEUED))
    relay(referrals.hub, taken)
    assert (states(referrals, first), states(referrals, second)) == (
        {SHELTER: DeliveryState.QUEUED},
        {SHELTER: DeliveryState.HELD},
    )
    assert [item.delivery.position for item in referrals.agencies[SHELTER].inbox()] == [1]


# decided again


def test_a_suspension_before_the_worker_came_closes_the_delivery(referrals: Exchange) -> None:
    exchange = send(referrals, SHELTER)
    referrals.agreement_event(REFERRAL_ORDER, "suspended")
    referrals.deliver()
    assert states(referrals, exchange) == {SHELTER: DeliveryState.REFUSED}
    assert referrals.agencies[SHELTER].inbox() == []


def test_a_closed_delivery_is_stated_to_its_sender_as_not_delivered(referrals: Exchange) -> None:
    exchange = send(referrals, SHELTER)
    referrals.agreement_event(REFERRAL_ORDER, "suspended")
    referrals.deliver()
    receipt = referrals.receipts_of(exchange)[-1]
    stated = parse_object(receipt.payload)
    assert (stated["event"], stated["recipient"], stated["reason"]) == ("not_delivered", SHELTER, "agreement_suspended")
    (entry,) = referrals.audit(AuditEvent.DELIVERY_REFUSED)
    assert (entry["outcome"], entry["details"]["receipt"]) == ("agreement_suspended", receipt.digest)


CAUSES = {
    "the end of the agreement": RefusalCode.AGREEMENT_NOT_IN_FORCE,
    "the recipient's suspension": RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING,
    "the sender's suspension": RefusalCode.SENDER_NOT_IN_GOOD_STANDING,
    "the recipient's sealing key revoked": RefusalCode.RECIPIENT_NOT_REACHABLE,
}


@pytest.mark.parametrize(("cause", "code"), CAUSES.items(), ids=CAUSES)
def test_what_changed_since_acceptance_holds(referrals: Exchange, cause: str, code: RefusalCode) -> None:
    exchange = send(referrals, SHELTER)
    if cause == "the end of the agreement":
        referrals.agreement_event(REFERRAL_ORDER, "ended")
    elif cause == "the recipient's sealing key revoked":
        referrals.revoke(referrals.keys_of(referrals.agencies[SHELTER])[1])
    else:
        name = SHELTER if "recipient" in cause else IMMIGRATION
        referrals.record(replace(referrals.agencies[name].party, standing=Standing.SUSPENDED))
    referrals.deliver()
    assert states(referrals, exchange) == {SHELTER: DeliveryState.REFUSED}
    assert referrals.deliveries_of(exchange)[SHELTER].last_error == code


def test_one_recipients_refusal_does_not_keep_another_from_its_copy(referrals: Exchange) -> None:
    exchange = send(referrals, POLICE, SHELTER)
    referrals.record(replace(referrals.agencies[SHELTER].party, standing=Standing.SUSPENDED))
    referrals.deliver()
    assert states(referrals, exchange) == {POLICE: DeliveryState.HELD, SHELTER: DeliveryState.REFUSED}


def test_the_revocation_of_the_senders_key_does_not_undo_an_acceptance(referrals: Exchange) -> None:
    exchange = send(referrals, SHELTER)
    referrals.revoke(referrals.keys_of(referrals.agencies[IMMIGRATION])[0])
    referrals.deliver()
    assert states(referrals, exchange) == {SHELTER: DeliveryState.HELD}


# pushing


def test_a_push_is_sealed_to_the_partner_under_its_profile(referrals: Exchange) -> None:
    partner = referrals.join(CITY, SealingProfile.CLASSIC_1)
    let_push(referrals, CITY)
    send(referrals, CITY)
    (task,) = referrals.deliver()
    envelope = jwe.open_envelope(task.sealed.envelope, 10_000_000)
    assert (task.address, envelope.to, envelope.profile) == (
        "https://tw.kaohsiung.example/accord",
        (partner.sealing.kid,),
        SealingProfile.CLASSIC_1,
    )


def test_a_push_that_was_taken_is_sent_and_relayed(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, None)
    delivery = referrals.deliveries_of(exchange)[SHELTER]
    assert (delivery.state, delivery.attempts) == (DeliveryState.SENT, 1)
    assert referrals.receipts_of(exchange)[-1].event is ReceiptEvent.RELAYED


def test_what_is_released_is_on_record_before_it_is_sent(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    send(referrals, SHELTER)
    (task,) = referrals.deliver()
    copy = task.sealed.copy
    with referrals.hub.store.reading() as work:
        assert deliveries.was_released(work, copy.due.delivery.id, copy.digest)


def test_the_partners_receipt_makes_a_push_delivered(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, None)
    record_pushed_receipt(referrals.hub, SHELTER, task.sealed.copy.due.delivery.id, receipt_for(referrals, task))
    assert states(referrals, exchange) == {SHELTER: DeliveryState.DELIVERED}


def test_a_receipt_that_comes_before_the_answer_to_the_push_stands(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_pushed_receipt(referrals.hub, SHELTER, task.sealed.copy.due.delivery.id, receipt_for(referrals, task))
    record_push(referrals.hub, task, None)
    assert states(referrals, exchange) == {SHELTER: DeliveryState.DELIVERED}
    assert {one.event for one in referrals.receipts_of(exchange)} == {
        ReceiptEvent.ACCEPTED,
        ReceiptEvent.RELAYED,
        ReceiptEvent.DELIVERED,
    }


def test_a_receipt_that_comes_before_the_answer_is_lost_stands(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_pushed_receipt(referrals.hub, SHELTER, task.sealed.copy.due.delivery.id, receipt_for(referrals, task))
    record_push(referrals.hub, task, "timeout")
    assert states(referrals, exchange) == {SHELTER: DeliveryState.DELIVERED}
    referrals.clock.advance(days=1)
    assert take_due(referrals.hub, 100) == []


def test_a_failed_push_backs_off_10_s_1_5_15_min_1_h_and_hourly(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    waited = []
    for _ in range(7):
        (task,) = referrals.deliver()
        record_push(referrals.hub, task, "http_500")
        delivery = referrals.deliveries_of(exchange)[SHELTER]
        waited.append(int((delivery.next_attempt_at - referrals.clock.now()).total_seconds()))
        referrals.clock.moment = delivery.next_attempt_at
    assert waited == [10, 60, 300, 900, 3600, 3600, 3600]
    delivery = referrals.deliveries_of(exchange)[SHELTER]
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.QUEUED, 7, "http_500")


def test_a_failed_push_is_not_tried_before_its_time(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, "timeout")
    referrals.clock.advance(seconds=9)
    assert referrals.deliver() == []


def test_each_failed_attempt_is_audited(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, "timeout")
    (entry,) = referrals.audit(AuditEvent.DELIVERY_ATTEMPT_FAILED)
    assert (entry["exchange"], entry["outcome"], entry["details"]["attempts"]) == (exchange, "timeout", 1)


def test_a_push_without_a_receipt_is_sent_again_when_its_time_comes(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    send(referrals, SHELTER)
    (first,) = referrals.deliver()
    record_push(referrals.hub, first, None)
    referrals.clock.advance(seconds=10)
    (second,) = referrals.deliver()
    assert second.sealed.copy.digest == first.sealed.copy.digest
    record_push(referrals.hub, second, None)
    assert len(referrals.audit(AuditEvent.DELIVERY_RELAYED)) == 1


def test_a_push_whose_lease_ended_is_not_recorded_over_the_next_workers(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (slow,) = referrals.deliver()
    referrals.clock.advance(seconds=61)
    (_quick,) = referrals.deliver()
    record_push(referrals.hub, slow, "timeout")
    assert referrals.deliveries_of(exchange)[SHELTER].attempts == 0


def test_a_push_is_dead_once_its_message_has_expired(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, "http_500")
    referrals.clock.advance(days=31)
    assert referrals.deliver() == []
    delivery = referrals.deliveries_of(exchange)[SHELTER]
    assert (delivery.state, delivery.last_error) == (DeliveryState.DEAD, "expired")
    assert referrals.receipts_of(exchange)[-1].event is ReceiptEvent.NOT_DELIVERED


def test_an_agreement_that_ended_since_the_last_attempt_stops_the_push(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, None)
    referrals.agreement_event(REFERRAL_ORDER, "ended")
    referrals.clock.advance(seconds=10)
    assert referrals.deliver() == []
    assert states(referrals, exchange) == {SHELTER: DeliveryState.REFUSED}


def test_a_partner_that_had_its_copy_before_the_agreement_ended_still_confirms_it(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, None)
    referrals.agreement_event(REFERRAL_ORDER, "ended")
    referrals.clock.advance(seconds=10)
    referrals.deliver()
    record_pushed_receipt(referrals.hub, SHELTER, task.sealed.copy.due.delivery.id, receipt_for(referrals, task))
    assert states(referrals, exchange) == {SHELTER: DeliveryState.DELIVERED}


def test_a_delivery_that_the_hub_cannot_release_holds_nobody_up(referrals: Exchange) -> None:
    let_push(referrals, SHELTER, POLICE)
    spoilt, sound = send(referrals, SHELTER), send(referrals, POLICE)
    referrals.hub.store.write(
        lambda work: work.exec_driver_sql(f"UPDATE messages SET storage_kid = 'lost' WHERE exchange = '{spoilt}'")
    )
    (task,) = referrals.deliver()
    assert task.sealed.copy.due.message.exchange == sound
    delivery = referrals.deliveries_of(spoilt)[SHELTER]
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.QUEUED, 1, "fault")


def test_a_partner_that_comes_to_pull_finds_what_could_not_be_pushed(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, "unreachable")
    referrals.record(replace(referrals.agencies[SHELTER].party, delivery=DeliveryMode.PULL, push_address=""))
    referrals.clock.advance(seconds=10)
    referrals.deliver()
    assert states(referrals, exchange) == {SHELTER: DeliveryState.HELD}


def test_an_operator_has_a_push_tried_again_at_once(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER)
    (task,) = referrals.deliver()
    record_push(referrals.hub, task, "unreachable")
    requeue_delivery(referrals.hub, referrals.deliveries_of(exchange)[SHELTER].id)
    assert len(referrals.deliver()) == 1


# fairness


def test_one_partner_gets_a_few_places_and_the_others_theirs(referrals: Exchange) -> None:
    let_push(referrals, SHELTER, CITY)
    for _ in range(6):
        send(referrals, SHELTER)
    send(referrals, CITY)
    taken = take_due(referrals.hub, 100, most_pushes=100, pushes_each=4)
    assert [one.delivery.recipient for one in taken].count(SHELTER) == 4
    assert [one.delivery.recipient for one in taken].count(CITY) == 1


def test_a_busy_partner_gets_nothing_more_at_present(referrals: Exchange) -> None:
    let_push(referrals, SHELTER, CITY)
    send(referrals, SHELTER, CITY)
    taken = take_due(referrals.hub, 100, busy={SHELTER})
    assert [one.delivery.recipient for one in taken] == [CITY]


def test_a_worker_without_room_for_pushes_still_fills_the_inboxes(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    exchange = send(referrals, SHELTER, POLICE)
    relay(referrals.hub, take_due(referrals.hub, 100, most_pushes=0))
    assert states(referrals, exchange) == {SHELTER: DeliveryState.QUEUED, POLICE: DeliveryState.HELD}


def test_the_oldest_of_a_partners_messages_goes_first(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    sent = []
    for _ in range(3):
        sent.append(send(referrals, SHELTER))
        referrals.clock.advance(seconds=1)
    taken = take_due(referrals.hub, 100, pushes_each=2)
    assert [one.delivery.exchange for one in taken] == sent[:2]


def test_a_leased_delivery_comes_without_its_content(referrals: Exchange) -> None:
    send(referrals, SHELTER)
    (due,) = take_due(referrals.hub, 100)
    assert (due.message.content, due.message.type) == (b"", "ht-referral")


def test_a_digest_in_the_release_is_that_of_the_payload(referrals: Exchange) -> None:
    let_push(referrals, SHELTER)
    send(referrals, SHELTER)
    (task,) = referrals.deliver()
    copy, _document = referrals.agencies[SHELTER].open(task.sealed.envelope)
    assert task.sealed.copy.digest == b64url_encode(sha256(copy.payload).digest())
