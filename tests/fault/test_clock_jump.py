"""The hub's clock jumps: no delivery is lost or made twice, and negative evidence is issued once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.domain.deliveries import DeliveryState
from hub.domain.receipts import ReceiptEvent
from hub.services.clock import DemonstrationClock
from hub.services.close_deadlines import close_deadlines
from hub.services.deliver_message import relay, take_due
from hub.services.sequence_log import sequence_pending
from hub.services.verify_store import verify_store
from tests.simulators.exchange import START, referral_exchange

IMMIGRATION, POLICE = "tw.nia", "tw.npa"
DAY = 86_400


class Jumping:
    """An exchange whose hub has the clock of the demonstration: its offset stands in a file."""

    def __init__(self, folder: Path) -> None:
        self.exchange = referral_exchange(f"sqlite:///{folder}/hub.sqlite")
        self._file = folder / "offset"
        clock = DemonstrationClock(self._file)
        self._base = round((START - datetime.now(UTC)).total_seconds())  # the exchange's keys are good around its own start
        self.jump_to(0)
        self.exchange.hub = replace(self.exchange.hub, clock=clock)

    def jump_to(self, seconds: int) -> None:
        """Set the clock to so many seconds after the start, forwards or backwards."""
        self._file.write_text(str(self._base + seconds), encoding="ascii")
        self.exchange.clock.moment = START + timedelta(seconds=seconds)

    def send(self) -> str:
        """Let immigration send the police a message; its exchange."""
        sender = self.exchange.agencies[IMMIGRATION]
        return sender.send(sender.message(recipients=[POLICE])).exchange

    def positions(self) -> list[int]:
        """The positions in the inbox of the police."""
        return [item.delivery.position for item in self.exchange.agencies[POLICE].inbox()]

    def events(self, exchange: str) -> list[str]:
        """What the hub stated about a message."""
        return sorted(one.event.value for one in self.exchange.receipts_of(exchange) if one.issuer == "hub")

    def fetch_and_confirm(self) -> Any:
        """Let the police open the newest item and say so."""
        police = self.exchange.agencies[POLICE]
        item, signed, _document = police.fetch()
        return police.acknowledge("delivered", item, signed.payload)


@pytest.fixture
def jumping(tmp_path: Path) -> Iterator[Jumping]:
    made = Jumping(tmp_path)
    yield made
    sequence_pending(made.exchange.hub)
    assert verify_store(made.exchange.hub).flaws == ()
    made.exchange.close()


def test_what_was_leased_before_a_jump_forwards_is_relayed_once(jumping: Jumping) -> None:
    jumping.send()
    leased = take_due(jumping.exchange.hub, 10)
    jumping.jump_to(DAY)
    jumping.exchange.deliver()
    relay(jumping.exchange.hub, leased)  # the first worker comes back late
    assert jumping.positions() == [1]


def test_what_was_accepted_before_a_jump_backwards_is_relayed_once_the_clock_is_right_again(jumping: Jumping) -> None:
    jumping.jump_to(DAY)
    first = jumping.send()
    jumping.jump_to(0)
    jumping.send()
    jumping.exchange.deliver()
    assert jumping.positions() == [1]
    jumping.jump_to(DAY)
    jumping.exchange.deliver()
    assert jumping.positions() == [1, 2]
    assert jumping.events(first) == ["accepted", "relayed"]


def test_a_lease_from_a_clock_that_ran_ahead_does_not_lose_the_delivery(jumping: Jumping) -> None:
    jumping.send()
    jumping.jump_to(DAY)
    assert len(take_due(jumping.exchange.hub, 10)) == 1  # and then this worker dies
    jumping.jump_to(0)
    jumping.exchange.deliver()
    jumping.jump_to(DAY + 120)
    jumping.exchange.deliver()
    assert jumping.positions() == [1]


def test_negative_evidence_is_issued_once_however_often_the_deadline_passes(jumping: Jumping) -> None:
    exchange = jumping.send()
    jumping.exchange.deliver()
    for moment in (2 * DAY, 0, 2 * DAY, 0, 3 * DAY):
        jumping.jump_to(moment)
        close_deadlines(jumping.exchange.hub)
    assert jumping.events(exchange).count(ReceiptEvent.NOT_DELIVERED) == 1


def test_a_message_is_delivered_after_a_jump_that_missed_its_deadline_by_mistake(jumping: Jumping) -> None:
    exchange = jumping.send()
    jumping.exchange.deliver()
    jumping.jump_to(2 * DAY)
    close_deadlines(jumping.exchange.hub)
    jumping.jump_to(60)
    jumping.fetch_and_confirm()
    assert jumping.events(exchange) == ["accepted", "delivered", "not_delivered", "relayed"]
    assert jumping.exchange.deliveries_of(exchange)[POLICE].state is DeliveryState.DELIVERED


def test_a_repeat_after_a_jump_gets_the_first_receipt(jumping: Jumping) -> None:
    sender = jumping.exchange.agencies[IMMIGRATION]
    message = sender.message(recipients=[POLICE])
    first = sender.send(message)
    for moment in (40 * DAY, -DAY):
        jumping.jump_to(moment)
        assert sender.send(message).jws == first.jws


def test_the_log_grows_and_verifies_across_jumps(jumping: Jumping) -> None:
    for moment in (0, 2 * DAY, -DAY, 60):
        jumping.jump_to(moment)
        jumping.send()
        sequence_pending(jumping.exchange.hub)
        assert verify_store(jumping.exchange.hub).flaws == ()
