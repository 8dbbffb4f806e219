"""Pushing to partners over real HTTPS: what each answer leads to, and that no partner holds up another."""

import gzip
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from hub.domain.audit import AuditEvent
from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.encoding import b64url_encode
from hub.domain.parties import DeliveryMode
from hub.domain.receipts import ReceiptEvent
from hub.services.deliver_message import PushTask
from hub.worker.delivery_loop import MOST_FOR_ONE_PARTNER, DeliveryLoop, record_result
from hub.worker.push_client import MAX_ANSWER_BYTES, PushClient
from tests.simulators.exchange import Exchange
from tests.simulators.push_partners import Answer, PushPartners, Request

IMMIGRATION, SHELTER, CITY = "tw.nia", "tw.shelter.garden", "tw.kaohsiung"
SECONDS = 20
"""How long a test waits for what happens at once on an idle machine."""


class Worker:
    """A worker process's push side over a hub: rounds are run by the test, results are waited for."""

    def __init__(
        self, exchange: Exchange, partners: PushPartners, *, timeout: float = SECONDS, parallel: int = 8, hosts: str = ""
    ) -> None:
        self.exchange = exchange
        self.partners = partners
        self.results: queue.Queue[tuple[str, str | None]] = queue.Queue()
        self.client = PushClient(
            self._record,
            allowed_hosts=frozenset({hosts or partners.host}),
            parallel=parallel,
            timeout=timedelta(seconds=timeout),
            ca_file=partners.ca_file,
        )
        self.loop = DeliveryLoop(exchange.hub, self.client)

    def _record(self, task: PushTask, error: str | None, receipt: str) -> None:
        record_result(self.exchange.hub, task, error, receipt)
        self.results.put((task.sealed.copy.due.delivery.recipient, error))

    def push(self) -> str | None:
        """Run a round that sends one delivery; the error code, or None."""
        assert self.loop.once() == 1
        return self.results.get(timeout=SECONDS)[1]

    def close(self) -> None:
        self.client.close()


@pytest.fixture
def partners(tmp_path: Path) -> Iterator[PushPartners]:
    with PushPartners(tmp_path) as server:
        yield server


@pytest.fixture
def worker(referrals: Exchange, partners: PushPartners) -> Iterator[Worker]:
    for name in (SHELTER, CITY):
        let_push(referrals, name, partners.address(f"/{name}"))
    made = Worker(referrals, partners)
    yield made
    made.close()


def let_push(exchange: Exchange, name: str, address: str) -> None:
    exchange.record(replace(exchange.agencies[name].party, delivery=DeliveryMode.PUSH, push_address=address))


def send(exchange: Exchange, recipient: str = SHELTER) -> str:
    sender = exchange.agencies[IMMIGRATION]
    return sender.send(sender.message(recipients=[recipient])).exchange


def delivery_of(exchange: Exchange, exchange_id: str) -> Delivery:
    (delivery,) = exchange.deliveries_of(exchange_id).values()
    return delivery


def receipt_of(exchange: Exchange, request: Request, name: str = SHELTER, event: str = "delivered") -> Answer:
    """What an honest partner answers: its receipt for what it could open."""
    partner = exchange.agencies[name]
    copy, document = partner.open(request.octets)
    members = {
        "v": 1,
        "event": event,
        "issuer": name,
        "recipient": name,
        "exchange": request.headers["Accord-Exchange"],
        "delivery": request.headers["Accord-Delivery"],
        "message": {
            "sender": IMMIGRATION,
            "id": document["header"]["id"],
            "digest": b64url_encode(sha256(copy.payload).digest()),
        },
        "time": "2026-11-22T09:00:00Z",
        **({"of": document["rendition"]["of"]} if "rendition" in document else {}),
    }
    return Answer(200, partner.receipt(**members).encode())


# what each answer leads to


def test_an_answer_with_the_signed_receipt_makes_it_delivered(worker: Worker) -> None:
    worker.partners.behaviours[f"/{SHELTER}"] = partial(receipt_of, worker.exchange)
    exchange = send(worker.exchange)
    assert worker.push() is None
    assert delivery_of(worker.exchange, exchange).state is DeliveryState.DELIVERED
    assert [one.event for one in worker.exchange.receipts_of(exchange) if one.issuer == "hub"] == [
        ReceiptEvent.ACCEPTED,
        ReceiptEvent.RELAYED,
        ReceiptEvent.DELIVERED,
    ]


def test_an_answer_without_a_receipt_leaves_it_sent(worker: Worker) -> None:
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(202)
    exchange = send(worker.exchange)
    assert worker.push() is None
    assert delivery_of(worker.exchange, exchange).state is DeliveryState.SENT


def test_what_stands_in_a_202_is_not_read_as_a_receipt(worker: Worker) -> None:
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(202, b'{"queued": true}')
    send(worker.exchange)
    worker.push()
    assert worker.exchange.audit(AuditEvent.RECEIPT_REFUSED) == []


def test_a_forged_receipt_is_refused_and_the_push_sent_again(worker: Worker) -> None:
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(200, b"a.b.c")
    exchange = send(worker.exchange)
    worker.push()
    assert delivery_of(worker.exchange, exchange).state is DeliveryState.SENT
    assert worker.exchange.audit(AuditEvent.RECEIPT_REFUSED)[0]["outcome"] == "malformed_envelope"
    worker.partners.behaviours[f"/{SHELTER}"] = partial(receipt_of, worker.exchange)
    worker.exchange.clock.advance(seconds=10)
    worker.push()
    assert delivery_of(worker.exchange, exchange).state is DeliveryState.DELIVERED


def test_the_partner_gets_the_envelope_with_its_type_and_ids(worker: Worker) -> None:
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(202)
    exchange = send(worker.exchange)
    worker.push()
    (request,) = worker.partners.requests
    delivery = delivery_of(worker.exchange, exchange)
    assert (request.headers["Content-Type"], request.headers["Accord-Exchange"]) == ("application/jose+json", exchange)
    assert request.headers["Accord-Delivery"] == delivery.id


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_a_refusal_or_a_failure_of_the_partner_is_noted_by_its_status(worker: Worker, status: int) -> None:
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(status)
    exchange = send(worker.exchange)
    assert worker.push() == f"http_{status}"
    delivery = delivery_of(worker.exchange, exchange)
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.QUEUED, 1, f"http_{status}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(worker: Worker, status: int) -> None:
    elsewhere = {"Location": worker.partners.address(f"/{CITY}")}
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(status, headers=elsewhere)
    send(worker.exchange)
    assert worker.push() == f"http_{status}"
    assert [request.path for request in worker.partners.requests] == [f"/{SHELTER}"]


def test_an_answer_that_is_too_large_is_not_read_to_its_end(worker: Worker) -> None:
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(200, b"a" * (MAX_ANSWER_BYTES + 1))
    send(worker.exchange)
    assert worker.push() == "answer_too_large"


def test_a_compressed_answer_is_not_blown_up(worker: Worker) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(200, bomb, {"Content-Encoding": "gzip"})
    send(worker.exchange)
    assert len(bomb) < MAX_ANSWER_BYTES
    assert worker.push() is None
    assert worker.exchange.audit(AuditEvent.RECEIPT_REFUSED)[0]["outcome"] in {"malformed_envelope", "too_large"}


# where to


def test_a_host_that_is_not_on_the_allow_list_is_not_called(referrals: Exchange, partners: PushPartners) -> None:
    let_push(referrals, SHELTER, partners.address("/x"))
    worker = Worker(referrals, partners, hosts="partner.example")
    send(referrals)
    assert worker.push() == "address_not_allowed"
    worker.close()
    assert partners.requests == []


@pytest.mark.parametrize(
    "address",
    ["http://{host}/x", "https://user@{host}/x", "https://{host}/x#y", "https://{host}@elsewhere.example/x", "https://[/x", ""],
)
def test_an_address_that_is_not_plain_https_to_the_host_is_not_called(
    referrals: Exchange, partners: PushPartners, address: str
) -> None:
    worker = Worker(referrals, partners)
    send(referrals)
    let_push(referrals, SHELTER, partners.address("/x"))
    (task,) = referrals.deliver()
    worker.client.submit(replace(task, address=address.format(host=partners.host)))
    assert worker.results.get(timeout=SECONDS) == (SHELTER, "address_not_allowed")
    worker.close()
    assert partners.requests == []


def test_a_server_of_another_authority_is_unreachable(referrals: Exchange, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with PushPartners(tmp_path / "one") as partners, PushPartners(tmp_path / "other") as strangers:
        let_push(referrals, SHELTER, strangers.address("/x"))
        worker = Worker(referrals, partners, hosts=strangers.host)
        send(referrals)
        assert worker.push() == "unreachable"
        worker.close()
        assert strangers.requests == []


def test_a_server_with_a_certificate_for_another_host_is_unreachable(referrals: Exchange, tmp_path: Path) -> None:
    with PushPartners(tmp_path, host="127.0.0.2") as partners:
        let_push(referrals, SHELTER, partners.address("/x"))
        worker = Worker(referrals, partners)
        send(referrals)
        assert worker.push() == "unreachable"
        worker.close()
        assert partners.requests == []


def test_a_port_where_nobody_listens_is_unreachable(referrals: Exchange, tmp_path: Path) -> None:
    with PushPartners(tmp_path) as gone:
        pass
    let_push(referrals, SHELTER, gone.address("/x"))
    worker = Worker(referrals, gone)
    send(referrals)
    assert worker.push() == "unreachable"
    worker.close()


def test_a_proxy_that_the_environment_names_is_not_used(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(202)
    send(worker.exchange)
    assert worker.push() is None


# slow partners


def test_a_partner_that_does_not_answer_in_time_is_noted_and_tried_again_later(
    referrals: Exchange, partners: PushPartners
) -> None:
    answer_now = threading.Event()
    let_push(referrals, SHELTER, partners.address("/slow"))
    partners.behaviours["/slow"] = lambda _request: Answer(202, hold=answer_now)
    worker = Worker(referrals, partners, timeout=0.5)
    exchange = send(referrals)
    assert worker.push() == "timeout"
    answer_now.set()
    worker.close()
    delivery = delivery_of(referrals, exchange)
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.QUEUED, 1, "timeout")


def test_a_slow_partner_with_many_messages_does_not_hold_up_another(worker: Worker) -> None:
    answer_now = threading.Event()
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(202, hold=answer_now)
    worker.partners.behaviours[f"/{CITY}"] = partial(receipt_of, worker.exchange, name=CITY)
    for _ in range(2 * MOST_FOR_ONE_PARTNER):
        send(worker.exchange, SHELTER)
    others = [send(worker.exchange, CITY) for _ in range(3)]
    worker.loop.once()
    worker.loop.once()
    assert [worker.results.get(timeout=SECONDS)[0] for _ in others] == [CITY] * 3
    assert {delivery_of(worker.exchange, one).state for one in others} == {DeliveryState.DELIVERED}
    answer_now.set()


def test_a_partner_that_has_enough_on_its_way_gets_nothing_more(worker: Worker) -> None:
    answer_now = threading.Event()
    worker.partners.behaviours[f"/{SHELTER}"] = lambda _request: Answer(202, hold=answer_now)
    for _ in range(MOST_FOR_ONE_PARTNER + 1):
        send(worker.exchange, SHELTER)
    assert [worker.loop.once() for _ in range(2)] == [MOST_FOR_ONE_PARTNER, 0]
    answer_now.set()
    for _ in range(MOST_FOR_ONE_PARTNER):
        worker.results.get(timeout=SECONDS)


def test_inboxes_are_filled_while_every_push_place_is_taken(referrals: Exchange, partners: PushPartners) -> None:
    answer_now = threading.Event()
    let_push(referrals, SHELTER, partners.address("/slow"))
    partners.behaviours["/slow"] = lambda _request: Answer(202, hold=answer_now)
    worker = Worker(referrals, partners, parallel=1)
    send(referrals)
    worker.loop.once()
    pulled = send(referrals, CITY)
    worker.loop.once()
    assert delivery_of(referrals, pulled).state is DeliveryState.HELD
    answer_now.set()
    worker.results.get(timeout=SECONDS)
    worker.close()


def test_what_is_on_its_way_when_the_worker_ends_is_sent_again_when_its_lease_ends(
    referrals: Exchange, partners: PushPartners
) -> None:
    answer_now, arrived = threading.Event(), threading.Event()

    def answer(_request: Request) -> Answer:
        arrived.set()
        return Answer(202, hold=answer_now)

    let_push(referrals, SHELTER, partners.address("/slow"))
    partners.behaviours["/slow"] = answer
    ending = Worker(referrals, partners)
    exchange = send(referrals)
    ending.loop.once()
    assert arrived.wait(SECONDS)
    ending.close()
    answer_now.set()
    assert ending.results.empty()
    assert delivery_of(referrals, exchange).attempts == 0
    referrals.clock.advance(seconds=61)
    worker = Worker(referrals, partners)
    assert worker.push() is None
    worker.close()


def test_a_place_is_free_again_where_recording_failed(referrals: Exchange, partners: PushPartners) -> None:
    let_push(referrals, SHELTER, partners.address("/x"))
    partners.behaviours["/x"] = lambda _request: Answer(202)
    called = threading.Event()

    def fail(_task: PushTask, _error: str | None, _receipt: str) -> None:
        called.set()
        raise InterruptedError

    client = PushClient(
        fail,
        allowed_hosts=frozenset({partners.host}),
        parallel=1,
        timeout=timedelta(seconds=SECONDS),
        ca_file=partners.ca_file,
    )
    send(referrals)
    DeliveryLoop(referrals.hub, client).once()
    assert called.wait(SECONDS)
    client.close()
    assert client.room == 1
