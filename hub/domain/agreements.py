"""Agreements: who may send what to whom, for which purpose, under which article. Immutable per version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hub.domain.messages import CommonLevel, DataCategory, Handling, Tlp, Urgency


class AgreementKind(StrEnum):
    """The legal form. A domestic order and a task-force order are agreements too."""

    TREATY = "treaty"
    AGREEMENT = "agreement"
    MOU = "mou"
    PROTOCOL = "protocol"
    DOMESTIC_ORDER = "domestic_order"
    TASK_FORCE_ORDER = "task_force_order"


class UncoveredCategory(StrEnum):
    """What happens to a field whose category a flow does not cover."""

    MINIMISE = "minimise"
    REFUSE = "refuse"


class TrustMode(StrEnum):
    """Whether the hub reads content (and validates, minimises, re-seals) or routes sealed content unread."""

    INSPECTED = "inspected"
    BLIND = "blind"


@dataclass(frozen=True)
class Signatory:
    """Who signed on paper; may be a representative office. `on_behalf_of` names the party it signed for."""

    names: Mapping[str, str]
    on_behalf_of: str


@dataclass(frozen=True)
class OperatingAuthority:
    """Who may send and receive under the agreement, and whose key signs it. `party` is the side it belongs to."""

    authority: str
    party: str
    article: str = ""


@dataclass(frozen=True)
class Suspension:
    """A period in which the agreement governs nothing: from `start`, until before `end` (None: until resumed)."""

    start: datetime
    end: datetime | None = None
    reason: str = ""
    article: str = ""

    def covers(self, moment: datetime) -> bool:
        """Whether the agreement is suspended by this at `moment`."""
        return self.start <= moment and (self.end is None or moment < self.end)


@dataclass(frozen=True)
class Term:
    """When the agreement is in force: from `start`, until before `end`. `after_end` says what becomes of data already sent."""

    article: str
    start: datetime
    end: datetime | None
    after_end: str = "keep_under_terms"
    suspensions: tuple[Suspension, ...] = ()


@dataclass(frozen=True)
class Flow:
    """One direction that the agreement opens. Direction matters: A to B says nothing about B to A."""

    article: str
    senders: frozenset[str]
    recipients: frozenset[str]
    types: frozenset[str]
    categories: frozenset[DataCategory]
    highest_classification: CommonLevel
    widest_tlp: Tlp
    uncovered_category: UncoveredCategory


@dataclass(frozen=True)
class Deadline:
    """Time for one urgency, from the hub's acceptance: `reply` to answer, `acknowledge` to confirm receipt."""

    reply: timedelta
    acknowledge: timedelta


@dataclass(frozen=True)
class Agreement:
    """One version of an agreement. `digest` is base64url SHA-256 of `canonical`, the octets that the authorities sign.

    `classification` maps (party side, its own level) to the common ladder; what is not mapped does not travel.
    `deadlines` holds only what the agreement sets itself; `retention` maps a data category or "default" to a period.
    """

    id: str
    version: int
    kind: AgreementKind
    titles: Mapping[str, str]
    signatories: tuple[Signatory, ...]
    operating_authorities: tuple[OperatingAuthority, ...]
    term: Term
    purposes_article: str
    purposes: frozenset[str]
    flows: tuple[Flow, ...]
    classification_article: str
    classification: Mapping[tuple[str, str], CommonLevel]
    handling_article: str
    handling: frozenset[Handling]
    deadlines_article: str = ""
    deadlines: Mapping[Urgency, Deadline] = field(default_factory=dict)
    retention_article: str = ""
    retention: Mapping[str, timedelta] = field(default_factory=dict)
    trust_article: str = ""
    trust: TrustMode = TrustMode.INSPECTED
    canonical: bytes = b""
    digest: str = ""

    def operates(self, authority: str) -> bool:
        """Whether the authority operates under this agreement."""
        return any(one.authority == authority for one in self.operating_authorities)

    def party_of(self, authority: str) -> str:
        """The side that an operating authority belongs to, or "" where it operates for none."""
        return next((one.party for one in self.operating_authorities if one.authority == authority), "")


@dataclass(frozen=True)
class AgreementRecord:
    """All that the hub holds of one agreement: its versions (ascending), who signed which, and suspensions since.

    `signed_by` maps a version to the authorities whose signature over that version was verified when it was recorded.
    `ended_at` is set where the agreement was terminated before its term.
    """

    id: str
    versions: tuple[Agreement, ...]
    signed_by: Mapping[int, frozenset[str]]
    suspensions: tuple[Suspension, ...] = ()
    ended_at: datetime | None = None

    def concerns(self, authority: str) -> bool:
        """Whether any version names the authority as one that operates."""
        return any(version.operates(authority) for version in self.versions)

    def is_signed(self, version: Agreement) -> bool:
        """Whether every operating authority signed this version; an unsigned version is a draft and governs nothing."""
        wanted = {one.authority for one in version.operating_authorities}
        return bool(wanted) and wanted <= self.signed_by.get(version.version, frozenset())

    def governing(self, moment: datetime) -> Agreement | None:
        """The newest fully signed version that has entered into force at `moment`; else the newest signed; else None.

        Whether that version is in force, suspended or ended is for the policy to say.
        """
        signed = [one for one in self.versions if self.is_signed(one)]
        started = [one for one in signed if one.term.start <= moment]
        return max(started or signed, key=lambda one: one.version, default=None)
