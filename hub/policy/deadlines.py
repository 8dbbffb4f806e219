"""When an answer is due, when it must be acknowledged, and until when a delivery may take."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from hub.domain.agreements import Agreement, Deadline
from hub.domain.messages import Urgency

DEFAULT_DEADLINES: dict[Urgency, Deadline] = {
    Urgency.U1: Deadline(reply=timedelta(hours=8), acknowledge=timedelta(hours=1)),
    Urgency.U2: Deadline(reply=timedelta(days=3), acknowledge=timedelta(hours=8)),
    Urgency.R: Deadline(reply=timedelta(days=7), acknowledge=timedelta(hours=24)),
    Urgency.N: Deadline(reply=timedelta(days=14), acknowledge=timedelta(days=3)),
}
"""Replies: Directive (EU) 2023/977 article 5(1); N: Framework Decision 2006/960/JHA article 4(4). A day is 24 hours."""

DELIVERY_TIME = timedelta(hours=24)
"""After this, a message that its recipient's system has not confirmed is reported as not delivered."""


class DueTimes(NamedTuple):
    """The two clocks of one recipient; both start when the hub accepts the message."""

    reply: datetime
    acknowledge: datetime


def deadlines_for(agreement: Agreement, urgency: Urgency, accepted_at: datetime) -> DueTimes:
    """When the reply and the acknowledgement are due: as the agreement says, else by default."""
    limit = agreement.deadlines.get(urgency, DEFAULT_DEADLINES[urgency])
    return DueTimes(accepted_at + limit.reply, accepted_at + limit.acknowledge)


def deliver_by(reply_due: datetime, accepted_at: datetime, expires: datetime) -> datetime:
    """When the hub states that a delivery failed: after `DELIVERY_TIME`, or at the reply deadline or the expiry if sooner."""
    return min(accepted_at + DELIVERY_TIME, reply_due, expires)
