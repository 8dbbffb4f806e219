"""The drop folder: whole files only, each sent once, and always a file that says what became of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Round
from connectors.file_drop import mapping
from connectors.file_drop.transport import FileDrop
from hub.crypto.sealing import generate_unsealing_key
from hub.domain.keys import KeyUse
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from tests.simulators.hub_double import key_record
from tests.unit.connectors.conftest import Bench, draft_to
from tests.unit.connectors.test_sending import received

OTHER = "tw.kaohsiung"


@pytest.fixture
def drop(tmp_path: Path) -> FileDrop:
    made = FileDrop(tmp_path / "drop", settle_seconds=0)
    for name in ("out", "attachments"):
        (made.folder / name).mkdir(parents=True)
    return made


def put(drop: FileDrop, name: str = "case.json", **body: Any) -> Path:
    draft = draft_to(OTHER, **body)
    path = drop.folder / "out" / name
    path.write_text(json.dumps({"header": draft.header, "body": draft.body}))
    return path


def run(drop: FileDrop, bench: Bench) -> Round:
    return drop.run_once(bench.client)


def content(drop: FileDrop, place: str) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_bytes()) for path in (drop.folder / place).iterdir()}


def test_a_file_is_sent_and_its_receipt_laid_beside_it(drop: FileDrop, bench: Bench) -> None:
    put(drop)
    assert run(drop, bench).sent == ["case.json"]
    sent = content(drop, "sent")
    assert sent.keys() == {"case.json", "case.receipt.json"}
    assert sent["case.receipt.json"]["exchange"] in bench.hub.exchanges


@pytest.mark.parametrize("name", ["case.json.part", ".case.json", "case.txt"])
def test_a_file_that_is_not_ready_is_left_alone(drop: FileDrop, bench: Bench, name: str) -> None:
    path = put(drop, name)
    assert run(drop, bench).sent == []
    assert path.exists()


def test_a_file_that_was_just_written_is_left_for_the_next_round(drop: FileDrop, bench: Bench) -> None:
    careful = FileDrop(drop.folder, settle_seconds=60)
    path = put(drop)
    assert run(careful, bench).sent == []
    long_ago = time.time() - 61
    os.utime(path, (long_ago, long_ago))
    assert run(careful, bench).sent == ["case.json"]


def test_a_link_is_not_followed(drop: FileDrop, bench: Bench) -> None:
    target = put(drop, "case.txt")
    (drop.folder / "out" / "case.json").symlink_to(target)
    assert run(drop, bench).sent == []


def test_a_lost_answer_keeps_the_file_and_repeats_the_same_octets(drop: FileDrop, bench: Bench) -> None:
    put(drop)
    bench.hub.wrong.receipt = lambda members: {**members, "exchange": "another"}
    assert run(drop, bench).postponed == ["case.json"]
    assert content(drop, "working").keys() == {"case.json"}
    bench.hub.wrong.receipt = lambda members: members
    bench.hub.accepted.clear()
    bench.restart()
    assert run(drop, bench).sent == ["case.json"]
    assert (len(bench.hub.posted), len(set(bench.hub.posted))) == (2, 1)


def test_a_crash_after_sending_ends_with_one_message(drop: FileDrop, bench: Bench) -> None:
    path = put(drop)
    (drop.folder / "working").mkdir()
    bench.client.send(bench.client.prepare(mapping.to_draft(path.read_bytes(), {})))
    path.rename(drop.folder / "working" / "case.json")
    bench.restart()
    assert run(drop, bench).sent == ["case.json"]
    assert len(bench.hub.accepted) == 1


def test_the_same_content_dropped_twice_is_one_message_and_keeps_both_files(drop: FileDrop, bench: Bench) -> None:
    put(drop)
    run(drop, bench)
    put(drop)
    run(drop, bench)
    assert len(bench.hub.accepted) == 1
    sent = content(drop, "sent")
    assert sent.keys() == {"case.json", "case.receipt.json", "case.2.json", "case.2.receipt.json"}
    assert sent["case.receipt.json"] == sent["case.2.receipt.json"]


def test_a_file_that_the_hub_refuses_is_put_aside_with_the_signed_problem(drop: FileDrop, bench: Bench) -> None:
    put(drop)
    bench.hub.wrong.refuses = RefusalCode.PURPOSE_NOT_ALLOWED
    with pytest.raises(Refusal):
        run(drop, bench)  # the double refuses the inbox too
    problem = content(drop, "refused")["case.problem.json"]
    assert problem["code"] == "purpose_not_allowed"
    assert json.loads(problem["problem"])["code"] == "purpose_not_allowed"
    assert problem["signature"].count(".") == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not JSON", "malformed_envelope"),
        ('{"header": {}, "header": {}}', "malformed_envelope"),
        ('{"header": {}}', "schema_violation"),
        ('{"header": {}, "body": {}, "extra": 1}', "schema_violation"),
        ('{"header": {}, "body": {}, "attachments": [{"file": "a"}]}', "schema_violation"),
        ('{"header": {}, "body": {}, "attachments": [{"file": "../x", "category": "document"}]}', "not_found"),
    ],
)
def test_a_file_that_makes_no_message_is_put_aside_with_the_reason(drop: FileDrop, bench: Bench, text: str, code: str) -> None:
    (drop.folder / "out" / "bad.json").write_text(text)
    assert run(drop, bench).refused == ["bad.json"]
    assert content_of_problem(drop)["code"] == code
    assert bench.hub.posted == []


def content_of_problem(drop: FileDrop) -> dict[str, Any]:
    members: dict[str, Any] = json.loads((drop.folder / "refused" / "bad.problem.json").read_bytes())
    return members


def test_one_bad_file_does_not_hold_up_the_others(drop: FileDrop, bench: Bench) -> None:
    (drop.folder / "out" / "a.json").write_text("not JSON")
    put(drop, "b.json")
    done = run(drop, bench)
    assert (done.refused, done.sent) == (["a.json"], ["b.json"])


def test_an_attachment_travels_with_the_file_that_names_it(drop: FileDrop, bench: Bench) -> None:
    path = put(drop)
    (drop.folder / "attachments" / "scan.pdf").write_bytes(b"%PDF")
    named = {**json.loads(path.read_bytes()), "attachments": [{"file": "scan.pdf", "category": "document"}]}
    path.write_text(json.dumps(named))
    assert run(drop, bench).sent == ["case.json"]
    (attachment,) = received(bench.hub, bench.hub.posted[0])["header"]["attachments"]
    assert (attachment["name"], attachment["media_type"], attachment["size"]) == ("scan.pdf", "application/pdf", 4)


def test_what_arrives_is_put_into_the_folder_with_its_proof(drop: FileDrop, bench: Bench) -> None:
    letter = bench.deliver()
    run(drop, bench)
    arrived = content(drop, "in")[f"{letter.delivery}.json"]
    assert arrived["message"]["header"]["id"] == letter.message_id
    assert (letter.delivery, "delivered") in bench.hub.statements


def test_what_cannot_be_verified_leaves_a_note_and_no_message(drop: FileDrop, bench: Bench) -> None:
    letter = bench.deliver()
    letter.envelope = b"not sealed"
    run(drop, bench)
    assert content(drop, "in").keys() == {f"{letter.delivery}.rejected.json"}


def test_everything_in_the_folder_is_for_its_owner_alone(drop: FileDrop, bench: Bench) -> None:
    bench.deliver()
    run(drop, bench)
    (path,) = (drop.folder / "in").iterdir()
    assert path.stat().st_mode & 0o077 == 0


def test_the_sample_is_a_file_that_can_be_sent(drop: FileDrop, bench: Bench) -> None:
    sample = Path(mapping.__file__).parent / "sample" / "out" / "referral.json"
    shutil.copy(sample, drop.folder / "out" / "referral.json")
    recipient = json.loads(sample.read_bytes())["header"]["recipients"][0]
    key = generate_unsealing_key("case-workers", SealingProfile.PQ_1)
    bench.hub.registry.setdefault(recipient, []).append(
        key_record(recipient, key.kid, KeyUse.ROLE, key.public_jwk, role="victim_contact")
    )
    assert run(drop, bench).sent == ["referral.json"]
