"""A connection ends in the middle of a request, or before its answer was read: whoever asks again is answered, once."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.exchange import RECIPIENTS, SENDER, hub_keys, seal_messages, set_up
from hub.bootstrap import Installation
from hub.services.hub import Hub
from hub.services.verify_store import verify_store
from tests.fault.busy_partners import Sending, send_all
from tests.fault.forking_hub import ForkingHub
from tests.servers import free_port, wait_for, write_config

RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


@dataclass
class Served:
    """A hub that runs, its store, and sealed messages that nobody sent yet."""

    port: int
    hub: Hub
    bodies: list[bytes]

    def connect(self) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def messages(self) -> int:
        """How many messages are stored."""
        with self.hub.store.reading() as work:
            count: int = work.exec_driver_sql("SELECT count(*) FROM messages").scalar_one()
            return count

    def ask_again(self, body: bytes) -> Sending:
        """Send a message over a sound connection."""
        sending = Sending(body)
        send_all(self.port, [sending])
        assert sending.is_accepted, sending.answer
        return sending


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("cut")
    port = free_port()
    config = write_config(folder, port, {"server": {"workers": 1}})
    server = ForkingHub(folder, f"http://127.0.0.1:{port}", config)
    server.initialise()
    members, (key, _log_key) = set_up(config), hub_keys(config)
    bodies = seal_messages(members[SENDER], key, 20, 4096, RECIPIENTS[:1])
    server.start()
    with Installation(config).open_hub() as hub:
        yield Served(port, hub, bodies)
        assert verify_store(hub).ok
    server.stop()


def request(body: bytes) -> bytes:
    """The octets of a whole request."""
    head = f"POST /v1/messages HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/jose+json\r\n\r\n"
    return head.encode("ascii") + body


def read_all(connection: socket.socket) -> bytes:
    """Everything that the hub says before it closes; then this side closes too, for which the server's one loop waits."""
    with connection, connection.makefile("rb") as stream:
        return stream.read()


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_half_a_request_leaves_nothing_behind(running: Served, part: float) -> None:
    body, before = running.bodies.pop(), running.messages()
    octets = request(body)
    with running.connect() as connection:
        connection.sendall(octets[: int(len(octets) * part)])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65_536)  # whatever the hub says to that
    assert running.messages() == before
    assert running.ask_again(body).is_repeated is False


def test_an_answer_that_nobody_reads_is_given_again(running: Served) -> None:
    body, before = running.bodies.pop(), running.messages()
    with running.connect() as connection:
        connection.sendall(request(body))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    wait_for(lambda: running.messages() == before + 1)
    first, second = running.ask_again(body), running.ask_again(body)
    assert (first.is_repeated, second.is_repeated) == (True, True)
    assert first.answer == second.answer


def test_an_answer_that_breaks_off_in_the_middle_is_given_again_whole(running: Served) -> None:
    body = running.bodies.pop()
    with running.connect() as connection:
        connection.sendall(request(body))
        beginning = connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    assert beginning.startswith(b"HTTP/1.1 202")
    assert running.ask_again(body).is_repeated is True


def test_the_same_message_over_many_connections_of_which_some_are_cut_is_there_once(running: Served) -> None:
    body, before = running.bodies.pop(), running.messages()
    connections = [running.connect() for _ in range(8)]
    for number, connection in enumerate(connections):
        connection.sendall(request(body))
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            connection.close()
    answers = [read_all(connection) for connection in connections[::2]]
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 202"}
    assert len({answer.rpartition(b"\r\n\r\n")[2] for answer in answers}) == 1
    assert running.messages() == before + 1
