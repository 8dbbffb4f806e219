"""The preview: the decision that acceptance would make, with nothing accepted."""

from typing import Any

import pytest

from hub.domain.audit import AuditEvent
from hub.domain.decisions import Decision, Outcome
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.preview_release import preview_release
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE
from tests.simulators.exchange import REFERRAL_ORDER, Exchange

POLICE, IMMIGRATION, SHELTER = "tw.npa", "tw.nia", "tw.shelter.garden"


def preview(exchange: Exchange, message: dict[str, Any], caller: str = IMMIGRATION) -> Decision:
    sender = exchange.agencies[IMMIGRATION]
    return preview_release(exchange.hub, exchange.agencies[caller].caller, sender.envelope(message), ENVELOPE_MEDIA_TYPE)


def test_it_says_who_would_get_what(referrals: Exchange) -> None:
    decision = preview(referrals, referrals.agencies[IMMIGRATION].message(recipients=[POLICE, SHELTER]))
    assert [(one.recipient, one.outcome) for one in decision.recipients] == [
        (POLICE, Outcome.RELEASED),
        (SHELTER, Outcome.MINIMISED),
    ]


def test_it_says_why_not(referrals: Exchange) -> None:
    referrals.agreement_event(REFERRAL_ORDER, "suspended")
    decision = preview(referrals, referrals.agencies[IMMIGRATION].message(purpose="advertising"))
    assert {one.code for one in decision.failures} == {RefusalCode.AGREEMENT_SUSPENDED, RefusalCode.PURPOSE_NOT_ALLOWED}


def test_it_tells_nothing_of_an_agreement_that_never_named_the_sender(referrals: Exchange) -> None:
    referrals.agree("tw-jp-police-2026")
    decisions = [
        preview(referrals, referrals.agencies[IMMIGRATION].message(agreement=agreement, purpose="advertising"))
        for agreement in ("tw-jp-police-2026", "there-is-none")
    ]
    codes = {one.code for decision in decisions for one in decision.failures}
    articles = {one.article for decision in decisions for one in decision.findings}
    assert (codes, articles) == ({RefusalCode.NO_AGREEMENT}, {""})


def test_it_accepts_nothing(referrals: Exchange) -> None:
    message = referrals.agencies[IMMIGRATION].message()
    preview(referrals, message)
    with referrals.hub.store.reading() as work:
        assert work.exec_driver_sql("SELECT count(*) FROM messages").scalar_one() == 0
    assert referrals.agencies[IMMIGRATION].send(message).repeated is False


def test_it_is_the_decision_that_acceptance_then_makes(referrals: Exchange) -> None:
    message = referrals.agencies[IMMIGRATION].message(recipients=[SHELTER])
    decision = preview(referrals, message)
    stated = referrals.statement(referrals.agencies[IMMIGRATION].send(message).jws)["recipients"][0]["removed"]
    assert [gone["path"] for gone in stated] == [gone.path for gone in decision.recipients[0].removals]


@pytest.mark.parametrize(
    ("purpose", "outcome", "codes"), [("victim_protection", "allowed", []), ("x", "refused", ["purpose_not_allowed"])]
)
def test_it_is_audited_with_its_outcome(referrals: Exchange, purpose: str, outcome: str, codes: list[str]) -> None:
    preview(referrals, referrals.agencies[IMMIGRATION].message(purpose=purpose))
    (entry,) = referrals.audit(AuditEvent.MESSAGE_PREVIEWED)
    assert (entry["actor"], entry["outcome"], entry["details"]["codes"]) == (IMMIGRATION, outcome, codes)


def test_another_partys_message_is_not_previewed(referrals: Exchange) -> None:
    with pytest.raises(Refusal) as caught:
        preview(referrals, referrals.agencies[IMMIGRATION].message(), caller=POLICE)
    assert caught.value.code is RefusalCode.SENDER_MISMATCH


def test_a_message_that_cannot_be_read_is_refused_and_audited(referrals: Exchange) -> None:
    caller = referrals.agencies[IMMIGRATION].caller
    with pytest.raises(Refusal) as caught:
        preview_release(referrals.hub, caller, b"{}", ENVELOPE_MEDIA_TYPE)
    assert caught.value.code is RefusalCode.MALFORMED_ENVELOPE
    (entry,) = referrals.audit(AuditEvent.MESSAGE_PREVIEWED)
    assert (entry["actor"], entry["outcome"]) == (IMMIGRATION, "malformed_envelope")
