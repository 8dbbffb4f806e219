"""Taking a message in: once, in one transaction, with a receipt that is the same for ever."""

import json
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from hub.crypto.content_keys import decrypt_content
from hub.crypto.key_manifest import HeldKeyUse
from hub.crypto.keyrings import Keyring
from hub.crypto.signatures import generate_signing_key
from hub.domain.audit import AuditEvent
from hub.domain.deliveries import DeliveryState
from hub.domain.encoding import b64url_encode, format_time, new_uuid7
from hub.domain.keys import KeyState
from hub.domain.parties import SealingProfile, Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.parties import key_document
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE, receive_message
from hub.storage import messages
from hub.storage.registry import record_key
from hub.storage.store import Work
from tests.simulators.exchange import REFERRAL_ORDER, ROOT, Exchange, make_keyring
from tests.simulators.stores import StoreThatMoves, allow_inserts, forbid_inserts, other_node

POLICE, IMMIGRATION, SHELTER, CITY = "tw.npa", "tw.nia", "tw.shelter.garden", "tw.kaohsiung"
JAPANESE_POLICE, BILATERAL = "jp.npa", "tw-jp-police-2026"


def refusal_of(exchange: Exchange, message: dict[str, Any], sender: str = IMMIGRATION) -> Refusal:
    with pytest.raises(Refusal) as caught:
        exchange.agencies[sender].send(message)
    return caught.value


def stored(exchange: Exchange) -> dict[str, int]:
    """How many rows stand in each table that acceptance writes."""
    tables = ("messages", "deliveries", "receipts", "audit_entries")
    with exchange.hub.store.reading() as work:
        return {table: work.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in tables}


def test_an_accepted_message_gets_a_receipt_that_the_hub_signed(referrals: Exchange) -> None:
    message = referrals.agencies[IMMIGRATION].message()
    issued = referrals.agencies[IMMIGRATION].send(message)
    stated = referrals.statement(issued.jws)
    assert (stated["event"], stated["exchange"], stated["issuer"]) == ("accepted", issued.exchange, "hub")
    assert (stated["message"]["sender"], stated["message"]["id"]) == (IMMIGRATION, message["header"]["id"])


def test_the_receipt_names_the_digest_of_the_octets_that_were_signed(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    payload = json.dumps(message, ensure_ascii=False, indent=1).encode()
    issued = receive_message(referrals.hub, sender.seal(sender.sign(payload), message["header"]["id"]), ENVELOPE_MEDIA_TYPE)
    assert referrals.statement(issued.jws)["message"]["digest"] == b64url_encode(sha256(payload).digest())


def test_the_receipt_says_who_gets_what_under_which_article_and_by_when(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    stated = referrals.statement(sender.send(sender.message(recipients=[POLICE, SHELTER])).jws)
    police, shelter = stated["recipients"]
    assert (police["recipient"], police["outcome"], police["removed"]) == (POLICE, "released", [])
    assert (shelter["recipient"], shelter["outcome"]) == (SHELTER, "minimised")
    assert {gone["article"] for gone in shelter["removed"]} == {"4(3)"}
    assert shelter["reply_by"] == format_time(referrals.clock.now() + timedelta(hours=8))
    assert stated["agreement"] == {"id": REFERRAL_ORDER, "version": 1}


def test_a_delivery_is_queued_for_each_recipient(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    queued = referrals.deliveries_of(sender.send(sender.message(recipients=[POLICE, SHELTER])).exchange)
    assert {recipient: one.state for recipient, one in queued.items()} == dict.fromkeys((POLICE, SHELTER), DeliveryState.QUEUED)


def test_acceptance_is_audited_with_ids_digests_and_the_decision(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    issued = sender.send(message)
    (entry,) = referrals.audit(AuditEvent.MESSAGE_ACCEPTED)
    assert (entry["actor"], entry["outcome"], entry["exchange"]) == (IMMIGRATION, "ok", issued.exchange)
    assert entry["agreement"] == {"id": REFERRAL_ORDER, "version": 1}
    assert entry["details"]["message"] == message["header"]["id"]
    assert entry["details"]["decision"][0]["outcome"] == "minimised"
    assert entry["details"]["receipt"] == referrals.receipts_of(issued.exchange)[0].digest


def test_the_evidence_at_rest_opens_to_the_octets_as_received(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    signed = sender.sign(json.dumps(message).encode())
    issued = receive_message(referrals.hub, sender.seal(signed, message["header"]["id"]), ENVELOPE_MEDIA_TYPE)
    with referrals.hub.store.reading() as work:
        row = messages.get(work, issued.exchange)
    assert row is not None
    key = referrals.hub.keyring.storage_key(row.storage_kid)
    assert decrypt_content(key, row.exchange, row.wrapped_key, row.content, row.facts) == signed


def test_a_classic_sender_is_accepted_under_its_own_profile(referrals: Exchange) -> None:
    city = referrals.join(CITY, SealingProfile.CLASSIC_1)
    assert city.send(city.message(recipients=[SHELTER])).exchange


# one transaction


@pytest.mark.parametrize("table", ["messages", "deliveries", "receipts", "audit_entries"])
def test_nothing_is_half_there_when_one_write_of_acceptance_fails(referrals: Exchange, table: str) -> None:
    before = stored(referrals)
    forbid_inserts(referrals, table)
    sender = referrals.agencies[IMMIGRATION]
    with pytest.raises(Exception, match="no_more_rows"):
        sender.send(sender.message())
    assert stored(referrals) == before


def test_the_same_message_is_accepted_once_the_failing_write_is_mended(referrals: Exchange) -> None:
    forbid_inserts(referrals, "receipts")
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    with pytest.raises(Exception, match="no_more_rows"):
        sender.send(message)
    allow_inserts(referrals, "receipts")
    assert sender.send(message).repeated is False


# repeats


def test_a_repeat_gets_the_first_receipt_octet_for_octet(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    first = sender.send(message)
    referrals.clock.advance(minutes=1)
    again = sender.send(message)
    assert (again.jws, again.exchange, first.repeated, again.repeated) == (first.jws, first.exchange, False, True)


def test_a_repeat_adds_nothing_but_its_audit_entry(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    issued = sender.send(message)
    before = stored(referrals)
    sender.send(message)
    assert stored(referrals) == {**before, "audit_entries": before["audit_entries"] + 1}
    (entry,) = referrals.audit(AuditEvent.MESSAGE_REPEATED)
    assert (entry["actor"], entry["exchange"]) == (IMMIGRATION, issued.exchange)


def test_a_repeat_is_known_by_what_was_signed_though_signed_and_sealed_anew(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    payload, message_id = json.dumps(message).encode(), message["header"]["id"]
    first = receive_message(referrals.hub, sender.seal(sender.sign(payload), message_id), ENVELOPE_MEDIA_TYPE)
    successor = generate_signing_key("tw.nia-sig-2")
    referrals.record(replace(referrals.keys_of(sender)[0], kid=successor.kid, jwk=successor.public_jwk))
    resigned = sender.seal(sender.sign(payload, key=successor), message_id)
    assert receive_message(referrals.hub, resigned, ENVELOPE_MEDIA_TYPE).jws == first.jws


def test_a_repeat_after_the_expiry_gets_the_first_receipt(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    first = sender.send(message)
    referrals.clock.advance(days=31)
    assert sender.send(message).jws == first.jws


def test_a_repeat_after_the_agreement_ended_gets_the_first_receipt(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    first = sender.send(message)
    referrals.agreement_event(REFERRAL_ORDER, "ended")
    assert sender.send(message).jws == first.jws


def test_a_repeat_after_the_sender_was_suspended_gets_the_first_receipt(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    first = sender.send(message)
    referrals.record(replace(sender.party, standing=Standing.SUSPENDED))
    assert sender.send(message).jws == first.jws


def test_a_repeat_after_the_hubs_own_keys_rolled_over_gets_the_first_receipt(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    first = sender.send(message)
    _roll_over(referrals)
    assert sender.send(message).jws == first.jws


def test_a_new_message_after_the_rollover_is_receipted_with_the_new_key(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    first = sender.send(sender.message())
    _roll_over(referrals)
    second = sender.send(sender.message())
    assert first.jws.split(".")[0] != second.jws.split(".")[0]
    assert referrals.statement(second.jws)["exchange"] == second.exchange


def test_a_repeat_that_another_node_receives_gets_the_first_receipt(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    first = sender.send(message)
    with other_node(referrals) as node:
        assert receive_message(node, sender.envelope(message), ENVELOPE_MEDIA_TYPE).jws == first.jws


def test_an_id_that_was_used_for_other_content_is_refused(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    sender.send(message)
    message["body"]["details"] = "Something else."
    assert refusal_of(referrals, message).code is RefusalCode.MESSAGE_ID_REUSED


def test_two_senders_may_use_the_same_id(referrals: Exchange) -> None:
    one, other = referrals.agencies[IMMIGRATION], referrals.agencies[POLICE]
    message_id = new_uuid7(referrals.clock.now())
    first, second = one.send(one.message(id=message_id)), other.send(other.message(id=message_id))
    assert first.exchange != second.exchange


def test_a_repeat_by_a_key_that_was_revoked_meanwhile_is_refused(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    sender.send(message)
    referrals.revoke(referrals.keys_of(sender)[0])
    assert refusal_of(referrals, message).code is RefusalCode.KEY_NOT_VALID


# refused, and sent again


def test_a_refused_message_may_be_sent_again_once_the_cause_is_mended(referrals: Exchange) -> None:
    referrals.agreement_event(REFERRAL_ORDER, "suspended")
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    assert refusal_of(referrals, message).code is RefusalCode.AGREEMENT_SUSPENDED
    referrals.clock.advance(minutes=1)
    referrals.agreement_event(REFERRAL_ORDER, "resumed")
    assert sender.send(message).repeated is False


def test_a_refusal_by_the_policy_names_every_failed_rule_with_its_article(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    refusal = refusal_of(referrals, sender.message(purpose="advertising", classification="極機密"))
    assert refusal.code is RefusalCode.PURPOSE_NOT_ALLOWED
    assert {(one.code, one.article) for one in refusal.findings} == {
        (RefusalCode.PURPOSE_NOT_ALLOWED, "1"),
        (RefusalCode.CLASSIFICATION_NOT_MAPPED, "7"),
    }


def test_a_refusal_of_a_signed_message_is_audited_under_its_signer_and_its_id(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message(purpose="advertising")
    refusal_of(referrals, message)
    (entry,) = referrals.audit(AuditEvent.MESSAGE_REFUSED)
    assert (entry["actor"], entry["outcome"], entry["details"]["message"]) == (
        IMMIGRATION,
        "purpose_not_allowed",
        message["header"]["id"],
    )
    assert [finding["code"] for finding in entry["details"]["findings"]] == ["purpose_not_allowed"]


def test_a_signed_message_with_a_wrong_header_is_audited_under_its_signer(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    assert refusal_of(referrals, sender.message(urgency="whenever")).code is RefusalCode.SCHEMA_VIOLATION
    assert referrals.audit(AuditEvent.MESSAGE_REFUSED)[0]["actor"] == IMMIGRATION


# the registry moves


def test_a_change_of_the_registry_between_decision_and_commit_is_decided_again(referrals: Exchange) -> None:
    """The sender's message waits for the commit of a unit that suspends the agreement."""
    sender = referrals.agencies[IMMIGRATION]
    hub = referrals.hub
    racing = replace(hub, store=StoreThatMoves(hub.store, lambda: referrals.agreement_event(REFERRAL_ORDER, "suspended")))
    with pytest.raises(Refusal) as caught:
        receive_message(racing, sender.envelope(sender.message()), ENVELOPE_MEDIA_TYPE)
    assert caught.value.code is RefusalCode.AGREEMENT_SUSPENDED
    assert stored(referrals)["messages"] == 0


def test_a_change_that_does_not_matter_lets_the_message_in_after_all(referrals: Exchange) -> None:
    sender, other = referrals.agencies[IMMIGRATION], referrals.agencies[CITY]
    change = replace(other.party, names={"en": "Kaohsiung"})
    racing = replace(referrals.hub, store=StoreThatMoves(referrals.hub.store, lambda: referrals.record(change)))
    assert receive_message(racing, sender.envelope(sender.message()), ENVELOPE_MEDIA_TYPE).repeated is False


def test_the_message_that_another_node_accepts_first_gets_that_ones_receipt(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    message = sender.message()
    firsts: list[str] = []
    racing = replace(referrals.hub, store=StoreThatMoves(referrals.hub.store, lambda: firsts.append(sender.send(message).jws)))
    late = receive_message(racing, sender.envelope(message), ENVELOPE_MEDIA_TYPE)
    assert (late.jws, late.repeated) == (firsts[0], True)


def test_a_revocation_on_one_node_holds_on_another_at_once(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    with other_node(referrals) as node:
        receive_message(node, sender.envelope(sender.message()), ENVELOPE_MEDIA_TYPE)  # it has its picture of the registry now
        referrals.revoke(referrals.keys_of(sender)[0])
        with pytest.raises(Refusal) as caught:
            receive_message(node, sender.envelope(sender.message()), ENVELOPE_MEDIA_TYPE)
    assert caught.value.code is RefusalCode.KEY_NOT_VALID


def test_a_registry_seen_in_a_transaction_that_was_undone_is_not_kept(referrals: Exchange) -> None:
    sender, hub = referrals.agencies[IMMIGRATION], referrals.hub
    revoked = replace(referrals.keys_of(sender)[0], state=KeyState.REVOKED)

    def change_and_fail(work: Work) -> None:
        record_key(work, revoked.kid, revoked.owner, key_document(revoked), referrals.clock.now())
        assert hub.registry.at(work).keys[revoked.kid].state is KeyState.REVOKED
        raise InterruptedError

    with pytest.raises(InterruptedError):
        hub.store.write(change_and_fail)
    referrals.record(replace(referrals.agencies[CITY].party, names={"en": "Kaohsiung"}))  # takes the version that was undone
    assert sender.send(sender.message()).exchange


# cases


def test_an_answer_in_the_case_is_accepted_under_its_agreement(referrals: Exchange) -> None:
    question = _question(referrals)
    police = referrals.agencies[POLICE]
    assert police.send(_answer(referrals, question)).exchange


def test_an_answer_to_a_message_that_the_sender_never_saw_is_refused(referrals: Exchange) -> None:
    question = _question(referrals)
    message = _answer(referrals, question, sender="tw.npa.liaison.tokyo")
    assert refusal_of(referrals, message, "tw.npa.liaison.tokyo").code is RefusalCode.CASE_AGREEMENT_MISMATCH


def test_an_answer_that_names_a_known_case_and_an_unknown_question_is_refused(referrals: Exchange) -> None:
    question = _question(referrals)
    message = _answer(referrals, question)
    message["header"]["in_reply_to"] = new_uuid7(referrals.clock.now())
    assert refusal_of(referrals, message, POLICE).code is RefusalCode.CASE_AGREEMENT_MISMATCH


def test_an_answer_that_names_the_question_of_another_case_is_refused(referrals: Exchange) -> None:
    one, other = _question(referrals), _question(referrals)
    message = _answer(referrals, one)
    message["header"]["in_reply_to"] = other
    assert refusal_of(referrals, message, POLICE).code is RefusalCode.CASE_AGREEMENT_MISMATCH


def test_a_case_of_one_agreement_cannot_go_on_under_another(referrals: Exchange) -> None:
    question = _question(referrals)
    referrals.join(JAPANESE_POLICE)
    referrals.agree(BILATERAL)
    police = referrals.agencies[POLICE]
    message = police.message("info-request", agreement=BILATERAL, tlp="amber+strict", case=question, recipients=[JAPANESE_POLICE])
    assert refusal_of(referrals, message, POLICE).code is RefusalCode.CASE_AGREEMENT_MISMATCH


def test_a_case_is_not_moved_to_another_agreement_by_using_its_id_anew(referrals: Exchange) -> None:
    question = _question(referrals)
    referrals.join(JAPANESE_POLICE)
    referrals.agree(BILATERAL)
    police = referrals.agencies[POLICE]
    abroad: dict[str, Any] = {"agreement": BILATERAL, "recipients": [JAPANESE_POLICE], "tlp": "amber+strict"}
    referrals.clock.advance(seconds=1)
    police.send(police.message("info-request", id=question, **abroad))
    message = police.message("info-request", case=question, **abroad)
    assert refusal_of(referrals, message, POLICE).code is RefusalCode.CASE_AGREEMENT_MISMATCH


def test_somebody_elses_message_with_the_same_id_does_not_stop_an_answer(referrals: Exchange) -> None:
    question = _question(referrals)
    stranger = referrals.join(JAPANESE_POLICE)
    text = (ROOT / "config" / "agreements" / f"{BILATERAL}.toml").read_text()
    referrals.agree(BILATERAL, text=text.replace('"intelligence", "contact"]', '"intelligence", "contact", "financial"]'))
    referrals.clock.advance(seconds=1)
    stranger.send(stranger.message("info-request", tlp="amber+strict", id=question))
    assert referrals.agencies[POLICE].send(_answer(referrals, question)).exchange


# what the tests above set up


def _question(exchange: Exchange) -> str:
    asker = exchange.agencies[IMMIGRATION]
    message = asker.message("info-request", agreement=REFERRAL_ORDER, tlp="amber+strict", recipients=[POLICE])
    asker.send(message)
    return str(message["header"]["id"])


def _answer(exchange: Exchange, question: str, sender: str = POLICE) -> dict[str, Any]:
    return exchange.agencies[sender].message(
        "info-response",
        agreement=REFERRAL_ORDER,
        tlp="amber+strict",
        recipients=[IMMIGRATION],
        case=question,
        in_reply_to=question,
    )


def _roll_over(exchange: Exchange) -> None:
    """Give the hub new keys beside the old ones, which retire."""
    now = exchange.clock.now()
    old, new = exchange.hub.keyring, make_keyring(now)
    retiring = tuple(replace(line, state=KeyState.RETIRING) for line in old.lines)
    fresh = tuple(line for line in new.lines if line.use is not HeldKeyUse.STORAGE)
    kept = tuple(line for line in old.lines if line.use is HeldKeyUse.STORAGE)
    lines = (*(line for line in retiring if line.use is not HeldKeyUse.STORAGE), *fresh, *kept)
    exchange.hub = replace(exchange.hub, keyring=Keyring(lines, {**old._keys, **new._keys}))
    exchange.record_hub_keys()
