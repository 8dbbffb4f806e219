"""What each repository function promises, on both databases."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from hub.domain.deliveries import DeliveryState
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.agreements import read_agreement
from hub.storage import access, audit, deliveries, evidence, inspection, log, messages, receipts, registry
from hub.storage.deliveries import LeaseLostError, Release
from hub.storage.evidence import Outline
from hub.storage.registry import EventRow, SignatureRow
from hub.storage.store import Store, Work
from tests.simulators.exchange import REFERRAL_ORDER, ROOT, START
from tests.storage.rows import LATER, SOON, delivery, message, queue, receipt

# --- messages ---


def test_a_message_comes_back_as_it_was_stored(store: Store) -> None:
    row = message()
    store.write(lambda work: messages.add(work, row))
    with store.reading() as work:
        assert messages.get(work, "x1") == row
        assert messages.heads(work, ["x1", "x2"]) == {"x1": replace(row, content=b"")}
        assert messages.get(work, "x2") is None


def test_an_instant_keeps_its_microseconds_and_its_time_zone(store: Store) -> None:
    moment = START + timedelta(microseconds=123_457)
    store.write(lambda work: messages.add(work, message(accepted_at=moment)))
    with store.reading() as work:
        row = messages.get(work, "x1")
    assert row is not None
    assert row.accepted_at == moment
    assert row.accepted_at.tzinfo is not None


def test_a_message_id_can_be_claimed_once_by_each_sender(store: Store) -> None:
    store.write(lambda work: messages.add(work, message("x1", message_id="m")))
    store.write(lambda work: messages.add(work, message("x2", message_id="m", sender="jp.npa")))
    with pytest.raises(messages.IdTakenError):
        store.write(lambda work: messages.add(work, message("x3", message_id="m")))
    with store.reading() as work:
        assert messages.find_claim(work, "tw.npa", "m") == ("x1", "d" * 43)
        assert messages.find_claim(work, "jp.npa", "m") == ("x2", "d" * 43)
        assert messages.find_claim(work, "vn.mps", "m") is None


def test_a_message_involves_its_sender_and_its_recipients(store: Store) -> None:
    queue(store, delivery())
    with store.reading() as work:
        assert [messages.involves(work, "x1", one) for one in ("tw.npa", "jp.npa", "vn.mps")] == [True, True, False]


def test_a_thread_is_seen_by_those_who_took_part(store: Store) -> None:
    queue(store, delivery())
    with store.reading() as work:
        for authority in ("tw.npa", "jp.npa"):
            assert messages.thread(work, ["id of x1", "other"], authority) == {("id of x1", "id of x1", "order")}
        assert messages.thread(work, ["id of x1"], "vn.mps") == set()


# --- deliveries ---


def test_a_delivery_comes_back_as_it_was_queued(store: Store) -> None:
    queue(store, delivery("d2", recipient="vn.mps"), delivery("d1"))
    with store.reading() as work:
        assert deliveries.get(work, "d1") == delivery("d1")
        assert deliveries.get(work, "d3") is None
        assert [one.id for one in deliveries.of_exchange(work, "x1")] == ["d1", "d2"]


def test_a_delivery_needs_its_message(store: Store) -> None:
    with pytest.raises(IntegrityError):
        store.write(lambda work: deliveries.add(work, [delivery()]))


def test_what_is_due_is_leased_earliest_first_and_only_once(store: Store) -> None:
    queue(store, delivery("d1", next_attempt_at=SOON), delivery("d2"), delivery("d3", next_attempt_at=LATER))
    now = SOON
    first = store.write(lambda work: deliveries.lease_due(work, now, LATER, 1))
    rest = store.write(lambda work: deliveries.lease_due(work, now, LATER, 10))
    assert [[one.id for one in part] for part in (first, rest)] == [["d2"], ["d1"]]
    assert [one.fence for one in (*first, *rest)] == [1, 1]
    assert store.write(lambda work: deliveries.lease_due(work, now, LATER, 10)) == []


def test_a_lease_that_ran_out_goes_to_another_worker_with_a_higher_fence(store: Store) -> None:
    queue(store, delivery())
    store.write(lambda work: deliveries.lease_due(work, START, SOON, 1))
    (again,) = store.write(lambda work: deliveries.lease_due(work, SOON, LATER, 1))
    assert again.fence == 2


def test_a_worker_whose_lease_was_taken_over_writes_nothing(store: Store) -> None:
    queue(store, delivery())
    (stale,) = store.write(lambda work: deliveries.lease_due(work, START, SOON, 1))
    store.write(lambda work: deliveries.lease_due(work, SOON, LATER, 1))

    def finish(work: Work) -> None:
        audit.add(work, [(b"{}", b"\x00" * 32, "x1")])
        deliveries.move(work, stale, DeliveryState.SENT)

    with pytest.raises(LeaseLostError):
        store.write(finish)
    with store.reading() as work:
        found = deliveries.get(work, "d1")
        assert (audit.count_pending(work), found and found.state) == (0, DeliveryState.QUEUED)


def test_moving_a_delivery_gives_its_lease_up_and_can_be_done_once(store: Store) -> None:
    queue(store, delivery())
    (leased,) = store.write(lambda work: deliveries.lease_due(work, START, LATER, 1))
    store.write(
        lambda work: deliveries.move(
            work, leased, DeliveryState.SENT, next_attempt_at=SOON, attempts=3, position=7, last_error="timeout"
        )
    )
    with store.reading() as work:
        found = deliveries.get(work, "d1")
    assert found == delivery(
        state=DeliveryState.SENT, next_attempt_at=SOON, attempts=3, position=7, last_error="timeout", fence=leased.fence + 1
    )
    with pytest.raises(LeaseLostError):
        store.write(lambda work: deliveries.move(work, leased, DeliveryState.SENT))
    assert [one.id for one in store.write(lambda work: deliveries.lease_due(work, SOON, LATER, 1))] == ["d1"]


def test_recipients_can_be_left_out_of_what_is_leased(store: Store) -> None:
    queue(store, delivery("d1"), delivery("d2", recipient="vn.mps"))
    leased = store.write(lambda work: deliveries.lease_due(work, START, LATER, 10, but_not_of=["jp.npa"]))
    assert [one.id for one in leased] == ["d2"]


def test_no_recipient_fills_a_lease_alone(store: Store) -> None:
    queue(store, *(delivery(f"d{n}") for n in range(5)), *(delivery(f"e{n}", recipient="vn.mps") for n in range(5)))
    leased = store.write(lambda work: deliveries.lease_due_of(work, ["jp.npa", "vn.mps"], START, LATER, most=10, most_each=2))
    assert [one.id for one in leased] == ["d0", "d1", "e0", "e1"]


def test_positions_are_consecutive_for_each_recipient(store: Store) -> None:
    def take(recipient: str, count: int) -> int:
        return store.write(lambda work: deliveries.take_positions(work, recipient, count))

    assert [take("jp.npa", 1), take("jp.npa", 3), take("vn.mps", 2), take("jp.npa", 1)] == [1, 2, 1, 5]


def test_an_inbox_is_read_past_a_position(store: Store) -> None:
    queue(store, *(delivery(f"d{n}") for n in range(1, 4)))
    for n in range(1, 4):
        store.write(partial(deliveries.move, delivery=delivery(f"d{n}"), state=DeliveryState.HELD, position=n))
    store.write(lambda work: deliveries.take_positions(work, "jp.npa", 3))
    with store.reading() as work:
        page = deliveries.inbox(work, "jp.npa", 1, 10)
        assert [(one.id, one.position, sender, kind) for one, sender, kind in page] == [
            ("d2", 2, "tw.npa", "ht-referral"),
            ("d3", 3, "tw.npa", "ht-referral"),
        ]
        assert len(deliveries.inbox(work, "jp.npa", 0, 2)) == 2
        assert [deliveries.has_news(work, "jp.npa", after) for after in (0, 2, 3)] == [True, True, False]
        assert deliveries.has_news(work, "vn.mps", 0) is False


def test_deadlines_that_passed_are_found_once(store: Store) -> None:
    queue(
        store,
        delivery("open", deliver_by=SOON),
        delivery("later"),
        delivery("dead", deliver_by=SOON, state=DeliveryState.DEAD),
        delivery("unread", retrieve_by=SOON, state=DeliveryState.DELIVERED),
    )

    def found() -> tuple[list[str], list[str]]:
        return store.write(
            lambda work: (
                [one.id for one in deliveries.overdue(work, SOON, 10)],
                [one.id for one in deliveries.unread(work, SOON, 10)],
            )
        )

    assert found() == (["open"], ["unread"])
    store.write(lambda work: deliveries.note_evidence(work, delivery("open"), deliver_by=LATER))
    store.write(lambda work: deliveries.note_evidence(work, delivery("unread"), retrieve_by=None))
    assert found() == ([], [])


def test_deliveries_are_counted_and_listed_by_state(store: Store) -> None:
    queue(store, delivery("d1"), delivery("d2"), delivery("d3", state=DeliveryState.DEAD))
    with store.reading() as work:
        assert deliveries.counts(work) == {"queued": 2, "dead": 1}
        assert [one.id for one in deliveries.in_state(work, DeliveryState.QUEUED, 1)] == ["d1"]


def test_a_release_is_recorded_once(store: Store) -> None:
    queue(store, delivery())
    one, other = Release("d1", "a" * 43, 1, b"first", START), Release("d1", "b" * 43, 2, b"second", SOON)
    recorded = [store.write(partial(deliveries.record_release, release=each)) for each in (other, one, one)]
    assert recorded == [True, True, False]
    with store.reading() as work:
        assert [deliveries.was_released(work, "d1", digest) for digest in ("a" * 43, "c" * 43)] == [True, False]
        assert deliveries.releases_of(work, "d1") == [b"first", b"second"]


# --- receipts ---


def test_a_receipt_stands_once_for_each_recipient_event_and_issuer(store: Store) -> None:
    queue(store)
    first = receipt()
    store.write(lambda work: receipts.add(work, [first, receipt(ReceiptEvent.RELAYED, recipient="jp.npa")]))
    with pytest.raises(receipts.ReceiptExistsError):
        store.write(lambda work: receipts.add(work, [receipt(payload=b"other")]))
    with store.reading() as work:
        assert receipts.find(work, "x1", "", ReceiptEvent.ACCEPTED, "hub") == first
        assert receipts.find(work, "x1", "", ReceiptEvent.ACCEPTED, "jp.npa") is None
        assert [one.event for one in receipts.of_exchange(work, "x1")] == [ReceiptEvent.ACCEPTED, ReceiptEvent.RELAYED]


# --- the registry ---


def test_the_newest_version_of_each_document_is_read_and_every_change_raises_the_registrys_version(store: Store) -> None:
    assert store.write(lambda work: registry.record_party(work, "tw.npa", b"one", START))
    assert store.write(lambda work: registry.record_party(work, "tw.npa", b"two", START))
    assert store.write(lambda work: registry.record_key(work, "kid", "tw.npa", b"key", START))
    assert not store.write(lambda work: registry.record_party(work, "tw.npa", b"two", START))
    with store.reading() as work:
        rows = registry.load(work)
        assert (rows.version, rows.parties, rows.keys) == (3, (b"two",), (b"key",))
        assert registry.current_version(work) == 3


def test_a_key_id_belongs_to_its_first_owner_for_ever(store: Store) -> None:
    store.write(lambda work: registry.record_key(work, "kid", "tw.npa", b"key", START))
    with pytest.raises(Refusal) as caught:
        store.write(lambda work: registry.record_key(work, "kid", "jp.npa", b"key", START))
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_a_version_of_an_agreement_never_changes(store: Store) -> None:
    agreement = read_agreement((ROOT / "config" / "agreements" / f"{REFERRAL_ORDER}.toml").read_bytes())
    assert store.write(lambda work: registry.record_agreement(work, agreement, START))
    assert not store.write(lambda work: registry.record_agreement(work, agreement, START))
    with pytest.raises(Refusal) as caught:
        store.write(lambda work: registry.record_agreement(work, replace(agreement, digest="other"), START))
    assert caught.value.code is RefusalCode.VERSION_IS_IMMUTABLE
    with store.reading() as work:
        assert registry.load(work).agreements == (agreement.canonical,)


def test_the_first_signature_of_an_authority_stands_and_events_keep_their_order(store: Store) -> None:
    first = SignatureRow("order", 1, "tw.npa", "kid", "jws")
    events = (EventRow("order", "suspended", SOON, "tw.npa", "why"), EventRow("order", "resumed", START, "tw.npa", "why"))
    assert store.write(lambda work: registry.record_signature(work, first, START))
    assert not store.write(lambda work: registry.record_signature(work, replace(first, jws="another"), START))
    for event in events:
        store.write(partial(registry.record_event, row=event))
    with store.reading() as work:
        rows = registry.load(work)
    assert (rows.signatures, rows.events, rows.version) == ((first,), events, 3)


def test_only_what_is_committed_counts_as_settled(store: Store) -> None:
    with store.reading() as work:
        assert registry.is_settled(work)
    assert not store.write(registry.is_settled)


# --- the audit queue and the log ---


def test_entries_wait_in_their_order_until_they_have_a_place(store: Store) -> None:
    store.write(lambda work: audit.add(work, [(b"%d" % n, b"\x00" * 32, "x1" if n else "") for n in range(3)]))

    def place(work: Work) -> None:
        audit.place(work, audit.pending(work, 2), 40)

    store.write(place)
    with store.reading() as work:
        assert [row.entry for row in audit.pending(work, 10)] == [b"2"]
        assert audit.count_pending(work) == 1
        assert [(row.entry, row.tree_index) for row in audit.sequenced(work, 40, 99)] == [(b"0", 40), (b"1", 41)]
        assert [row.entry for row in audit.of_exchange(work, "x1")] == [b"1", b"2"]
        assert inspection.newest_entry(work) == b"2"


def test_a_place_is_given_once(store: Store) -> None:
    store.write(lambda work: audit.add(work, [(b"{}", b"\x00" * 32, "")] * 2))

    def place(work: Work) -> None:
        for row in audit.pending(work, 2):
            audit.place(work, [row], 7)

    with pytest.raises(IntegrityError):
        store.write(place)


def test_only_the_one_who_saw_the_logs_size_extends_it(store: Store) -> None:
    store.write(lambda work: log.extend(work, 0, 5, b"r" * 32))
    with pytest.raises(log.LogMovedError):
        store.write(lambda work: log.extend(work, 0, 6, b"s" * 32))
    with store.reading() as work:
        assert log.state(work) == (5, b"r" * 32)


def test_a_tile_is_replaced_by_its_longer_form(store: Store) -> None:
    store.write(lambda work: log.write_tiles(work, {(0, 0): b"a", (1, 0): b"b"}))
    store.write(lambda work: log.write_tiles(work, {(0, 0): b"aa", (0, 1): b"c"}))
    with store.reading() as work:
        assert [log.read_tile(work, 0, 0), log.read_tile(work, 1, 0), log.read_tile(work, 2, 0)] == [b"aa", b"b", b""]
        assert log.last_tiles(work) == {0: 1, 1: 0}


def test_the_newest_checkpoint_is_the_one_over_the_greatest_size(store: Store) -> None:
    with store.reading() as work:
        assert (log.latest_checkpoint(work), inspection.checkpoint_time(work)) == (None, None)
    for size in (5, 9, 7):
        store.write(partial(log.record_checkpoint, size=size, note=f"note {size}", now=START))
    with store.reading() as work:
        assert (log.latest_checkpoint(work), inspection.checkpoint_time(work)) == ((9, "note 9"), START)


# --- access ---


def test_a_token_id_is_used_once_until_it_is_forgotten(store: Store) -> None:
    store.write(lambda work: access.burn(work, "issuer", "jti", SOON))
    store.write(lambda work: access.burn(work, "other issuer", "jti", LATER))
    with pytest.raises(access.AlreadyUsedError):
        store.write(lambda work: access.burn(work, "issuer", "jti", LATER))
    assert store.write(lambda work: access.forget_expired(work, LATER)) == 1
    store.write(lambda work: access.burn(work, "issuer", "jti", LATER))


def test_a_unit_can_go_on_after_a_token_id_that_was_used(store: Store) -> None:
    def unit(work: Work) -> int:
        access.burn(work, "issuer", "jti", SOON)
        with pytest.raises(access.AlreadyUsedError):
            access.burn(work, "issuer", "jti", SOON)
        return registry.current_version(work)

    assert store.write(unit) == 0


def test_a_lease_is_renewed_by_its_holder_and_taken_over_when_it_ran_out(store: Store) -> None:
    def take(holder: str, now: datetime, until: datetime) -> int | None:
        return store.write(lambda work: access.take_lease(work, "job", holder, now, until))

    assert take("one", START, SOON) == 1
    assert take("one", START, SOON) == 2
    assert take("other", START, LATER) is None
    assert take("other", SOON, LATER) == 3
    assert take("one", SOON, LATER) is None


# --- what the verification reads ---


def test_evidence_is_read_for_many_exchanges_at_once(store: Store) -> None:
    queue(store, delivery("d1"), delivery("d2", recipient="a.b"))
    store.write(lambda work: messages.add(work, message("x2", digest="e" * 43)))
    store.write(lambda work: receipts.add(work, [receipt()]))
    store.write(lambda work: audit.add(work, [(b"entry", b"\x00" * 32, "x1")]))
    with store.reading() as work:
        assert evidence.count_messages(work) == 2
        assert evidence.outlines(work, "", 10) == [Outline("x1", "d" * 43), Outline("x2", "e" * 43)]
        assert evidence.outlines(work, "x1", 10) == [Outline("x2", "e" * 43)]
        assert evidence.digests_of(work, ["x2", "x3"]) == {"x2": "e" * 43}
        assert evidence.entries_of(work, ["x1", "x2"]) == [b"entry"]
        assert evidence.recipients_of(work, ["x1", "x2"]) == {"x1": ["a.b", "jp.npa"]}
        assert evidence.receipts_of(work, ["x1"]) == {"x1": [receipt()]}
        assert evidence.stored_receipts(work, [receipt().digest, "other"]) == {("x1", receipt().digest)}
        assert evidence.orphans(work, 10) == []
        assert evidence.places_beyond(work, 0, 10) == []


def test_nothing_is_asked_about_no_exchange(store: Store) -> None:
    queue(store, delivery())
    with store.reading() as work:
        assert evidence.digests_of(work, []) == {}
        assert evidence.stored_receipts(work, []) == set()
        assert messages.heads(work, []) == {}
