"""`hub doctor` finds what is wrong by the check that looks for it, says how grave it is, and is silent where nothing is."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.bootstrap import Installation
from hub.crypto.key_files import KeyAlgorithm
from hub.domain.deliveries import DeliveryState
from hub.domain.keys import KeyState
from hub.domain.parties import Standing
from hub.services.change_agreement import end_agreement, suspend_agreement
from hub.services.clock import DemonstrationClock
from hub.services.hub import Hub
from hub.services.inspect_hub import Severity, inspect_hub
from hub.services.manage_keys import KeyFolder, import_registration
from hub.services.record_agreement import record_agreement
from hub.services.record_party import change_standing
from hub.services.sequence_log import sequence_pending
from hub.storage import deliveries
from hub.storage import registry as rows
from hub.storage.store import Work
from tests.services.registry_facts import CONFIG, add_party, registration, sealing_key, signing_key
from tests.simulators.exchange import MovableClock, referral_exchange

AGREEMENT = "tw-jp-police-2026"


@pytest.fixture
def hub(hub: Hub) -> Hub:
    """An installed hub whose clock stands, and whose log is up to date."""
    sequence_pending(hub)
    return replace(hub, clock=MovableClock(hub.clock.now()))


def found(hub: Hub, folder: KeyFolder) -> list[tuple[str, Severity]]:
    return [(one.check, one.severity) for one in inspect_hub(hub, folder)]


def at(hub: Hub, **later: float) -> Hub:
    """The same hub with its clock moved on."""
    return replace(hub, clock=MovableClock(hub.clock.now() + timedelta(**later)))


def test_nothing_is_wrong_with_a_new_hub(hub: Hub, folder: KeyFolder) -> None:
    assert found(hub, folder) == []


def test_a_key_file_that_others_may_read_is_an_error(hub: Hub, folder: KeyFolder) -> None:
    (folder.path / folder.lines()[0].file).chmod(0o640)
    assert found(hub, folder) == [("key files", Severity.ERROR)]


def test_a_key_file_that_is_gone_is_an_error(hub: Hub, folder: KeyFolder) -> None:
    (folder.path / folder.lines()[0].file).unlink()
    assert found(hub, folder) == [("key files", Severity.ERROR)]


def test_a_folder_of_keys_that_others_may_write_to_is_an_error(hub: Hub, folder: KeyFolder) -> None:
    folder.path.chmod(0o770)
    assert found(hub, folder) == [("key files", Severity.ERROR)]


def test_a_folder_that_lags_behind_the_registry_is_an_error(hub: Hub, folder: KeyFolder) -> None:
    folder.set_states({hub.keyring.signing_key(hub.clock.now()).kid: KeyState.RETIRING})
    assert ("key files", Severity.ERROR) in found(hub, folder)


def test_keys_that_end_within_61_days_are_a_warning(hub: Hub, folder: KeyFolder) -> None:
    assert found(at(hub, days=730 - 60), folder) == [("key ages", Severity.WARNING)] * 4
    assert found(at(hub, days=730 - 62), folder) == []


def test_a_hub_key_that_has_ended_is_an_error(hub: Hub, folder: KeyFolder) -> None:
    checks = found(at(hub, days=731), folder)
    assert checks.count(("hub keys", Severity.ERROR)) == 4
    assert checks.count(("key ages", Severity.ERROR)) == 4


def test_a_party_without_keys_is_warned_of(hub: Hub, folder: KeyFolder) -> None:
    add_party(hub, "tw.npa")
    assert found(hub, folder) == [("parties", Severity.WARNING)] * 2


def test_a_party_with_its_keys_is_no_finding(hub: Hub, folder: KeyFolder) -> None:
    add_party(hub, "jp.npa")
    keys = (signing_key("jp.npa"), sealing_key("jp.npa", KeyAlgorithm.ECDH_ES))
    import_registration(hub, "jp.npa", registration("jp.npa", *keys))
    assert found(hub, folder) == []


def test_a_post_without_its_authority_is_warned_of(hub: Hub, folder: KeyFolder) -> None:
    add_party(hub, "tw.npa.liaison.tokyo")
    assert any("belongs to tw.npa" in one.found for one in inspect_hub(hub, folder))


def test_a_suspended_party_is_noted(hub: Hub, folder: KeyFolder) -> None:
    add_party(hub, "tw.npa")
    change_standing(hub, "tw.npa", Standing.SUSPENDED)
    assert ("parties", Severity.NOTE) in found(hub, folder)


def test_an_unsigned_agreement_is_warned_of(hub: Hub, folder: KeyFolder) -> None:
    record_agreement(hub, (CONFIG / "agreements" / f"{AGREEMENT}.toml").read_bytes())
    assert found(hub, folder) == [("agreements", Severity.WARNING)]


@pytest.mark.parametrize("change", [suspend_agreement, end_agreement])
def test_an_agreement_that_is_suspended_or_has_ended_is_noted(
    hub: Hub, folder: KeyFolder, change: Callable[[Hub, str, str], bool]
) -> None:
    agreement = record_agreement(hub, (CONFIG / "agreements" / f"{AGREEMENT}.toml").read_bytes()).agreement
    sign(hub, agreement.id, [one.authority for one in agreement.operating_authorities])
    change(hub, AGREEMENT, "a test")
    assert ("agreements", Severity.NOTE) in found(hub, folder)


def sign(hub: Hub, agreement: str, authorities: list[str]) -> None:
    """Write rows as if these had signed."""
    now = hub.clock.now()
    for authority in authorities:
        row = rows.SignatureRow(agreement, 1, authority, "kid", "no signature")
        hub.store.write(lambda work, row=row: rows.record_signature(work, row, now))  # type: ignore[misc]  # bound for this round


def test_a_recorded_signature_that_does_not_verify_is_an_error(hub: Hub, folder: KeyFolder) -> None:
    record_agreement(hub, (CONFIG / "agreements" / f"{AGREEMENT}.toml").read_bytes())
    sign(hub, AGREEMENT, ["tw.npa"])
    assert ("signatures", Severity.ERROR) in found(hub, folder)


def test_entries_that_nobody_sequences_are_an_error(hub: Hub, folder: KeyFolder) -> None:
    add_party(hub, "tw.npa")
    assert ("log", Severity.ERROR) not in found(at(hub, seconds=9), folder)
    assert ("log", Severity.ERROR) in found(at(hub, seconds=11), folder)


def test_a_clock_that_went_back_is_an_error(hub: Hub, folder: KeyFolder) -> None:
    assert ("clock", Severity.ERROR) in found(at(hub, minutes=-6), folder)


def test_the_clock_of_the_demonstration_is_warned_of(installation: Installation, hub: Hub, folder: KeyFolder) -> None:
    clock = DemonstrationClock(installation.settings.file.with_name("offset"))
    assert found(replace(hub, clock=clock), folder) == [("clock", Severity.WARNING)]


@pytest.mark.parametrize(
    ("state", "late", "expected"),
    [
        (DeliveryState.DEAD, 0, Severity.WARNING),
        (DeliveryState.QUEUED, 0, Severity.WARNING),
        (DeliveryState.QUEUED, 6, Severity.ERROR),
    ],
)
def test_deliveries_that_do_not_get_through_are_told_of(
    folder: KeyFolder, state: DeliveryState, late: int, expected: Severity, tmp_path_factory: pytest.TempPathFactory
) -> None:
    exchange = referral_exchange(f"sqlite:///{tmp_path_factory.mktemp('store')}/hub.sqlite")
    police = exchange.agencies["tw.npa"]
    accepted = police.send(police.message(recipients=["tw.shelter.garden"]))
    exchange.clock.advance(minutes=late)

    def unit(work: Work) -> None:
        (delivery,) = deliveries.of_exchange(work, accepted.exchange)
        deliveries.move(work, delivery, state, attempts=3, last_error="unreachable")

    exchange.hub.store.write(unit)
    assert ("deliveries", expected) in found(exchange.hub, folder)
    exchange.close()
