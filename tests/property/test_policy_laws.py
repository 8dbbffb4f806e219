"""Laws of release that hold for every agreement and every message, not only for those that a person thought of."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from hub.domain.agreements import (
    Agreement,
    AgreementKind,
    AgreementRecord,
    Flow,
    OperatingAuthority,
    Suspension,
    Term,
    UncoveredCategory,
)
from hub.domain.decisions import Decision, Outcome
from hub.domain.messages import (
    TLP_BY_AUDIENCE,
    CommonLevel,
    DataCategory,
    Handling,
    Header,
    MessageFacts,
    PresentField,
    Tlp,
    Urgency,
)
from hub.domain.parties import Party, PartyKind, SealingProfile, Standing
from hub.policy.release import decide

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HOUR, INSTANT = timedelta(hours=1), timedelta(microseconds=1)
AUTHORITIES = ("tw.a", "tw.b", "jp.c", "jp.d")
TYPES = ("info-request", "info-response")
PURPOSES = ("investigation", "prevention")
COMMON = {"none": CommonLevel.NONE, "low": CommonLevel.RESTRICTED, "high": CommonLevel.SECRET}
CATEGORIES = (DataCategory.IDENTITY, DataCategory.TRAVEL, DataCategory.HEALTH)

T = TypeVar("T")
Text = TypeVar("Text", bound=str)


@dataclass(frozen=True)
class Case:
    """All that a decision is made from."""

    facts: MessageFacts
    record: AgreementRecord
    parties: dict[str, Party]
    reachable: frozenset[str]

    def decide(self, now: datetime = NOW) -> Decision:
        return decide(self.facts, self.record, self.parties, self.reachable, now)

    @property
    def agreement(self) -> Agreement:
        """The only version."""
        return self.record.versions[0]

    def under(self, agreement: Agreement) -> "Case":
        """The same under another text, signed by those who signed this one."""
        return replace(self, record=replace(self.record, versions=(agreement,)))

    def with_header(self, **changes: object) -> "Case":
        return replace(self, facts=replace(self.facts, header=replace(self.facts.header, **changes)))  # type: ignore[arg-type]  # the test names them


def some(values: Iterable[Text], at_least: int = 1) -> st.SearchStrategy[frozenset[Text]]:
    """Mostly all of the values, so that many cases are released, and now and then fewer."""
    everything = frozenset(values)
    fewer = st.frozensets(st.sampled_from(sorted(everything)), min_size=at_least)
    return st.sampled_from([False] * 7 + [True]).flatmap(lambda rare: fewer if rare else st.just(everything))


def flows(uncovered: UncoveredCategory) -> st.SearchStrategy[Flow]:
    return st.builds(
        Flow,
        article=st.sampled_from(["4(1)", "4(2)", "5"]),
        senders=st.one_of(some(AUTHORITIES), st.just(frozenset({"tw.a", "jp.c"}))),
        recipients=st.one_of(st.just(frozenset(AUTHORITIES)), some(AUTHORITIES[1:]), st.just(frozenset({"tw.b", "jp.c"}))),
        types=some(TYPES),
        categories=st.frozensets(st.sampled_from(CATEGORIES), max_size=2),
        highest_classification=st.sampled_from([CommonLevel.SECRET, CommonLevel.RESTRICTED, CommonLevel.NONE]),
        widest_tlp=st.sampled_from([Tlp.CLEAR, Tlp.CLEAR, *Tlp]),
        uncovered_category=st.just(uncovered),
    )


FIELDS = st.lists(
    st.one_of(st.none(), st.sampled_from(CATEGORIES)).map(lambda category: PresentField("", category)), min_size=1, max_size=5
).map(lambda fields: tuple(replace(one, path=f"/body/{index}") for index, one in enumerate(fields)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    # flows that overlap must agree on this, or the agreement is refused when it is read
    uncovered = draw(st.sampled_from([UncoveredCategory.MINIMISE, UncoveredCategory.MINIMISE, UncoveredCategory.REFUSE]))
    agreement = Agreement(
        id="law",
        version=1,
        kind=AgreementKind.MOU,
        titles={},
        signatories=(),
        operating_authorities=tuple(OperatingAuthority(one, one[:2], "3") for one in sorted(draw(some(AUTHORITIES, 2)))),
        term=Term("14", NOW - HOUR, NOW + HOUR),
        purposes_article="2",
        purposes=draw(some(PURPOSES)),
        flows=tuple(draw(st.lists(flows(uncovered), min_size=1, max_size=4))),
        classification_article="9",
        classification={("tw", "low"): COMMON["low"], ("tw", "high"): COMMON["high"], ("jp", "high"): COMMON["high"]},
        handling_article="8",
        handling=draw(some(Handling)),
    )
    header = Header(
        v=1,
        id="019aab00-0000-7000-8000-000000000001",
        type=draw(st.sampled_from(TYPES)),
        schema=1,
        sender=draw(st.sampled_from(["tw.a", "tw.a", "tw.b", "jp.c"])),
        recipients=tuple(draw(st.lists(st.sampled_from(AUTHORITIES[1:]), unique=True, min_size=1, max_size=3))),
        agreement="law",
        purpose=draw(st.sampled_from(PURPOSES)),
        issued=NOW,
        expires=NOW + HOUR,
        urgency=Urgency.R,
        classification=draw(st.sampled_from(sorted(COMMON))),
        tlp=draw(st.sampled_from([Tlp.RED, Tlp.RED, *Tlp])),
        handling=draw(st.frozensets(st.sampled_from(Handling), max_size=1)),
        language="en",
    )
    parties = {one: Party(one, {}, "TW", PartyKind.DOMESTIC_AGENCY, SealingProfile.PQ_1) for one in AUTHORITIES}
    record = AgreementRecord("law", (agreement,), {1: draw(some(AUTHORITIES))})
    return Case(MessageFacts(header, draw(FIELDS)), record, parties, draw(some(AUTHORITIES)))


def released(decision: Decision, case: Case) -> dict[str, set[str]]:
    """The paths that each recipient would get."""
    paths = {field.path for field in case.facts.fields}
    return {
        one.recipient: paths - {removal.path for removal in one.removals}
        for one in decision.recipients
        if one.outcome is not Outcome.REFUSED
    }


def assert_not_wider(narrower: Case, wider: Case, now: datetime = NOW) -> None:
    """Nobody gets anything from the narrower case that the wider one does not give."""
    less, more = released(narrower.decide(now), narrower), released(wider.decide(now), wider)
    for recipient, paths in less.items():
        assert recipient in more
        assert paths <= more[recipient]
    assert wider.decide(now).allows or not narrower.decide(now).allows


def edit_flow(edit: Callable[[Flow, int], Flow]) -> Callable[[Case, int], Case]:
    def apply(case: Case, which: int) -> Case:
        kept = list(case.agreement.flows)
        if kept:
            kept[which % len(kept)] = edit(kept[which % len(kept)], which)
        return case.under(replace(case.agreement, flows=tuple(kept)))

    return apply


def without(values: frozenset[Text], which: int) -> frozenset[Text]:
    return values - {sorted(values)[which % len(values)]} if values else values


def drop_flow(case: Case, which: int) -> Case:
    kept = list(case.agreement.flows)
    del kept[which % 4 :]
    return case.under(replace(case.agreement, flows=tuple(kept)))


def drop_operator(case: Case, which: int) -> Case:
    # one that signed: without one that did not, the rest would be another text, signed by all whom it names
    signed = case.record.signed_by[1]
    gone = sorted(signed)[which % len(signed)] if signed else ""
    left = tuple(one for one in case.agreement.operating_authorities if one.authority != gone)
    return case.under(replace(case.agreement, operating_authorities=left))


def drop_signature(case: Case, which: int) -> Case:
    return replace(case, record=replace(case.record, signed_by={1: without(case.record.signed_by[1], which)}))


def drop_party(case: Case, which: int) -> Case:
    gone = AUTHORITIES[which % len(AUTHORITIES)]
    return replace(case, parties={name: party for name, party in case.parties.items() if name != gone})


def suspend_party(case: Case, which: int) -> Case:
    name = AUTHORITIES[which % len(AUTHORITIES)]
    suspended = {one: replace(case.parties[one], standing=Standing.SUSPENDED) for one in case.parties if one == name}
    return replace(case, parties=case.parties | suspended)


def unmap_level(case: Case, which: int) -> Case:
    levels = dict(case.agreement.classification)
    del levels[sorted(levels)[which % len(levels)]]
    return case.under(replace(case.agreement, classification=levels))


def refusing(agreement: Agreement) -> Agreement:
    flows = tuple(replace(one, uncovered_category=UncoveredCategory.REFUSE) for one in agreement.flows)
    return replace(agreement, flows=flows)


RESTRICTIONS: dict[str, Callable[[Case, int], Case]] = {
    "a flow less": drop_flow,
    "an operating authority less": drop_operator,
    "a signature less": drop_signature,
    "a party less": drop_party,
    "a party suspended": suspend_party,
    "a sealing key less": lambda case, which: replace(case, reachable=without(case.reachable, which)),
    "a level unmapped": unmap_level,
    "a purpose less": lambda case, which: case.under(replace(case.agreement, purposes=without(case.agreement.purposes, which))),
    "a handling code less": lambda case, which: case.under(
        replace(case.agreement, handling=without(case.agreement.handling, which))
    ),
    "a flow with a sender less": edit_flow(lambda flow, which: replace(flow, senders=without(flow.senders, which))),
    "a flow with a recipient less": edit_flow(lambda flow, which: replace(flow, recipients=without(flow.recipients, which))),
    "a flow with a type less": edit_flow(lambda flow, which: replace(flow, types=without(flow.types, which))),
    "a flow with a category less": edit_flow(lambda flow, which: replace(flow, categories=without(flow.categories, which))),
    "a flow with a lower level": edit_flow(lambda flow, _which: replace(flow, highest_classification=CommonLevel.NONE)),
    "a flow with a narrower audience": edit_flow(lambda flow, _which: replace(flow, widest_tlp=Tlp.RED)),
    "refusing instead of minimising": lambda case, _which: case.under(refusing(case.agreement)),
    "suspended": lambda case, _which: replace(case, record=replace(case.record, suspensions=(Suspension(NOW),))),
    "terminated": lambda case, _which: replace(case, record=replace(case.record, ended_at=NOW)),
    "a later start": lambda case, _which: case.under(
        replace(case.agreement, term=replace(case.agreement.term, start=NOW + INSTANT))
    ),
    "an earlier end": lambda case, _which: case.under(replace(case.agreement, term=replace(case.agreement.term, end=NOW))),
    "an earlier expiry": lambda case, _which: case.with_header(expires=NOW),
}


@given(cases(), st.integers(0, 7))
def test_a_restriction_never_turns_a_denial_into_a_release(case: Case, which: int) -> None:
    for restrict in RESTRICTIONS.values():
        assert_not_wider(restrict(case, which), case)


@given(cases(), st.permutations(sorted(RESTRICTIONS)), st.integers(0, 7))
def test_restrictions_together_release_no_more_than_some_of_them(case: Case, names: list[str], which: int) -> None:
    for name in names:
        before, case = case, RESTRICTIONS[name](case, which)
        assert_not_wider(case, before)


@given(cases())
def test_what_is_missing_unknown_or_over_never_allows(case: Case) -> None:
    unknown = {
        "no record": decide(case.facts, None, case.parties, case.reachable, NOW),
        "no parties": replace(case, parties={}).decide(),
        "no keys": replace(case, reachable=frozenset()).decide(),
        "no version": replace(case, record=replace(case.record, versions=())).decide(),
        "no signatures": replace(case, record=replace(case.record, signed_by={})).decide(),
        "no flows": case.under(replace(case.agreement, flows=())).decide(),
        "no purposes": case.under(replace(case.agreement, purposes=frozenset())).decide(),
        "no recipient": case.with_header(recipients=()).decide(),
        "unknown agreement": case.with_header(agreement="other").decide(),
        "unknown sender": case.with_header(sender="tw.z").decide(),
        "unknown recipient": case.with_header(recipients=("tw.z",)).decide(),
        "unknown type": case.with_header(type="gossip").decide(),
        "unknown purpose": case.with_header(purpose="gossip").decide(),
        "unknown level": case.with_header(classification="cosmic").decide(),
        "expired": case.with_header(expires=NOW).decide(),
        "suspended": RESTRICTIONS["suspended"](case, 0).decide(),
        "terminated": RESTRICTIONS["terminated"](case, 0).decide(),
        "to itself": case.with_header(recipients=(case.facts.header.sender,)).decide(),
    }
    assert [name for name, decision in unknown.items() if decision.allows] == []


@given(cases())
def test_every_released_category_is_covered_by_a_flow_that_carries_the_whole_message(case: Case) -> None:
    header, decision = case.facts.header, case.decide()
    category_of = {field.path: field.category for field in case.facts.fields}
    for recipient, paths in released(decision, case).items():
        carrying = [
            flow
            for flow in case.agreement.flows
            if header.sender in flow.senders and recipient in flow.recipients and header.type in flow.types
            if COMMON[header.classification] <= flow.highest_classification
            if TLP_BY_AUDIENCE.index(header.tlp) <= TLP_BY_AUDIENCE.index(flow.widest_tlp)
        ]
        assert carrying
        assert recipient != header.sender
        covered = frozenset().union(*(flow.categories for flow in carrying))
        assert {category_of[path] for path in paths} - {None} <= covered


@given(cases())
def test_every_named_recipient_has_one_entry_in_order_and_nobody_else_has(case: Case) -> None:
    assert tuple(one.recipient for one in case.decide().recipients) == case.facts.header.recipients


@given(cases())
def test_removals_name_fields_of_the_message_and_belong_to_minimised_copies_only(case: Case) -> None:
    paths = {field.path for field in case.facts.fields}
    for one in case.decide().recipients:
        assert {removal.path for removal in one.removals} <= paths
        assert bool(one.removals) is (one.outcome is Outcome.MINIMISED)
        assert all(removal.article for removal in one.removals)


@given(cases())
def test_a_refused_recipient_has_a_failed_rule_and_a_failed_rule_refuses_someone(case: Case) -> None:
    decision = case.decide()
    message_failed = any(one.recipient is None for one in decision.failures)
    for one in decision.recipients:
        own = any(finding.recipient == one.recipient for finding in decision.failures)
        assert (one.outcome is Outcome.REFUSED) is (own or message_failed)


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_flows_recipients_and_fields_does_not_matter(case: Case, shuffler: random.Random) -> None:
    def shuffled(values: Sequence[T]) -> tuple[T, ...]:
        return tuple(shuffler.sample(values, len(values)))

    other = case.under(replace(case.agreement, flows=shuffled(case.agreement.flows)))
    other = other.with_header(recipients=shuffled(case.facts.header.recipients))
    other = replace(other, facts=replace(other.facts, fields=shuffled(case.facts.fields)))
    assert set(other.decide().findings) == set(case.decide().findings)
    assert released(other.decide(), other) == released(case.decide(), case)


@given(cases())
def test_the_same_question_has_the_same_answer(case: Case) -> None:
    assert case.decide() == case.decide()


@given(cases(), st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3))
def test_time_decides_alone_and_each_bound_belongs_to_what_begins_at_it(
    case: Case, start: int, end: int, pause: int, resume: int
) -> None:
    """In microseconds from now: entry into force, end, and a suspension's start and end."""
    at = [NOW + INSTANT * offset for offset in (start, end, pause, resume)]
    term = Term("14", at[0], at[1], suspensions=(Suspension(at[2], at[3]),))
    allowed = case.decide().allows
    in_force = start <= 0 < end and not pause <= 0 < resume
    assert case.under(replace(case.agreement, term=term)).decide().allows is (allowed and in_force)
