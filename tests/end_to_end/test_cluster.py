"""Two nodes and three workers on one PostgreSQL: one exchange for each message, one log, and no node that lags behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from bench.exchange import RECIPIENTS, SENDER, Member, hub_keys, seal_messages, set_up
from hub.bootstrap import Installation
from hub.services.hub import Hub
from hub.services.verify_store import verify_store
from tests.postgresql_server import PostgresqlServer
from tests.servers import TOP, RunningHub, free_port, wait_for, write_config

HEADERS = {"Content-Type": "application/jose+json"}
TO = RECIPIENTS[:2]
WORKERS = (("delivery",), ("delivery", "sequencer"), ("sequencer", "timed"))
LEASE_SECONDS = 3
MESSAGES, THREADS = 60, 6

LEASING_WORKER = """
from hub.bootstrap import Installation
from hub.services.deliver_message import take_due
with Installation().open_hub() as hub:
    while not (taken := take_due(hub, 100)):
        pass
    print(len(taken), flush=True)
    input()
"""


@dataclass
class Cluster:
    """Two nodes and three workers over one database."""

    nodes: list[RunningHub]
    hub: Hub
    members: dict[str, Member]
    key: tuple[str, dict[str, str]]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_workers(self) -> None:
        """Start three workers, two of each kind among them."""
        for roles in WORKERS:
            only = [word for role in roles for word in ("--only", role)]
            command = [sys.executable, "-m", "hub", "worker", *only]
            with self.nodes[0].log.open("ab") as log:
                self.workers.append(subprocess.Popen(command, env=self.nodes[0].environment, cwd=TOP, stdout=log, stderr=log))

    def stop_workers(self) -> None:
        """Ask them to end."""
        for worker in self.workers:
            worker.terminate()
        assert [worker.wait(60) for worker in self.workers] == [0] * len(self.workers)

    def signal_workers(self, number: signal.Signals) -> None:
        """Send a signal to each worker."""
        for worker in self.workers:
            worker.send_signal(number)

    def seal(self, count: int) -> list[bytes]:
        """Fresh messages."""
        return seal_messages(self.members[SENDER], self.key, count, 2048, TO)

    def send(self, node: int, body: bytes) -> tuple[int, dict[str, Any]]:
        """Send one message to one node: status and answer."""
        with closing(HTTPConnection(self.nodes[node].url.removeprefix("http://"), timeout=60)) as connection:
            connection.request("POST", "/v1/messages", body, HEADERS)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def numbers(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        with self.hub.store.reading() as work:
            return [tuple(row) for row in work.exec_driver_sql(statement)]

    def unfinished(self) -> int:
        """Deliveries that wait for a worker, and audit entries that wait for a place in the log."""
        (queued,), (pending,) = self.numbers(
            "SELECT count(*) FROM deliveries WHERE state = 'queued' "
            "UNION ALL SELECT count(*) FROM audit_entries WHERE tree_index IS NULL"
        )
        return int(queued + pending)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgresql_server: PostgresqlServer) -> Iterator[Cluster]:
    folder: Path = tmp_path_factory.mktemp("cluster")
    with postgresql_server.database() as url:
        nodes = [_node(folder, url, name) for name in ("a", "b")]
        nodes[0].initialise()
        members, (key, _log_key) = set_up(nodes[0].config), hub_keys(nodes[0].config)
        try:
            for node in nodes:
                _start(node)
            for node in nodes:
                node.wait_until_ready()
            with Installation(nodes[0].config).open_hub() as hub:
                made = Cluster(nodes, hub, members, key)
                made.start_workers()
                yield made
                made.stop_workers()
                report = verify_store(hub)
                assert report.ok, report.flaws
        finally:
            for node in nodes:
                node.stop()


def _node(folder: Path, database: str, name: str) -> RunningHub:
    port = free_port()
    sections: dict[str, dict[str, object]] = {
        "database": {"url": database},
        "server": {"workers": 1},
        "limits": {"worker_lease_seconds": LEASE_SECONDS},
        "log": {"level": "warning"},
    }
    config = write_config(folder, port, sections)
    own = config.with_name(f"{name}.toml")
    config.rename(own)
    return RunningHub(folder, f"http://127.0.0.1:{port}", own)


def _start(node: RunningHub) -> None:
    """Start the server alone: the workers of a cluster are processes of their own."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(TOP / "config" / "gunicorn.conf.py")]
    with node.log.open("ab") as log:
        node.process = subprocess.Popen(command, env=node.environment, cwd=TOP, stdout=log, stderr=log, start_new_session=True)


def test_messages_to_both_nodes_at_once_are_each_taken_in_once_and_relayed_once(cluster: Cluster) -> None:
    bodies = cluster.seal(MESSAGES)
    answers: list[list[tuple[int, dict[str, Any]]]] = [[] for _ in range(THREADS)]

    def send(number: int) -> None:
        share = bodies[number // 2 :: THREADS // 2]  # two threads have the same share, one for each node
        answers[number] += [cluster.send(number % 2, body) for body in share]

    threads = [threading.Thread(target=send, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for share in answers for status, _answer in share} == {202}
    assert answers[0::2] == answers[1::2]  # the same receipt, octet for octet, from either node
    exchanges = {answer["exchange"] for _status, answer in answers[0] + answers[2] + answers[4]}
    assert len(exchanges) == MESSAGES
    wait_for(lambda: cluster.unfinished() == 0)
    stated = Counter(cluster.numbers("SELECT event, exchange FROM receipts"))
    assert {stated["accepted", one] for one in exchanges} == {1}
    assert {stated["relayed", one] for one in exchanges} == {len(TO)}
    entries = [json.loads(entry) for (entry,) in cluster.numbers("SELECT entry FROM audit_entries")]
    relayed = Counter(entry["details"]["delivery"] for entry in entries if entry["event"] == "delivery.relayed")
    assert set(relayed.values()) == {1}


def test_the_inboxes_have_no_gap(cluster: Cluster) -> None:
    for number, body in enumerate(cluster.seal(10)):
        cluster.send(number % 2, body)
    wait_for(lambda: cluster.unfinished() == 0)
    ends = cluster.numbers(
        "SELECT recipient, count(position), count(DISTINCT position), max(position) FROM deliveries "
        "WHERE position IS NOT NULL GROUP BY recipient ORDER BY recipient"
    )
    assert [end[0] for end in ends] == TO
    assert all(len(set(end[1:])) == 1 for end in ends)


def test_two_sequencers_do_not_fork_the_log(cluster: Cluster) -> None:
    for body in cluster.seal(10):
        cluster.send(0, body)
    wait_for(lambda: cluster.unfinished() == 0)
    ((size, places, last),) = cluster.numbers(
        "SELECT (SELECT size FROM log_state), count(DISTINCT tree_index), max(tree_index) FROM audit_entries"
    )
    assert size == places == last + 1
    assert verify_store(cluster.hub).ok


def test_what_is_suspended_on_one_node_is_refused_on_the_other_at_once(cluster: Cluster) -> None:
    first, second, third = cluster.seal(3)
    assert [cluster.send(node, first)[0] for node in (0, 1)] == [202, 202]
    cluster.nodes[0].command("agreement", "suspend", "measurement", "--reason", "a test")
    status, problem = cluster.send(1, second)
    assert (status, problem["code"]) == (403, "agreement_suspended")
    cluster.nodes[1].command("agreement", "resume", "measurement", "--reason", "a test")
    assert [cluster.send(node, third)[0] for node in (0, 1)] == [202, 202]


def test_what_a_killed_worker_had_taken_is_relayed_by_another_after_its_lease(cluster: Cluster) -> None:
    (body,) = cluster.seal(1)
    wait_for(lambda: cluster.unfinished() == 0)
    cluster.signal_workers(signal.SIGSTOP)
    program = [sys.executable, "-c", LEASING_WORKER]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, env=cluster.nodes[0].environment, cwd=TOP, stdin=pipe, stdout=pipe, text=True) as leasing:
        status, answer = cluster.send(0, body)
        assert status == 202
        assert leasing.stdout is not None
        assert leasing.stdout.readline() == f"{len(TO)}\n"
        leasing.kill()
    cluster.signal_workers(signal.SIGCONT)
    wait_for(lambda: cluster.unfinished() == 0)
    found = cluster.numbers(f"SELECT state, fence FROM deliveries WHERE exchange = '{answer['exchange']}'")
    assert found == [("held", 3)] * len(TO)  # taken, taken over, moved
