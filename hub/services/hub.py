"""What every use case needs: put together once, in `hub/bootstrap.py`, and passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from hub.crypto.keyrings import Keyring
from hub.crypto.merkle import new_nonce
from hub.domain.audit import AuditEntry
from hub.domain.encoding import format_time
from hub.formats.bodies import BodyReader
from hub.formats.canonical_json import canonical_json
from hub.services.clock import Clock
from hub.services.refusal_meter import RefusalMeter
from hub.services.registry_reader import RegistryReader
from hub.services.waiting_room import WaitingRoom
from hub.storage import audit
from hub.storage.store import Store, Work


@dataclass(frozen=True)
class Limits:
    """Bounds that settings may change. The defaults are those that the documentation states."""

    max_envelope_bytes: int = 10 * 1024 * 1024
    max_issued_ahead: timedelta = timedelta(minutes=5)
    token_lifetime: timedelta = timedelta(minutes=5)
    max_inbox_page: int = 100
    max_inbox_wait_seconds: int = 30
    max_waiting_requests: int = 8
    audited_refusals_per_minute: int = 60
    worker_lease: timedelta = timedelta(seconds=60)
    push_allowed_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Hub:
    """One process's hub. `name` is the hub's origin, as it stands in checkpoints and receipts; `issuer` its public URL."""

    name: str
    issuer: str
    store: Store
    keyring: Keyring
    bodies: BodyReader
    registry: RegistryReader
    clock: Clock
    refusals: RefusalMeter
    limits: Limits = field(default_factory=Limits)
    waiting: WaitingRoom = field(default_factory=WaitingRoom)

    def note(self, work: Work, *entries: AuditEntry) -> None:
        """Write audit entries in the transaction of what they tell of."""
        audit.add(work, [(entry_octets(entry), new_nonce(), entry.exchange) for entry in entries])

    def note_alone(self, *entries: AuditEntry) -> None:
        """Write audit entries in a transaction of their own."""
        self.store.write(lambda work: self.note(work, *entries))


def entry_octets(entry: AuditEntry) -> bytes:
    """An audit entry as canonical JSON: what the log commits to, together with a nonce."""
    members: dict[str, object] = {
        "v": 1,
        "event": entry.event.value,
        "at": format_time(entry.at),
        "actor": entry.actor,
        "outcome": entry.outcome,
        "details": dict(entry.details),
    }
    if entry.exchange:
        members["exchange"] = entry.exchange
    if entry.agreement:
        members["agreement"] = {"id": entry.agreement, "version": entry.agreement_version}
    return canonical_json(members)


def codes(values: Sequence[object]) -> list[str]:
    """Enum members or strings as sorted strings, each once, for the details of an entry."""
    return sorted({str(value) for value in values})
