"""Each rule of release, broken alone: exactly its code, its article and its values, and nothing released."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hub.domain.agreements import AgreementRecord, Suspension, TrustMode, UncoveredCategory
from hub.domain.decisions import Decision, Outcome, Removal
from hub.domain.messages import CommonLevel, DataCategory, Handling, PresentField, Tlp
from hub.domain.parties import Standing
from hub.domain.refusals import RefusalCode
from hub.policy.release import decide
from tests.unit.policy.trial_agreements import (
    AGENCY,
    AGREEMENT,
    END,
    FIELDS,
    HEADER,
    INSTANT,
    NOW,
    PARTIES,
    PARTNER,
    SHELTER,
    START,
    TO_PARTNER,
    TO_SHELTER,
    facts,
    failures,
    judge,
    judge_fields,
    record,
)

IDENTITY, TRAVEL, HEALTH = DataCategory.IDENTITY, DataCategory.TRAVEL, DataCategory.HEALTH


def outcomes(decision: Decision) -> list[Outcome]:
    return [one.outcome for one in decision.recipients]


# ------------------------------------------------------------------------------------------------------- what is released


def test_a_message_within_every_rule_is_released_whole_to_each_recipient_in_the_headers_order() -> None:
    decision = judge()
    assert decision.allows
    assert [(one.recipient, one.outcome, one.removals) for one in decision.recipients] == [
        (PARTNER, Outcome.RELEASED, ()),
        (SHELTER, Outcome.RELEASED, ()),
    ]


def test_a_decision_names_the_version_it_was_made_under() -> None:
    assert (judge().agreement, judge().agreement_version) == ("trial-2026", 1)


def test_satisfied_rules_are_findings_too() -> None:
    rules = [finding.rule for finding in judge().findings]
    message = ["agreement", "signatures", "term", "suspension", "sender_standing", "sender_operates", "purpose"]
    message += ["classification", "handling", "trust", "expiry", "recipients"]
    each = ["recipient_standing", "recipient_reachable", "recipient_operates", "direction", "type", "level", "tlp", "categories"]
    assert rules == message + each + each


def test_findings_of_a_recipient_carry_the_article_of_its_own_flow() -> None:
    articles = {(one.recipient, one.article) for one in judge().findings if one.rule == "categories"}
    assert articles == {(PARTNER, "4(1)"), (SHELTER, "4(2)")}


def test_unclassified_needs_no_mapping() -> None:
    agreement = replace(AGREEMENT, classification={})
    assert judge(replace(HEADER, classification="none"), agreement).allows


def test_a_message_without_fields_and_handling_codes_is_released() -> None:
    header = replace(HEADER, handling=frozenset())
    assert decide(facts(header, ()), record(AGREEMENT), PARTIES, frozenset(PARTIES), NOW).allows


# ---------------------------------------------------------------------------------------------------------- the agreement


def test_an_agreement_that_the_hub_does_not_hold_governs_nothing() -> None:
    decision = decide(facts(), None, PARTIES, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.NO_AGREEMENT, "", None)]
    assert outcomes(decision) == [Outcome.REFUSED, Outcome.REFUSED]
    assert decision.agreement_version == 0


def test_another_agreement_than_the_named_one_is_not_asked() -> None:
    decision = judge(replace(HEADER, agreement="trial-2027"))
    assert failures(decision) == [(RefusalCode.NO_AGREEMENT, "", None)]
    assert decision.failures[0].values == (("agreement", "trial-2027"),)
    assert decision.agreement_version == 0


def test_without_an_agreement_the_registry_rules_are_still_answered() -> None:
    decision = decide(facts(), None, {}, frozenset(), NOW)
    assert [one[0] for one in failures(decision)] == [
        RefusalCode.NO_AGREEMENT,
        RefusalCode.UNKNOWN_SENDER,
        RefusalCode.RECIPIENT_UNKNOWN,
        RefusalCode.RECIPIENT_NOT_REACHABLE,
        RefusalCode.RECIPIENT_UNKNOWN,
        RefusalCode.RECIPIENT_NOT_REACHABLE,
    ]


def test_a_version_that_one_operating_authority_did_not_sign_is_a_draft() -> None:
    draft = AgreementRecord("trial-2026", (AGREEMENT,), {1: frozenset({AGENCY, PARTNER})})
    decision = decide(facts(), draft, PARTIES, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.AGREEMENT_NOT_SIGNED, "", None)]
    assert decision.failures[0].values == (("version", "1"), ("not_signed_by", SHELTER))
    assert not decision.allows


def test_an_agreement_without_any_version_is_not_signed() -> None:
    decision = decide(facts(), AgreementRecord("trial-2026", (), {}), PARTIES, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.AGREEMENT_NOT_SIGNED, "", None)]


def test_an_agreement_without_operating_authorities_is_not_signed() -> None:
    decision = judge(agreement=replace(AGREEMENT, operating_authorities=()))
    assert failures(decision) == [(RefusalCode.AGREEMENT_NOT_SIGNED, "", None)]


def test_a_signature_on_another_version_does_not_count() -> None:
    held = AgreementRecord("trial-2026", (AGREEMENT,), {2: frozenset(PARTIES)})
    decision = decide(facts(), held, PARTIES, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.AGREEMENT_NOT_SIGNED, "", None)]


def test_a_signed_version_that_starts_later_leaves_the_present_one_in_force() -> None:
    later = replace(AGREEMENT, version=2, term=replace(AGREEMENT.term, start=NOW + INSTANT))
    decision = decide(facts(), record(AGREEMENT, later), PARTIES, frozenset(PARTIES), NOW)
    assert decision.allows
    assert decision.agreement_version == 1


def test_the_newest_version_that_has_started_governs() -> None:
    narrower = replace(AGREEMENT, version=2, purposes=frozenset({"prevention"}))
    decision = decide(facts(), record(AGREEMENT, narrower), PARTIES, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.PURPOSE_NOT_ALLOWED, "2", None)]
    assert decision.agreement_version == 2


@pytest.mark.parametrize(("moment", "in_force"), [(START - INSTANT, False), (START, True), (END - INSTANT, True), (END, False)])
def test_the_start_belongs_to_the_term_and_the_end_does_not(moment: datetime, in_force: bool) -> None:
    decision = judge(replace(HEADER, expires=END + timedelta(days=1)), now=moment)
    assert failures(decision) == ([] if in_force else [(RefusalCode.AGREEMENT_NOT_IN_FORCE, "14", None)])


def test_an_agreement_that_is_not_in_force_says_its_term() -> None:
    values = judge(replace(HEADER, expires=END + timedelta(days=1)), now=END).failures[0].values
    assert values == (("version", "1"), ("in_force_from", "2026-04-01T00:00:00Z"), ("in_force_until", "2029-04-01T00:00:00Z"))


def test_an_open_ended_agreement_stays_in_force() -> None:
    open_ended = replace(AGREEMENT, term=replace(AGREEMENT.term, end=None))
    assert judge(replace(HEADER, expires=END + timedelta(days=1)), open_ended, now=END).allows


@pytest.mark.parametrize(("moment", "ended"), [(NOW - INSTANT, False), (NOW, True), (NOW + INSTANT, True)])
def test_termination_ends_an_agreement_before_its_term(moment: datetime, ended: bool) -> None:
    terminated = replace(record(AGREEMENT), ended_at=NOW)
    decision = decide(facts(), terminated, PARTIES, frozenset(PARTIES), moment)
    assert failures(decision) == ([(RefusalCode.AGREEMENT_NOT_IN_FORCE, "14", None)] if ended else [])


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(hours=1) - INSTANT])
def test_a_suspension_in_the_document_holds_from_its_start_and_cites_its_own_article(offset: timedelta) -> None:
    pause = Suspension(NOW, NOW + timedelta(hours=1), "notes exchanged", "15(2)")
    agreement = replace(AGREEMENT, term=replace(AGREEMENT.term, suspensions=(pause,)))
    decision = judge(agreement=agreement, now=NOW + offset)
    assert failures(decision) == [(RefusalCode.AGREEMENT_SUSPENDED, "15(2)", None)]
    assert decision.failures[0].values == (("version", "1"), ("suspended_from", "2026-11-22T09:00:00Z"))


@pytest.mark.parametrize("offset", [-INSTANT, timedelta(hours=1)])
def test_outside_a_suspension_the_agreement_governs(offset: timedelta) -> None:
    pause = Suspension(NOW, NOW + timedelta(hours=1), "notes exchanged", "15(2)")
    agreement = replace(AGREEMENT, term=replace(AGREEMENT.term, suspensions=(pause,)))
    assert judge(agreement=agreement, now=NOW + offset).allows


def test_a_suspension_that_was_recorded_since_cites_the_article_on_the_term() -> None:
    suspended = replace(record(AGREEMENT), suspensions=(Suspension(NOW),))
    decision = decide(facts(), suspended, PARTIES, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.AGREEMENT_SUSPENDED, "14", None)]


def test_a_blind_agreement_does_not_let_the_hub_open_content() -> None:
    decision = judge(agreement=replace(AGREEMENT, trust=TrustMode.BLIND))
    assert failures(decision) == [(RefusalCode.TRUST_MODE_NOT_ALLOWED, "11", None)]


# ------------------------------------------------------------------------------------------------- the sender, the message


def test_a_sender_that_is_not_in_the_registry_is_refused() -> None:
    parties = {authority: party for authority, party in PARTIES.items() if authority != AGENCY}
    decision = decide(facts(), record(AGREEMENT), parties, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.UNKNOWN_SENDER, "", None)]


def test_a_suspended_sender_is_refused() -> None:
    parties = PARTIES | {AGENCY: replace(PARTIES[AGENCY], standing=Standing.SUSPENDED)}
    decision = decide(facts(), record(AGREEMENT), parties, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.SENDER_NOT_IN_GOOD_STANDING, "", None)]
    assert decision.failures[0].values == (("authority", AGENCY),)


def test_a_sender_that_does_not_operate_under_the_agreement_is_refused() -> None:
    parties = PARTIES | {"tw.other": PARTIES[AGENCY]}
    header = replace(HEADER, sender="tw.other")
    decision = decide(facts(header), record(AGREEMENT), parties, frozenset(parties), NOW)
    assert failures(decision) == [(RefusalCode.SENDER_NOT_OPERATING, "3(1), 3(2)", None)]


def test_a_purpose_that_the_agreement_does_not_allow_is_refused() -> None:
    decision = judge(replace(HEADER, purpose="recruitment"))
    assert failures(decision) == [(RefusalCode.PURPOSE_NOT_ALLOWED, "2", None)]
    assert decision.failures[0].values == (("purpose", "recruitment"),)


def test_no_purposes_means_none_is_allowed() -> None:
    decision = judge(agreement=replace(AGREEMENT, purposes=frozenset()))
    assert failures(decision) == [(RefusalCode.PURPOSE_NOT_ALLOWED, "2", None)]


def test_a_level_that_the_senders_side_does_not_map_does_not_travel() -> None:
    decision = judge(replace(HEADER, classification="秘"))  # mapped, but for the other side
    assert failures(decision) == [(RefusalCode.CLASSIFICATION_NOT_MAPPED, "9", None)]
    assert decision.failures[0].values == (("party", "tw"), ("classification", "秘"))


def test_each_side_classifies_by_its_own_levels() -> None:
    back = replace(TO_PARTNER, article="4(3)", senders=frozenset({PARTNER}), recipients=frozenset({AGENCY}))
    agreement = replace(AGREEMENT, flows=(back,))
    header = replace(HEADER, sender=PARTNER, recipients=(AGENCY,))
    assert judge(replace(header, classification="秘"), agreement).allows
    assert failures(judge(header, agreement)) == [(RefusalCode.CLASSIFICATION_NOT_MAPPED, "9", None)]


def test_a_handling_code_that_the_agreement_does_not_provide_for_is_refused() -> None:
    decision = judge(replace(HEADER, handling=frozenset({Handling.H1, Handling.H2, Handling.H3})))
    assert failures(decision) == [(RefusalCode.HANDLING_NOT_COVERED, "8", None)]
    assert decision.failures[0].values == (("handling", "H2"), ("handling", "H3"))


@pytest.mark.parametrize(("expires", "expired"), [(NOW + INSTANT, False), (NOW, True), (NOW - INSTANT, True)])
def test_a_message_is_expired_at_its_expiry(expires: datetime, expired: bool) -> None:
    decision = judge(replace(HEADER, expires=expires))
    assert failures(decision) == ([(RefusalCode.EXPIRED, "", None)] if expired else [])


def test_an_empty_recipient_list_means_nobody() -> None:
    decision = judge(replace(HEADER, recipients=()))
    assert failures(decision) == [(RefusalCode.NO_RECIPIENT, "", None)]
    assert decision.recipients == ()
    assert not decision.allows


# -------------------------------------------------------------------------------------------------------- each recipient


def test_a_recipient_that_is_not_in_the_registry_is_refused() -> None:
    parties = {authority: party for authority, party in PARTIES.items() if authority != SHELTER}
    decision = decide(facts(), record(AGREEMENT), parties, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.RECIPIENT_UNKNOWN, "", SHELTER)]


def test_one_recipient_that_is_refused_stops_the_message_and_leaves_the_others_answered() -> None:
    parties = PARTIES | {SHELTER: replace(PARTIES[SHELTER], standing=Standing.SUSPENDED)}
    decision = decide(facts(), record(AGREEMENT), parties, frozenset(PARTIES), NOW)
    assert failures(decision) == [(RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING, "", SHELTER)]
    assert outcomes(decision) == [Outcome.RELEASED, Outcome.REFUSED]
    assert not decision.allows


def test_a_recipient_without_a_sealing_key_is_refused() -> None:
    decision = decide(facts(), record(AGREEMENT), PARTIES, frozenset({AGENCY, SHELTER}), NOW)
    assert failures(decision) == [(RefusalCode.RECIPIENT_NOT_REACHABLE, "", PARTNER)]


def test_a_recipient_that_does_not_operate_under_the_agreement_is_refused() -> None:
    parties = PARTIES | {"tw.other": PARTIES[SHELTER]}
    header = replace(HEADER, recipients=(PARTNER, "tw.other"))
    decision = decide(facts(header), record(AGREEMENT), parties, frozenset(parties), NOW)
    assert failures(decision) == [(RefusalCode.RECIPIENT_NOT_OPERATING, "3(1), 3(2)", "tw.other")]


def test_a_flow_in_one_direction_does_not_open_the_other() -> None:
    decision = judge(replace(HEADER, sender=PARTNER, recipients=(AGENCY,), classification="none"))
    assert failures(decision) == [(RefusalCode.FLOW_NOT_COVERED, "4(1), 4(2)", AGENCY)]
    assert decision.failures[0].values == (("from", PARTNER), ("to", AGENCY))


def test_an_authority_does_not_send_to_itself_even_where_a_flow_holds_it_on_both_ends() -> None:
    both = replace(TO_PARTNER, senders=frozenset(PARTIES), recipients=frozenset(PARTIES))
    decision = judge(replace(HEADER, recipients=(AGENCY,)), replace(AGREEMENT, flows=(both,)))
    assert failures(decision) == [(RefusalCode.FLOW_NOT_COVERED, "4(1)", AGENCY)]


def test_a_type_travels_only_where_a_flow_of_that_direction_holds_it() -> None:
    decision = judge(replace(HEADER, type="ht-referral"))
    assert failures(decision) == [(RefusalCode.TYPE_NOT_COVERED, "4(2)", SHELTER)]
    assert decision.failures[0].values == (("type", "ht-referral"),)


def test_a_level_above_the_highest_of_the_flow_does_not_travel() -> None:
    decision = judge(replace(HEADER, classification="機密"))
    assert failures(decision) == [(RefusalCode.CLASSIFICATION_TOO_HIGH, "4(2)", SHELTER)]
    assert decision.failures[0].values == (("level", "confidential"), ("highest", "restricted"))


@pytest.mark.parametrize("tlp", [Tlp.GREEN, Tlp.CLEAR])
def test_a_wider_audience_than_the_flow_allows_is_refused(tlp: Tlp) -> None:
    decision = judge(replace(HEADER, tlp=tlp, recipients=(PARTNER,)))
    assert failures(decision) == [(RefusalCode.TLP_TOO_WIDE, "4(1)", PARTNER)]
    assert decision.failures[0].values == (("tlp", tlp), ("widest", "amber"))


@pytest.mark.parametrize("tlp", [Tlp.RED, Tlp.AMBER_STRICT, Tlp.AMBER])
def test_a_narrower_audience_travels(tlp: Tlp) -> None:
    assert judge(replace(HEADER, tlp=tlp)).allows


# ------------------------------------------------------------------------------------------------------------ categories


def test_an_uncovered_category_refuses_the_message_where_the_flow_says_refuse() -> None:
    decision = judge_fields(IDENTITY, HEALTH, None, to=PARTNER)
    assert failures(decision) == [(RefusalCode.CATEGORY_NOT_COVERED, "4(1)", PARTNER)]
    assert decision.failures[0].values == (("category", "health"),)
    assert decision.recipients[0].removals == ()


def test_an_uncovered_category_is_taken_out_where_the_flow_says_minimise() -> None:
    decision = judge_fields(IDENTITY, TRAVEL, None, TRAVEL, to=SHELTER)
    assert decision.allows
    assert decision.recipients[0].outcome is Outcome.MINIMISED
    assert decision.recipients[0].removals == (
        Removal("/body/1", TRAVEL, "4(2)"),
        Removal("/body/3", TRAVEL, "4(2)"),
    )


def test_a_cut_copy_says_its_categories_in_a_satisfied_finding() -> None:
    finding = judge_fields(IDENTITY, TRAVEL, to=SHELTER).findings[-1]
    assert (finding.rule, finding.code, finding.values) == ("categories", None, (("removed", "travel"),))


def test_a_sealed_part_is_taken_out_with_its_category() -> None:
    sealed = PresentField("/body/reporter", DataCategory.CONTACT, sealed=True)
    header = replace(HEADER, recipients=(SHELTER,))
    decision = decide(facts(header, (*FIELDS, sealed)), record(AGREEMENT), PARTIES, frozenset(PARTIES), NOW)
    assert [one.path for one in decision.recipients[0].removals] == ["/body/reporter"]


def test_a_copy_of_which_nothing_would_be_left_is_refused() -> None:
    decision = judge_fields(TRAVEL, to=SHELTER)
    assert failures(decision) == [(RefusalCode.CATEGORY_NOT_COVERED, "4(2)", SHELTER)]


def test_a_message_that_fails_elsewhere_is_not_cut_but_refused() -> None:
    fields = (*FIELDS, PresentField("/body/route", TRAVEL))
    decision = decide(facts(replace(HEADER, purpose="gossip"), fields), record(AGREEMENT), PARTIES, frozenset(PARTIES), NOW)
    assert [(one.outcome, one.removals) for one in decision.recipients] == [(Outcome.REFUSED, ()), (Outcome.REFUSED, ())]


def test_each_recipient_gets_its_own_cut() -> None:
    fields = (*FIELDS, PresentField("/body/route", TRAVEL))
    decision = decide(facts(HEADER, fields), record(AGREEMENT), PARTIES, frozenset(PARTIES), NOW)
    assert outcomes(decision) == [Outcome.RELEASED, Outcome.MINIMISED]


def test_flows_of_one_direction_and_type_add_their_categories() -> None:
    second = replace(TO_PARTNER, article="5", categories=frozenset({HEALTH}))
    agreement = replace(AGREEMENT, flows=(*AGREEMENT.flows, second))
    assert judge_fields(IDENTITY, HEALTH, to=PARTNER, agreement=agreement).allows


def test_a_flow_of_another_type_lends_no_category() -> None:
    second = replace(TO_PARTNER, article="5", categories=frozenset({HEALTH}), types=frozenset({"info-response"}))
    decision = judge_fields(IDENTITY, HEALTH, to=PARTNER, agreement=replace(AGREEMENT, flows=(*AGREEMENT.flows, second)))
    assert failures(decision) == [(RefusalCode.CATEGORY_NOT_COVERED, "4(1)", PARTNER)]


def test_a_flow_of_another_sender_lends_no_category() -> None:
    second = replace(TO_PARTNER, article="5", categories=frozenset({HEALTH}), senders=frozenset({SHELTER}))
    decision = judge_fields(IDENTITY, HEALTH, to=PARTNER, agreement=replace(AGREEMENT, flows=(*AGREEMENT.flows, second)))
    assert failures(decision) == [(RefusalCode.CATEGORY_NOT_COVERED, "4(1)", PARTNER)]


def test_a_flow_that_does_not_carry_the_level_lends_no_category() -> None:
    second = replace(TO_PARTNER, article="5", categories=frozenset({HEALTH}), highest_classification=CommonLevel.NONE)
    decision = judge_fields(IDENTITY, HEALTH, to=PARTNER, agreement=replace(AGREEMENT, flows=(*AGREEMENT.flows, second)))
    assert failures(decision) == [(RefusalCode.CATEGORY_NOT_COVERED, "4(1)", PARTNER)]


def test_a_flow_that_does_not_carry_the_audience_lends_no_category() -> None:
    second = replace(TO_PARTNER, article="5", categories=frozenset({HEALTH}), widest_tlp=Tlp.RED)
    decision = judge_fields(IDENTITY, HEALTH, to=PARTNER, agreement=replace(AGREEMENT, flows=(*AGREEMENT.flows, second)))
    assert failures(decision) == [(RefusalCode.CATEGORY_NOT_COVERED, "4(1)", PARTNER)]


def test_level_and_audience_must_be_carried_by_the_same_flow() -> None:
    high = replace(TO_PARTNER, article="5", highest_classification=CommonLevel.SECRET, widest_tlp=Tlp.RED)
    agreement = replace(AGREEMENT, flows=(TO_PARTNER, high))
    decision = judge(replace(HEADER, classification="極機密", recipients=(PARTNER,)), agreement)
    assert failures(decision) == [(RefusalCode.TLP_TOO_WIDE, "5", PARTNER)]


def test_where_flows_disagree_on_an_uncovered_category_refusing_wins() -> None:
    second = replace(TO_SHELTER, article="5", uncovered_category=UncoveredCategory.REFUSE)
    decision = judge_fields(IDENTITY, TRAVEL, to=SHELTER, agreement=replace(AGREEMENT, flows=(TO_SHELTER, second)))
    assert failures(decision) == [(RefusalCode.CATEGORY_NOT_COVERED, "4(2), 5", SHELTER)]


def test_every_broken_rule_is_named_at_once() -> None:
    header = replace(
        HEADER, purpose="recruitment", classification="秘", handling=frozenset({Handling.H3}), tlp=Tlp.CLEAR, expires=NOW
    )
    parties = PARTIES | {PARTNER: replace(PARTIES[PARTNER], standing=Standing.SUSPENDED)}
    fields = (PresentField("/body/0", HEALTH), PresentField("/body/1", None))
    agreement = replace(record(AGREEMENT), suspensions=(Suspension(NOW),))
    decision = decide(facts(header, fields), agreement, parties, frozenset({SHELTER}), NOW)
    assert failures(decision) == [
        (RefusalCode.AGREEMENT_SUSPENDED, "14", None),
        (RefusalCode.PURPOSE_NOT_ALLOWED, "2", None),
        (RefusalCode.CLASSIFICATION_NOT_MAPPED, "9", None),
        (RefusalCode.HANDLING_NOT_COVERED, "8", None),
        (RefusalCode.EXPIRED, "", None),
        (RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING, "", PARTNER),
        (RefusalCode.RECIPIENT_NOT_REACHABLE, "", PARTNER),
        (RefusalCode.TLP_TOO_WIDE, "4(1)", PARTNER),
        (RefusalCode.CATEGORY_NOT_COVERED, "4(1)", PARTNER),
        (RefusalCode.TLP_TOO_WIDE, "4(2)", SHELTER),
    ]
