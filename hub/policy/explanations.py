"""A decision in words: one sentence for each failed rule, and one for each recipient whose copy is cut."""

from __future__ import annotations

from collections.abc import Iterable

from hub.domain.decisions import Decision, Outcome, RecipientDecision
from hub.domain.refusals import MEANINGS, Finding, RefusalCode

_SENTENCES: dict[RefusalCode, str] = {
    RefusalCode.NO_AGREEMENT: "The hub holds no agreement {agreement}.",
    RefusalCode.AGREEMENT_NOT_SIGNED: "No version of the agreement is signed by all who operate it; missing: {not_signed_by}.",
    RefusalCode.AGREEMENT_NOT_IN_FORCE: "Under {articles} the agreement holds from {in_force_from} until {in_force_until} only.",
    RefusalCode.AGREEMENT_SUSPENDED: "Under {articles} the agreement is suspended from {suspended_from}.",
    RefusalCode.UNKNOWN_SENDER: "{authority} is not in the registry.",
    RefusalCode.SENDER_NOT_IN_GOOD_STANDING: "{authority} is suspended in the registry.",
    RefusalCode.SENDER_NOT_OPERATING: "{denying} not name {authority} among those who may send.",
    RefusalCode.PURPOSE_NOT_ALLOWED: "{denying} not allow the purpose {purpose}.",
    RefusalCode.CLASSIFICATION_NOT_MAPPED: "{denying} not know the level {classification} of the side {party}.",
    RefusalCode.HANDLING_NOT_COVERED: "{denying} not provide for the handling code {handling}.",
    RefusalCode.TRUST_MODE_NOT_ALLOWED: "Under {articles} the exchange is {trust}: the hub may not open content.",
    RefusalCode.EXPIRED: "The message expired at {expires}.",
    RefusalCode.NO_RECIPIENT: "The message names no recipient.",
    RefusalCode.RECIPIENT_UNKNOWN: "{recipient} is not in the registry.",
    RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING: "{recipient} is suspended in the registry.",
    RefusalCode.RECIPIENT_NOT_REACHABLE: "{recipient} has no valid sealing key, and nothing is sent in the clear.",
    RefusalCode.RECIPIENT_NOT_OPERATING: "{denying} not name {recipient} among those who may receive.",
    RefusalCode.FLOW_NOT_COVERED: "{denying} not open the direction from {from} to {to}.",
    RefusalCode.TYPE_NOT_COVERED: "{denying} not let {type} travel to {recipient}.",
    RefusalCode.CLASSIFICATION_TOO_HIGH: "Under {articles} at most {highest} may travel to {recipient}; this is {level}.",
    RefusalCode.TLP_TOO_WIDE: "Under {articles} nothing wider than {widest} may travel to {recipient}; this is {tlp}.",
    RefusalCode.CATEGORY_NOT_COVERED: "{denying} not let {category} travel to {recipient}.",
}


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "further notice" if key == "in_force_until" else "(none)"


def explain(decision: Decision) -> list[str]:
    """Say in English why the message may not go, or what is taken out for whom.

    Returns:
        A sentence for each failed finding, in the order of the findings, then one for each minimised copy, in the header's
        order. Empty where everything is released whole. They hold ids, codes, levels and articles only.
    """
    failures = [explain_finding(finding) for finding in decision.failures]
    return failures + [_explain_cut(one) for one in decision.recipients if one.outcome is Outcome.MINIMISED]


def explain_finding(finding: Finding) -> str:
    """Say in English what one failed rule stands on; for a code that is no rule of release, its general meaning."""
    if finding.code is None:
        return f"The rule {finding.rule} is satisfied."
    words = _Words(denying=_deny(finding.article), articles=_cite(finding.article), recipient=finding.recipient or "")
    for name in dict(finding.values):
        words[name] = _listed(value for key, value in finding.values if key == name)
    return _SENTENCES.get(finding.code, MEANINGS[finding.code]).format_map(words)


def _explain_cut(recipient: RecipientDecision) -> str:
    removals = recipient.removals
    categories = _listed(sorted({one.category for one in removals}))
    fields = "1 field" if len(removals) == 1 else f"{len(removals)} fields"
    return f"{_deny(removals[0].article)} not let {categories} travel to {recipient.recipient}: {fields} taken out."


def _cite(article: str) -> str:
    if not article:
        return "the agreement"
    return f"articles {article}" if ", " in article else f"article {article}"


def _deny(article: str) -> str:
    cited = _cite(article)
    return f"{cited[0].upper()}{cited[1:]} {'do' if ', ' in article else 'does'}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
