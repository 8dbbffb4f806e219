"""Who receives which part of a message, under the one agreement that it names: every rule, every finding, no I/O.

What is unknown is denied, an empty set means nobody, and only the agreement that the message names is asked. A rule is not
asked where another rule's failure has taken away what it would look at: there is no direction to judge from a sender that does
not operate under the agreement, and no level without a flow. Such a rule's failure already stands, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from hub.domain.agreements import Agreement, AgreementRecord, Flow, Suspension, TrustMode, UncoveredCategory
from hub.domain.decisions import Decision, Outcome, RecipientDecision, Removal
from hub.domain.encoding import format_time
from hub.domain.messages import TLP_BY_AUDIENCE, UNCLASSIFIED, CommonLevel, DataCategory, Header, MessageFacts
from hub.domain.parties import Party, Standing
from hub.domain.refusals import Finding, RefusalCode

_AUDIENCE = {tlp: width for width, tlp in enumerate(TLP_BY_AUDIENCE)}

_Values = tuple[tuple[str, str], ...]


def decide(
    facts: MessageFacts,
    record: AgreementRecord | None,
    parties: Mapping[str, Party],
    reachable: Collection[str],
    now: datetime,
) -> Decision:
    """Decide for each recipient what is released, and say why not.

    Args:
        facts: the signed header, and where the body holds which data category, taken from the catalogue.
        record: what the hub holds of the agreement that the header names; None where it holds nothing.
        parties: the registry, by authority id.
        reachable: the authorities that have a valid sealing key at `now`.
        now: the instant of the decision. The agreement's start belongs to it, its end does not.

    Returns:
        One entry for each recipient, in the header's order, and every rule's finding: those of the message first, then those
        of each recipient. A recipient's outcome is REFUSED where a rule of the message or one of its own failed.
    """
    header = facts.header
    agreement = record.governing(now) if record is not None and record.id == header.agreement else None
    matter = _matter(facts, agreement) if agreement is not None else None
    findings = [*_judge_agreement(header, record, agreement, now), _judge_standing(header.sender, None, parties)]
    if matter is not None:
        findings += _judge_terms(matter)
    findings += [_judge_expiry(header, now), _judge_address_list(header)]
    refused = any(finding.code is not None for finding in findings)
    recipients = []
    for recipient in header.recipients:
        own = [_judge_standing(recipient, recipient, parties), _judge_reach(recipient, reachable)]
        removals = _judge_flows(recipient, matter, own) if matter is not None else ()
        findings += own
        outcome = Outcome.MINIMISED if removals else Outcome.RELEASED
        if refused or any(finding.code is not None for finding in own):
            outcome, removals = Outcome.REFUSED, ()
        recipients.append(RecipientDecision(recipient, outcome, removals))
    version = agreement.version if agreement is not None else 0
    return Decision(header.agreement, version, tuple(recipients), tuple(findings))


# ------------------------------------------------------------------------------------------------- the message as a whole


def _judge_agreement(
    header: Header, record: AgreementRecord | None, agreement: Agreement | None, now: datetime
) -> Iterable[Finding]:
    named = (("agreement", header.agreement),)
    if record is None or record.id != header.agreement:
        yield Finding("agreement", RefusalCode.NO_AGREEMENT, values=named)
        return
    yield Finding("agreement", None, values=named)
    if agreement is None:
        yield Finding("signatures", RefusalCode.AGREEMENT_NOT_SIGNED, values=_missing_signatures(record))
        return
    article = agreement.term.article
    version = ("version", str(agreement.version))
    yield Finding("signatures", None, article, values=(version,))
    yield _judge_term(record, agreement, now)
    suspension = _suspension(record, agreement, now)
    if suspension is None:
        yield Finding("suspension", None, article)
    else:
        since = ("suspended_from", format_time(suspension.start))
        yield Finding("suspension", RefusalCode.AGREEMENT_SUSPENDED, suspension.article or article, values=(version, since))


def _missing_signatures(record: AgreementRecord) -> _Values:
    if not record.versions:
        return ()
    draft = max(record.versions, key=lambda one: one.version)
    signed = record.signed_by.get(draft.version, frozenset())
    missing = sorted({one.authority for one in draft.operating_authorities} - signed)
    return (("version", str(draft.version)), *(("not_signed_by", authority) for authority in missing))


def _judge_term(record: AgreementRecord, agreement: Agreement, now: datetime) -> Finding:
    term = agreement.term
    ends = [end for end in (term.end, record.ended_at) if end is not None]
    end = min(ends, default=None)
    version = ("version", str(agreement.version))
    if term.start <= now and (end is None or now < end):
        return Finding("term", None, term.article, values=(version,))
    values: _Values = (version, ("in_force_from", format_time(term.start)))
    if end is not None:
        values = (*values, ("in_force_until", format_time(end)))
    return Finding("term", RefusalCode.AGREEMENT_NOT_IN_FORCE, term.article, values=values)


def _suspension(record: AgreementRecord, agreement: Agreement, now: datetime) -> Suspension | None:
    return next((one for one in (*agreement.term.suspensions, *record.suspensions) if one.covers(now)), None)


def _judge_standing(authority: str, recipient: str | None, parties: Mapping[str, Party]) -> Finding:
    party = parties.get(authority)
    sends = recipient is None
    code = None
    if party is None:
        code = RefusalCode.UNKNOWN_SENDER if sends else RefusalCode.RECIPIENT_UNKNOWN
    elif party.standing is not Standing.GOOD:
        code = RefusalCode.SENDER_NOT_IN_GOOD_STANDING if sends else RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING
    return Finding("sender_standing" if sends else "recipient_standing", code, "", recipient, (("authority", authority),))


def _judge_terms(matter: _Matter) -> Iterable[Finding]:
    agreement, header = matter.agreement, matter.facts.header
    code = None if matter.side else RefusalCode.SENDER_NOT_OPERATING
    yield Finding("sender_operates", code, matter.operators_article, None, (("authority", header.sender),))
    code = None if header.purpose in agreement.purposes else RefusalCode.PURPOSE_NOT_ALLOWED
    yield Finding("purpose", code, agreement.purposes_article, None, (("purpose", header.purpose),))
    if matter.side:
        code = None if matter.level is not None else RefusalCode.CLASSIFICATION_NOT_MAPPED
        values = (("party", matter.side), ("classification", header.classification))
        yield Finding("classification", code, agreement.classification_article, None, values)
    foreign = sorted(header.handling - agreement.handling)
    code = RefusalCode.HANDLING_NOT_COVERED if foreign else None
    yield Finding("handling", code, agreement.handling_article, None, tuple(("handling", one) for one in foreign))
    code = None if agreement.trust is TrustMode.INSPECTED else RefusalCode.TRUST_MODE_NOT_ALLOWED
    yield Finding("trust", code, agreement.trust_article, None, (("trust", agreement.trust),))


def _judge_expiry(header: Header, now: datetime) -> Finding:
    if now < header.expires:
        return Finding("expiry", None)
    return Finding("expiry", RefusalCode.EXPIRED, values=(("expires", format_time(header.expires)),))


def _judge_address_list(header: Header) -> Finding:
    code = None if header.recipients else RefusalCode.NO_RECIPIENT
    return Finding("recipients", code, values=(("recipients", str(len(header.recipients))),))


# --------------------------------------------------------------------------------------------------------- each recipient


class _Matter(NamedTuple):
    """A message beside the agreement that governs it.

    `side` is the sender's ("": it does not operate), `level` the classification on the common ladder (None: unmapped), and
    `categories` what the body and the attachments hold.
    """

    facts: MessageFacts
    agreement: Agreement
    operators: frozenset[str]
    operators_article: str
    side: str
    level: CommonLevel | None
    categories: frozenset[DataCategory]


def _matter(facts: MessageFacts, agreement: Agreement) -> _Matter:
    header = facts.header
    side = agreement.party_of(header.sender)
    level: CommonLevel | None = CommonLevel.NONE
    if header.classification != UNCLASSIFIED:
        level = agreement.classification.get((side, header.classification))
    return _Matter(
        facts,
        agreement,
        frozenset([one.authority for one in agreement.operating_authorities]),
        _joined([one.article for one in agreement.operating_authorities]),
        side,
        level,
        frozenset([field.category for field in facts.fields if field.category is not None]),
    )


def _judge_reach(recipient: str, reachable: Collection[str]) -> Finding:
    code = None if recipient in reachable else RefusalCode.RECIPIENT_NOT_REACHABLE
    return Finding("recipient_reachable", code, "", recipient)


def _judge_flows(recipient: str, matter: _Matter, findings: list[Finding]) -> tuple[Removal, ...]:
    """Append what the agreement says of this recipient to `findings`; return the fields to be taken out."""
    agreement, header = matter.agreement, matter.facts.header
    operates = recipient in matter.operators
    code = None if operates else RefusalCode.RECIPIENT_NOT_OPERATING
    findings.append(Finding("recipient_operates", code, matter.operators_article, recipient))
    if not (operates and matter.side):
        return ()
    directed = [
        flow
        for flow in agreement.flows
        if header.sender in flow.senders and recipient in flow.recipients and recipient != header.sender
    ]
    code = None if directed else RefusalCode.FLOW_NOT_COVERED
    values: _Values = (("from", header.sender), ("to", recipient))
    findings.append(Finding("direction", code, _articles(directed or agreement.flows), recipient, values))
    if not directed:
        return ()
    flows = [flow for flow in directed if header.type in flow.types]
    code = None if flows else RefusalCode.TYPE_NOT_COVERED
    findings.append(Finding("type", code, _articles(flows or directed), recipient, (("type", header.type),)))
    return _judge_content(recipient, matter, flows, findings) if flows else ()


def _judge_content(recipient: str, matter: _Matter, flows: list[Flow], findings: list[Finding]) -> tuple[Removal, ...]:
    """Level, audience and categories against the flows of this sender, recipient and type.

    A flow that does not carry the level or the audience lends its categories to no message. Where no flow carries it, the rule
    has failed, and the rules after it are judged on the flows that were left before, so that they are all answered.
    """
    header = matter.facts.header
    if matter.level is not None:
        carrying = [flow for flow in flows if matter.level <= flow.highest_classification]
        code = None if carrying else RefusalCode.CLASSIFICATION_TOO_HIGH
        values: _Values = (("level", matter.level.name.lower()),)
        if not carrying:
            values = (*values, ("highest", max(flow.highest_classification for flow in flows).name.lower()))
        findings.append(Finding("level", code, _articles(carrying or flows), recipient, values))
        left = carrying or flows
    else:
        left = flows
    width = _AUDIENCE[header.tlp]
    carrying = [flow for flow in left if width <= _AUDIENCE[flow.widest_tlp]]
    code = None if carrying else RefusalCode.TLP_TOO_WIDE
    values = (("tlp", header.tlp),)
    if not carrying:
        values = (*values, ("widest", max((flow.widest_tlp for flow in left), key=_AUDIENCE.__getitem__)))
    findings.append(Finding("tlp", code, _articles(carrying or left), recipient, values))
    return _judge_categories(recipient, matter, flows, carrying or left, findings)


def _judge_categories(
    recipient: str, matter: _Matter, flows: list[Flow], carrying: list[Flow], findings: list[Finding]
) -> tuple[Removal, ...]:
    uncovered = matter.categories.difference(*(flow.categories for flow in carrying))
    articles = _articles(carrying)
    if not uncovered:
        findings.append(Finding("categories", None, articles, recipient))
        return ()
    fields = matter.facts.fields
    minimises = all(flow.uncovered_category is UncoveredCategory.MINIMISE for flow in flows)
    leaves_something = any(field.category not in uncovered for field in fields)
    code = None if minimises and leaves_something else RefusalCode.CATEGORY_NOT_COVERED
    word = "removed" if code is None else "category"
    findings.append(Finding("categories", code, articles, recipient, tuple((word, one) for one in sorted(uncovered))))
    if code is not None:
        return ()
    return tuple(Removal(field.path, field.category, articles) for field in fields if field.category in uncovered)


def _articles(flows: Sequence[Flow]) -> str:
    return flows[0].article if len(flows) == 1 else _joined([flow.article for flow in flows])


def _joined(articles: Iterable[str]) -> str:
    return ", ".join(sorted(set(articles)))
