"""Another process holds the database's lock: a request waits for it, and is answered cleanly where it waited too long."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from hub.http_api.app import create_app
from hub.services.issue_receipt import IssuedReceipt
from hub.services.verify_store import verify_store
from tests.simulators.api_client import verified_problem
from tests.simulators.exchange import Exchange, referral_exchange

LOCKED_SECONDS = 2
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    made = referral_exchange(f"sqlite:///{tmp_path}/hub.sqlite")
    yield made
    made.close()


@contextmanager
def locked(exchange: Exchange) -> Iterator[None]:
    """Another process holds the lock of whoever writes."""
    file = exchange.url.removeprefix("sqlite:///")
    command = [sys.executable, "-c", HOLDER, file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            holder.communicate("\n")


def impatient(exchange: Exchange) -> None:
    """Let this process's connections wait for a hundredth of a second only."""

    @event.listens_for(exchange.hub.store.engine, "connect")
    def _wait_briefly(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=10")

    exchange.hub.store.close()


def test_a_message_waits_for_the_lock_and_is_accepted(exchange: Exchange) -> None:
    sender = exchange.agencies["tw.nia"]
    message = sender.message()
    issued: list[IssuedReceipt] = []
    sending = threading.Thread(target=lambda: issued.append(sender.send(message)))
    with locked(exchange):
        sending.start()
        sending.join(LOCKED_SECONDS)
        assert sending.is_alive()
    sending.join()
    assert [one.repeated for one in issued] == [False]


def test_a_message_that_waited_too_long_is_answered_as_overloaded(exchange: Exchange) -> None:
    impatient(exchange)
    sender = exchange.agencies["tw.nia"]
    message = sender.message()
    client = create_app(exchange.hub).test_client()
    with locked(exchange):
        answer = client.post("/v1/messages", data=sender.envelope(message), content_type="application/jose+json")
    assert verified_problem(answer, exchange.hub_signing_jwk())["code"] == "overloaded"
    assert sender.send(message).repeated is False
    assert verify_store(exchange.hub).ok


def test_reading_goes_on_while_another_process_writes(exchange: Exchange) -> None:
    impatient(exchange)
    with locked(exchange), exchange.hub.store.reading() as work:
        assert exchange.hub.registry.at(work).parties
