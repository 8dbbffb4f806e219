"""A small agreement, its parties and a message that it releases whole: each test changes one thing and names what follows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hub.domain.agreements import (
    Agreement,
    AgreementKind,
    AgreementRecord,
    Flow,
    OperatingAuthority,
    Signatory,
    Term,
    UncoveredCategory,
)
from hub.domain.decisions import Decision
from hub.domain.messages import CommonLevel, DataCategory, Handling, Header, MessageFacts, PresentField, Tlp, Urgency
from hub.domain.parties import Party, PartyKind, SealingProfile
from hub.domain.refusals import RefusalCode
from hub.policy.release import decide

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
START = datetime(2026, 4, 1, tzinfo=UTC)
END = datetime(2029, 4, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)

AGENCY, SHELTER, PARTNER = "tw.agency", "tw.shelter", "jp.partner"

TO_PARTNER = Flow(
    article="4(1)",
    senders=frozenset({AGENCY}),
    recipients=frozenset({PARTNER}),
    types=frozenset({"info-request", "ht-referral"}),
    categories=frozenset({DataCategory.IDENTITY, DataCategory.TRAVEL}),
    highest_classification=CommonLevel.CONFIDENTIAL,
    widest_tlp=Tlp.AMBER,
    uncovered_category=UncoveredCategory.REFUSE,
)
TO_SHELTER = Flow(
    article="4(2)",
    senders=frozenset({AGENCY}),
    recipients=frozenset({SHELTER}),
    types=frozenset({"info-request"}),
    categories=frozenset({DataCategory.IDENTITY, DataCategory.HEALTH}),
    highest_classification=CommonLevel.RESTRICTED,
    widest_tlp=Tlp.AMBER,
    uncovered_category=UncoveredCategory.MINIMISE,
)

AGREEMENT = Agreement(
    id="trial-2026",
    version=1,
    kind=AgreementKind.MOU,
    titles={"en": "Trial"},
    signatories=(Signatory({"en": "Office A"}, "tw"), Signatory({"en": "Office B"}, "jp")),
    operating_authorities=(
        OperatingAuthority(AGENCY, "tw", "3(1)"),
        OperatingAuthority(SHELTER, "tw", "3(1)"),
        OperatingAuthority(PARTNER, "jp", "3(2)"),
    ),
    term=Term("14", START, END),
    purposes_article="2",
    purposes=frozenset({"investigation"}),
    flows=(TO_PARTNER, TO_SHELTER),
    classification_article="9",
    classification={
        ("tw", "密"): CommonLevel.RESTRICTED,
        ("tw", "機密"): CommonLevel.CONFIDENTIAL,
        ("tw", "極機密"): CommonLevel.SECRET,
        ("jp", "秘"): CommonLevel.CONFIDENTIAL,
    },
    handling_article="8",
    handling=frozenset({Handling.H0, Handling.H1}),
    trust_article="11",
)

HEADER = Header(
    v=1,
    id="019aab00-0000-7000-8000-000000000001",
    type="info-request",
    schema=1,
    sender=AGENCY,
    recipients=(PARTNER, SHELTER),
    agreement="trial-2026",
    purpose="investigation",
    issued=NOW,
    expires=NOW + timedelta(days=7),
    urgency=Urgency.R,
    classification="密",
    tlp=Tlp.AMBER,
    handling=frozenset({Handling.H1}),
    language="en",
)
FIELDS = (
    PresentField("/body/subjects/0/name", DataCategory.IDENTITY),
    PresentField("/body/facts", None),
)

PARTIES = {
    authority: Party(authority, {"en": authority}, "TW", PartyKind.DOMESTIC_AGENCY, SealingProfile.PQ_1)
    for authority in (AGENCY, SHELTER, PARTNER)
}


def record(*versions: Agreement) -> AgreementRecord:
    """A record in which every operating authority signed every version."""
    signed = {one.version: frozenset(named.authority for named in one.operating_authorities) for one in versions}
    return AgreementRecord("trial-2026", versions, signed)


def facts(header: Header = HEADER, fields: tuple[PresentField, ...] = FIELDS) -> MessageFacts:
    return MessageFacts(header, fields)


def judge(header: Header = HEADER, agreement: Agreement = AGREEMENT, now: datetime = NOW) -> Decision:
    """Decide with everything else as it should be."""
    return decide(facts(header), record(agreement), PARTIES, frozenset(PARTIES), now)


def judge_fields(*categories: DataCategory | None, to: str, agreement: Agreement = AGREEMENT) -> Decision:
    """Decide on a message to one recipient whose body holds a field of each category, `/body/0` and up."""
    fields = tuple(PresentField(f"/body/{index}", category) for index, category in enumerate(categories))
    return decide(facts(replace(HEADER, recipients=(to,)), fields), record(agreement), PARTIES, frozenset(PARTIES), NOW)


def failures(decision: Decision) -> list[tuple[RefusalCode | None, str, str | None]]:
    """Every failed rule: its code, the article, the recipient."""
    return [(one.code, one.article, one.recipient) for one in decision.failures]
