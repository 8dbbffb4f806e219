"""Whether this process can take messages now, and the figures by which an operator watches the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.domain.encoding import parse_time
from hub.domain.refusals import HubFault
from hub.formats.json_gate import parse_object
from hub.services.hub import Hub
from hub.storage import access, audit, deliveries, log
from hub.storage.store import Work

MAX_SEQUENCING_LAG = timedelta(seconds=60)
MIN_FREE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Check:
    """One thing that must hold for the hub to be ready. `detail` is for the operator and names no party."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Figures:
    """What stands where, counted in the store. `oldest_pending_seconds` is 0 where every audit entry has its place in the log."""

    deliveries: dict[str, int]
    pending_entries: int
    oldest_pending_seconds: float
    log_size: int


def check_readiness(hub: Hub) -> tuple[Check, ...]:
    """Try what taking a message needs: write and read the store, the keys, the sequencer, room on the disk."""
    now = hub.clock.now()
    checks: tuple[tuple[str, Callable[[Hub, datetime], str]], ...] = (
        ("store", _check_store),
        ("keys", _check_keys),
        ("log", _check_log),
        ("disk", _check_disk),
    )
    return tuple(_try(hub, now, name, check) for name, check in checks)


def count_work(hub: Hub) -> Figures:
    """Count what the metrics show."""
    with hub.store.reading() as work:
        size, _root = log.state(work)
        return Figures(
            deliveries=deliveries.counts(work),
            pending_entries=audit.count_pending(work),
            oldest_pending_seconds=_lag(work, hub.clock.now()).total_seconds(),
            log_size=size,
        )


def _try(hub: Hub, now: datetime, name: str, check: Callable[[Hub, datetime], str]) -> Check:
    try:
        return Check(name, True, check(hub, now))
    except Exception as error:  # noqa: BLE001 - whatever it is, it means that the hub is not ready, and is told as that
        return Check(name, False, str(error) if isinstance(error, HubFault) else type(error).__name__)


def _check_store(hub: Hub, now: datetime) -> str:
    hub.store.write(lambda work: access.forget_expired(work, now))
    with hub.store.reading() as work:
        return f"registry version {hub.registry.at(work).version}"


def _check_keys(hub: Hub, now: datetime) -> str:
    hub.keyring.signing_key(now)
    hub.keyring.token_key(now)
    hub.keyring.current_storage_key(now)
    hub.keyring.log_signer(hub.name, now)
    return f"{len(hub.keyring.lines)} keys held"


def _check_log(hub: Hub, now: datetime) -> str:
    with hub.store.reading() as work:
        lag = _lag(work, now)
    if lag > MAX_SEQUENCING_LAG:
        raise HubFault(f"an audit entry has waited {lag.total_seconds():.0f} s for its place in the log")
    return f"{lag.total_seconds():.0f} s behind"


def _check_disk(hub: Hub, _now: datetime) -> str:
    free = hub.store.free_bytes()
    if free is None:
        return "not on this machine"
    if free < MIN_FREE_BYTES:
        raise HubFault(f"{free // 2**20} MiB free")
    return f"{free // 2**20} MiB free"


def _lag(work: Work, now: datetime) -> timedelta:
    for row in audit.pending(work, 1):
        return max(now - parse_time(str(parse_object(row.entry)["at"])), timedelta(0))
    return timedelta(0)
