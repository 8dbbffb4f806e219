"""A hub around a store, with keys in memory, for tests that need no party and no message."""

from hub.domain.audit import AuditEntry, AuditEvent
from hub.services.hub import Hub
from hub.services.refusal_meter import RefusalMeter
from hub.services.registry_reader import RegistryReader
from hub.services.sequence_log import sequence_pending
from hub.storage.store import Store
from tests.simulators.exchange import BODIES, HUB_NAME, START, MovableClock, make_keyring

KEYRING = make_keyring(START)


def hub_over(store: Store, clock: MovableClock | None = None) -> Hub:
    return Hub(
        name=HUB_NAME,
        issuer="http://127.0.0.1",
        store=store,
        keyring=KEYRING,
        bodies=BODIES,
        registry=RegistryReader(),
        clock=clock or MovableClock(),
        refusals=RefusalMeter(60),
    )


def note_entries(hub: Hub, count: int, exchange: str = "") -> None:
    entry = AuditEntry(AuditEvent.INBOX_LISTED, hub.clock.now(), "tw.npa", exchange=exchange)
    hub.note_alone(*(entry for _ in range(count)))


def grow(hub: Hub, *sizes: int) -> None:
    """Sequence entries so many at a time."""
    for size in sizes:
        note_entries(hub, size)
        assert sequence_pending(hub, size) == size
