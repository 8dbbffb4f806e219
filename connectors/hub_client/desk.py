"""An agency's desk: its folder opened, its keys unlocked, the hub's pins, the catalogue, the clock and the way to the network."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from connectors.hub_client.agency_files import Agency, open_agency
from connectors.hub_client.enrolment import read_passphrase
from connectors.hub_client.incoming import Recipient, Verifier
from connectors.hub_client.trust import AskForKeys, HubPins, PartnerKeys, load_pins
from hub.crypto.keyrings import Keyring
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.bodies import BodyReader
from hub.formats.catalogue import load_catalogue

SCHEMAS = Path(__file__).parents[2] / "schemas"
"""The catalogue that came with this program."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Place:
    """Where things are, as the command line says. `transport` stands in for the network in tests.

    `clock_offset` moves this program's clock, for demonstrations only.
    """

    home: Path
    passphrase_file: Path | None = None
    schemas: Path = SCHEMAS
    ca_file: Path | None = None
    clock_offset: timedelta = timedelta()
    transport: httpx2.BaseTransport | None = None

    def now(self) -> datetime:
        """The present instant, cut to whole seconds."""
        return (datetime.now(UTC) + self.clock_offset).replace(microsecond=0)

    @property
    def passphrase(self) -> Path:
        """The passphrase file: the one that was named, or the one in the agency's folder."""
        return self.passphrase_file or self.home / "keys" / "passphrase"

    def open_http(self) -> httpx2.Client:
        """An HTTP client that follows no redirect, obeys no environment, and believes the given authorities only."""
        tls = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        return httpx2.Client(verify=tls, trust_env=False, follow_redirects=False, transport=self.transport)


def check_address(hub: str) -> str:
    """Check a hub's address: https, or http on this very machine.

    Raises:
        Refusal: ADDRESS_NOT_ALLOWED.
    """
    parts = urlsplit(hub)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise Refusal(RefusalCode.ADDRESS_NOT_ALLOWED, "a hub's address is https://HOST[/PATH] (http on this machine only)")
    return hub


@dataclass(frozen=True)
class Desk:
    """What an enrolled agency works with: its folder, its keys, the hub's pins, the catalogue and the clock."""

    agency: Agency
    keyring: Keyring
    pins: HubPins
    bodies: BodyReader
    now: Callable[[], datetime]

    @property
    def recipient(self) -> Recipient:
        """This agency as one that opens."""
        return Recipient(self.agency.authority, self.agency.profile, self.keyring)

    def verifier(self, ask: AskForKeys | None = None) -> Verifier:
        """What signatures are held against; partners' keys as the registry gives them or, offline, as they were seen before."""
        return Verifier(self.bodies, self.pins, PartnerKeys(self.agency.state / "partners.json", ask))


def open_desk(place: Place) -> Desk:
    """Open an enrolled agency's folder, its keys unlocked.

    Raises:
        Refusal: INVALID_PARTY, INVALID_KEY, KEY_FILE_UNSAFE.
    """
    agency = open_agency(place.home)
    keyring = Keyring.load(agency.keys, read_passphrase(place.passphrase))
    bodies = BodyReader(load_catalogue(place.schemas))
    return Desk(agency, keyring, load_pins(place.home / "hub.json"), bodies, place.now)
