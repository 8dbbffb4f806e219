"""Keys come into the registry checked, follow one another with overlap, and are dead from the moment of revocation."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from hub.crypto.key_files import KeyAlgorithm
from hub.crypto.key_manifest import HeldKeyUse
from hub.domain.encoding import b64url_encode
from hub.domain.keys import Custody, KeyState, KeyUse
from hub.domain.parties import HUB_PARTY, SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.parties import key_document
from hub.services.hub import Hub
from hub.services.manage_keys import KeyFolder, change_key_state, import_registration, list_keys, make_kept_key
from tests.services.registry_facts import END, add_party, last_entry, registration, registry_of, sealing_key, signing_key

PARTNER = "jp.npa"


@pytest.fixture
def with_partner(hub: Hub) -> Hub:
    add_party(hub, PARTNER)
    return hub


def refused(code: RefusalCode) -> pytest.RaisesExc[Refusal]:
    return pytest.raises(Refusal, check=lambda refusal: refusal.code is code)


def test_the_first_key_for_a_purpose_is_active_and_the_second_one_is_next(with_partner: Hub) -> None:
    first, second = signing_key(PARTNER), signing_key(PARTNER)
    recorded = import_registration(
        with_partner, PARTNER, registration(PARTNER, first, second, sealing_key(PARTNER, KeyAlgorithm.ECDH_ES))
    )
    assert [key.state for key in recorded] == [KeyState.ACTIVE, KeyState.NEXT, KeyState.ACTIVE]


def test_a_registration_given_twice_changes_nothing(with_partner: Hub) -> None:
    octets = registration(PARTNER, signing_key(PARTNER))
    import_registration(with_partner, PARTNER, octets)
    version = registry_of(with_partner).version
    import_registration(with_partner, PARTNER, octets)
    assert registry_of(with_partner).version == version


def test_a_recorded_key_leaves_an_audit_entry(with_partner: Hub) -> None:
    key = signing_key(PARTNER)
    import_registration(with_partner, PARTNER, registration(PARTNER, key))
    entry = last_entry(with_partner)
    assert (entry["event"], entry["actor"]) == ("key.recorded", "operator")
    document = b64url_encode(sha256(key_document(registry_of(with_partner).keys[key.kid])).digest())
    stated = {"kid": key.kid, "owner": PARTNER, "use": "signing", "state": "active", "custody": "own"}
    assert entry["details"] == {**stated, "document": document}


def test_activating_a_key_retires_the_one_before_it(with_partner: Hub, folder: KeyFolder) -> None:
    first, second = signing_key(PARTNER), signing_key(PARTNER)
    import_registration(with_partner, PARTNER, registration(PARTNER, first, second))
    change_key_state(with_partner, folder, second.kid, KeyState.ACTIVE)
    keys = registry_of(with_partner).keys
    assert (keys[first.kid].state, keys[second.kid].state) == (KeyState.RETIRING, KeyState.ACTIVE)


def test_a_retiring_key_is_accepted_and_not_used(with_partner: Hub, folder: KeyFolder) -> None:
    key = signing_key(PARTNER)
    import_registration(with_partner, PARTNER, registration(PARTNER, key))
    change_key_state(with_partner, folder, key.kid, KeyState.RETIRING)
    now, registry = with_partner.clock.now(), registry_of(with_partner)
    assert registry.keys[key.kid].is_accepted(now)
    assert registry.current_key(PARTNER, KeyUse.SIGNING, now) is None


def test_a_revoked_key_is_not_accepted_from_that_moment(with_partner: Hub, folder: KeyFolder) -> None:
    key = signing_key(PARTNER)
    import_registration(with_partner, PARTNER, registration(PARTNER, key))
    change_key_state(with_partner, folder, key.kid, KeyState.REVOKED)
    assert not registry_of(with_partner).keys[key.kid].is_accepted(with_partner.clock.now())
    assert last_entry(with_partner)["details"]["state"] == "revoked"


@pytest.mark.parametrize("state", [KeyState.ACTIVE, KeyState.RETIRING])
def test_a_revoked_key_never_comes_back(with_partner: Hub, folder: KeyFolder, state: KeyState) -> None:
    key = signing_key(PARTNER)
    import_registration(with_partner, PARTNER, registration(PARTNER, key))
    change_key_state(with_partner, folder, key.kid, KeyState.REVOKED)
    with refused(RefusalCode.INVALID_KEY):
        change_key_state(with_partner, folder, key.kid, state)


def test_importing_a_revoked_key_again_leaves_it_revoked(with_partner: Hub, folder: KeyFolder) -> None:
    octets = registration(PARTNER, key := signing_key(PARTNER))
    import_registration(with_partner, PARTNER, octets)
    change_key_state(with_partner, folder, key.kid, KeyState.REVOKED)
    assert [one.state for one in import_registration(with_partner, PARTNER, octets)] == [KeyState.REVOKED]


def test_a_key_that_nobody_registered_has_no_state_to_change(hub: Hub, folder: KeyFolder) -> None:
    with refused(RefusalCode.NOT_FOUND):
        change_key_state(hub, folder, "nobody", KeyState.REVOKED)


def test_a_key_for_another_profile_than_the_owners_is_refused(with_partner: Hub) -> None:
    party = registry_of(with_partner).parties[PARTNER]
    other = KeyAlgorithm.ECDH_ES if party.profile is SealingProfile.PQ_1 else KeyAlgorithm.HPKE_9_KE
    with refused(RefusalCode.INVALID_KEY):
        import_registration(with_partner, PARTNER, registration(PARTNER, sealing_key(PARTNER, other)))


def test_a_point_that_is_not_on_the_curve_is_refused(with_partner: Hub) -> None:
    key = signing_key(PARTNER)
    broken = replace(key, jwk={**key.jwk, "y": key.jwk["x"]})
    with refused(RefusalCode.INVALID_KEY):
        import_registration(with_partner, PARTNER, registration(PARTNER, broken))


def test_a_key_that_is_past_its_time_is_refused(with_partner: Hub) -> None:
    key = replace(signing_key(PARTNER), not_after=with_partner.clock.now() - timedelta(seconds=1))
    with refused(RefusalCode.INVALID_KEY):
        import_registration(with_partner, PARTNER, registration(PARTNER, key))


def test_a_key_that_is_registered_under_another_id_is_refused(with_partner: Hub) -> None:
    key = signing_key(PARTNER)
    import_registration(with_partner, PARTNER, registration(PARTNER, key))
    with refused(RefusalCode.INVALID_KEY):
        import_registration(with_partner, PARTNER, registration(PARTNER, replace(key, kid="again")))


def test_a_key_id_of_another_party_is_refused(with_partner: Hub) -> None:
    add_party(with_partner, "tw.npa")
    key = signing_key(PARTNER)
    import_registration(with_partner, PARTNER, registration(PARTNER, key))
    with refused(RefusalCode.INVALID_KEY):
        import_registration(with_partner, "tw.npa", registration("tw.npa", replace(signing_key("tw.npa"), kid=key.kid)))


@pytest.mark.parametrize("type_", [SignatureType.COUNTERSIGNATURE, SignatureType.RENDITION, SignatureType.PROBLEM])
def test_a_partner_cannot_register_to_sign_what_only_the_hub_signs(with_partner: Hub, type_: SignatureType) -> None:
    key = signing_key(PARTNER, signs=frozenset({SignatureType.MESSAGE, type_}))
    with refused(RefusalCode.INVALID_KEY):
        import_registration(with_partner, PARTNER, registration(PARTNER, key))


def test_the_keys_of_somebody_unknown_are_refused(hub: Hub) -> None:
    with refused(RefusalCode.INVALID_PARTY):
        import_registration(hub, PARTNER, registration(PARTNER, signing_key(PARTNER)))


def test_a_registration_of_another_authority_is_refused(with_partner: Hub) -> None:
    add_party(with_partner, "tw.npa")
    with refused(RefusalCode.INVALID_PARTY):
        import_registration(with_partner, PARTNER, registration("tw.npa", signing_key("tw.npa")))


def test_nobody_registers_a_key_of_the_hub(hub: Hub) -> None:
    with refused(RefusalCode.INVALID_PARTY):
        import_registration(hub, HUB_PARTY, registration(HUB_PARTY, signing_key(HUB_PARTY)))


def test_the_hubs_own_signing_key_rolls_over_in_registry_and_folder(hub: Hub, folder: KeyFolder) -> None:
    before = hub.keyring.signing_key(hub.clock.now()).kid
    new = make_kept_key(hub, folder, HUB_PARTY, HeldKeyUse.SIGNING)
    assert new.state is KeyState.NEXT
    change_key_state(hub, folder, new.kid, KeyState.ACTIVE)
    in_registry = {key.kid: key.state for key in registry_of(hub).keys.values()}
    in_folder = {line.kid: line.state for line in folder.lines()}
    expected = {before: KeyState.RETIRING, new.kid: KeyState.ACTIVE}
    assert {kid: in_registry[kid] for kid in expected} == {kid: in_folder[kid] for kid in expected} == expected


def test_an_interrupted_change_is_completed_by_giving_it_again(hub: Hub, folder: KeyFolder) -> None:
    new = make_kept_key(hub, folder, HUB_PARTY, HeldKeyUse.SIGNING)
    before = folder.lines()
    change_key_state(hub, folder, new.kid, KeyState.ACTIVE)
    folder.set_states({line.kid: line.state for line in before})  # as if the folder had not been written
    assert change_key_state(hub, folder, new.kid, KeyState.ACTIVE) == []
    assert {line.kid: line.state for line in folder.lines()}[new.kid] is KeyState.ACTIVE


def test_the_two_sealing_keys_of_the_hub_do_not_replace_each_other(hub: Hub, folder: KeyFolder) -> None:
    new = make_kept_key(hub, folder, HUB_PARTY, HeldKeyUse.SEALING, profile=SealingProfile.CLASSIC_1)
    change_key_state(hub, folder, new.kid, KeyState.ACTIVE)
    sealing = registry_of(hub).keys_of(HUB_PARTY, KeyUse.SEALING)
    assert sorted((key.jwk["kty"], key.state.value) for key in sealing) == [
        ("AKP", "active"),
        ("EC", "active"),
        ("EC", "retiring"),
    ]


@pytest.mark.parametrize("state", [KeyState.RETIRING, KeyState.REVOKED])
def test_the_hub_is_never_left_without_a_key(hub: Hub, folder: KeyFolder, state: KeyState) -> None:
    with refused(RefusalCode.INVALID_KEY):
        change_key_state(hub, folder, hub.keyring.signing_key(hub.clock.now()).kid, state)


def test_a_storage_key_is_never_revoked(hub: Hub, folder: KeyFolder) -> None:
    old = hub.keyring.current_storage_key(hub.clock.now()).kid
    new = make_kept_key(hub, folder, HUB_PARTY, HeldKeyUse.STORAGE)
    change_key_state(hub, folder, new.kid, KeyState.ACTIVE)
    assert {line.kid: line.state for line in folder.lines()}[old] is KeyState.RETIRING
    with refused(RefusalCode.INVALID_KEY):
        change_key_state(hub, folder, old, KeyState.REVOKED)


def test_the_key_of_the_log_is_not_replaced(hub: Hub, folder: KeyFolder) -> None:
    with refused(RefusalCode.INVALID_KEY):
        make_kept_key(hub, folder, HUB_PARTY, HeldKeyUse.LOG)


def test_the_hub_keeps_keys_for_an_organisation_without_a_system_and_the_registry_says_so(hub: Hub, folder: KeyFolder) -> None:
    add_party(hub, "tw.shelter.garden")
    line = make_kept_key(hub, folder, "tw.shelter.garden", HeldKeyUse.SIGNING)
    key = registry_of(hub).keys[line.kid]
    assert (key.owner, key.custody, key.state) == ("tw.shelter.garden", Custody.HUB, KeyState.ACTIVE)
    assert SignatureType.COUNTERSIGNATURE not in key.signs


def test_the_hub_makes_no_keys_for_a_party_that_keeps_its_own(with_partner: Hub, folder: KeyFolder) -> None:
    with refused(RefusalCode.INVALID_PARTY):
        make_kept_key(with_partner, folder, PARTNER, HeldKeyUse.SIGNING)


def test_the_hub_keeps_no_key_that_opens_sealed_parts(hub: Hub, folder: KeyFolder) -> None:
    add_party(hub, "tw.shelter.garden")
    with refused(RefusalCode.INVALID_KEY):
        make_kept_key(hub, folder, "tw.shelter.garden", HeldKeyUse.ROLE)


def test_the_list_holds_the_keys_of_registry_and_folder_once_each(hub: Hub, folder: KeyFolder) -> None:
    uses = [line.use for line in list_keys(hub, folder, HUB_PARTY)]
    assert uses == ["log", "log_cosignature", "sealing", "sealing", "signing", "storage", "tokens"]


def test_a_registration_is_bounded_in_time_by_what_it_says(with_partner: Hub) -> None:
    import_registration(with_partner, PARTNER, registration(PARTNER, key := signing_key(PARTNER)))
    recorded = registry_of(with_partner).keys[key.kid]
    assert recorded.is_accepted(END - timedelta(seconds=1))
    assert not recorded.is_accepted(END)
