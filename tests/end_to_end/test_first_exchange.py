"""The first exchange, from an empty folder to a proved receipt: read it from top to bottom to learn how the hub is used.

Three parties run programs of their own and share nothing but files that people hand to each other: the operator of the hub types
`hub`, an officer in Tokyo and one in Taipei type `hub-partner`. Each fixture is a step and rests on the one before; each test
says what holds after it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import TOP, RunningHub, running_hub

AGREEMENT = "tw-jp-police-2026"
TOKYO, TAIPEI = "jp.npa", "tw.npa"
ARRIVAL_SECONDS = "20"


@dataclass(frozen=True)
class Agency:
    """One agency's folder, on its own machine as it were: `hub-partner` gets no other way to the hub than its address."""

    authority: str
    home: Path

    def run(self, *arguments: str | Path, status: int = 0) -> dict[str, Any]:
        """Run `hub-partner ARGUMENTS --json` and give its answer."""
        command = [sys.executable, "-m", "connectors", "--home", str(self.home), *map(str, arguments), "--json"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP)}
        done = subprocess.run(command, cwd=self.home.parent, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, f"hub-partner {arguments[0]} ended with {done.returncode}: {done.stderr}{done.stdout}"
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @property
    def registration(self) -> Path:
        """What its officer hands to the hub's operator."""
        return self.home / "registration.json"

    def draft(self, name: str, message: dict[str, Any]) -> Path:
        """Write a message as an officer wrote it: `hub-partner` fills in the rest."""
        file = self.home.parent / name
        file.write_text(json.dumps(message), encoding="utf-8")
        return file


# Step 1. The operator makes a hub (`hub init`) and starts it (`hub serve`). `hub-keys.json` is what every partner pins.


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


def test_a_new_hub_is_in_good_health(hub: RunningHub) -> None:
    assert json.loads(hub.command("doctor", "--json"))["ok"] is True


# Step 2. Each agency enrols: it makes its keys, pins the hub's, and hands its registration to the operator, who compares the key
# ids by telephone and records it (`hub party add`, `hub key import`). Tokyo has an older system, hence the profile classic-1.


@pytest.fixture(scope="module")
def tokyo(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return enrol(hub, Agency(TOKYO, tmp_path_factory.mktemp("tokyo") / "agency"), "classic-1")


@pytest.fixture(scope="module")
def taipei(hub: RunningHub, tmp_path_factory: pytest.TempPathFactory) -> Agency:
    return enrol(hub, Agency(TAIPEI, tmp_path_factory.mktemp("taipei") / "agency"), "pq-1")


def enrol(hub: RunningHub, agency: Agency, profile: str) -> Agency:
    pins = ("--hub-keys", hub.folder / "hub-keys.json", "--log-vkey", hub.identity["log_vkeys"][0])
    agency.run("enrol", "--authority", agency.authority, "--profile", profile, "--hub", hub.url, *pins)
    hub.register_agency(agency.registration)
    return agency


def test_only_public_keys_leave_an_agency(tokyo: Agency) -> None:
    keys = json.loads(tokyo.registration.read_bytes())["keys"]
    assert sorted(key["use"] for key in keys) == ["client_auth", "sealing", "signing"]
    assert all(key["jwk"].keys() == {"kty", "crv", "x", "y"} for key in keys)


# Step 3. The agreement goes in as a draft. It governs nothing until each operating authority has signed it with its own key.


@pytest.fixture(scope="module")
def agreement(hub: RunningHub, tokyo: Agency, taipei: Agency) -> dict[str, Any]:
    hub.command("agreement", "add", TOP / "config" / "agreements" / f"{AGREEMENT}.toml")
    tokyo.run("agreement", "sign", AGREEMENT, "1")
    return taipei.run("agreement", "sign", AGREEMENT, "1")


def test_an_agreement_that_both_have_signed_is_in_force(hub: RunningHub, agreement: dict[str, Any]) -> None:
    assert agreement["unsigned_by"] == []
    assert json.loads(hub.command("agreement", "show", AGREEMENT))["state"] == "in force"


# Step 4. Tokyo asks Taipei for information. What it may ask, for which purpose, and what Taipei gets of it, the agreement says.


@pytest.fixture(scope="module")
def request_file(tokyo: Agency, agreement: dict[str, Any]) -> Path:
    assert agreement["unsigned_by"] == []
    return tokyo.draft("request.json", make_request())


def make_request(**header: Any) -> dict[str, Any]:
    """The catalogue's example, without what `hub-partner` fills in."""
    example = json.loads((TOP / "schemas" / "examples" / "info-request.json").read_bytes())
    filled_in = ("v", "id", "sender", "issued", "expires", "salt")
    kept = {name: value for name, value in example["header"].items() if name not in filled_in}
    return {"header": {**kept, **header}, "body": example["body"]}


@pytest.fixture(scope="module")
def sent(tokyo: Agency, request_file: Path) -> dict[str, Any]:
    return tokyo.run("send", request_file)


def test_the_sender_can_ask_beforehand_who_would_receive_what(tokyo: Agency, request_file: Path) -> None:
    answer = tokyo.run("preview", request_file)
    assert [(one["recipient"], one["outcome"]) for one in answer["recipients"]] == [(TAIPEI, "released")]


@pytest.mark.usefixtures("agreement")
def test_a_purpose_that_the_agreement_does_not_have_is_refused_with_its_article(tokyo: Agency) -> None:
    answer = tokyo.run("send", tokyo.draft("taxes.json", make_request(purpose="tax_collection")), status=1)
    assert (answer["code"], answer["by_hub"]) == ("purpose_not_allowed", True)
    assert [one["article"] for one in answer["findings"]] == ["2"]


def test_the_hub_accepts_the_request_and_says_so_in_a_signed_receipt(sent: dict[str, Any]) -> None:
    assert sent["recipients"] == [TAIPEI]
    assert sent["receipt"].count(".") == 2  # the compact JWS; `hub-partner` verified it, else it had ended with 1


def test_sending_the_same_file_again_gives_the_first_receipt(tokyo: Agency, request_file: Path, sent: dict[str, Any]) -> None:
    assert tokyo.run("send", request_file) == sent


# Step 5. Taipei fetches: the copy is sealed to its key, carries both signatures, and is confirmed with a receipt of its own.


@pytest.fixture(scope="module")
def fetched(taipei: Agency, sent: dict[str, Any]) -> dict[str, Any]:
    answer = taipei.run("fetch", "--wait", ARRIVAL_SECONDS)
    (item,) = answer["items"]
    assert item["exchange"] == sent["exchange"]
    taipei.run("retrieved", item["delivery"])
    return dict(item)


def test_the_recipient_gets_what_the_sender_signed(sent: dict[str, Any], fetched: dict[str, Any]) -> None:
    assert (fetched["outcome"], fetched["sender"]) == ("original", TOKYO)
    assert (fetched["id"], fetched["digest"]) == (sent["id"], sent["digest"])


def test_the_stored_message_verifies_without_the_hub(taipei: Agency, fetched: dict[str, Any]) -> None:
    (file,) = taipei.run("verify", taipei.home / "inbox" / f"{fetched['delivery']}.json")["files"]
    assert f"signed by {TOKYO}, countersigned by the hub hub.test/accord" in file["statements"]


# Step 6. Tokyo sees what became of it. Every receipt is signed, and the hub's log proves that it stands there for good.


@pytest.fixture(scope="module")
def report(tokyo: Agency, fetched: dict[str, Any]) -> dict[str, Any]:
    return tokyo.run("receipts", fetched["exchange"], "--wait", ARRIVAL_SECONDS)


def test_the_sender_holds_a_receipt_for_each_step_of_the_way(report: dict[str, Any]) -> None:
    events = {(one["event"], one["issuer"]) for one in report["receipts"]}
    assert events == {
        ("accepted", "hub"),
        ("relayed", "hub"),
        ("delivered", TAIPEI),
        ("delivered", "hub"),
        ("retrieved", TAIPEI),
        ("retrieved", "hub"),
    }


def test_each_receipt_is_proved_to_stand_in_the_log(report: dict[str, Any]) -> None:
    assert all(one["log_index"] < one["checkpoint_size"] for one in report["receipts"])


# Step 7. The auditor holds the whole store against a checkpoint that a partner kept, so that nobody could have rewritten it.


@pytest.mark.usefixtures("report")
def test_the_store_verifies_against_the_checkpoint_that_a_partner_kept(hub: RunningHub, tokyo: Agency) -> None:
    kept = tokyo.run("checkpoint")["file"]
    answer = json.loads(hub.command("audit", "verify", "--json", "--deep", "--against", kept))
    assert (answer["ok"], answer["flaws"]) == (True, [])
    assert answer["messages"] == 1


@pytest.mark.usefixtures("fetched")
def test_nothing_of_the_message_can_be_read_in_the_hubs_files(hub: RunningHub) -> None:
    secret = make_request()["body"]["subjects"][0]["person"]["documents"][0]["number"].encode()
    files = [file for file in hub.folder.rglob("*") if file.is_file()]
    assert [file.name for file in files if secret in file.read_bytes()] == []
    assert any(file.suffix == ".sqlite" for file in files)
