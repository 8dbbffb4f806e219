"""Making a hub, reading its audit entries, trying deliveries again, and noting that the demonstration's clock was moved."""

import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from hub.bootstrap import Installation
from hub.crypto.key_manifest import HUB_KEYS
from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.keys import KeyUse
from hub.domain.parties import HUB_PARTY
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.services.hub import Hub
from hub.services.initialise_hub import identify_hub, register_hub_keys
from hub.services.read_audit import read_audit
from hub.services.requeue_delivery import list_deliveries, requeue_delivery
from hub.services.watch_clock import ClockWatch
from hub.storage import deliveries
from hub.storage.store import Work
from tests.services.registry_facts import last_entry, registry_of
from tests.simulators.exchange import START, Exchange, MovableClock, referral_exchange


def test_a_new_hub_has_one_key_for_each_purpose(hub: Hub) -> None:
    assert sorted((line.use, line.algorithm) for line in hub.keyring.lines) == sorted(HUB_KEYS)


def test_a_new_hubs_keys_are_in_the_registry(hub: Hub) -> None:
    uses = sorted(key.use.value for key in registry_of(hub).keys.values() if key.owner == HUB_PARTY)
    assert uses == [KeyUse.SEALING, KeyUse.SEALING, KeyUse.SIGNING]


def test_private_files_are_for_their_owner_alone(installation: Installation) -> None:
    folder = installation.settings.keys.folder
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.name != "manifest.json"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_initialising_again_replaces_nothing(installation: Installation) -> None:
    before = {file.name: file.read_bytes() for file in installation.settings.keys.folder.iterdir()}
    made = installation.initialise()
    assert (made.keys, made.passphrase) == (False, False)
    assert {file.name: file.read_bytes() for file in installation.settings.keys.folder.iterdir()} == before


def test_registering_the_hubs_keys_again_changes_nothing(hub: Hub) -> None:
    version = registry_of(hub).version
    register_hub_keys(hub)
    assert registry_of(hub).version == version


def test_partners_pin_the_log_by_the_hubs_name(hub: Hub) -> None:
    identity = identify_hub(hub)
    assert [key.split("+")[0] for key in identity.log_keys] == ["hub.test/accord"] * 2


def test_a_hub_without_its_database_does_not_open(installation: Installation) -> None:
    for file in (installation.settings.file.parents[1] / "var").iterdir():
        file.unlink()
    with pytest.raises(HubFault, match="at revision none"), installation.open_hub():
        pass


def test_a_passphrase_that_others_may_read_is_refused(installation: Installation) -> None:
    installation.settings.keys.passphrase_file.chmod(0o640)
    with pytest.raises(Refusal, check=lambda one: one.code is RefusalCode.KEY_FILE_UNSAFE), installation.open_hub():
        pass


@pytest.fixture
def accepted(tmp_path: Path) -> Iterator[tuple[Exchange, str]]:
    """An exchange in which one referral was accepted, and that exchange's id."""
    made = referral_exchange(f"sqlite:///{tmp_path}/referral.sqlite")
    police = made.agencies["tw.npa"]
    yield made, police.send(police.message(recipients=["tw.shelter.garden"])).exchange
    made.close()


def test_the_entries_of_an_exchange_are_read_and_that_is_an_entry_too(accepted: tuple[Exchange, str]) -> None:
    exchange, exchange_id = accepted
    assert [entry["event"] for entry in read_audit(exchange.hub, exchange_id)] == ["message.accepted"]
    assert [entry["event"] for entry in read_audit(exchange.hub, exchange_id)] == ["message.accepted", "evidence.read"]


def test_there_is_nothing_to_read_about_an_exchange_that_never_was(exchange: Exchange) -> None:
    with pytest.raises(Refusal, check=lambda one: one.code is RefusalCode.NOT_FOUND):
        read_audit(exchange.hub, "never")


def fail(exchange: Exchange, exchange_id: str, state: DeliveryState) -> Delivery:
    """Bring the one delivery into a state after three failures, its next attempt an hour away."""

    def unit(work: Work) -> Delivery:
        (delivery,) = deliveries.of_exchange(work, exchange_id)
        later = exchange.clock.now() + timedelta(hours=1)
        deliveries.move(work, delivery, state, next_attempt_at=later, attempts=3, last_error="unreachable")
        return delivery

    return exchange.hub.store.write(unit)


@pytest.mark.parametrize("state", [DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.DEAD])
def test_a_delivery_that_waits_is_tried_again_at_once(accepted: tuple[Exchange, str], state: DeliveryState) -> None:
    exchange, exchange_id = accepted
    delivery = fail(exchange, exchange_id, state)
    assert requeue_delivery(exchange.hub, delivery.id).state is state
    (queued,) = list_deliveries(exchange.hub, DeliveryState.QUEUED, 10)
    assert (queued.id, queued.attempts, queued.next_attempt_at) == (delivery.id, 0, exchange.clock.now())
    assert last_entry(exchange.hub)["event"] == "delivery.requeued"


def test_a_delivery_that_was_confirmed_is_not_tried_again(accepted: tuple[Exchange, str]) -> None:
    exchange, exchange_id = accepted
    delivery = fail(exchange, exchange_id, DeliveryState.DELIVERED)
    with pytest.raises(Refusal, check=lambda one: one.code is RefusalCode.INVALID_REQUEST):
        requeue_delivery(exchange.hub, delivery.id)


def test_a_delivery_past_its_messages_expiry_is_not_tried_again(accepted: tuple[Exchange, str]) -> None:
    exchange, exchange_id = accepted
    delivery = fail(exchange, exchange_id, DeliveryState.DEAD)
    exchange.clock.advance(days=31)
    with pytest.raises(Refusal, check=lambda one: one.code is RefusalCode.EXPIRED):
        requeue_delivery(exchange.hub, delivery.id)


def test_a_delivery_that_never_was_is_not_tried_again(exchange: Exchange) -> None:
    with pytest.raises(Refusal, check=lambda one: one.code is RefusalCode.NOT_FOUND):
        requeue_delivery(exchange.hub, "never")


def test_each_move_of_the_demonstrations_clock_is_noted_once(exchange: Exchange) -> None:
    watch = ClockWatch(exchange.hub, MovableClock(START))
    assert watch.once() == 0
    exchange.clock.advance(hours=48)
    assert [watch.once(), watch.once()] == [1, 0]
    assert (last_entry(exchange.hub)["event"], last_entry(exchange.hub)["details"]) == ("hub.clock_offset", {"seconds": 172800})
