"""An enrolled agency and the hub's double that it speaks to."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors.contract import Collected, Draft, Incoming
from connectors.hub_client.agency_files import open_agency
from connectors.hub_client.client import HubClient
from connectors.hub_client.desk import SCHEMAS, Desk, Place
from connectors.hub_client.enrolment import Applicant, enrol, make_passphrase
from connectors.hub_client.hub_session import Client, HubSession
from connectors.hub_client.trust import make_pins, read_published_keys
from hub.crypto.keyrings import Keyring
from hub.domain.encoding import format_time, new_uuid7
from hub.domain.parties import SealingProfile
from hub.formats.bodies import BodyReader
from hub.formats.catalogue import load_catalogue
from tests.simulators.hub_double import ADDRESS, HubDouble, Letter, now

AUTHORITY = "tw.shelter.garden"
SENDER = "tw.nia"
ROLE = "victim_contact"
PASSPHRASE = b"a passphrase of the tests"


@cache
def bodies() -> BodyReader:
    """The catalogue, compiled once."""
    return BodyReader(load_catalogue(SCHEMAS))


def example(message_type: str = "ht-referral") -> dict[str, Any]:
    """The catalogue's example of a type: {"header", "body"}."""
    value: dict[str, Any] = json.loads((SCHEMAS / "examples" / f"{message_type}.json").read_bytes())
    return copy.deepcopy(value)


def message_from(sender: str, *recipients: str) -> dict[str, Any]:
    """A referral that could be sent now."""
    message = example()
    times = {"issued": format_time(now()), "expires": format_time(now() + timedelta(days=7))}
    message["header"] |= {"id": new_uuid7(now()), "sender": sender, "recipients": list(recipients), **times}
    return message


def draft_to(*recipients: str, **body: Any) -> Draft:
    """A draft of a referral: the example without what the client fills in."""
    message = example()
    filled_in = ("v", "id", "sender", "issued", "expires", "salt")
    header = {name: value for name, value in message["header"].items() if name not in filled_in}
    return Draft({**header, "recipients": list(recipients)}, {**message["body"], **body})


@dataclass
class Bench:
    """The agency's folder, its client, and the double; `taken` is what the client handed over."""

    place: Place
    hub: HubDouble
    desk: Desk
    client: HubClient
    http: httpx2.Client
    taken: list[Incoming] = field(default_factory=list)

    def deliver(self, **header: Any) -> Letter:
        """Put a referral into the agency's inbox, with some header members changed after it was made."""
        message = message_from(SENDER, AUTHORITY)
        message["header"] |= header
        return self.hub.deliver(AUTHORITY, message)

    def collect(self) -> list[Collected]:
        """Let the client collect."""
        return self.client.collect(self.taken.append)

    def collect_one(self) -> Collected:
        """Let the client collect what must be exactly one item."""
        (one,) = self.collect()
        return one

    def restart(self) -> None:
        """Start the client anew on the same folder."""
        self.client = make_client(self.desk, self.http)


def make_client(desk: Desk, http: httpx2.Client) -> HubClient:
    """A client as the command line makes it, but with keys that are loaded already."""
    return HubClient(desk, HubSession(http, Client(AUTHORITY, desk.keyring.client_key(now()), ADDRESS), desk.pins, now))


def make_desk(home: Path, keyring: Keyring, hub: HubDouble) -> Desk:
    """A copy of an enrolled folder, with this double pinned and its keys registered there."""
    registration = json.loads((home / "registration.json").read_bytes())
    hub.register(registration["authority"], registration["keys"])
    pins = make_pins(read_published_keys(hub.published()), [hub.log.signer.key.vkey])
    pins.save(home / "hub.json")
    return Desk(open_agency(home), keyring, pins, bodies(), now)


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> dict[SealingProfile, tuple[Path, Keyring]]:
    """A folder and its keys for each profile, made once because a passphrase is slow on purpose; tests work on copies."""
    made = {}
    for profile in SealingProfile:
        home, hub = tmp_path_factory.mktemp(profile.value) / "agency", HubDouble()
        place = Place(home)
        place.passphrase.parent.mkdir(parents=True)
        place.passphrase.write_bytes(PASSPHRASE)
        place.passphrase.chmod(0o600)
        pins = make_pins(read_published_keys(hub.published()), [hub.log.signer.key.vkey])
        enrol(home, Applicant(AUTHORITY, profile, ADDRESS, (ROLE,)), pins, make_passphrase(place.passphrase), now())
        made[profile] = (home, Keyring.load(home / "keys", PASSPHRASE))
    return made


@pytest.fixture(params=[SealingProfile.PQ_1])
def profile(request: pytest.FixtureRequest) -> SealingProfile:
    return SealingProfile(request.param)


@pytest.fixture
def bench(tmp_path: Path, profile: SealingProfile, enrolled: dict[SealingProfile, tuple[Path, Keyring]]) -> Iterator[Bench]:
    original, keyring = enrolled[profile]
    home = tmp_path / "agency"
    shutil.copytree(original, home)
    hub = HubDouble()
    hub.peer(SENDER)
    desk = make_desk(home, keyring, hub)
    place = Place(home, transport=hub.transport)
    with place.open_http() as http:
        yield Bench(place, hub, desk, make_client(desk, http), http)
