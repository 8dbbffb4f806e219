"""Seats for requests that wait for news: each holds a thread, and those that carry messages must never find them all taken."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from hub.domain.refusals import Refusal, RefusalCode

MOST_OF_ONE_PARTY = 2
"""So that no party keeps the others out; two, because a client that lost its connection comes back before its seat is free."""


class WaitingRoom:
    """The requests that wait in this process, by party."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seated: Counter[str] = Counter()

    @contextmanager
    def seat(self, authority: str, seats: int) -> Iterator[None]:
        """Hold one of `seats` seats.

        Raises:
            Refusal: RATE_LIMITED, every seat is taken, or too many by this party.
        """
        with self._lock:
            if self._seated.total() >= seats or self._seated[authority] >= MOST_OF_ONE_PARTY:
                raise Refusal(RefusalCode.RATE_LIMITED, "too many requests wait already; ask later, or without waiting")
            self._seated[authority] += 1
        try:
            yield
        finally:
            with self._lock:
                self._seated[authority] -= 1
                if not self._seated[authority]:
                    del self._seated[authority]
