"""The one place where things are put together: settings in, a hub, a web application or running loops out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hub import __version__
from hub.cli.installation import Initialised
from hub.crypto.key_files import read_private_file
from hub.crypto.key_manifest import MANIFEST_NAME
from hub.crypto.keyrings import Keyring
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.parties import HUB_PARTY
from hub.formats.bodies import BodyReader
from hub.formats.catalogue import load_catalogue
from hub.services.clock import Clock, DemonstrationClock, SystemClock
from hub.services.close_deadlines import close_deadlines, tidy
from hub.services.hub import Hub
from hub.services.initialise_hub import make_hub_keys, make_passphrase
from hub.services.manage_keys import KeyFolder
from hub.services.refusal_meter import RefusalMeter
from hub.services.registry_reader import RegistryReader
from hub.services.sequence_log import sequence_pending
from hub.services.watch_clock import ClockWatch
from hub.settings import SQLITE, LogSettings, Settings, environment_with, load_settings, supervisor_process
from hub.storage.migrations import require_head, upgrade
from hub.storage.store import Store
from hub.worker.runner import Loop, run_loops
from hub.worker.supervisor import StopRequest, end_with, supervise

if TYPE_CHECKING:
    from flask import Flask

    from hub.worker.push_client import PushClient

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "schemas"
CLOCK_WATCH_PAUSE = timedelta(milliseconds=100)


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


def worker_loops(hub: Hub, settings: Settings, client: PushClient, roles: Collection[str]) -> list[Loop]:
    """The loops of these roles; in a demonstration also the one that notes when its clock is moved."""
    from hub.worker.delivery_loop import DeliveryLoop  # noqa: PLC0415 - commands start in half the time without it

    worker = settings.worker
    loops = {
        "delivery": Loop("delivery", DeliveryLoop(hub, client).once, worker.delivery_pause),
        "sequencer": Loop("sequencer", partial(sequence_pending, hub), worker.sequencer_pause),
        "timed": Loop("timed", partial(_do_timed_jobs, hub), worker.timed_pause),
    }
    chosen = [loop for role, loop in loops.items() if role in roles]
    if settings.demonstration.enabled and "timed" in roles:
        chosen.append(Loop("clock", ClockWatch(hub).once, CLOCK_WATCH_PAUSE))
    return chosen


def _do_timed_jobs(hub: Hub) -> int:
    tidy(hub)
    return close_deadlines(hub)


class Installation:
    """One hub as its settings file describes it, for the commands and for gunicorn. Nothing is read before it is needed."""

    def __init__(self, config: Path | None = None) -> None:
        self._config = config

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            SettingsError: as its text says.
        """
        settings = load_settings(self._config)
        set_up_log(settings.log)
        return settings

    @contextmanager
    def open_hub(self) -> Iterator[Hub]:
        """A hub for the time of one command; `build_hub` says what may be wrong with it."""
        hub = build_hub(self.settings)
        try:
            yield hub
        finally:
            hub.store.close()

    def key_folder(self) -> KeyFolder:
        """The folder of the private keys that the hub keeps."""
        return KeyFolder(self.settings.keys.folder, read_passphrase(self.settings))

    def initialise(self) -> Initialised:
        """Make the folders, the passphrase and the keys that are missing, and bring the database to this release's form."""
        made_passphrase = make_passphrase(self.settings.keys.passphrase_file)
        made_keys = make_hub_keys(self.key_folder(), choose_clock(self.settings).now())
        url = self.settings.database.url
        if url.startswith(SQLITE):
            Path(url.removeprefix(SQLITE)).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        upgrade(url)
        return Initialised(made_passphrase, made_keys)

    def serve(self) -> None:
        """Run gunicorn and a worker as processes of their own, until a signal asks for the end."""
        with self.open_hub():
            pass  # what is wrong with it is said here, once, and not by each process again and again
        commands = {
            "server": [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config" / "gunicorn.conf.py")],
            "worker": [sys.executable, "-m", "hub", "worker"],
        }
        supervise(
            commands,
            environment_with(self.settings.file),
            StopRequest().listen(),
            stop_within=timedelta(seconds=self.settings.server.graceful_timeout_seconds + 5),
            changing=self.settings.keys.folder / MANIFEST_NAME,
        )

    def work(self, roles: frozenset[str]) -> None:
        """Run the loops of these roles, until a signal asks for the end."""
        from hub.worker.delivery_loop import record_result  # noqa: PLC0415 - commands start in half the time without it
        from hub.worker.push_client import PushClient  # noqa: PLC0415 - the same

        self.follow_supervisor()
        asked_to_stop = StopRequest().listen()
        with self.open_hub() as hub:
            settings = self.settings
            client = PushClient(
                partial(record_result, hub),
                allowed_hosts=settings.push.allowed_hosts,
                parallel=settings.worker.parallel_pushes,
                timeout=settings.worker.push_timeout,
                ca_file=settings.push.ca_file,
            )
            self._note(hub, AuditEvent.HUB_STARTED, "worker")
            run_loops(worker_loops(hub, settings, client, roles), asked_to_stop)
            client.close()
            self._note(hub, AuditEvent.HUB_STOPPED, "worker")

    def create_wsgi_app(self) -> Flask:
        """The web application of one process. Call it after forking."""
        from hub.http_api.app import create_app  # noqa: PLC0415 - commands start in half the time without it

        return create_app(build_hub(self.settings))

    def follow_supervisor(self) -> None:
        """Let this process end when the command that started it ends."""
        end_with(supervisor_process())

    def note_started(self, role: str) -> None:
        """Note in the audit log that a process group starts, with which release and which settings."""
        with self.open_hub() as hub:
            self._note(hub, AuditEvent.HUB_STARTED, role)

    def note_stopped(self, role: str) -> None:
        """Note in the audit log that a process group has stopped in good order."""
        with self.open_hub() as hub:
            self._note(hub, AuditEvent.HUB_STOPPED, role)

    def _note(self, hub: Hub, event: AuditEvent, role: str) -> None:
        details = {"role": role, "version": __version__, "settings": self.settings.digest}
        hub.note_alone(AuditEntry(event, hub.clock.now(), HUB_PARTY, details=details))
