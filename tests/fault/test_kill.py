"""`kill -9` of the whole process group while requests are in flight: what was answered stands, and nothing is half there.

A round: the hub starts, its partners send and confirm as fast as they can, and at a random moment everything of the hub is killed
with requests that are sent and never answered. Then the store is examined as the kill left it, the hub starts again, and every
partner asks again for what it sent.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from bench.exchange import RECIPIENTS, SENDER, Member, hub_keys, seal_messages, set_up
from hub.bootstrap import Installation
from hub.services.hub import Hub
from hub.services.read_log import latest_checkpoint
from hub.services.registry_reader import RegistryReader
from hub.services.verify_store import verify_store
from hub.storage.store import Store
from tests.fault.busy_partners import BusyRecipient, BusySenders, Sending, send_all
from tests.fault.forking_hub import ForkingHub
from tests.servers import free_port, wait_for, write_config

ROUNDS, SOAK_ROUNDS = 40, 400
MOST_LATE_KILLS = 10
SENDERS = 8
MESSAGES_IN_A_ROUND = 120
MESSAGE_BYTES = 2048
MOST_ANSWERS_BEFORE_THE_KILL = 60
LONGEST_REQUEST_SECONDS = 0.02
TO = RECIPIENTS[:2]

COUNTED = """
SELECT m.sender || ' ' || m.message_id, m.exchange,
  (SELECT count(*) FROM deliveries d WHERE d.exchange = m.exchange),
  (SELECT count(*) FROM receipts r WHERE r.exchange = m.exchange AND r.event = 'accepted'),
  (SELECT count(*) FROM audit_entries a WHERE a.exchange = m.exchange AND instr(a.entry, CAST(:accepted AS BLOB)) > 0),
  (SELECT count(*) FROM receipts r WHERE r.exchange = m.exchange AND r.event = 'relayed'),
  (SELECT count(*) FROM deliveries d WHERE d.exchange = m.exchange AND d.position IS NOT NULL)
FROM messages m
"""
POSITIONS = "SELECT recipient, count(position), max(position) FROM deliveries WHERE position IS NOT NULL GROUP BY recipient"
CONFIRMED = "SELECT exchange FROM receipts WHERE recipient = :recipient AND event = 'delivered' AND issuer = 'hub'"


@dataclass
class Trial:
    """A hub to be killed, its partners, and what they saw."""

    running: ForkingHub
    hub: Hub
    members: dict[str, Member]
    hub_key: tuple[str, dict[str, str]]
    recipient: BusyRecipient
    port: int
    sent: list[Sending] = field(default_factory=list)
    checkpoint: str = ""
    found: Counter[str] = field(default_factory=Counter)

    def start(self) -> None:
        """Start the hub, and the partner that pulls from it until it is killed."""
        self.running.start()
        self.recipient.start()

    def start_sending(self) -> BusySenders:
        """Senders at work on fresh messages."""
        bodies = seal_messages(self.members[SENDER], self.hub_key, MESSAGES_IN_A_ROUND, MESSAGE_BYTES, TO)
        senders = BusySenders(self.port, [Sending(body) for body in bodies], SENDERS)
        senders.start()
        return senders

    @contextmanager
    def store_as_it_is(self) -> Iterator[Hub]:
        """The store opened anew, as the kill left it: whoever opens it first recovers it."""
        hub = replace(self.hub, store=Store(self.hub.store.engine.url.render_as_string()), registry=RegistryReader())
        try:
            yield hub
        finally:
            hub.store.close()


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    port = free_port()
    config = write_config(tmp_path, port, {"server": {"workers": 1, "threads": SENDERS + 2}, "log": {"level": "warning"}})
    running = ForkingHub(tmp_path, f"http://127.0.0.1:{port}", config)
    running.initialise()
    members = set_up(config)
    hub_key, log_key = hub_keys(config)
    with Installation(config).open_hub() as hub:
        hub.store.close()  # an open file of ours would keep the next one who opens it from recovering it
        recipient = BusyRecipient(running.url, members[TO[0]], log_key)
        yield Trial(running, hub, members, hub_key, recipient, port)
    running.stop()


@pytest.mark.timeout(7200)
def test_what_was_answered_outlives_kills_and_nothing_is_half_there(trial: Trial, soak: bool) -> None:
    chance = random.Random(20261122)
    trial.start()
    wanted, proved, tried = SOAK_ROUNDS if soak else ROUNDS, 0, 0
    while proved < wanted:
        tried += 1
        assert tried <= wanted + MOST_LATE_KILLS, "too many kills came when every request was answered"
        senders, were_in_flight = kill_with_requests_in_flight(trial, chance)
        proved += were_in_flight
        examine(trial, senders)
        trial.start()
        ask_again(trial, senders)
    assert_that_kills_came_in_the_middle(trial)
    send_everything_again(trial)
    end_in_good_order(trial)


def kill_with_requests_in_flight(trial: Trial, chance: random.Random) -> tuple[BusySenders, bool]:
    """Kill while requests are sent and not answered; that the hub never answered one of them proves it.

    Where it answered them all in the instant before the kill, the second result is False, and the round does not count.
    """
    senders = trial.start_sending()
    moment = (chance.randrange(MOST_ANSWERS_BEFORE_THE_KILL), LONGEST_REQUEST_SECONDS * chance.random())
    before = senders.wait_for_requests_in_flight(*moment)
    trial.running.kill()
    senders.join()
    trial.recipient.join()
    assert {one.status for one in senders.sendings} <= {0, 202}
    return senders, any(one.is_in_flight for one in before)


def examine(trial: Trial, senders: BusySenders) -> None:
    """Look at the store before anything has started again."""
    with trial.store_as_it_is() as hub:
        report = verify_store(hub, [trial.checkpoint] if trial.checkpoint else [])
        assert report.ok, report.flaws
        trial.checkpoint = latest_checkpoint(hub)
        with hub.store.reading() as work:
            rows = work.exec_driver_sql(COUNTED, {"accepted": '"message.accepted"'}).all()
            positions = work.exec_driver_sql(POSITIONS).all()
            confirmed = work.exec_driver_sql(CONFIRMED, {"recipient": TO[0]}).scalars().all()
    assert {tuple(row[2:5]) for row in rows} <= {(len(TO), 1, 1)}, "a message is half there"
    assert all(relayed == held for *_, relayed, held in rows), "a delivery was relayed without its receipt, or twice"
    assert all(count == last for _recipient, count, last in positions), "an inbox has a gap"
    exchanges = [row[1] for row in rows]
    assert len(set(exchanges)) == len(exchanges)
    answered = [one.answer["exchange"] for one in (*trial.sent, *senders.sendings) if one.is_accepted]
    assert set(answered) <= set(exchanges), "a message whose sender saw 202 is gone"
    assert len(confirmed) == len(set(confirmed)) >= len(trial.recipient.confirmed)


def ask_again(trial: Trial, senders: BusySenders) -> None:
    """Send everything of the round again: what was answered gets the same answer, what was not is taken in or found there."""
    tried = [one for one in senders.sendings if one.is_sent]
    again = [Sending(one.body) for one in tried]
    send_all(trial.port, again)
    for first, second in zip(tried, again, strict=True):
        assert second.is_accepted, second.answer
        assert not first.is_accepted or first.answer == second.answer
    for first, second in zip(tried, again, strict=True):
        if not first.is_accepted:
            trial.found["there" if second.is_repeated else "absent"] += 1
    trial.sent += again


def assert_that_kills_came_in_the_middle(trial: Trial) -> None:
    """Over all rounds some messages were never answered though they are there, and some never came so far."""
    assert trial.found["there"] > 0
    assert trial.found["absent"] > 0


def send_everything_again(trial: Trial) -> None:
    """At the end every sender and the recipient get their first answers once more, and nothing is there twice."""
    again = [Sending(one.body) for one in trial.sent]
    send_all(trial.port, again)
    assert [one.answer for one in again] == [one.answer for one in trial.sent]
    assert all(one.is_repeated for one in again)
    confirmed = trial.recipient.confirmed
    for known in range(len(trial.sent)):  # however many it has still to open, each comes
        wait_for(partial(lambda known: len(confirmed) > known, known))
    assert trial.recipient.confirm_again() == dict(trial.recipient.confirmed)
    with trial.store_as_it_is() as hub, hub.store.reading() as work:
        assert work.exec_driver_sql("SELECT count(*) FROM messages").scalar_one() == len(trial.sent)


def end_in_good_order(trial: Trial) -> None:
    """The queue runs empty, the processes end when asked, and the commands that judge a store find nothing."""
    with trial.store_as_it_is() as hub:
        wait_for(lambda: _count(hub, "SELECT count(*) FROM deliveries WHERE state = 'queued'") == 0)
        wait_for(lambda: _count(hub, "SELECT count(*) FROM audit_entries WHERE tree_index IS NULL") == 0)
    trial.running.end()
    trial.recipient.join()
    kept = trial.running.folder / "checkpoint"
    kept.write_text(trial.checkpoint, encoding="utf-8")
    trial.running.command("doctor")
    trial.running.command("audit", "verify", "--deep", "--against", kept)


def _count(hub: Hub, statement: str) -> int:
    with hub.store.reading() as work:
        count: int = work.exec_driver_sql(statement).scalar_one()
        return count
