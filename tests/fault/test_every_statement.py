"""The database connection breaks at the first statement of a step, then at the second, ... until the step gets through.

Whatever the step had begun must be gone, or whole; doing the same again must lead to the one right end; and the store verifies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from hub.domain.deliveries import DeliveryState
from hub.domain.receipts import ReceiptEvent
from hub.services.close_deadlines import close_deadlines
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE, receive_message
from hub.services.record_receipt import record_receipt
from hub.services.sequence_log import sequence_pending
from hub.services.verify_store import verify_store
from hub.storage import log
from tests.fault.failing_database import BreakingPoint, Moment, break_at
from tests.simulators.exchange import referral_exchange

IMMIGRATION, POLICE, SHELTER = "tw.nia", "tw.npa", "tw.shelter.garden"
MOST_STATEMENTS = 200
TABLES = ("messages", "deliveries", "receipts", "releases", "audit_entries", "inbox_ends", "log_tiles", "log_checkpoints")

Step = Callable[[], object]


class Trial:
    """An exchange whose database breaks where a test says."""

    def __init__(self, url: str, moment: Moment) -> None:
        self.exchange = referral_exchange(url)
        self.moment = moment
        self.point = BreakingPoint()
        break_at(self.exchange.hub.store, self.point)

    def tries_of(self, step: Step) -> Iterator[BaseException | None]:
        """Do a step again and again with a later breaking point, until it gets through; give what each try raised."""
        for at in range(1, MOST_STATEMENTS):
            self.point.at, self.point.seen, self.point.moment = at, 0, self.moment
            raised: BaseException | None = None
            try:
                step()
            except (DBAPIError, sqlite3.OperationalError) as error:
                raised = error
            was_reached = self.point.was_reached
            self.point.at = 0
            yield raised
            if not was_reached:
                assert raised is None
                return
        raise AssertionError("it never gets through")

    def get_through(self, step: Step) -> int:
        """Do a step until it gets through; after each failure the store verifies. Says how often it failed."""
        failures = 0
        for raised in self.tries_of(step):
            failures += raised is not None
            self.verify()
        return failures

    def verify(self) -> None:
        """The store agrees with its log."""
        report = verify_store(self.exchange.hub)
        assert report.ok, report.flaws

    def rows(self) -> dict[str, int]:
        """How many rows stand in each table."""
        with self.exchange.hub.store.reading() as work:
            return {table: work.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in TABLES}

    def accept(self) -> dict[str, Any]:
        """Take a message in, undisturbed."""
        sender = self.exchange.agencies[IMMIGRATION]
        message = sender.message(recipients=[POLICE, SHELTER])
        sender.send(message)
        return message


@pytest.fixture(params=Moment, ids=lambda moment: moment.value.replace(" ", "-"))
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    made = Trial(f"sqlite:///{tmp_path}/hub.sqlite", request.param)
    yield made
    made.exchange.close()


def test_a_message_is_taken_in_once_and_whole(trial: Trial) -> None:
    sender = trial.exchange.agencies[IMMIGRATION]
    message = sender.message(recipients=[POLICE, SHELTER])
    envelope = sender.envelope(message)
    receipts: list[str] = []

    def send() -> None:
        receipts.append(receive_message(trial.exchange.hub, envelope, ENVELOPE_MEDIA_TYPE).jws)

    assert trial.get_through(send) > 5
    receipts.append(sender.send(message).jws)
    assert len(set(receipts)) == 1
    rows = trial.rows()
    assert (rows["messages"], rows["deliveries"], rows["receipts"]) == (1, 2, 1)


def test_nothing_is_kept_of_a_message_whose_acceptance_broke_before_the_commit(tmp_path: Path) -> None:
    trial = Trial(f"sqlite:///{tmp_path}/hub.sqlite", Moment.BEFORE)
    sender = trial.exchange.agencies[IMMIGRATION]
    message, before = sender.message(), trial.rows()
    for raised in trial.tries_of(lambda: sender.send(message)):
        assert raised is None or trial.rows() == before
    trial.exchange.close()


def test_a_delivery_is_held_once_at_the_next_position(trial: Trial) -> None:
    trial.accept()

    def relay() -> None:
        trial.exchange.deliver()

    for _raised in trial.tries_of(relay):
        trial.verify()
        trial.exchange.clock.advance(minutes=2)  # a lease that a broken round left ends
    trial.exchange.deliver()
    for authority in (POLICE, SHELTER):
        assert [item.delivery.position for item in trial.exchange.agencies[authority].inbox()] == [1]
    assert sorted(receipt_events(trial)) == ["accepted", "relayed", "relayed"]


def test_a_fetched_copy_is_recorded_once(trial: Trial) -> None:
    trial.accept()
    trial.exchange.deliver()
    assert trial.get_through(trial.exchange.agencies[POLICE].fetch) > 5
    assert trial.rows()["releases"] == 1


def test_a_recipients_receipt_is_recorded_once_and_answered_with_the_same_octets(trial: Trial) -> None:
    trial.accept()
    trial.exchange.deliver()
    police = trial.exchange.agencies[POLICE]
    item, signed, _document = police.fetch()
    text = police.receipt(**police.state("delivered", item, signed.payload))
    answers: list[str] = []

    def acknowledge() -> None:
        answers.append(record_receipt(trial.exchange.hub, police.caller, item.delivery.id, text).jws)

    assert trial.get_through(acknowledge) > 5
    acknowledge()
    assert len(set(answers)) == 1
    assert receipt_events(trial).count("delivered") == 2  # the recipient's and the hub's
    assert trial.exchange.deliveries_of(item.delivery.exchange)[POLICE].state is DeliveryState.DELIVERED


def test_negative_evidence_is_issued_once(trial: Trial) -> None:
    trial.accept()
    trial.exchange.deliver()
    trial.exchange.clock.advance(days=2)
    assert trial.get_through(lambda: close_deadlines(trial.exchange.hub)) > 3
    close_deadlines(trial.exchange.hub)
    assert receipt_events(trial).count(ReceiptEvent.NOT_DELIVERED) == 2


def test_the_log_gets_every_entry_once_and_its_checkpoint(trial: Trial) -> None:
    for _ in range(3):
        trial.accept()
    assert trial.get_through(lambda: sequence_pending(trial.exchange.hub)) > 5
    sequence_pending(trial.exchange.hub)
    report = verify_store(trial.exchange.hub)
    with trial.exchange.hub.store.reading() as work:
        latest = log.latest_checkpoint(work)
    assert (report.flaws, report.pending, report.size) == ((), 0, trial.rows()["audit_entries"])
    assert latest is not None
    assert latest[0] == report.size


def receipt_events(trial: Trial) -> list[str]:
    with trial.exchange.hub.store.reading() as work:
        return list(work.exec_driver_sql("SELECT event FROM receipts").scalars())
