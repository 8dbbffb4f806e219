"""Pushing sealed copies to partners over HTTPS: many at once, each bounded, none redirected, none off the allow-list."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from hub.domain.refusals import RefusalCode
from hub.services.deliver_message import PushTask

MAX_ANSWER_BYTES = 65_536
HTTPS_PORT = 443
ENVELOPE_MEDIA_TYPE = "application/jose+json"

Record = Callable[[PushTask, str | None, str], None]
"""Called in a thread with the task, an error code or None, and the partner's receipt (a compact JWS) or "" ."""


class PushClient:
    """Sends in a thread of its own; `submit` returns at once and every task is reported exactly once.

    A slow partner takes one place of `parallel`, and no time of the others.
    """

    def __init__(
        self, record: Record, *, allowed_hosts: frozenset[str], parallel: int, timeout: timedelta, ca_file: Path | None = None
    ) -> None:
        self._record = record
        self._allowed_hosts = allowed_hosts
        self._parallel = parallel
        self._timeout = timeout.total_seconds()
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._in_flight = 0
        self._count_lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._client: httpx2.AsyncClient | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="push", daemon=True)
        self._thread.start()

    @property
    def room(self) -> int:
        """How many more tasks may be submitted now."""
        return self._parallel - self._in_flight

    def submit(self, task: PushTask) -> None:
        """Send one task when there is room for it."""
        with self._count_lock:
            self._in_flight += 1
        asyncio.run_coroutine_threadsafe(self._send_and_record(task), self._loop)

    def close(self) -> None:
        """Stop sending. What is in flight is not reported; its lease ends, and it is sent again."""
        if self._client is not None:
            asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result(self._timeout)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _send_and_record(self, task: PushTask) -> None:
        try:
            error, receipt = await self._send(task)
            await asyncio.to_thread(self._record, task, error, receipt)
        finally:
            with self._count_lock:
                self._in_flight -= 1

    async def _send(self, task: PushTask) -> tuple[str | None, str]:
        if not is_allowed(task.address, self._allowed_hosts):
            return RefusalCode.ADDRESS_NOT_ALLOWED.value, ""
        if self._client is None:
            limits = httpx2.Limits(max_connections=self._parallel, max_keepalive_connections=self._parallel)
            self._client = httpx2.AsyncClient(
                verify=self._tls, follow_redirects=False, timeout=self._timeout, trust_env=False, limits=limits
            )
        due = task.sealed.copy.due
        headers = {
            "Content-Type": ENVELOPE_MEDIA_TYPE,
            "Accord-Delivery": due.delivery.id,
            "Accord-Exchange": due.message.exchange,
        }
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(self._client, task, headers)
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            return "timeout" if isinstance(error, TimeoutError | httpx2.TimeoutException) else "unreachable", ""

    async def _post(self, client: httpx2.AsyncClient, task: PushTask, headers: dict[str, str]) -> tuple[str | None, str]:
        async with client.stream("POST", task.address, content=task.sealed.envelope, headers=headers) as answer:
            if not answer.is_success:
                return f"http_{answer.status_code}", ""
            octets = b""
            async for chunk in answer.aiter_bytes():
                octets += chunk
                if len(octets) > MAX_ANSWER_BYTES:
                    return "answer_too_large", ""
        return None, octets.decode("ascii", errors="replace").strip()


def is_allowed(address: str, allowed_hosts: frozenset[str]) -> bool:
    """Whether a push address is plain HTTPS to a host (with its port, unless 443) on the allow-list."""
    parts = urlsplit(address)
    if parts.scheme != "https" or parts.username or parts.password or parts.fragment or not parts.hostname:
        return False
    try:
        port = parts.port or HTTPS_PORT
    except ValueError:
        return False
    host = parts.hostname.lower()
    return f"{host}:{port}" in allowed_hosts or (port == HTTPS_PORT and host in allowed_hosts)
