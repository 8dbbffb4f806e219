"""Deadlines that pass: the negative evidence comes by itself, once, and does not end a delivery before its message expires."""

from datetime import timedelta

from hub.domain.audit import AuditEvent
from hub.domain.deliveries import DeliveryState
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import RefusalCode
from hub.formats.json_gate import parse_object
from hub.services.close_deadlines import close_deadlines, tidy
from tests.simulators.exchange import Exchange
from tests.simulators.stores import other_node

IMMIGRATION, SHELTER = "tw.nia", "tw.shelter.garden"
NEGATIVE = {ReceiptEvent.NOT_DELIVERED, ReceiptEvent.NOT_RETRIEVED}


def held(exchange: Exchange) -> str:
    """A referral that stands in the shelter's inbox; the reply, and so the delivery, is due in 8 hours."""
    sender = exchange.agencies[IMMIGRATION]
    issued = sender.send(sender.message(recipients=[SHELTER]))
    exchange.deliver()
    return issued.exchange


def negatives(exchange: Exchange, exchange_id: str) -> list[ReceiptEvent]:
    return [one.event for one in exchange.receipts_of(exchange_id) if one.event in NEGATIVE]


def test_nothing_is_stated_before_the_deadline(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(hours=8, seconds=-1)
    assert close_deadlines(referrals.hub) == 0
    assert negatives(referrals, exchange) == []


def test_at_the_deadline_the_hub_states_that_it_was_not_delivered(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(hours=8)
    assert close_deadlines(referrals.hub) == 1
    stated = parse_object(referrals.receipts_of(exchange)[-1].payload)
    assert (stated["event"], stated["recipient"], stated["state"], stated["issuer"]) == ("not_delivered", SHELTER, "held", "hub")


def test_negative_evidence_is_audited(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(hours=8)
    close_deadlines(referrals.hub)
    (entry,) = referrals.audit(AuditEvent.RECEIPT_ISSUED)
    assert (entry["actor"], entry["outcome"], entry["exchange"]) == ("hub", "not_delivered", exchange)
    assert entry["details"]["receipt"] == referrals.receipts_of(exchange)[-1].digest


def test_negative_evidence_is_issued_once(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(hours=8)
    assert [close_deadlines(referrals.hub) for _ in range(2)] == [1, 0]
    referrals.clock.advance(hours=8)
    assert close_deadlines(referrals.hub) == 0
    assert negatives(referrals, exchange) == [ReceiptEvent.NOT_DELIVERED]


def test_two_nodes_state_it_once(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(hours=8)
    with other_node(referrals) as node:
        assert close_deadlines(node) + close_deadlines(referrals.hub) == 1
    assert negatives(referrals, exchange) == [ReceiptEvent.NOT_DELIVERED]


def test_the_evidence_does_not_take_the_message_out_of_the_inbox(referrals: Exchange) -> None:
    held(referrals)
    referrals.clock.advance(hours=8)
    close_deadlines(referrals.hub)
    item, copy, _document = referrals.agencies[SHELTER].fetch()
    assert item.delivery.state is DeliveryState.HELD
    assert copy.payload


def test_a_late_delivery_is_stated_after_its_negative_evidence(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(hours=8)
    close_deadlines(referrals.hub)
    shelter = referrals.agencies[SHELTER]
    item, copy, _document = shelter.fetch()
    shelter.acknowledge("delivered", item, copy.payload)
    events = [one.event for one in referrals.receipts_of(exchange) if one.issuer == "hub"]
    assert events[-2:] == [ReceiptEvent.NOT_DELIVERED, ReceiptEvent.DELIVERED]
    assert referrals.deliveries_of(exchange)[SHELTER].state is DeliveryState.DELIVERED


def test_a_delivery_is_dead_when_its_message_expires(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(hours=8)
    close_deadlines(referrals.hub)
    referrals.clock.advance(days=30)
    assert close_deadlines(referrals.hub) == 1
    delivery = referrals.deliveries_of(exchange)[SHELTER]
    assert (delivery.state, delivery.last_error) == (DeliveryState.DEAD, RefusalCode.EXPIRED)
    assert negatives(referrals, exchange) == [ReceiptEvent.NOT_DELIVERED]


def test_a_delivery_that_nobody_looked_at_before_the_expiry_is_stated_and_dead_at_once(referrals: Exchange) -> None:
    exchange = held(referrals)
    referrals.clock.advance(days=31)
    close_deadlines(referrals.hub)
    assert negatives(referrals, exchange) == [ReceiptEvent.NOT_DELIVERED]
    assert referrals.deliveries_of(exchange)[SHELTER].state is DeliveryState.DEAD


def test_what_was_delivered_but_not_opened_by_a_person_is_stated(referrals: Exchange) -> None:
    exchange = held(referrals)
    shelter = referrals.agencies[SHELTER]
    item, copy, _document = shelter.fetch()
    shelter.acknowledge("delivered", item, copy.payload)
    referrals.clock.advance(hours=8)
    assert [close_deadlines(referrals.hub) for _ in range(2)] == [1, 0]
    assert negatives(referrals, exchange) == [ReceiptEvent.NOT_RETRIEVED]


def test_what_was_opened_in_time_gets_no_negative_evidence(referrals: Exchange) -> None:
    exchange = held(referrals)
    shelter = referrals.agencies[SHELTER]
    item, copy, _document = shelter.fetch()
    shelter.acknowledge("delivered", item, copy.payload)
    shelter.acknowledge("retrieved", item, copy.payload)
    referrals.clock.advance(days=31)
    assert close_deadlines(referrals.hub) == 0
    assert negatives(referrals, exchange) == []


def test_what_was_opened_after_its_evidence_is_stated_too(referrals: Exchange) -> None:
    exchange = held(referrals)
    shelter = referrals.agencies[SHELTER]
    item, copy, _document = shelter.fetch()
    shelter.acknowledge("delivered", item, copy.payload)
    referrals.clock.advance(hours=8)
    close_deadlines(referrals.hub)
    shelter.acknowledge("retrieved", item, copy.payload)
    assert referrals.deliveries_of(exchange)[SHELTER].state is DeliveryState.RETRIEVED


def test_a_reply_deadline_beyond_a_day_leaves_a_day_for_the_delivery(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    exchange = sender.send(sender.message(recipients=[SHELTER], urgency="R", urgency_ground=None)).exchange
    delivery = referrals.deliveries_of(exchange)[SHELTER]
    now = referrals.clock.now()
    assert (delivery.reply_by - now, delivery.deliver_by - now) == (timedelta(days=3), timedelta(hours=24))


def test_a_message_that_expires_sooner_is_due_at_its_expiry(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    exchange = sender.send(sender.message(recipients=[SHELTER], expires="2026-11-22T10:00:00Z")).exchange
    assert referrals.deliveries_of(exchange)[SHELTER].deliver_by - referrals.clock.now() == timedelta(hours=1)


def test_tidying_writes_the_sum_of_refusals_that_were_only_counted(referrals: Exchange) -> None:
    for _ in range(referrals.hub.limits.audited_refusals_per_minute + 3):
        referrals.hub.refusals.admit(RefusalCode.MALFORMED_ENVELOPE, referrals.clock.now())
    tidy(referrals.hub)
    assert referrals.audit(AuditEvent.ARRIVALS_REFUSED) == []
    referrals.clock.advance(minutes=1)
    tidy(referrals.hub)
    (entry,) = referrals.audit(AuditEvent.ARRIVALS_REFUSED)
    assert (entry["details"]["count"], entry["details"]["by_code"]) == (3, {"malformed_envelope": 3})
