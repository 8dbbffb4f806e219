"""A recipient's receipt: matched to what was released to it, kept as it was signed, and stated again by the hub."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from hub.crypto.signatures import generate_signing_key
from hub.domain.audit import AuditEvent
from hub.domain.deliveries import DeliveryState
from hub.domain.encoding import b64url_encode, new_uuid7
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats import jws
from hub.services.close_deadlines import close_deadlines
from hub.services.issue_receipt import IssuedReceipt, sign_receipt
from hub.services.pull_inbox import InboxItem
from hub.services.record_receipt import MAX_RECEIPT_CHARACTERS, record_receipt
from tests.simulators.exchange import REFERRAL_ORDER, Agency, Exchange

POLICE, IMMIGRATION, SHELTER = "tw.npa", "tw.nia", "tw.shelter.garden"
MISMATCH = RefusalCode.RECEIPT_MISMATCH


class Fetched:
    """A referral that one recipient fetched and opened."""

    def __init__(self, exchange: Exchange, recipient: str = SHELTER) -> None:
        sender = exchange.agencies[IMMIGRATION]
        self.exchange = exchange
        self.agency: Agency = exchange.agencies[recipient]
        self.id = sender.send(sender.message(recipients=[recipient])).exchange
        exchange.deliver()
        item, copy, _document = self.agency.fetch()
        self.item: InboxItem = item
        self.payload = copy.payload

    def acknowledge(self, event: str = "delivered", **changes: Any) -> IssuedReceipt:
        return self.agency.acknowledge(event, self.item, self.payload, **changes)

    def refused(self, event: str = "delivered", **changes: Any) -> RefusalCode:
        with pytest.raises(Refusal) as caught:
            self.acknowledge(event, **changes)
        return caught.value.code

    def refused_text(self, text: str) -> RefusalCode:
        with pytest.raises(Refusal) as caught:
            record_receipt(self.exchange.hub, self.agency.caller, self.item.delivery.id, text)
        return caught.value.code

    @property
    def state(self) -> DeliveryState:
        return self.exchange.deliveries_of(self.id)[self.agency.authority].state


@pytest.fixture
def fetched(referrals: Exchange) -> Fetched:
    return Fetched(referrals)


def test_the_hub_answers_with_a_receipt_that_states_the_same_to_the_sender(fetched: Fetched) -> None:
    stated = fetched.exchange.statement(fetched.acknowledge().jws)
    assert (stated["event"], stated["issuer"], stated["recipient"]) == ("delivered", "hub", SHELTER)
    assert stated["message"]["sender"] == IMMIGRATION


def test_a_delivered_receipt_brings_the_delivery_into_its_state(fetched: Fetched) -> None:
    fetched.acknowledge()
    assert fetched.state is DeliveryState.DELIVERED


def test_a_retrieved_receipt_follows_a_delivered_one(fetched: Fetched) -> None:
    fetched.acknowledge()
    fetched.acknowledge("retrieved")
    assert fetched.state is DeliveryState.RETRIEVED


def test_the_four_receipts_of_a_message_stand_in_their_order(fetched: Fetched) -> None:
    fetched.acknowledge()
    fetched.acknowledge("retrieved")
    assert [(one.event.value, one.issuer) for one in fetched.exchange.receipts_of(fetched.id)] == [
        ("accepted", "hub"),
        ("relayed", "hub"),
        ("delivered", SHELTER),
        ("delivered", "hub"),
        ("retrieved", SHELTER),
        ("retrieved", "hub"),
    ]


def test_a_partners_receipt_is_kept_octet_for_octet(fetched: Fetched) -> None:
    text = fetched.agency.receipt(**fetched.agency.state("delivered", fetched.item, fetched.payload))
    record_receipt(fetched.exchange.hub, fetched.agency.caller, fetched.item.delivery.id, text)
    theirs = next(one for one in fetched.exchange.receipts_of(fetched.id) if one.issuer == SHELTER)
    assert sign_receipt(fetched.exchange.hub, theirs) == text


def test_the_hubs_receipt_names_the_partners_by_digest(fetched: Fetched) -> None:
    stated = fetched.exchange.statement(fetched.acknowledge().jws)
    theirs = next(one for one in fetched.exchange.receipts_of(fetched.id) if one.issuer == SHELTER)
    assert stated["of"] == theirs.digest


def test_a_receipt_that_was_stored_is_signed_again_to_the_same_octets(fetched: Fetched) -> None:
    issued = fetched.acknowledge()
    own = fetched.exchange.receipts_of(fetched.id)[-1]
    assert (own.jws, sign_receipt(fetched.exchange.hub, own)) == ("", issued.jws)


def test_a_repeat_gets_the_hubs_first_receipt(fetched: Fetched) -> None:
    first = fetched.acknowledge()
    fetched.exchange.clock.advance(minutes=5)
    again = fetched.acknowledge()
    assert (again.jws, again.repeated) == (first.jws, True)
    assert len(fetched.exchange.receipts_of(fetched.id)) == 4


def test_a_receipt_is_audited_with_digests_only(fetched: Fetched) -> None:
    fetched.acknowledge()
    (entry,) = fetched.exchange.audit(AuditEvent.RECEIPT_RECORDED)
    assert (entry["actor"], entry["outcome"], entry["exchange"]) == (SHELTER, "delivered", fetched.id)
    assert set(entry["details"]) == {"delivery", "receipt", "of"}


# matched by digest


@pytest.mark.parametrize("of", [None, "A" * 43])
def test_a_receipt_of_a_shortened_copy_names_the_original(fetched: Fetched, of: str | None) -> None:
    assert fetched.refused(of=of) is MISMATCH


def test_a_receipt_of_the_original_names_no_other(referrals: Exchange) -> None:
    assert Fetched(referrals, POLICE).refused(of="A" * 43) is MISMATCH


def test_the_recipient_of_a_minimised_copy_names_the_renditions_digest(fetched: Fetched) -> None:
    assert fetched.acknowledge().exchange == fetched.id


def test_the_recipient_of_a_minimised_copy_cannot_claim_the_original(fetched: Fetched) -> None:
    with fetched.exchange.hub.store.reading() as work:
        original = work.exec_driver_sql("SELECT digest FROM messages").scalar_one()
    about = fetched.agency.state("delivered", fetched.item, fetched.payload)["message"]
    assert fetched.refused(message={**about, "digest": original}) is MISMATCH


def test_the_recipient_of_an_unchanged_copy_names_the_originals_digest(referrals: Exchange) -> None:
    fetched = Fetched(referrals, POLICE)
    with referrals.hub.store.reading() as work:
        original = work.exec_driver_sql("SELECT digest FROM messages").scalar_one()
    assert b64url_encode(sha256(fetched.payload).digest()) == original
    assert fetched.acknowledge().exchange == fetched.id


def test_a_receipt_before_anything_was_released_is_a_mismatch(referrals: Exchange) -> None:
    sender, shelter = referrals.agencies[IMMIGRATION], referrals.agencies[SHELTER]
    message = sender.message()
    sender.send(message)
    referrals.deliver()
    with pytest.raises(Refusal) as caught:
        shelter.acknowledge("delivered", shelter.inbox()[0], json.dumps(message, ensure_ascii=False).encode())
    assert caught.value.code is MISMATCH


# every member counts


CHANGES: dict[str, dict[str, Any]] = {
    "another version": {"v": 2},
    "a version that is true": {"v": True},
    "another event of the hub": {"event": "relayed"},
    "an event that is no event": {"event": "eaten"},
    "an event that is a list": {"event": ["delivered"]},
    "an event that is an object": {"event": {}},
    "another issuer": {"issuer": POLICE},
    "another recipient": {"recipient": POLICE},
    "another exchange": {"exchange": "01932a4e-6c00-7a31-9f02-5d1c8be04471"},
    "another delivery": {"delivery": "01932a4e-6c00-7a31-9f02-5d1c8be04471"},
    "no exchange": {"exchange": None},
    "no delivery": {"delivery": None},
    "no time": {"time": None},
    "a time that is none": {"time": "yesterday"},
    "no message": {"message": None},
    "a message that is a string": {"message": "m"},
    "a message without members": {"message": {}},
    "a member that nobody asked for": {"note": "what the person said"},
    "a reason for a delivery": {"reason": "schema_violation"},
    "an original that is no digest": {"of": "the original"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_receipt_that_disagrees_is_a_mismatch(fetched: Fetched, change: dict[str, Any]) -> None:
    assert fetched.refused(**change) is MISMATCH
    assert fetched.state is DeliveryState.HELD


@pytest.mark.parametrize(
    "about", [{"digest": b64url_encode(bytes(32))}, {"digest": 7}, {"id": "x"}, {"sender": POLICE}, {"more": "x"}]
)
def test_a_receipt_about_another_message_is_a_mismatch(fetched: Fetched, about: dict[str, Any]) -> None:
    message = fetched.agency.state("delivered", fetched.item, fetched.payload)["message"]
    assert fetched.refused(message={**message, **about}) is MISMATCH


def test_a_receipt_for_one_delivery_does_not_serve_for_another(fetched: Fetched) -> None:
    text = fetched.agency.receipt(**fetched.agency.state("delivered", fetched.item, fetched.payload))
    assert Fetched(fetched.exchange).refused_text(text) is MISMATCH


def test_a_refused_receipt_is_audited_with_its_code_and_nothing_of_its_text(fetched: Fetched) -> None:
    fetched.refused(note="what the person said")
    (entry,) = fetched.exchange.audit(AuditEvent.RECEIPT_REFUSED)
    assert (entry["actor"], entry["outcome"], entry["exchange"]) == (SHELTER, "receipt_mismatch", fetched.id)
    assert set(entry["details"]) == {"delivery", "arrival"}


# who signed


def test_a_receipt_signed_by_another_party_is_refused(fetched: Fetched) -> None:
    members = fetched.agency.state("delivered", fetched.item, fetched.payload)
    assert fetched.refused_text(fetched.exchange.agencies[POLICE].receipt(**members)) is RefusalCode.UNKNOWN_SENDER


def test_a_receipt_signed_by_the_hub_is_refused(fetched: Fetched) -> None:
    own = fetched.exchange.receipts_of(fetched.id)[-1]
    assert fetched.refused_text(sign_receipt(fetched.exchange.hub, own)) is RefusalCode.UNKNOWN_SENDER


def test_a_receipt_signed_with_an_unregistered_key_is_refused(fetched: Fetched) -> None:
    forger = replace(fetched.agency, signing=generate_signing_key("nobodys"))
    text = forger.receipt(**fetched.agency.state("delivered", fetched.item, fetched.payload))
    assert fetched.refused_text(text) is RefusalCode.UNKNOWN_SENDER


def test_a_receipt_forged_under_the_recipients_key_id_is_refused(fetched: Fetched) -> None:
    forger = replace(fetched.agency, signing=generate_signing_key(fetched.agency.signing.kid))
    text = forger.receipt(**fetched.agency.state("delivered", fetched.item, fetched.payload))
    assert fetched.refused_text(text) is RefusalCode.BAD_SIGNATURE


def test_a_receipt_signed_with_the_access_key_is_refused(fetched: Fetched) -> None:
    confused = replace(fetched.agency, signing=fetched.agency.client)
    text = confused.receipt(**fetched.agency.state("delivered", fetched.item, fetched.payload))
    assert fetched.refused_text(text) is RefusalCode.KEY_NOT_VALID


def test_a_receipt_signed_with_a_key_that_may_not_sign_receipts_is_refused(fetched: Fetched) -> None:
    key = fetched.exchange.keys_of(fetched.agency)[0]
    fetched.exchange.record(replace(key, signs=key.signs - {SignatureType.RECEIPT}))
    assert fetched.refused() is RefusalCode.KEY_NOT_VALID


def test_a_receipt_signed_with_a_revoked_key_is_refused(fetched: Fetched) -> None:
    fetched.exchange.revoke(fetched.exchange.keys_of(fetched.agency)[0])
    assert fetched.refused() is RefusalCode.KEY_NOT_VALID


def test_a_message_signature_does_not_serve_as_a_receipt(fetched: Fetched) -> None:
    protected, text = jws.protected_header(fetched.agency.signing.kid, SignatureType.MESSAGE), b64url_encode(b"{}")
    signature = fetched.agency.signing.sign(jws.signing_input(protected, text))
    assert fetched.refused_text(jws.serialise_compact(protected, text, signature)) is RefusalCode.MALFORMED_ENVELOPE


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "é.é.é", "\ud800", "{}", "..", "eyJhbGciOiJub25lIn0.e30."])
def test_garbage_is_not_a_receipt(fetched: Fetched, text: str) -> None:
    assert fetched.refused_text(text) is RefusalCode.MALFORMED_ENVELOPE


def test_a_receipt_that_is_too_long_is_refused_before_it_is_read(fetched: Fetched) -> None:
    assert fetched.refused_text("a" * (MAX_RECEIPT_CHARACTERS + 1)) is RefusalCode.TOO_LARGE


@pytest.mark.parametrize("whose", ["theirs", "nobodys"])
def test_another_partys_delivery_is_not_found(fetched: Fetched, whose: str) -> None:
    stranger = fetched.exchange.agencies[POLICE]
    delivery = fetched.item.delivery.id if whose == "theirs" else new_uuid7(fetched.exchange.clock.now())
    text = stranger.receipt(**stranger.state("delivered", fetched.item, fetched.payload))
    with pytest.raises(Refusal) as caught:
        record_receipt(fetched.exchange.hub, stranger.caller, delivery, text)
    assert caught.value.code is RefusalCode.NOT_FOUND
    (entry,) = fetched.exchange.audit(AuditEvent.RECEIPT_REFUSED)
    assert (entry["actor"], entry["outcome"], "exchange" in entry) == (POLICE, "not_found", False)


# rejections


def test_a_rejection_is_stated_to_the_sender_with_its_reason(fetched: Fetched) -> None:
    stated = fetched.exchange.statement(fetched.acknowledge("rejected", reason="schema_violation").jws)
    assert (stated["event"], stated["reason"]) == ("rejected", "schema_violation")
    assert fetched.state is DeliveryState.REFUSED


def test_who_could_not_open_the_seal_rejects_without_id_or_digest(fetched: Fetched) -> None:
    unopened = {"sender": IMMIGRATION, "id": "", "digest": ""}
    fetched.acknowledge("rejected", reason="cannot_unseal", message=unopened)
    assert fetched.state is DeliveryState.REFUSED


def test_a_delivery_cannot_be_stated_without_id_and_digest(fetched: Fetched) -> None:
    assert fetched.refused(message={"sender": IMMIGRATION, "id": "", "digest": ""}) is MISMATCH


@pytest.mark.parametrize("reason", [None, "", "The victim Ms N. told us", "x" * 65, ["cannot_unseal"], 7])
def test_a_rejection_gives_its_reason_as_a_code(fetched: Fetched, reason: Any) -> None:
    assert fetched.refused("rejected", reason=reason) is MISMATCH


# what may follow what


def test_retrieved_cannot_come_before_delivered(fetched: Fetched) -> None:
    assert fetched.refused("retrieved") is MISMATCH


def test_rejected_cannot_follow_delivered(fetched: Fetched) -> None:
    fetched.acknowledge()
    assert fetched.refused("rejected", reason="schema_violation") is MISMATCH
    assert fetched.state is DeliveryState.DELIVERED


def test_delivered_cannot_follow_rejected(fetched: Fetched) -> None:
    fetched.acknowledge("rejected", reason="schema_violation")
    assert fetched.refused() is MISMATCH


def test_a_delivery_is_still_confirmed_after_the_agreement_was_suspended(fetched: Fetched) -> None:
    fetched.exchange.agreement_event(REFERRAL_ORDER, "suspended")
    fetched.acknowledge()
    assert fetched.state is DeliveryState.DELIVERED


def test_a_delivery_is_still_confirmed_after_the_negative_evidence_and_the_expiry(fetched: Fetched) -> None:
    fetched.exchange.clock.advance(days=31)
    close_deadlines(fetched.exchange.hub)
    fetched.acknowledge()
    assert fetched.state is DeliveryState.DELIVERED
    assert [one.event for one in fetched.exchange.receipts_of(fetched.id)][2:] == [
        ReceiptEvent.NOT_DELIVERED,
        ReceiptEvent.DELIVERED,
        ReceiptEvent.DELIVERED,
    ]
