"""Two agencies with the real client against the hub's real application: what one sends, the other opens, and both can prove."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors.contract import Draft, Incoming, RefusedByHub
from connectors.hub_client.client import HubClient, open_client
from connectors.hub_client.desk import Place
from connectors.hub_client.enrolment import Applicant, enrol, make_passphrase
from connectors.hub_client.evidence import follow_log, read_exchange
from connectors.hub_client.hub_session import fetch_unverified_keys
from connectors.hub_client.stored_files import message_file, verify_file
from connectors.hub_client.trust import make_pins, select_by_fingerprint
from hub.crypto.jwks import thumbprint
from hub.domain.keys import KeyState
from hub.domain.parties import SealingProfile
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import RefusalCode
from hub.formats.registrations import read_registration
from hub.http_api.app import create_app
from hub.services.deliver_message import relay, take_due
from hub.services.sequence_log import sequence_pending
from tests.simulators.exchange import REFERRAL_ORDER, Exchange, MovableClock, example

SENDER, SHELTER = "tw.nia", "tw.shelter.garden"


@dataclass(frozen=True)
class StandingPlace(Place):
    """A place whose clock is the hub's, so that a slow machine does not part them."""

    clock: MovableClock = field(default_factory=MovableClock)

    def now(self) -> datetime:
        return self.clock.now()


@dataclass
class World:
    """A hub and its two partners' clients."""

    exchange: Exchange
    sender: HubClient
    shelter: HubClient

    def work(self) -> None:
        """What the hub's workers do: relay what is due, then sequence the log."""
        relay(self.exchange.hub, take_due(self.exchange.hub, 100))
        sequence_pending(self.exchange.hub)


def enrolled(exchange: Exchange, home: Path, http: httpx2.Client, authority: str, profile: SealingProfile) -> Place:
    """Enrol a partner, and record its registration as the hub's operator would."""
    place, hub = StandingPlace(home, clock=exchange.clock), exchange.hub
    keys = fetch_unverified_keys(http, hub.issuer)
    pins = make_pins(select_by_fingerprint(keys, [thumbprint(key.jwk) for key in keys]), [log_vkey(exchange)])
    applicant = Applicant(authority, profile, hub.issuer, ("victim_contact",))
    registration = enrol(home, applicant, pins, make_passphrase(place.passphrase), place.now())
    exchange.join(authority, profile)
    _authority, records = read_registration(registration.read_bytes())
    for key in records:
        exchange.record_key(replace(key, state=KeyState.ACTIVE))
    return place


def log_vkey(exchange: Exchange) -> str:
    hub = exchange.hub
    return hub.keyring.log_signer(hub.name, hub.clock.now()).key.vkey


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    exchange = Exchange(f"sqlite:///{tmp_path}/hub.sqlite")
    with httpx2.Client(transport=httpx2.WSGITransport(app=create_app(exchange.hub)), trust_env=False) as http:
        places = [
            enrolled(exchange, tmp_path / SENDER, http, SENDER, SealingProfile.PQ_1),
            enrolled(exchange, tmp_path / SHELTER, http, SHELTER, SealingProfile.CLASSIC_1),
        ]
        exchange.agree(REFERRAL_ORDER)
        exchange.clock.advance(seconds=1)
        yield World(exchange, *(open_client(place, http) for place in places))
    exchange.close()


def referral(**header: Any) -> Draft:
    message = example("ht-referral")
    filled_in = ("v", "id", "sender", "issued", "expires", "salt")
    kept = {name: value for name, value in message["header"].items() if name not in filled_in}
    sealed = {"$seal_to": "victim_contact", "value": {"phone": "+886900000000"}}
    return Draft({**kept, "recipients": [SHELTER], **header}, {**message["body"], "victim_contact": sealed})


def test_a_referral_arrives_minimised_and_every_receipt_is_proved(world: World) -> None:
    assert world.sender.preview(referral())["allowed"] is True
    sent = world.sender.send(world.sender.prepare(referral()))
    world.work()
    taken: list[Incoming] = []
    (one,) = world.shelter.collect(taken.append)
    assert one.refusal is None
    world.shelter.confirm_retrieved(one.delivery)
    world.work()
    report = read_exchange(world.sender, sent.exchange)
    events = {(shown.receipt.event, shown.receipt.issuer) for shown in report.receipts}
    assert {(ReceiptEvent.ACCEPTED, "hub"), (ReceiptEvent.DELIVERED, SHELTER), (ReceiptEvent.RETRIEVED, SHELTER)} <= events
    assert report.is_proved
    assert read_exchange(world.shelter, sent.exchange).is_proved
    assert follow_log(world.sender).size >= max(shown.index or 0 for shown in report.receipts)
    stored = json.dumps(message_file(taken[0])).encode()
    assert verify_file(stored, world.shelter.desk.verifier()).kind == "accord-message"


def test_a_refusal_is_signed_and_names_its_article(world: World) -> None:
    with pytest.raises(RefusedByHub) as caught:
        world.sender.send(world.sender.prepare(referral(purpose="prevention_of_nothing")))
    assert caught.value.code is RefusalCode.PURPOSE_NOT_ALLOWED
    assert any(one.article for one in caught.value.findings)


def test_a_suspended_agreement_withholds_what_lies_in_the_inbox(world: World) -> None:
    world.sender.send(world.sender.prepare(referral()))
    world.work()
    world.exchange.agreement_event(REFERRAL_ORDER, "suspended")
    (one,) = world.shelter.collect(lambda _incoming: None)
    assert one.refusal is not None
    assert one.refusal.code is RefusalCode.AGREEMENT_SUSPENDED
