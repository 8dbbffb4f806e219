"""What an officer reads when a message may not go, or goes cut."""

from dataclasses import replace

import pytest

from hub.domain.agreements import Suspension
from hub.domain.messages import DataCategory, Handling, Header, Tlp
from hub.domain.refusals import Finding, RefusalCode
from hub.policy import explanations
from hub.policy.explanations import explain, explain_finding
from hub.policy.release import decide
from tests.unit.policy.trial_agreements import (
    AGENCY,
    AGREEMENT,
    END,
    HEADER,
    NOW,
    PARTIES,
    PARTNER,
    SHELTER,
    facts,
    judge,
    judge_fields,
    record,
)


def test_a_message_that_is_released_whole_needs_no_words() -> None:
    assert explain(judge()) == []


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (replace(HEADER, agreement="trial-2027"), "The hub holds no agreement trial-2027."),
        (replace(HEADER, purpose="gossip"), "Article 2 does not allow the purpose gossip."),
        (replace(HEADER, classification="秘"), "Article 9 does not know the level 秘 of the side tw."),
        (
            replace(HEADER, handling=frozenset({Handling.H2, Handling.H3})),
            "Article 8 does not provide for the handling code H2, H3.",
        ),
        (replace(HEADER, type="ht-referral"), "Article 4(2) does not let ht-referral travel to tw.shelter."),
        (
            replace(HEADER, classification="機密"),
            "Under article 4(2) at most restricted may travel to tw.shelter; this is confidential.",
        ),
        (
            replace(HEADER, tlp=Tlp.CLEAR, recipients=(PARTNER,)),
            "Under article 4(1) nothing wider than amber may travel to jp.partner; this is clear.",
        ),
        (
            replace(HEADER, sender=PARTNER, recipients=(AGENCY,), classification="none"),
            "Articles 4(1), 4(2) do not open the direction from jp.partner to tw.agency.",
        ),
        (replace(HEADER, recipients=()), "The message names no recipient."),
        (replace(HEADER, expires=NOW), "The message expired at 2026-11-22T09:00:00Z."),
    ],
)
def test_a_refused_message_is_explained_by_article_and_value(header: Header, sentence: str) -> None:
    assert explain(judge(header)) == [sentence]


def test_a_refused_category_is_named_with_its_article() -> None:
    decision = judge_fields(DataCategory.HEALTH, None, to=PARTNER)
    assert explain(decision) == ["Article 4(1) does not let health travel to jp.partner."]


def test_a_cut_copy_says_what_is_taken_out_for_whom() -> None:
    decision = judge_fields(DataCategory.TRAVEL, DataCategory.VICTIM, DataCategory.TRAVEL, None, to=SHELTER)
    assert explain(decision) == ["Article 4(2) does not let travel, victim travel to tw.shelter: 3 fields taken out."]


def test_an_open_suspension_is_explained() -> None:
    suspended = replace(record(AGREEMENT), suspensions=(Suspension(NOW),))
    decision = decide(facts(), suspended, PARTIES, frozenset(PARTIES), NOW)
    assert explain(decision) == ["Under article 14 the agreement is suspended from 2026-11-22T09:00:00Z."]


def test_a_term_that_has_passed_is_explained() -> None:
    decision = judge(replace(HEADER, expires=END.replace(year=2030)), now=END)
    assert explain(decision) == [
        "Under article 14 the agreement holds from 2026-04-01T00:00:00Z until 2029-04-01T00:00:00Z only."
    ]


def test_an_open_ended_term_that_has_not_begun_says_so() -> None:
    finding = Finding("term", RefusalCode.AGREEMENT_NOT_IN_FORCE, "14", values=(("in_force_from", "2027-01-01T00:00:00Z"),))
    assert explain_finding(finding) == (
        "Under article 14 the agreement holds from 2027-01-01T00:00:00Z until further notice only."
    )


def test_every_sentence_can_be_written_without_its_values() -> None:
    for code in explanations._SENTENCES:
        assert "{" not in explain_finding(Finding("rule", code))


def test_a_code_of_another_rule_is_explained_by_its_meaning() -> None:
    assert explain_finding(Finding("schema", RefusalCode.SCHEMA_VIOLATION)) == "The header or the body does not fit the schema."
