"""A decision: for each recipient what is released, what is removed, what refuses, and under which article."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hub.domain.messages import DataCategory
from hub.domain.refusals import Finding


class Outcome(StrEnum):
    """What one recipient gets."""

    RELEASED = "released"
    MINIMISED = "minimised"
    REFUSED = "refused"


@dataclass(frozen=True)
class Removal:
    """One field that is taken out for a recipient, and the article that does not cover its category."""

    path: str
    category: DataCategory
    article: str


@dataclass(frozen=True)
class RecipientDecision:
    """The decision for one recipient. `removals` is empty unless the outcome is MINIMISED."""

    recipient: str
    outcome: Outcome
    removals: tuple[Removal, ...] = ()


@dataclass(frozen=True)
class Decision:
    """The complete answer to "who receives which part of this, and why not?".

    `recipients` stands in the order of the message's header. `findings` holds every rule, satisfied or failed.
    `agreement_version` is 0 where no version governs.
    """

    agreement: str
    agreement_version: int
    recipients: tuple[RecipientDecision, ...]
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The failed rules, all of them."""
        return tuple(finding for finding in self.findings if finding.failed)

    @property
    def allows(self) -> bool:
        """Whether every recipient may receive something: a message is released to all it names, or to none."""
        return bool(self.recipients) and not self.failures
