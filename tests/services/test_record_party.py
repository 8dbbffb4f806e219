"""Parties are recorded as documents; their standing changes by command alone, and holds at once."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from hub.crypto.key_files import KeyAlgorithm
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyState
from hub.domain.parties import Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.parties import party_document
from hub.services.hub import Hub
from hub.services.manage_keys import import_registration
from hub.services.record_party import change_standing, record_party
from tests.services.registry_facts import CONFIG, last_entry, party_text, registration, registry_of, sealing_key
from tests.simulators.exchange import Exchange

PUSHED = 'mode = "push"\naddress = "https://partner.example.jp/inbox"'


@pytest.fixture
def hub(exchange: Exchange) -> Hub:
    return exchange.hub


@pytest.mark.parametrize("file", sorted((CONFIG / "parties").glob("*.toml")), ids=lambda file: file.stem)
def test_every_configured_party_is_recorded(hub: Hub, file: Path) -> None:
    assert record_party(hub, file.read_bytes()).party == registry_of(hub).parties[file.stem]


def test_the_same_document_again_changes_nothing(hub: Hub) -> None:
    assert record_party(hub, party_text("tw.npa")).changed
    version = registry_of(hub).version
    assert not record_party(hub, party_text("tw.npa")).changed
    assert registry_of(hub).version == version


def test_a_recorded_party_leaves_an_audit_entry(hub: Hub) -> None:
    record_party(hub, party_text("tw.npa"))
    entry = last_entry(hub)
    assert (entry["event"], entry["details"]["party"], entry["details"]["standing"]) == ("party.recorded", "tw.npa", "good")
    document = party_document(registry_of(hub).parties["tw.npa"])
    assert entry["details"]["document"] == b64url_encode(sha256(document).digest())


def test_a_document_does_not_reinstate_a_suspended_party(hub: Hub) -> None:
    record_party(hub, party_text("tw.npa"))
    change_standing(hub, "tw.npa", Standing.SUSPENDED)
    record_party(hub, party_text("tw.npa"))
    assert registry_of(hub).parties["tw.npa"].standing is Standing.SUSPENDED


def test_a_suspension_is_lifted_by_command(hub: Hub) -> None:
    record_party(hub, party_text("tw.npa"))
    change_standing(hub, "tw.npa", Standing.SUSPENDED)
    assert change_standing(hub, "tw.npa", Standing.GOOD)
    assert registry_of(hub).parties["tw.npa"].standing is Standing.GOOD


def test_suspending_twice_is_one_change(hub: Hub) -> None:
    record_party(hub, party_text("tw.npa"))
    assert [change_standing(hub, "tw.npa", Standing.SUSPENDED) for _ in range(2)] == [True, False]


def test_somebody_unknown_is_not_suspended(hub: Hub) -> None:
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.NOT_FOUND):
        change_standing(hub, "xx.nobody", Standing.SUSPENDED)


def test_a_push_address_off_the_allow_list_is_refused(hub: Hub) -> None:
    octets = party_text("jp.npa").replace(b'mode = "pull"', PUSHED.encode())
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.ADDRESS_NOT_ALLOWED):
        record_party(hub, octets)


def test_a_push_address_on_the_allow_list_is_recorded(hub: Hub) -> None:
    allowing = replace(hub, limits=replace(hub.limits, push_allowed_hosts=frozenset({"partner.example.jp"})))
    octets = party_text("jp.npa").replace(b'mode = "pull"', PUSHED.encode())
    assert record_party(allowing, octets).party.push_address == "https://partner.example.jp/inbox"


def test_the_keys_in_a_document_are_recorded_with_it(hub: Hub) -> None:
    record_party(hub, party_text("tw.npa"))
    (key,) = import_registration(hub, "tw.npa", registration("tw.npa", sealing_key("tw.npa")))
    assert key.state is KeyState.ACTIVE


def test_a_party_does_not_change_its_profile_under_its_sealing_keys(hub: Hub) -> None:
    record_party(hub, party_text("jp.npa"))
    import_registration(hub, "jp.npa", registration("jp.npa", sealing_key("jp.npa", KeyAlgorithm.ECDH_ES)))
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.INVALID_PARTY):
        record_party(hub, party_text("jp.npa").replace(b'profile = "classic-1"', b'profile = "pq-1"'))


def test_the_hub_is_no_party_that_a_file_describes(hub: Hub) -> None:
    octets = party_text("tw.npa").replace(b'"tw.npa"', b'"hub"').replace(b'"domestic_agency"', b'"hub"')
    with pytest.raises(Refusal, check=lambda refusal: refusal.code is RefusalCode.INVALID_PARTY):
        record_party(hub, octets)
