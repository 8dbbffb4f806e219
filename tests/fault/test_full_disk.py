"""No room for the database: clean answers, nothing half stored, and everything goes on once there is room again."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bench.exchange import RECIPIENTS, SENDER, hub_keys, seal_messages, set_up
from hub.bootstrap import Installation
from hub.domain.audit import AuditEvent
from hub.domain.refusals import OverloadedFault
from hub.http_api.app import create_app
from hub.services.pull_inbox import fetch_delivery
from hub.services.verify_store import verify_store
from hub.storage import deliveries
from tests.fault.busy_partners import Sending, send_all
from tests.fault.forking_hub import ForkingHub
from tests.servers import free_port, wait_for, write_config
from tests.simulators.api_client import verified_problem
from tests.simulators.exchange import Exchange, referral_exchange

IMMIGRATION, POLICE = "tw.nia", "tw.npa"
MOST_MESSAGES = 200
WITHOUT_LIMIT = 1 << 30


class Disk:
    """The room that an exchange's database has, in pages beyond those it fills."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._most = WITHOUT_LIMIT
        event.listen(exchange.hub.store.engine, "connect", self._limit)

    def leave(self, pages: int) -> None:
        """Leave room for so many pages more."""
        with self.exchange.hub.store.reading() as work:
            filled = work.exec_driver_sql("PRAGMA page_count").scalar_one()
        self._set(filled + pages)

    def make_room(self) -> None:
        """Lift the limit."""
        self._set(WITHOUT_LIMIT)

    def _set(self, most: int) -> None:
        self._most = most
        self.exchange.hub.store.close()

    def _limit(self, connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={self._most}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    exchange = referral_exchange(f"sqlite:///{tmp_path}/hub.sqlite")
    yield Disk(exchange)
    exchange.close()


def post(disk: Disk, envelope: bytes) -> Any:
    application = create_app(disk.exchange.hub)
    return application.test_client().post("/v1/messages", data=envelope, content_type="application/jose+json")


def fill(disk: Disk) -> tuple[list[str], dict[str, Any], Any]:
    """Send until there is no room: the exchanges that were accepted, the message that was not, and its answer."""
    sender = disk.exchange.agencies[IMMIGRATION]
    accepted: list[str] = []
    disk.leave(pages=20)
    for _ in range(MOST_MESSAGES):
        message = sender.message(recipients=[POLICE])
        answer = post(disk, sender.envelope(message))
        if answer.status_code != 202:
            return accepted, message, answer
        accepted.append(answer.json["exchange"])
    raise AssertionError("there is always room")


def test_a_message_that_finds_no_room_is_answered_as_overloaded(disk: Disk) -> None:
    _accepted, _message, answer = fill(disk)
    problem = verified_problem(answer, disk.exchange.hub_signing_jwk())
    assert (problem["code"], answer.status_code, answer.headers["Retry-After"]) == ("overloaded", 503, "5")


def test_nothing_is_half_stored_where_the_room_ended(disk: Disk) -> None:
    accepted, _message, _answer = fill(disk)
    assert accepted
    with disk.exchange.hub.store.reading() as work:
        counts = [
            work.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in ("messages", "deliveries", "receipts")
        ]
    assert counts == [len(accepted)] * 3
    assert verify_store(disk.exchange.hub).ok


def test_what_found_no_room_is_taken_in_once_there_is_some(disk: Disk) -> None:
    _accepted, message, _answer = fill(disk)
    disk.make_room()
    assert disk.exchange.agencies[IMMIGRATION].send(message).repeated is False


def test_nothing_is_released_while_its_record_finds_no_room(disk: Disk) -> None:
    sender, police = disk.exchange.agencies[IMMIGRATION], disk.exchange.agencies[POLICE]
    sender.send(sender.message(recipients=[POLICE]))
    disk.exchange.deliver()
    (item,) = police.inbox()
    fill(disk)
    disk.leave(pages=0)
    handed_out = 0
    with suppress(OverloadedFault):
        for _ in range(MOST_MESSAGES):  # a page that is begun has room for a few records
            fetch_delivery(disk.exchange.hub, police.caller, item.delivery.id)
            handed_out += 1
    assert handed_out < MOST_MESSAGES
    assert len(disk.exchange.audit(AuditEvent.DELIVERY_FETCHED)) == handed_out


def test_a_worker_without_room_relays_nothing_and_everything_afterwards(disk: Disk) -> None:
    accepted, _message, _answer = fill(disk)
    disk.leave(pages=0)
    with pytest.raises(OverloadedFault):
        disk.exchange.deliver()
    disk.make_room()
    disk.exchange.clock.advance(minutes=2)  # what it had leased
    disk.exchange.deliver()
    assert [item.delivery.position for item in disk.exchange.agencies[POLICE].inbox()] == list(range(1, len(accepted) + 1))


def test_the_packaged_hub_outlives_files_that_cannot_grow(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(tmp_path, port, {"server": {"workers": 1}})
    hub = ForkingHub(tmp_path, f"http://127.0.0.1:{port}", config)
    hub.initialise()
    members, (key, _log_key) = set_up(config), hub_keys(config)
    bodies = seal_messages(members[SENDER], key, 40, 8192, RECIPIENTS[:1])
    hub.start()
    try:
        grown = (tmp_path / "var" / "hub.sqlite-wal").stat().st_size
        limit_files_of(hub, grown + (64 << 10))
        tried = [Sending(body) for body in bodies]
        send_all(port, tried)
        refused = [one for one in tried if not one.is_accepted]
        assert refused
        assert {(one.status, one.answer["code"]) for one in refused} <= {(503, "overloaded"), (500, "internal")}
        limit_files_of(hub, resource.RLIM_INFINITY)
        again = [Sending(one.body) for one in tried]
        send_all(port, again)
        assert all(one.is_accepted for one in again)
        assert [two.answer for one, two in zip(tried, again, strict=True) if one.is_accepted] == [
            one.answer for one in tried if one.is_accepted
        ]
        with Installation(config).open_hub() as opened:
            wait_for(lambda: _held(opened) == len(bodies))
            assert verify_store(opened).ok
    finally:
        hub.stop()
    assert "Traceback" not in hub.log.read_text(encoding="utf-8")


def limit_files_of(hub: ForkingHub, octets: int) -> None:
    """Let no file grow past so many octets, for the hub's processes, as where a quota is reached."""
    for process in hub.processes():
        resource.prlimit(process, resource.RLIMIT_FSIZE, (octets, resource.RLIM_INFINITY))


def _held(hub: Any) -> int:
    with hub.store.reading() as work:
        return deliveries.counts(work).get("held", 0)
