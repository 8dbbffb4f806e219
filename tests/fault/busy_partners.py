"""Partners that keep a hub busy from threads, and remember what they sent and what they were answered, to the last octet."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx2

from bench.exchange import Member
from connectors.contract import HubUnreachableError
from connectors.hub_client.hub_session import Client, HubSession
from connectors.hub_client.trust import HubPins
from hub.crypto.notes import NoteKey
from hub.crypto.sealing import unseal
from hub.domain.encoding import b64url_encode, format_time
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.json_gate import parse_object

HEADERS = {"Content-Type": "application/jose+json"}
ANSWER_SECONDS = 60
LOOK_SECONDS = 0.001


@dataclass
class Sending:
    """One sealed message. `is_sent` once the whole request is handed over; `answer` once the whole answer was read."""

    body: bytes
    is_sent: bool = False
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    is_repeated: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether its sender saw 202."""
        return self.status == http.client.ACCEPTED

    @property
    def is_in_flight(self) -> bool:
        """Sent and not answered."""
        return self.is_sent and not self.status


def send(connection: http.client.HTTPConnection, sending: Sending) -> None:
    """Send one message and read its answer.

    Raises:
        OSError: the connection broke.
        http.client.HTTPException: it broke in the middle of an answer.
    """
    connection.request("POST", "/v1/messages", sending.body, HEADERS)
    sending.is_sent = True
    response = connection.getresponse()
    octets = response.read()
    sending.answer = json.loads(octets)
    sending.is_repeated = response.headers.get("Accord-Repeated") == "true"
    sending.status = response.status


def send_all(port: int, sendings: Iterable[Sending]) -> None:
    """Send messages one after the other; whatever breaks is the caller's."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)) as connection:
        for one in sendings:
            send(connection, one)


class BusySenders:
    """Threads that each send their share until nothing is left or the connection breaks."""

    def __init__(self, port: int, sendings: list[Sending], threads: int) -> None:
        self._port = port
        self.sendings = sendings
        shares = [sendings[start::threads] for start in range(threads)]
        self._threads = [threading.Thread(target=self._run, args=(share,)) for share in shares]

    def start(self) -> None:
        """Let them send."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until none of them can send any more."""
        for thread in self._threads:
            thread.join()

    def wait_for_requests_in_flight(self, answered: int, and_seconds: float) -> list[Sending]:
        """Wait for so many answers and a moment more; then give what is sent and not answered, as soon as there is something."""
        pause = threading.Event()
        while sum(one.is_accepted for one in self.sendings) < answered and self._is_anyone_sending():
            pause.wait(LOOK_SECONDS)
        pause.wait(and_seconds)
        found: list[Sending] = []
        while not found and self._is_anyone_sending():
            found = [one for one in self.sendings if one.is_in_flight]
        return found

    def _is_anyone_sending(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, share: list[Sending]) -> None:
        try:
            send_all(self._port, share)
        except (OSError, http.client.HTTPException):
            return  # killed


class BusyRecipient:
    """A thread that pulls, opens and confirms whatever comes, until the hub is gone; `confirmed` holds what it was answered."""

    def __init__(self, url: str, member: Member, log_key: NoteKey) -> None:
        self._url = url
        self._member = member
        self._log_key = log_key
        self._thread = threading.Thread(target=self._run)
        self._cursor = 0
        self.receipts: dict[str, str] = {}
        """What it stated, by delivery."""
        self.confirmed: dict[str, dict[str, Any]] = {}
        """What the hub answered, by delivery."""

    def start(self) -> None:
        """Let it pull, from where it stopped."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        """Wait until the hub is gone for it."""
        self._thread.join()

    def confirm_again(self) -> dict[str, dict[str, Any]]:
        """State once more what was confirmed, and give the answers."""
        with self._connect() as http_client:
            session = self._session(http_client)
            return {delivery: session.post_receipt(delivery, self.receipts[delivery]) for delivery in self.confirmed}

    def _run(self) -> None:
        try:
            with self._connect() as http_client:
                session = self._session(http_client)
                while True:
                    self._pull(session)
        except (HubUnreachableError, httpx2.HTTPError):
            return  # killed

    def _pull(self, session: HubSession) -> None:
        page = session.list_inbox(self._cursor, 20, 1)
        for item in page["items"]:
            delivery = item["delivery"]
            self.receipts.setdefault(delivery, self._receipt(item, session.fetch(delivery)))
            self.confirmed[delivery] = session.post_receipt(delivery, self.receipts[delivery])
            self._cursor = item["position"]

    def _receipt(self, item: dict[str, Any], envelope: bytes) -> str:
        sealed = jwe.open_envelope(envelope, 20_000_000)
        octets = unseal(self._member.sealing, sealed.recipients[0], sealed.content, sealed.aad)
        payload = jws.parse_general(octets, jws.COUNTERSIGNED_MESSAGE, jws.RENDITION_ALONE).payload
        document = parse_object(payload)
        header, rendition = document["header"], document.get("rendition")
        statement = {
            "v": 1,
            "event": "delivered",
            "issuer": self._member.authority,
            "recipient": self._member.authority,
            "exchange": item["exchange"],
            "delivery": item["delivery"],
            "message": {"sender": header["sender"], "id": header["id"], "digest": b64url_encode(sha256(payload).digest())},
            "time": format_time(datetime.now(UTC)),
            **({"of": rendition["of"]} if rendition else {}),
        }
        signer = self._member.signing
        protected = jws.protected_header(signer.kid, SignatureType.RECEIPT)
        text = b64url_encode(json.dumps(statement).encode())
        return jws.serialise_compact(protected, text, signer.sign(jws.signing_input(protected, text)))

    def _connect(self) -> httpx2.Client:
        return httpx2.Client(base_url=self._url, timeout=ANSWER_SECONDS, trust_env=False)

    def _session(self, http_client: httpx2.Client) -> HubSession:
        client = Client(self._member.authority, self._member.client, self._url)
        return HubSession(http_client, client, HubPins({}, self._log_key), lambda: datetime.now(UTC))
