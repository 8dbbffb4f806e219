"""The one place where things are put together: settings in, a hub, a web application or running loops out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import structlog

from hub.crypto.key_files import read_private_file
from hub.crypto.keyrings import Keyring
from hub.formats.bodies import BodyReader
from hub.formats.catalogue import load_catalogue
from hub.services.clock import Clock, DemonstrationClock, SystemClock
from hub.services.hub import Hub
from hub.services.refusal_meter import RefusalMeter
from hub.services.registry_reader import RegistryReader
from hub.settings import LogSettings, Settings, load_settings
from hub.storage.migrations import require_head
from hub.storage.store import Store

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "schemas"


def build_hub(settings: Settings) -> Hub:
    """Open the database and the keys, and put a hub together. Call it after forking; close its store at the end.

    Raises:
        HubFault: the database is not of this release's form.
        Refusal: KEY_FILE_UNSAFE, INVALID_KEY.
        FileNotFoundError: a key file, the manifest or the passphrase file is missing.
    """
    store = Store(settings.database.url)
    try:
        require_head(store.engine)
        return Hub(
            name=settings.hub.name,
            issuer=settings.hub.issuer,
            store=store,
            keyring=Keyring.load(settings.keys.folder, read_passphrase(settings)),
            bodies=BodyReader(load_catalogue(SCHEMAS)),
            registry=RegistryReader(),
            clock=choose_clock(settings),
            refusals=RefusalMeter(settings.limits.audited_refusals_per_minute),
            limits=settings.limits,
        )
    except BaseException:
        store.close()
        raise


def choose_clock(settings: Settings) -> Clock:
    """The machine's clock; one that can be moved only where the settings enable the demonstration."""
    offset_file = settings.demonstration.clock_offset_file
    return DemonstrationClock(offset_file) if offset_file else SystemClock()


def read_passphrase(settings: Settings) -> bytes:
    """The passphrase of the private keys: the file's first line.

    Raises:
        Refusal: KEY_FILE_UNSAFE where others may read the file.
        FileNotFoundError: there is none.
    """
    return read_private_file(settings.keys.passphrase_file).partition(b"\n")[0].rstrip(b"\r")


def set_up_log(settings: LogSettings) -> None:
    """Write the process log to standard error, one event a line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer() if settings.json else structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class Installation:
    """One hub as its settings file describes it. Nothing is read before it is asked for."""

    def __init__(self, config: Path | None = None) -> None:
        self._config = config

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            SettingsError: as its text says.
        """
        return load_settings(self._config)

    @contextmanager
    def open_hub(self) -> Iterator[Hub]:
        """A hub for the time of one command."""
        hub = build_hub(self.settings)
        try:
            yield hub
        finally:
            hub.store.close()
