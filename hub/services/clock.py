"""The one source of time. It is read once per message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""


class SystemClock:
    """The machine's clock, cut to whole milliseconds."""

    def now(self) -> datetime:
        """The present instant."""
        moment = datetime.now(UTC)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class DemonstrationClock:
    """The machine's clock moved by an offset in whole seconds that stands in a file: for the demonstration only."""

    def __init__(self, offset_file: Path) -> None:
        self._file = offset_file
        self._system = SystemClock()

    def now(self) -> datetime:
        """The present instant plus the offset that the file holds; without a file there is none."""
        try:
            offset = int(self._file.read_text(encoding="ascii"))
        except FileNotFoundError:
            offset = 0
        return self._system.now() + timedelta(seconds=offset)
