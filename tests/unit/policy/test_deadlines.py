"""The clocks: defaults by urgency, what an agreement sets instead, and when a delivery counts as failed."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hub.domain.agreements import Deadline
from hub.domain.messages import Urgency
from hub.policy.deadlines import deadlines_for, deliver_by
from tests.unit.policy.trial_agreements import AGREEMENT, NOW

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("urgency", "reply", "acknowledge"),
    [
        (Urgency.U1, 8 * HOUR, HOUR),
        (Urgency.U2, 3 * DAY, 8 * HOUR),
        (Urgency.R, 7 * DAY, 24 * HOUR),
        (Urgency.N, 14 * DAY, 3 * DAY),
    ],
)
def test_without_a_rule_of_the_agreement_the_default_holds(urgency: Urgency, reply: timedelta, acknowledge: timedelta) -> None:
    due = deadlines_for(AGREEMENT, urgency, NOW)
    assert (due.reply, due.acknowledge) == (NOW + reply, NOW + acknowledge)


def test_the_agreement_overrides_the_urgency_that_it_names() -> None:
    agreement = replace(AGREEMENT, deadlines={Urgency.U2: Deadline(2 * DAY, 4 * HOUR)})
    assert deadlines_for(agreement, Urgency.U2, NOW) == (NOW + 2 * DAY, NOW + 4 * HOUR)


def test_the_agreement_leaves_the_other_urgencies_alone() -> None:
    agreement = replace(AGREEMENT, deadlines={Urgency.U2: Deadline(2 * DAY, 4 * HOUR)})
    assert deadlines_for(agreement, Urgency.R, NOW) == (NOW + 7 * DAY, NOW + DAY)


@pytest.mark.parametrize(
    ("reply", "expires", "expected"),
    [
        (NOW + 7 * DAY, NOW + 7 * DAY, NOW + DAY),
        (NOW + 8 * HOUR, NOW + 7 * DAY, NOW + 8 * HOUR),
        (NOW + 8 * HOUR, NOW + 2 * HOUR, NOW + 2 * HOUR),
    ],
    ids=["a day", "the reply deadline", "the expiry"],
)
def test_a_delivery_has_until_the_first_of_the_three(reply: datetime, expires: datetime, expected: datetime) -> None:
    assert deliver_by(reply, NOW, expires) == expected
