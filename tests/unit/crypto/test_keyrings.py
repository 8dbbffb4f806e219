import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.crypto.jwks import thumbprint
from hub.crypto.key_files import KeyAlgorithm
from hub.crypto.key_manifest import HUB_KEYS, HeldKey, HeldKeyUse, create_key, read_manifest, with_state, write_manifest
from hub.crypto.keyrings import Keyring
from hub.crypto.notes import Checkpoint, verify_checkpoint, write_note
from hub.crypto.sealing import check_sealing_jwk
from hub.crypto.signatures import verify_es256
from hub.domain.keys import KeyState
from hub.domain.parties import SealingProfile
from hub.domain.refusals import HubFault, Refusal, RefusalCode

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
VALIDITY = (NOW - timedelta(days=1), NOW + timedelta(days=365))
PASSPHRASE = b"correct horse"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    write_manifest(directory, [create_key(directory, use, algorithm, VALIDITY, PASSPHRASE) for use, algorithm in HUB_KEYS])
    return directory


@pytest.fixture(scope="module")
def keyring(folder: Path) -> Keyring:
    return Keyring.load(folder, PASSPHRASE)


def line_of(folder: Path, use: HeldKeyUse, algorithm: KeyAlgorithm) -> HeldKey:
    return next(line for line in read_manifest(folder) if (line.use, line.algorithm) == (use, algorithm))


def test_the_manifest_reads_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    lines = read_manifest(folder)
    write_manifest(tmp_path, lines)
    assert read_manifest(tmp_path) == lines
    assert {(line.use, line.algorithm) for line in lines} == set(HUB_KEYS)


def test_a_key_is_named_by_its_thumbprint(folder: Path) -> None:
    line = line_of(folder, HeldKeyUse.SEALING, KeyAlgorithm.HPKE_9_KE)
    assert line.kid == thumbprint(line.public_jwk)


def test_the_manifest_holds_nothing_private(folder: Path) -> None:
    members = {name for line in read_manifest(folder) for name in line.public_jwk}
    assert members == {"kty", "crv", "x", "y", "alg", "pub"}


def test_the_signing_key_and_the_token_key_are_two(keyring: Keyring) -> None:
    signature = keyring.signing_key(NOW).sign(b"octets")
    verify_es256(keyring.signing_key(NOW).public_jwk, b"octets", signature)
    with pytest.raises(Refusal) as caught:
        verify_es256(keyring.token_key(NOW).public_jwk, b"octets", signature)
    assert caught.value.code is RefusalCode.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("algorithm", "profile"),
    [(KeyAlgorithm.HPKE_9_KE, SealingProfile.PQ_1), (KeyAlgorithm.ECDH_ES, SealingProfile.CLASSIC_1)],
)
def test_there_is_one_sealing_key_for_each_profile(
    folder: Path, keyring: Keyring, algorithm: KeyAlgorithm, profile: SealingProfile
) -> None:
    line = line_of(folder, HeldKeyUse.SEALING, algorithm)
    assert check_sealing_jwk(line.public_jwk) is keyring.unsealing_key(line.kid, NOW).profile is profile


def test_the_log_signs_and_cosigns(keyring: Keyring) -> None:
    signer, cosigner = keyring.log_signer("accord.example/log", NOW), keyring.log_cosigner("accord.example/log", NOW)
    checkpoint = Checkpoint("accord.example/log", 1, bytes(32))
    note = write_note(checkpoint, [signer.sign(checkpoint), cosigner.cosign(checkpoint, 1_795_000_000)])
    assert verify_checkpoint(note, signer.key, [cosigner.key]).signers == (signer.key, cosigner.key)


def test_the_storage_key_is_found_by_its_id(keyring: Keyring) -> None:
    current = keyring.current_storage_key(NOW)
    assert keyring.storage_key(current.kid) is current


def test_a_storage_key_that_is_not_there_is_our_fault(keyring: Keyring) -> None:
    with pytest.raises(HubFault):
        keyring.storage_key("storage-0")


def test_an_envelope_to_a_key_that_is_not_there_cannot_be_unsealed(keyring: Keyring) -> None:
    with pytest.raises(Refusal) as caught:
        keyring.unsealing_key("nobody", NOW)
    assert caught.value.code is RefusalCode.CANNOT_UNSEAL


def test_a_signing_key_does_not_unseal(folder: Path, keyring: Keyring) -> None:
    with pytest.raises(Refusal) as caught:
        keyring.unsealing_key(line_of(folder, HeldKeyUse.SIGNING, KeyAlgorithm.ES256).kid, NOW)
    assert caught.value.code is RefusalCode.CANNOT_UNSEAL


@pytest.mark.parametrize("now", [VALIDITY[0] - timedelta(seconds=1), VALIDITY[1]])
def test_outside_its_time_a_key_makes_and_opens_nothing(folder: Path, keyring: Keyring, now: datetime) -> None:
    with pytest.raises(HubFault):
        keyring.signing_key(now)
    with pytest.raises(Refusal) as caught:
        keyring.unsealing_key(line_of(folder, HeldKeyUse.SEALING, KeyAlgorithm.ECDH_ES).kid, now)
    assert caught.value.code is RefusalCode.CANNOT_UNSEAL


@pytest.fixture
def rolled(tmp_path: Path) -> tuple[Path, dict[KeyState, HeldKey]]:
    """A folder with a sealing key in each state."""
    states = {
        state: create_key(tmp_path, HeldKeyUse.SEALING, KeyAlgorithm.ECDH_ES, VALIDITY, PASSPHRASE, state=state)
        for state in KeyState
    }
    write_manifest(tmp_path, states.values())
    return tmp_path, states


@pytest.mark.parametrize("state", [KeyState.ACTIVE, KeyState.RETIRING])
def test_during_a_rollover_the_old_and_the_new_key_both_open(
    rolled: tuple[Path, dict[KeyState, HeldKey]], state: KeyState
) -> None:
    directory, states = rolled
    assert Keyring.load(directory, PASSPHRASE).unsealing_key(states[state].kid, NOW).kid == states[state].kid


@pytest.mark.parametrize("state", [KeyState.NEXT, KeyState.REVOKED])
def test_a_key_before_and_after_its_life_opens_nothing(rolled: tuple[Path, dict[KeyState, HeldKey]], state: KeyState) -> None:
    directory, states = rolled
    with pytest.raises(Refusal) as caught:
        Keyring.load(directory, PASSPHRASE).unsealing_key(states[state].kid, NOW)
    assert caught.value.code is RefusalCode.CANNOT_UNSEAL


def test_a_revoked_key_needs_no_file(rolled: tuple[Path, dict[KeyState, HeldKey]]) -> None:
    directory, states = rolled
    (directory / states[KeyState.REVOKED].file).unlink()
    assert len(Keyring.load(directory, PASSPHRASE).lines) == 3


def test_a_revoked_signing_key_only_signs_again_what_it_signed_before(tmp_path: Path) -> None:
    line = create_key(tmp_path, HeldKeyUse.SIGNING, KeyAlgorithm.ES256, VALIDITY, PASSPHRASE, state=KeyState.REVOKED)
    write_manifest(tmp_path, [line])
    keyring = Keyring.load(tmp_path, PASSPHRASE)
    assert keyring.signed_with(line.kid).kid == line.kid
    with pytest.raises(HubFault):
        keyring.signing_key(NOW)


def test_of_two_active_keys_the_newer_one_is_used(tmp_path: Path) -> None:
    later = (NOW - timedelta(hours=1), VALIDITY[1])
    lines = [create_key(tmp_path, HeldKeyUse.SIGNING, KeyAlgorithm.ES256, span, PASSPHRASE) for span in (later, VALIDITY)]
    write_manifest(tmp_path, lines)
    assert Keyring.load(tmp_path, PASSPHRASE).signing_key(NOW).kid == lines[0].kid


def test_a_key_that_is_kept_for_an_organisation_signs_for_it_alone(tmp_path: Path) -> None:
    line = create_key(tmp_path, HeldKeyUse.SIGNING, KeyAlgorithm.ES256, VALIDITY, PASSPHRASE, owner="tw.shelter.garden")
    write_manifest(tmp_path, [line])
    keyring = Keyring.load(tmp_path, PASSPHRASE)
    assert keyring.signing_key(NOW, "tw.shelter.garden").kid == line.kid
    with pytest.raises(HubFault):
        keyring.signing_key(NOW)


def test_a_private_key_that_does_not_belong_to_the_manifest_is_refused(tmp_path: Path) -> None:
    one, other = (create_key(tmp_path, HeldKeyUse.SIGNING, KeyAlgorithm.ES256, VALIDITY, PASSPHRASE) for _ in range(2))
    write_manifest(tmp_path, [replace(one, file=other.file)])
    with pytest.raises(Refusal) as caught:
        Keyring.load(tmp_path, PASSPHRASE)
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_a_key_changes_its_state_in_the_manifest(folder: Path) -> None:
    lines = read_manifest(folder)
    changed = with_state(lines, lines[0].kid, KeyState.RETIRING)
    assert [line.state for line in changed] == [KeyState.RETIRING] + [KeyState.ACTIVE] * (len(lines) - 1)


def test_a_revoked_key_stays_revoked(folder: Path) -> None:
    lines = read_manifest(folder)
    revoked = with_state(lines, lines[0].kid, KeyState.REVOKED)
    with pytest.raises(Refusal) as caught:
        with_state(revoked, lines[0].kid, KeyState.ACTIVE)
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_a_key_that_is_not_in_the_manifest_has_no_state(folder: Path) -> None:
    with pytest.raises(Refusal) as caught:
        with_state(read_manifest(folder), "nobody", KeyState.REVOKED)
    assert caught.value.code is RefusalCode.NOT_FOUND


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../key"},
        {"kid": "a b"},
        {"use": "x"},
        {"algorithm": "none"},
        {"state": "x"},
        {"not_after": "x"},
        {"public_jwk": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_malformed_manifest_is_refused(folder: Path, tmp_path: Path, change: dict[str, object]) -> None:
    members = json.loads((folder / "manifest.json").read_bytes())
    members["keys"][0] |= change
    (tmp_path / "manifest.json").write_text(json.dumps(members))
    with pytest.raises(Refusal) as caught:
        read_manifest(tmp_path)
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_a_key_id_stands_in_the_manifest_once(folder: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, read_manifest(folder)[:1] * 2)
    with pytest.raises(Refusal) as caught:
        read_manifest(tmp_path)
    assert caught.value.code is RefusalCode.INVALID_KEY
