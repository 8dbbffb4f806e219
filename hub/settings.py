"""Settings: `config/hub.toml` read once into frozen types. An unknown key is an error; nothing else reads the environment.

A relative path starts at the folder above the one that holds the settings file: for `/srv/accord/config/hub.toml` that is
`/srv/accord`. A setting that is left out has the default that stands here, and `config/hub.toml` shows every one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from hub.domain.refusals import HubFault
from hub.services.hub import Limits

CONFIG_VARIABLE = "ACCORD_CONFIG"
SUPERVISOR_VARIABLE = "ACCORD_SUPERVISOR"
DEFAULT_CONFIG = Path("config/hub.toml")
_ORIGIN = re.compile(r"[a-z0-9][a-z0-9./-]{2,127}\Z")
SQLITE = "sqlite:///"
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost"})
_LOG_LEVELS = ("debug", "info", "warning", "error")
_MOST = 2**31


class SettingsError(HubFault):
    """The settings file is missing, is not TOML, or holds something that it may not hold. The text names the place."""


@dataclass(frozen=True)
class HubSettings:
    """`name` is the origin in checkpoints and receipts (no scheme, no spaces), `issuer` the public URL (no slash at its end)."""

    name: str
    issuer: str


@dataclass(frozen=True)
class DatabaseSettings:
    """`url` is `sqlite:///path` or `postgresql+psycopg://...`."""

    url: str = "sqlite:///var/hub.sqlite"


@dataclass(frozen=True)
class KeySettings:
    """Where the hub's private keys stand, and the file that holds the passphrase which opens them."""

    folder: Path = Path("keys")
    passphrase_file: Path = Path("keys/passphrase")


@dataclass(frozen=True)
class ServerSettings:
    """The HTTP server: processes, and threads in each."""

    bind: str = "127.0.0.1:8440"
    workers: int = 1
    threads: int = 16
    graceful_timeout_seconds: int = 30


@dataclass(frozen=True)
class WorkerSettings:
    """The loops beside the server: how long each rests when it found nothing to do."""

    delivery_pause: timedelta = timedelta(seconds=0.2)
    sequencer_pause: timedelta = timedelta(seconds=0.2)
    timed_pause: timedelta = timedelta(seconds=60)
    parallel_pushes: int = 32
    push_timeout: timedelta = timedelta(seconds=20)


@dataclass(frozen=True)
class PushSettings:
    """Hosts that messages may be pushed to (none by default), and the authorities that vouch for their certificates."""

    allowed_hosts: frozenset[str] = frozenset()
    ca_file: Path | None = None


@dataclass(frozen=True)
class DemonstrationSettings:
    """A clock that can be moved, for the demonstration only."""

    enabled: bool = False
    clock_offset_file: Path | None = None


@dataclass(frozen=True)
class LogSettings:
    """The process log on standard error: ids, sizes, digests and codes, never content."""

    level: str = "info"
    json: bool = True


@dataclass(frozen=True)
class Settings:
    """Everything that can be set. `digest` is hexadecimal SHA-256 of the file that was read; paths are absolute."""

    hub: HubSettings
    file: Path
    digest: str
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    keys: KeySettings = field(default_factory=KeySettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    limits: Limits = field(default_factory=Limits)
    push: PushSettings = field(default_factory=PushSettings)
    demonstration: DemonstrationSettings = field(default_factory=DemonstrationSettings)
    log: LogSettings = field(default_factory=LogSettings)


SECTIONS: dict[str, type[Any]] = {
    "hub": HubSettings,
    "database": DatabaseSettings,
    "keys": KeySettings,
    "server": ServerSettings,
    "worker": WorkerSettings,
    "limits": Limits,
    "push": PushSettings,
    "demonstration": DemonstrationSettings,
    "log": LogSettings,
}
_ELSEWHERE = {"limits": frozenset({"push_allowed_hosts"})}  # set in [push]


def settings_file(given: Path | None = None) -> Path:
    """The settings file to read, absolute: the given one, else the one that ACCORD_CONFIG names, else `config/hub.toml` here."""
    return (given or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)).resolve()


def environment_with(file: Path) -> dict[str, str]:
    """This process's environment for a child that reads the same settings file, and ends when this process does."""
    return {**os.environ, CONFIG_VARIABLE: str(file), SUPERVISOR_VARIABLE: str(os.getpid())}


def supervisor_process() -> int | None:
    """The id of the process that started this one and is to be followed into its end, or None."""
    text = os.environ.get(SUPERVISOR_VARIABLE, "")
    return int(text) if text.isdecimal() else None


def load_settings(given: Path | None = None) -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: as its text says.
    """
    file = settings_file(given)
    try:
        octets = file.read_bytes()
        document = tomllib.loads(octets.decode("utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read ({error.strerror}); {CONFIG_VARIABLE} or --config names another") from None
    except ValueError as error:
        raise SettingsError(f"{file}: is not TOML: {error}") from None
    unknown = document.keys() - SECTIONS.keys()
    if unknown:
        raise SettingsError(f"[{min(unknown)}]: is not a section that is known here")
    root = file.parent.parent
    sections = {name: _read_section(name, document.get(name, {}), root) for name in SECTIONS}
    settings = Settings(file=file, digest=hashlib.sha256(octets).hexdigest(), **sections)
    return _complete(settings, root)


def key_of(name: str, kind: object) -> str:
    """How a field is called in the file: a duration carries its unit."""
    return f"{name}_seconds" if kind is timedelta else name


def known_keys(section: str) -> list[str]:
    """The keys of one section, in the order of its fields."""
    kinds = get_type_hints(SECTIONS[section])
    elsewhere = _ELSEWHERE.get(section, frozenset())
    return [key_of(name, kind) for name, kind in kinds.items() if name not in elsewhere]


def _read_section(section: str, table: object, root: Path) -> Any:
    if not isinstance(table, dict):
        raise SettingsError(f"[{section}]: must be a table")
    unknown = table.keys() - set(known_keys(section))
    if unknown:
        raise SettingsError(f"{section}.{min(unknown)}: is not a setting that is known here")
    kinds = get_type_hints(SECTIONS[section])
    values = {
        name: _value(f"{section}.{key_of(name, kind)}", table[key_of(name, kind)], kind, root)
        for name, kind in kinds.items()
        if key_of(name, kind) in table
    }
    for one in dataclasses.fields(SECTIONS[section]):
        if one.name in values:
            continue
        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{section}.{one.name}: is missing")
        if isinstance(one.default, Path):
            values[one.name] = root / one.default
    return SECTIONS[section](**values)


def _value(place: str, value: object, kind: object, root: Path) -> object:
    fits, read = _KINDS[kind]
    if not fits(value):
        raise SettingsError(f"{place}: is not of the kind that the comment in config/hub.toml states")
    return read(value, root)


def _is_positive(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 < value < _MOST  # type: ignore[operator]  # numbers only


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and one for one in value)


_KINDS: dict[object, tuple[Callable[[object], bool], Callable[[Any, Path], object]]] = {
    int: (lambda value: _is_positive(value, int), lambda value, _root: value),
    timedelta: (lambda value: _is_positive(value, int, float), lambda value, _root: timedelta(seconds=value)),
    bool: (lambda value: isinstance(value, bool), lambda value, _root: value),
    str: (lambda value: isinstance(value, str) and value != "", lambda value, _root: value),
    Path: (lambda value: isinstance(value, str) and value != "", lambda value, root: root / value),
    Path | None: (lambda value: isinstance(value, str), lambda value, root: root / value if value else None),
    frozenset[str]: (_is_texts, lambda value, _root: frozenset(value)),
}


def _complete(settings: Settings, root: Path) -> Settings:
    if not _ORIGIN.match(settings.hub.name):
        raise SettingsError("hub.name: must be 3 to 128 of a-z 0-9 . / -, such as hub.example.org/accord")
    _check_issuer(settings.hub.issuer)
    if settings.log.level not in _LOG_LEVELS:
        raise SettingsError(f"log.level: is none of {', '.join(_LOG_LEVELS)}")
    if settings.demonstration.enabled != (settings.demonstration.clock_offset_file is not None):
        raise SettingsError("demonstration: a clock offset file is named exactly where the demonstration is enabled")
    url = settings.database.url
    if url.startswith(SQLITE):
        url = f"{SQLITE}{root / url.removeprefix(SQLITE)}"
    limits = dataclasses.replace(settings.limits, push_allowed_hosts=settings.push.allowed_hosts)
    return dataclasses.replace(settings, database=DatabaseSettings(url), limits=limits)


def _check_issuer(issuer: str) -> None:
    parts = urlsplit(issuer)
    local = parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS
    if not (parts.scheme == "https" or local) or not parts.hostname or issuer.endswith("/") or parts.query or parts.fragment:
        raise SettingsError("hub.issuer: must be an https address without a slash at its end (http on this machine only)")
