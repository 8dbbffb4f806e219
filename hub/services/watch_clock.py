"""Noting in the audit log that the clock of the demonstration was moved."""

from __future__ import annotations

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.parties import HUB_PARTY
from hub.services.clock import Clock, SystemClock
from hub.services.hub import Hub


class ClockWatch:
    """Compares the hub's clock with the machine's, in whole seconds, and notes each change of the difference."""

    def __init__(self, hub: Hub, machine: Clock | None = None) -> None:
        self._hub = hub
        self._machine = machine or SystemClock()
        self._noted = 0

    def once(self) -> int:
        """Note the difference where it is another than before; says how many entries that were."""
        now = self._hub.clock.now()
        offset = round((now - self._machine.now()).total_seconds())
        if offset == self._noted:
            return 0
        self._noted = offset
        self._hub.note_alone(AuditEntry(AuditEvent.CLOCK_OFFSET, now, HUB_PARTY, details={"seconds": offset}))
        return 1
