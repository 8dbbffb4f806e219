"""Whatever order things happen in, the exchange keeps its promises: a machine does them at random and looks after each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from hub.domain.keys import KeyState
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.close_deadlines import close_deadlines
from hub.services.deliver_message import DueDelivery, decide_again, relay, take_due
from hub.services.pull_inbox import InboxItem, fetch_delivery
from hub.services.sequence_log import sequence_pending
from hub.services.verify_store import verify_store
from hub.storage import deliveries, messages
from tests.simulators.exchange import REFERRAL_ORDER, Exchange, referral_exchange

T = TypeVar("T")

SENDERS = ("tw.nia", "tw.npa.liaison.tokyo")
RECIPIENTS = ("tw.npa", "tw.shelter.garden")
HOURS = st.sampled_from([0.01, 1, 9, 30, 24 * 31])

_ONE_EACH = """
SELECT count(*) FROM (SELECT 1 FROM receipts GROUP BY exchange, recipient, event, issuer HAVING count(*) > 1)
"""
_ACCEPTED_ONCE = """
SELECT count(*) FROM messages m WHERE
  (SELECT count(*) FROM receipts r WHERE r.exchange = m.exchange AND r.event = 'accepted') != 1
"""
_POSITIONS = """
SELECT e.position, count(d.position), max(d.position), count(DISTINCT d.position)
FROM inbox_ends e JOIN deliveries d ON d.recipient = e.recipient AND d.position IS NOT NULL GROUP BY e.recipient
"""


@dataclass
class Sent:
    """A message that was accepted, and its first receipt."""

    sender: str
    message: dict[str, Any]
    receipt: str


@dataclass
class Opened:
    """A copy that a recipient opened."""

    recipient: str
    item: InboxItem
    payload: bytes


@dataclass
class Model:
    """What ought to hold beside the store."""

    accepted: int = 0
    is_suspended: bool = False
    revoked: set[str] = field(default_factory=set)


def attempt(step: Callable[[], T]) -> T | Refusal:
    """What a step gives, or the refusal that it meets."""
    try:
        return step()
    except Refusal as refusal:
        return refusal


class ExchangeMachine(RuleBasedStateMachine):
    """The steps of an exchange, in any order."""

    sent = Bundle("sent")
    opened = Bundle("opened")
    leased = Bundle("leased")

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.exchange: Exchange = referral_exchange(f"sqlite:///{Path(self.folder.name) / 'hub.sqlite'}")
        self.model = Model()

    # sending

    @rule(target=sent, sender=st.sampled_from(SENDERS), to=st.lists(st.sampled_from(RECIPIENTS), min_size=1, unique=True))
    def send(self, sender: str, to: list[str]) -> Any:
        agency = self.exchange.agencies[sender]
        message = agency.message(recipients=to)
        expected = {RefusalCode.KEY_NOT_VALID} if sender in self.model.revoked else set()
        expected |= {RefusalCode.AGREEMENT_SUSPENDED} if self.model.is_suspended else set()
        issued = attempt(lambda: agency.send(message))
        if isinstance(issued, Refusal):
            assert issued.code in expected
            return Sent(sender, message, "")
        assert (expected, issued.repeated) == (set(), False)
        self.model.accepted += 1
        return Sent(sender, message, issued.jws)

    @rule(one=sent)
    def send_again(self, one: Sent) -> None:
        if not one.receipt or one.sender in self.model.revoked:
            return
        again = self.exchange.agencies[one.sender].send(one.message)
        assert (again.jws, again.repeated) == (one.receipt, True)

    # delivering

    @rule()
    def deliver(self) -> None:
        self.exchange.deliver()

    @rule(target=leased)
    def lease(self) -> list[DueDelivery]:
        return take_due(self.exchange.hub, 2)

    @rule(due=consumes(leased))
    def relay_what_was_leased(self, due: list[DueDelivery]) -> None:
        relay(self.exchange.hub, due)

    @rule(target=opened, recipient=st.sampled_from(RECIPIENTS), place=st.integers(0, 5))
    def fetch(self, recipient: str, place: int) -> Any:
        agency = self.exchange.agencies[recipient]
        inbox = agency.inbox()
        if not inbox:
            return None
        item = inbox[place % len(inbox)]
        may_have_it = self.allows_now(item)
        fetched = attempt(lambda: fetch_delivery(self.exchange.hub, agency.caller, item.delivery.id))
        assert may_have_it is not isinstance(fetched, Refusal)
        if isinstance(fetched, Refusal):
            return None
        signed, _document = agency.open(fetched[1])
        return Opened(recipient, item, signed.payload)

    def allows_now(self, item: InboxItem) -> bool:
        """What the policy says about this delivery at this moment."""
        hub = self.exchange.hub
        with hub.store.reading() as work:
            delivery, message = deliveries.get(work, item.delivery.id), messages.get(work, item.delivery.exchange)
            assert delivery is not None
            assert message is not None
            due = DueDelivery(delivery, message, hub.registry.at(work))
        return decide_again(due, hub.clock.now())[1].allows

    @rule(one=opened, event=st.sampled_from(["delivered", "retrieved", "rejected"]))
    def acknowledge(self, one: Opened | None, event: str) -> None:
        if one is None:
            return
        agency = self.exchange.agencies[one.recipient]
        reason = {"reason": "cannot_open"} if event == "rejected" else {}
        before = self.exchange.deliveries_of(one.item.delivery.exchange)[one.recipient].state
        answer = attempt(lambda: agency.acknowledge(event, one.item, one.payload, **reason))
        if isinstance(answer, Refusal):
            assert answer.code is RefusalCode.RECEIPT_MISMATCH
            assert self.exchange.deliveries_of(one.item.delivery.exchange)[one.recipient].state is before

    # what changes around it

    @rule()
    def suspend_or_resume(self) -> None:
        self.exchange.clock.advance(seconds=1)
        self.exchange.agreement_event(REFERRAL_ORDER, "resumed" if self.model.is_suspended else "suspended")
        self.model.is_suspended = not self.model.is_suspended

    @rule(sender=st.sampled_from(SENDERS))
    def revoke_or_restore_a_key(self, sender: str) -> None:
        key = self.exchange.keys_of(self.exchange.agencies[sender])[0]
        if sender in self.model.revoked:
            self.exchange.record(replace(key, state=KeyState.ACTIVE))
        else:
            self.exchange.revoke(key)
        self.model.revoked ^= {sender}

    @rule(hours=HOURS)
    def time_passes(self, hours: float) -> None:
        self.exchange.clock.advance(hours=hours)

    @rule()
    def close_deadlines(self) -> None:
        close_deadlines(self.exchange.hub)

    @rule()
    def sequence(self) -> None:
        sequence_pending(self.exchange.hub)

    # what holds after each step

    @invariant()
    def each_message_is_there_once_with_one_accepted_receipt(self) -> None:
        assert self.count("SELECT count(*) FROM messages") == self.model.accepted
        assert self.count(_ACCEPTED_ONCE) == 0

    @invariant()
    def nothing_is_stated_twice(self) -> None:
        assert self.count(_ONE_EACH) == 0

    @invariant()
    def positions_have_no_gap(self) -> None:
        with self.exchange.hub.store.reading() as work:
            rows = work.exec_driver_sql(_POSITIONS).all()
        assert all(len(set(row)) == 1 for row in rows)

    def count(self, statement: str) -> int:
        """The one number that a statement gives."""
        with self.exchange.hub.store.reading() as work:
            number: int = work.exec_driver_sql(statement).scalar_one()
            return number

    def teardown(self) -> None:
        if not hasattr(self, "exchange"):
            return
        sequence_pending(self.exchange.hub)
        report = verify_store(self.exchange.hub, deep=True)
        assert (report.flaws, report.pending, report.messages) == ((), 0, self.model.accepted)
        self.exchange.close()
        self.folder.cleanup()


TestExchangeMachine = ExchangeMachine.TestCase
TestExchangeMachine.settings = settings(
    max_examples=settings().max_examples // 4,  # each is a whole hub
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
