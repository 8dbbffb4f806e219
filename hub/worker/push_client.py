"""Pushing sealed copies to partners over HTTPS: many at once, each bounded, none redirected, none off the allow-list."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx2
import structlog

from hub.domain.refusals import RefusalCode
from hub.policy.push_addresses import is_allowed_address
from hub.services.deliver_message import PushTask

MAX_ANSWER_BYTES = 65_536
ENVELOPE_MEDIA_TYPE = "application/jose+json"
_HTTP_OK = 200
_log = structlog.get_logger("hub.worker")

Record = Callable[[PushTask, str | None, str], None]
"""Called in a thread with the task, an error code or None, and the partner's receipt (a compact JWS) or "" ."""


class PushClient:
    """Sends in a thread of its own; `submit` returns at once and every task is reported exactly once.

    A slow partner takes as many places of `parallel` as its tasks, and no time of the others.
    """

    def __init__(
        self, record: Record, *, allowed_hosts: frozenset[str], parallel: int, timeout: timedelta, ca_file: Path | None = None
    ) -> None:
        self._record = record
        self._allowed_hosts = allowed_hosts
        self._parallel = parallel
        self._timeout = timeout.total_seconds()
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._in_flight: Counter[str] = Counter()
        self._count_lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._client: httpx2.AsyncClient | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="push", daemon=True)
        self._thread.start()

    @property
    def room(self) -> int:
        """How many more tasks may be submitted now."""
        with self._count_lock:
            return self._parallel - self._in_flight.total()

    def busy(self, most_each: int) -> frozenset[str]:
        """The partners to which at least `most_each` tasks are on their way."""
        with self._count_lock:
            return frozenset(recipient for recipient, count in self._in_flight.items() if count >= most_each)

    def submit(self, task: PushTask) -> None:
        """Send one task when there is room for it."""
        with self._count_lock:
            self._in_flight[task.sealed.copy.due.delivery.recipient] += 1
        self._loop.call_soon_threadsafe(self._start, task)

    def close(self) -> None:
        """Stop sending. What is in flight is not reported; its lease ends, and it is sent again."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _start(self, task: PushTask) -> None:
        sending = self._loop.create_task(self._send_and_record(task))
        self._tasks.add(sending)
        sending.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
        await self._loop.shutdown_default_executor()  # what is being recorded is recorded

    async def _send_and_record(self, task: PushTask) -> None:
        recipient = task.sealed.copy.due.delivery.recipient
        try:
            error, receipt = await self._send(task)
            await asyncio.to_thread(self._record, task, error, receipt)
        except Exception as failure:  # noqa: BLE001 - nobody waits for this coroutine; the lease ends, and it is sent again
            _log.error("push not recorded", delivery=task.sealed.copy.due.delivery.id, error=type(failure).__name__)
        finally:
            with self._count_lock:
                self._in_flight[recipient] -= 1
                if not self._in_flight[recipient]:
                    del self._in_flight[recipient]

    async def _send(self, task: PushTask) -> tuple[str | None, str]:
        if not is_allowed_address(task.address, self._allowed_hosts):
            return RefusalCode.ADDRESS_NOT_ALLOWED.value, ""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(self._open_client(), task)
        except (httpx2.TimeoutException, TimeoutError):
            return "timeout", ""
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
            return "unreachable", ""

    def _open_client(self) -> httpx2.AsyncClient:
        if self._client is None:  # in the loop's own thread, which is where it is used
            limits = httpx2.Limits(max_connections=self._parallel, max_keepalive_connections=self._parallel)
            self._client = httpx2.AsyncClient(
                verify=self._tls, follow_redirects=False, timeout=self._timeout, trust_env=False, limits=limits
            )
        return self._client

    async def _post(self, client: httpx2.AsyncClient, task: PushTask) -> tuple[str | None, str]:
        due = task.sealed.copy.due
        headers = {
            "Content-Type": ENVELOPE_MEDIA_TYPE,
            "Accept-Encoding": "identity",  # so that the bound on the answer is one on what is held in memory
            "Accord-Delivery": due.delivery.id,
            "Accord-Exchange": due.message.exchange,
        }
        async with client.stream("POST", task.address, content=task.sealed.envelope, headers=headers) as answer:
            if not answer.is_success:
                return f"http_{answer.status_code}", ""
            octets = b""
            async for chunk in answer.aiter_raw():
                octets += chunk
                if len(octets) > MAX_ANSWER_BYTES:
                    return "answer_too_large", ""
        return None, octets.decode("ascii", errors="replace").strip() if answer.status_code == _HTTP_OK else ""
