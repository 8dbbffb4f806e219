"""From acceptance to an opened copy at a partner that pulls by long poll: delivery, release and both ends' cryptography."""

from __future__ import annotations

import http.client
import threading
import time
from datetime import UTC, datetime

import httpx2

from bench.exchange import Member, seal_messages
from connectors.hub_client.hub_session import Client, HubSession
from connectors.hub_client.trust import HubPins
from hub.crypto.notes import NoteKey
from hub.crypto.sealing import unseal
from hub.formats import jwe

MESSAGES = 100
GAP_SECONDS = 0.02
WAIT_SECONDS = 5
LONGEST_SECONDS = 60


def measure_delivery(
    port: int, sender: Member, recipient: Member, hub_key: tuple[str, dict[str, str]], log_key: NoteKey
) -> dict[str, float]:
    """Send messages one after the other to a waiting recipient; milliseconds from the request to the opened copy."""
    bodies = seal_messages(sender, hub_key, MESSAGES, 4096, [recipient.authority])
    awaited = {jwe.open_envelope(body, 20_000_000).message_id for body in bodies}
    sent: dict[str, float] = {}
    opened: dict[str, float] = {}
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        session = HubSession(
            http,
            Client(recipient.authority, recipient.client, f"http://127.0.0.1:{port}"),
            HubPins({}, log_key),
            lambda: datetime.now(UTC),
        )
        cursor = _skip(session)
        sending = threading.Thread(target=_send, args=(port, bodies, sent))
        sending.start()
        until = time.perf_counter() + LONGEST_SECONDS
        while len(opened) < MESSAGES and time.perf_counter() < until:
            page = session.list_inbox(cursor, 100, WAIT_SECONDS)
            for item in page["items"]:
                envelope = jwe.open_envelope(session.fetch(item["delivery"]), 20_000_000)
                unseal(recipient.sealing, envelope.recipients[0], envelope.content, envelope.aad)
                if envelope.message_id in awaited:  # an earlier one may still have been on its way
                    opened[envelope.message_id] = time.perf_counter()
            cursor = page["next"]
        sending.join()
    latencies = sorted((opened[one] - sent[one]) * 1000 for one in opened)
    return {"count": len(latencies), "p50_ms": latencies[len(latencies) // 2], "p99_ms": latencies[int(len(latencies) * 0.99)]}


def _skip(session: HubSession) -> int:
    """The end of the inbox as it stands."""
    cursor = 0
    while (page := session.list_inbox(cursor, 100, 0))["items"]:
        cursor = page["next"]
    return cursor


def _send(port: int, bodies: list[bytes], sent: dict[str, float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for body in bodies:
        sent[jwe.open_envelope(body, 20_000_000).message_id] = time.perf_counter()
        connection.request("POST", "/v1/messages", body, {"Content-Type": "application/jose+json"})
        connection.getresponse().read()
        time.sleep(GAP_SECONDS)
    connection.close()
