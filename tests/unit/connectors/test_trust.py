"""Pinning: the hub's keys come from outside the hub, and what was pinned does not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.hub_client.trust import load_pins, make_pins, read_published_keys, select_by_fingerprint
from hub.crypto.jwks import thumbprint
from hub.crypto.key_files import KeyAlgorithm, generate
from hub.domain.keys import Custody, KeyState
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from tests.simulators.hub_double import NAME, YEAR, HubDouble, now
from tests.unit.connectors.conftest import Bench

COSIGNER = generate(KeyAlgorithm.ML_DSA_44).for_cosigning(NAME).key.vkey


@pytest.fixture
def hub() -> HubDouble:
    return HubDouble()


def test_only_the_fingerprints_that_were_told_are_pinned(hub: HubDouble) -> None:
    offered = read_published_keys(hub.published())
    told = thumbprint(hub.signing.public_jwk)
    assert [key.kid for key in select_by_fingerprint(offered, [told])] == [hub.signing.kid]


def test_a_fingerprint_that_the_hub_does_not_publish_is_refused(hub: HubDouble) -> None:
    with pytest.raises(Refusal) as caught:
        select_by_fingerprint(read_published_keys(hub.published()), ["A" * 43])
    assert caught.value.code is RefusalCode.INVALID_KEY


@pytest.mark.parametrize("vkeys", [[], [COSIGNER], ["nonsense"]])
def test_without_the_logs_own_key_nothing_is_pinned(hub: HubDouble, vkeys: list[str]) -> None:
    with pytest.raises(Refusal) as caught:
        make_pins(read_published_keys(hub.published()), vkeys)
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_without_a_signing_key_of_the_hub_nothing_is_pinned(hub: HubDouble) -> None:
    keys = [key for key in read_published_keys(hub.published()) if key.kid != hub.signing.kid]
    with pytest.raises(Refusal) as caught:
        make_pins(keys, [hub.log.signer.key.vkey])
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_a_damaged_key_is_refused(hub: HubDouble) -> None:
    published = hub.published()
    published["keys"][0]["jwk"]["x"] = "AAAA"
    with pytest.raises(Refusal) as caught:
        read_published_keys(published)
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_pins_are_read_back_as_they_were_written(bench: Bench) -> None:
    pins = load_pins(bench.place.home / "hub.json")
    assert (pins.name, pins.keys) == (NAME, bench.desk.pins.keys)


def test_a_revoked_key_of_the_hub_signs_nothing_that_counts(hub: HubDouble) -> None:
    published = hub.published()
    published["keys"][0]["state"] = KeyState.REVOKED.value
    pins = make_pins(read_published_keys(published), [hub.log.signer.key.vkey])
    with pytest.raises(Refusal) as caught:
        pins.signing_key(hub.signing.kid, SignatureType.RECEIPT)
    assert caught.value.code is RefusalCode.KEY_NOT_VALID


def test_nothing_is_sealed_to_a_key_that_has_ended(hub: HubDouble) -> None:
    pins = make_pins(read_published_keys(hub.published()), [hub.log.signer.key.vkey])
    with pytest.raises(Refusal) as caught:
        pins.sealing_key(SealingProfile.PQ_1, now() + 2 * YEAR)
    assert caught.value.code is RefusalCode.RECIPIENT_NOT_REACHABLE


def test_offline_a_partner_is_known_by_the_key_seen_before_and_nobody_else_is(bench: Bench) -> None:
    bench.deliver()
    bench.collect()
    partners = bench.desk.verifier().partners
    assert partners.signing_key("tw.nia-sig", "tw.nia", SignatureType.MESSAGE).owner == "tw.nia"
    with pytest.raises(Refusal) as caught:
        partners.signing_key("tw.npa-sig", "tw.npa", SignatureType.MESSAGE)
    assert caught.value.code is RefusalCode.UNKNOWN_SENDER


def test_a_registry_that_answers_with_somebody_elses_keys_is_refused(bench: Bench) -> None:
    bench.hub.registry["tw.npa"] = bench.hub.registry["tw.nia"]
    with pytest.raises(Refusal) as caught:
        bench.client.partners.refresh("tw.npa")
    assert caught.value.code is RefusalCode.INVALID_KEY


def refreshed(bench: Bench, **changes: Any) -> None:
    """Let the registry give the sender's key with some members changed, and the client ask again."""
    bench.hub.registry["tw.nia"] = [replace(key, **changes) for key in bench.hub.registry["tw.nia"]]
    bench.client.partners.forget_answers()
    bench.client.partners.refresh("tw.nia")


@pytest.mark.parametrize(
    "changes", [{"custody": Custody.HUB}, {"not_after": now() + 9 * YEAR}, {"signs": frozenset({SignatureType.MESSAGE})}]
)
def test_of_a_key_that_was_seen_nothing_but_its_state_changes(bench: Bench, changes: dict[str, object]) -> None:
    bench.deliver()
    bench.collect()
    with pytest.raises(Refusal) as caught:
        refreshed(bench, **changes)
    assert caught.value.code is RefusalCode.KEY_NOT_VALID


def test_a_revocation_is_not_taken_back(bench: Bench) -> None:
    bench.deliver()
    refreshed(bench, state=KeyState.REVOKED)
    with pytest.raises(Refusal) as caught:
        refreshed(bench, state=KeyState.ACTIVE)
    assert caught.value.code is RefusalCode.KEY_NOT_VALID
