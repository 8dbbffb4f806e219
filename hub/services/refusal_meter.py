"""Refused bytes that nobody signed: audited one by one up to a limit, past it counted into one entry a minute.

Whoever sends garbage could otherwise fill the log.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.encoding import format_time
from hub.domain.parties import HUB_PARTY
from hub.domain.refusals import RefusalCode

_WINDOW = timedelta(minutes=1)


class RefusalMeter:
    """Counts refusals of unauthenticated bytes in this process, by minute."""

    def __init__(self, audited_per_minute: int) -> None:
        self._limit = audited_per_minute
        self._lock = threading.Lock()
        self._opened_at: datetime | None = None
        self._seen = 0
        self._counted: Counter[str] = Counter()

    def admit(self, code: RefusalCode, now: datetime) -> tuple[bool, AuditEntry | None]:
        """Count one refusal.

        Returns:
            Whether it gets an entry of its own, and the entry that sums up the minute before, if one is due.
        """
        with self._lock:
            summary = self._close(now)
            if self._opened_at is None:
                self._opened_at = now
            self._seen += 1
            if self._seen <= self._limit:
                return True, summary
            self._counted[code.value] += 1
            return False, summary

    def flush(self, now: datetime) -> AuditEntry | None:
        """The entry that sums up the minute before, if that minute is over and anything was only counted in it."""
        with self._lock:
            return self._close(now)

    def _close(self, now: datetime) -> AuditEntry | None:
        if self._opened_at is None or now < self._opened_at + _WINDOW:
            return None
        counted, opened_at = dict(self._counted), self._opened_at
        self._opened_at, self._seen, self._counted = None, 0, Counter()
        if not counted:
            return None
        details = {"since": format_time(opened_at), "by_code": counted, "count": sum(counted.values())}
        return AuditEntry(AuditEvent.ARRIVALS_REFUSED, now, HUB_PARTY, outcome="refused", details=details)
