"""An agreement is a draft until every operating authority's signature over its canonical octets was verified."""

from dataclasses import replace
from pathlib import Path

import pytest

from hub.crypto.key_files import KeyAlgorithm, generate, store_key
from hub.crypto.signatures import generate_signing_key
from hub.domain.agreements import Agreement
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyState
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.jws import protected_header, serialise_detached, signing_input
from hub.services.change_agreement import end_agreement, resume_agreement, state_of, suspend_agreement
from hub.services.record_agreement import (
    AgreementDraft,
    add_signature,
    check_agreement,
    find_version,
    make_signature,
    record_agreement,
    sign_with_kept_key,
    sign_with_key_file,
)
from tests.services.registry_facts import CONFIG, last_entry, registry_of, signing_key
from tests.simulators.exchange import Agency, Exchange

ID = "tw-jp-police-2026"
TEXT = (CONFIG / "agreements" / f"{ID}.toml").read_bytes()


class Police:
    """The police MOU, recorded, with its two operating authorities registered."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.hub = exchange, exchange.hub
        self.here, self.there = exchange.join("tw.npa"), exchange.join("jp.npa")
        self.agreement: Agreement = record_agreement(self.hub, TEXT).agreement

    def sign(self, agency: Agency | None = None) -> AgreementDraft:
        """Add one authority's signature."""
        return add_signature(self.hub, ID, 1, make_signature(self.agreement, (agency or self.here).signing))

    def state(self) -> str:
        """How the agreement stands now."""
        return state_of(registry_of(self.hub).agreements[ID], self.hub.clock.now())


@pytest.fixture
def police(exchange: Exchange) -> Police:
    return Police(exchange)


def test_a_recorded_agreement_is_a_draft(police: Police) -> None:
    assert police.state() == "draft"


def test_a_recorded_agreement_leaves_its_digest_in_the_audit_log(police: Police) -> None:
    entry = last_entry(police.hub)
    assert entry["event"] == "agreement.recorded"
    assert (entry["agreement"], entry["details"]) == ({"id": ID, "version": 1}, {"digest": police.agreement.digest})


def test_a_draft_that_was_ended_is_said_to_have_ended(police: Police) -> None:
    end_agreement(police.hub, ID, "never signed")
    assert police.state() == "ended"


def test_one_signature_of_two_leaves_it_a_draft(police: Police) -> None:
    draft = police.sign()
    assert draft.unsigned_by == ("jp.npa",)
    assert police.state() == "draft"


def test_it_is_in_force_once_every_operating_authority_signed(police: Police) -> None:
    police.sign()
    police.sign(police.there)
    assert police.state() == "in force"


def test_a_signature_leaves_an_audit_entry_of_its_signer(police: Police) -> None:
    police.sign()
    entry = last_entry(police.hub)
    assert (entry["event"], entry["actor"], entry["details"]["kid"]) == ("agreement.signed", "tw.npa", police.here.signing.kid)


def test_the_first_signature_of_an_authority_stands(police: Police) -> None:
    police.sign()
    assert not police.sign().new


def test_the_same_document_again_is_no_change(police: Police) -> None:
    assert not record_agreement(police.hub, TEXT).new


def test_a_version_with_other_content_is_refused(police: Police) -> None:
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.VERSION_IS_IMMUTABLE):
        record_agreement(police.hub, TEXT.replace(b'"keep_under_terms"', b'"destroy"'))


def test_a_version_below_one_that_is_recorded_is_refused(police: Police) -> None:
    record_agreement(police.hub, TEXT.replace(b"version = 1", b"version = 3"))
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.INVALID_AGREEMENT):
        record_agreement(police.hub, TEXT.replace(b"version = 1", b"version = 2"))


def test_checking_records_nothing(exchange: Exchange) -> None:
    draft = check_agreement(exchange.hub, TEXT)
    assert (draft.new, draft.unknown_authorities) == (True, draft.unsigned_by)
    assert registry_of(exchange.hub).agreements == {}


def test_a_signature_over_another_version_is_refused(police: Police) -> None:
    other = record_agreement(police.hub, TEXT.replace(b"version = 1", b"version = 2")).agreement
    jws = make_signature(other, police.here.signing)
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.BAD_SIGNATURE):
        add_signature(police.hub, ID, 1, jws)


def test_a_signature_of_an_unknown_key_is_refused(police: Police) -> None:
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.UNKNOWN_SENDER):
        add_signature(police.hub, ID, 1, make_signature(police.agreement, generate_signing_key("unknown")))


def test_a_signature_of_somebody_who_does_not_operate_is_refused(police: Police) -> None:
    outsider = police.exchange.join("vn.mps")
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.SENDER_NOT_OPERATING):
        police.sign(outsider)


def test_a_signature_that_is_refused_is_audited(police: Police) -> None:
    with pytest.raises(Refusal):
        add_signature(police.hub, ID, 1, "a.b.c", authority="tw.npa")
    entry = last_entry(police.hub)
    assert (entry["event"], entry["actor"], entry["outcome"]) == ("agreement.signed", "tw.npa", "malformed_envelope")


def test_a_signature_handed_in_by_another_is_refused(police: Police) -> None:
    jws = make_signature(police.agreement, police.here.signing)
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.SENDER_MISMATCH):
        add_signature(police.hub, ID, 1, jws, authority="jp.npa")


@pytest.mark.parametrize("state", [KeyState.NEXT, KeyState.REVOKED])
def test_a_signature_of_a_key_that_is_not_accepted_is_refused(police: Police, state: KeyState) -> None:
    key = registry_of(police.hub).keys[police.here.signing.kid]
    police.exchange.record_key(replace(key, state=state))
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.KEY_NOT_VALID):
        police.sign()


def test_a_signature_of_a_key_for_messages_only_is_refused(police: Police) -> None:
    key = registry_of(police.hub).keys[police.here.signing.kid]
    police.exchange.record_key(replace(key, signs=frozenset({SignatureType.MESSAGE})))
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.KEY_NOT_VALID):
        police.sign()


def test_a_signature_of_another_type_is_refused(police: Police) -> None:
    protected = protected_header(police.here.signing.kid, SignatureType.MESSAGE)
    signed = police.here.signing.sign(signing_input(protected, b64url_encode(police.agreement.canonical)))
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.MALFORMED_ENVELOPE):
        add_signature(police.hub, ID, 1, serialise_detached(protected, signed))


def test_an_agreement_that_is_not_there_is_not_signed(police: Police) -> None:
    jws = make_signature(police.agreement, police.here.signing)
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.NOT_FOUND):
        add_signature(police.hub, ID, 7, jws)


def test_a_key_file_signs_for_its_owner(police: Police, tmp_path: Path) -> None:
    private = generate(KeyAlgorithm.ES256)
    store_key(tmp_path / "signing.key", private, b"open")
    police.exchange.record_key(replace(signing_key("tw.npa", private), state=KeyState.ACTIVE))
    draft = sign_with_key_file(police.hub, ID, 1, "tw.npa", file=tmp_path / "signing.key", passphrase=b"open")
    assert draft.new
    assert draft.unsigned_by == ("jp.npa",)


def test_a_key_file_that_nobody_registered_does_not_sign(police: Police, tmp_path: Path) -> None:
    store_key(tmp_path / "signing.key", generate(KeyAlgorithm.ES256), b"open")
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.INVALID_KEY):
        sign_with_key_file(police.hub, ID, 1, "tw.npa", file=tmp_path / "signing.key", passphrase=b"open")


def test_the_hub_does_not_sign_for_a_party_whose_key_it_does_not_keep(police: Police) -> None:
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.INVALID_KEY):
        sign_with_kept_key(police.hub, ID, 1, "tw.npa")


def test_the_newest_version_is_found_where_none_is_named(police: Police) -> None:
    record_agreement(police.hub, TEXT.replace(b"version = 1", b"version = 2"))
    assert find_version(registry_of(police.hub), ID).version == 2


@pytest.fixture
def in_force(police: Police) -> Police:
    police.sign()
    police.sign(police.there)
    return police


def test_an_agreement_is_suspended_and_resumed(in_force: Police) -> None:
    assert suspend_agreement(in_force.hub, ID, "consultation under way")
    assert in_force.state() == "suspended"
    in_force.exchange.clock.advance(days=1)
    assert resume_agreement(in_force.hub, ID, "consultation concluded")
    assert in_force.state() == "in force"


def test_suspending_twice_is_one_event(in_force: Police) -> None:
    assert [suspend_agreement(in_force.hub, ID, "once") for _ in range(2)] == [True, False]


def test_an_agreement_that_ended_does_not_begin_again(in_force: Police) -> None:
    assert end_agreement(in_force.hub, ID, "denounced")
    assert not resume_agreement(in_force.hub, ID, "regretted")
    assert in_force.state() == "ended"


def test_the_end_of_an_agreement_leaves_an_audit_entry_without_the_reason(in_force: Police) -> None:
    end_agreement(in_force.hub, ID, "denounced")
    entry = last_entry(in_force.hub)
    assert (entry["event"], entry["agreement"], entry["details"]) == ("agreement.ended", {"id": ID, "version": 1}, {})


@pytest.mark.parametrize("reason", ["", "x" * 501])
def test_a_change_needs_a_reason_of_bounded_length(in_force: Police, reason: str) -> None:
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.INVALID_REQUEST):
        suspend_agreement(in_force.hub, ID, reason)


def test_an_agreement_that_is_not_there_is_not_suspended(exchange: Exchange) -> None:
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.NOT_FOUND):
        suspend_agreement(exchange.hub, ID, "why not")
