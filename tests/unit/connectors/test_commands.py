"""`hub-partner`: what is printed, and that a command ends with 0 only when its claim holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from connectors import __main__ as program
from connectors.hub_client.command_line import FORKED, REFUSED, UNREACHABLE, Invocation, partner
from connectors.hub_client.desk import Place
from connectors.hub_client.outgoing import seal_value
from hub.crypto.jwks import thumbprint
from hub.crypto.sealing import generate_unsealing_key
from hub.crypto.signatures import generate_signing_key
from hub.domain.keys import KeyUse
from hub.domain.parties import SealingProfile
from hub.domain.refusals import RefusalCode
from hub.formats.registrations import read_registration
from tests.simulators.hub_double import ADDRESS, NAME, HubDouble, MemoryLog, key_record
from tests.unit.connectors.conftest import AUTHORITY, ROLE, SENDER, Bench, draft_to, message_from

OTHER = "tw.kaohsiung"


def run(place: Place, *arguments: str) -> Result:
    return CliRunner().invoke(partner, list(arguments), obj=Invocation(place))


def answer(result: Result) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(result.stdout)
    return members


@pytest.fixture
def draft_file(tmp_path: Path) -> str:
    draft, path = draft_to(OTHER), tmp_path / "referral.json"
    path.write_text(json.dumps({"header": draft.header, "body": draft.body}))
    return str(path)


def leaf_commands(group: click.Group, *names: str) -> list[list[str]]:
    """The words that lead to each command."""
    found: list[list[str]] = []
    for name, command in sorted(group.commands.items()):
        path = (*names, name)
        found += leaf_commands(command, *path) if isinstance(command, click.Group) else [list(path)]
    return found


@pytest.mark.parametrize("words", leaf_commands(partner), ids=" ".join)
def test_every_command_shows_an_example(words: list[str]) -> None:
    result = CliRunner().invoke(partner, [*words, "--help"])
    assert result.exit_code == 0
    assert f"Example: hub-partner {' '.join(words)}" in " ".join(result.stdout.split())


def test_the_script_knows_the_commands_of_every_module_and_connector() -> None:
    wanted = {
        "enrol",
        "pin",
        "send",
        "preview",
        "fetch",
        "watch",
        "retrieved",
        "receipts",
        "checkpoint",
        "verify",
        "open-part",
        "drop",
    }
    assert callable(program.main)
    assert wanted <= set(partner.commands)


def test_send_prints_the_exchange_and_ends_with_0(bench: Bench, draft_file: str) -> None:
    result = run(bench.place, "send", draft_file, "--json")
    assert result.exit_code == 0
    assert answer(result)["exchange"] in bench.hub.exchanges


def test_a_refusal_by_the_hub_ends_with_1_and_says_so(bench: Bench, draft_file: str) -> None:
    bench.hub.wrong.refuses = RefusalCode.PURPOSE_NOT_ALLOWED
    result = run(bench.place, "send", draft_file, "--json")
    assert result.exit_code == REFUSED
    assert {name: answer(result)[name] for name in ("ok", "code", "by_hub")} == {
        "ok": False,
        "code": "purpose_not_allowed",
        "by_hub": True,
    }


def test_a_silent_hub_ends_with_3(bench: Bench, draft_file: str) -> None:
    bench.hub.wrong.breaks_off = 1
    result = run(bench.place, "send", draft_file)
    assert (result.exit_code, result.stderr.split(":")[0]) == (UNREACHABLE, "not settled, try again")


def test_a_message_that_does_not_fit_ends_with_1_and_names_the_place_not_the_value(bench: Bench, tmp_path: Path) -> None:
    draft = draft_to(OTHER, referral_date="the day before yesterday")
    (tmp_path / "bad.json").write_text(json.dumps({"header": draft.header, "body": draft.body}))
    result = run(bench.place, "send", str(tmp_path / "bad.json"))
    assert result.exit_code == REFUSED
    assert "/body/referral_date" in result.stderr
    assert "yesterday" not in result.stderr


def test_a_missing_attachment_ends_with_1(bench: Bench, draft_file: str) -> None:
    result = run(bench.place, "send", draft_file, "--attach", "document=nowhere.pdf")
    assert (result.exit_code, result.stderr.strip()) == (REFUSED, "No such file or directory: nowhere.pdf")


@pytest.mark.parametrize(("allowed", "status"), [(True, 0), (False, REFUSED)])
def test_preview_ends_with_0_only_where_the_message_would_be_accepted(
    bench: Bench, draft_file: str, allowed: bool, status: int
) -> None:
    failed = {"rule": "purpose", "code": None if allowed else "purpose_not_allowed", "article": "4", "recipient": None}
    removed = [{"path": "/person", "category": "identity", "article": "5"}]
    bench.hub.preview = {"allowed": allowed, "agreement": "a", "agreement_version": 1, "findings": [failed],
                         "recipients": [{"recipient": OTHER, "outcome": "minimised", "removed": removed}]}  # fmt: skip
    result = run(bench.place, "preview", draft_file)
    assert result.exit_code == status
    assert "without /person (article 5)" in result.stdout
    assert ("purpose_not_allowed" in result.stdout) is not allowed


def test_fetch_stores_what_it_verified(bench: Bench, tmp_path: Path) -> None:
    letter = bench.deliver()
    result = run(bench.place, "fetch", "--out", str(tmp_path / "arrivals"), "--json")
    assert result.exit_code == 0
    assert [one["outcome"] for one in answer(result)["items"]] == ["original"]
    stored = json.loads((tmp_path / "arrivals" / f"{letter.delivery}.json").read_bytes())
    assert stored["message"]["header"]["sender"] == SENDER


def test_fetch_ends_with_1_where_something_was_rejected(bench: Bench) -> None:
    bench.hub.wrong.countersignature_key = generate_signing_key(bench.hub.signing.kid)
    bench.deliver()
    result = run(bench.place, "fetch")
    assert result.exit_code == REFUSED
    assert "REJECTED: bad_signature" in result.stdout


def test_watch_goes_on_after_a_round_with_nothing(bench: Bench) -> None:
    bench.deliver()
    result = run(bench.place, "watch", "--rounds", "2", "--json")
    assert result.exit_code == 0
    assert answer(result)["outcome"] == "original"


def test_receipts_ends_with_0_where_all_of_them_stand_in_the_log(bench: Bench, draft_file: str) -> None:
    exchange = answer(run(bench.place, "send", draft_file, "--json"))["exchange"]
    result = run(bench.place, "receipts", exchange)
    assert result.exit_code == 0
    assert "accepted, signed by hub" in result.stdout
    assert "verified, log entry 0 of 1" in result.stdout


def test_receipts_ends_with_1_where_one_is_not_in_the_log(bench: Bench, draft_file: str) -> None:
    exchange = answer(run(bench.place, "send", draft_file, "--json"))["exchange"]
    for name in ("entry", "nonce", "proof"):
        del bench.hub.exchanges[exchange]["receipts"][0][name]
    result = run(bench.place, "receipts", exchange)
    assert result.exit_code == REFUSED
    assert "NOT IN THE LOG YET" in result.stdout


def test_a_fork_of_the_log_ends_with_4(bench: Bench) -> None:
    signer = bench.hub.log.signer
    bench.hub.log.add({"n": 1})
    assert run(bench.place, "checkpoint").exit_code == 0
    bench.hub.log = MemoryLog(signer)
    bench.hub.log.add({"n": 2})
    result = run(bench.place, "checkpoint")
    assert result.exit_code == FORKED
    assert "THE LOG HAS FORKED" in result.stderr


def test_retrieved_tells_the_hub(bench: Bench) -> None:
    letter = bench.deliver()
    run(bench.place, "fetch")
    assert run(bench.place, "retrieved", letter.delivery).exit_code == 0
    assert (letter.delivery, "retrieved") in bench.hub.statements


def test_what_was_stored_is_verified_offline(bench: Bench, draft_file: str) -> None:
    letter = bench.deliver()
    run(bench.place, "fetch")
    exchange = answer(run(bench.place, "send", draft_file, "--json"))["exchange"]
    run(bench.place, "receipts", exchange)
    files = [
        bench.place.home / "inbox" / f"{letter.delivery}.json",
        bench.place.home / "state/receipts" / exchange / "accepted.hub.json",
    ]
    asked = len(bench.hub.requests)
    result = run(bench.place, "verify", *(str(one) for one in files))
    assert result.exit_code == 0
    assert f"signed by {SENDER}, countersigned by the hub" in result.stdout
    assert "stands in the log at index 0" in result.stdout
    assert len(bench.hub.requests) == asked


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"language": "zh-Hant"', '"language": "en"', "receipt_mismatch"),
        ('"digest": "', '"digest": "A', "receipt_mismatch"),
        ('"kind": "accord-message"', '"kind": "letter"', "invalid_request"),
    ],
)
def test_a_stored_message_that_was_changed_is_refused(bench: Bench, old: str, new: str, code: str) -> None:
    letter = bench.deliver()
    run(bench.place, "fetch")
    path = bench.place.home / "inbox" / f"{letter.delivery}.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    result = run(bench.place, "verify", str(path), "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, code)


def sealed_for_us(bench: Bench, path: str = "/victim_contact") -> str:
    """Deliver a message whose contact is sealed to our role key; the delivery id."""
    key = next(one for one in bench.hub.registry[AUTHORITY] if one.use is KeyUse.ROLE)
    message = message_from(SENDER, AUTHORITY)
    message["body"]["victim_contact"] = seal_value(b'"+886900000000"', (key.kid, key.jwk), message["header"]["id"], path)
    letter = bench.hub.deliver(AUTHORITY, message)
    run(bench.place, "fetch")
    return str(bench.place.home / "inbox" / f"{letter.delivery}.json")


def test_a_sealed_part_is_opened_with_the_role_key(bench: Bench) -> None:
    result = run(bench.place, "open-part", sealed_for_us(bench), "/victim_contact", "--json")
    assert result.exit_code == 0
    assert {name: answer(result)[name] for name in ("role", "value")} == {"role": ROLE, "value": '"+886900000000"'}


def test_a_part_sealed_for_another_field_is_refused(bench: Bench) -> None:
    result = run(bench.place, "open-part", sealed_for_us(bench, "/reporter_identity"), "/victim_contact", "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, "sender_mismatch")


def test_where_there_is_no_sealed_part_nothing_is_opened(bench: Bench) -> None:
    result = run(bench.place, "open-part", sealed_for_us(bench), "/person", "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, "not_found")


def enrol_arguments(hub: HubDouble) -> list[str]:
    return ["enrol", "--authority", OTHER, "--hub", ADDRESS, "--log-vkey", hub.log.signer.key.vkey, "--role", ROLE]


def test_enrolling_by_file_pins_the_hub_and_writes_a_registration(tmp_path: Path) -> None:
    hub, place = HubDouble(), Place(tmp_path / "agency")
    (tmp_path / "hub-keys.json").write_text(json.dumps(hub.published()))
    result = run(place, *enrol_arguments(hub), "--hub-keys", str(tmp_path / "hub-keys.json"), "--json")
    assert result.exit_code == 0
    authority, keys = read_registration(Path(answer(result)["registration"]).read_bytes())
    assert authority == OTHER
    assert {(key.use, key.role) for key in keys} == {
        (KeyUse.SIGNING, ""),
        (KeyUse.SEALING, ""),
        (KeyUse.CLIENT_AUTH, ""),
        (KeyUse.ROLE, ROLE),
    }
    private = list(place.home.rglob("*.key"))
    assert len(private) == 4
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert hub.requests == []


def test_the_logs_key_may_stand_in_the_file_that_was_handed_over(tmp_path: Path) -> None:
    hub, place = HubDouble(), Place(tmp_path / "agency")
    (tmp_path / "hub-keys.json").write_text(json.dumps({**hub.published(), "log_vkeys": [hub.log.signer.key.vkey]}))
    arguments = ["enrol", "--authority", OTHER, "--hub", ADDRESS, "--hub-keys", str(tmp_path / "hub-keys.json"), "--json"]
    assert answer(run(place, *arguments))["hub"] == NAME


def test_the_logs_key_is_never_taken_from_the_hub_itself(tmp_path: Path) -> None:
    hub = HubDouble()
    place = Place(tmp_path / "agency", transport=hub.transport)
    told = thumbprint(hub.signing.public_jwk)
    result = run(place, "enrol", "--authority", OTHER, "--hub", ADDRESS, "--fingerprint", told, "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, "invalid_key")


def test_enrolling_by_fingerprint_pins_what_was_told(tmp_path: Path) -> None:
    hub = HubDouble()
    place = Place(tmp_path / "agency", transport=hub.transport)
    told = [thumbprint(hub.signing.public_jwk), thumbprint(hub.sealing[SealingProfile.PQ_1].public_jwk)]
    result = run(place, *enrol_arguments(hub), *(one for kid in told for one in ("--fingerprint", kid)))
    assert result.exit_code == 0
    pinned = json.loads((place.home / "hub.json").read_bytes())["keys"]
    assert {thumbprint(one["jwk"]) for one in pinned} == set(told)


def test_an_enrolled_folder_is_not_enrolled_again(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "hub-keys.json").write_text(json.dumps(bench.hub.published()))
    result = run(bench.place, *enrol_arguments(bench.hub), "--hub-keys", str(tmp_path / "hub-keys.json"), "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, "invalid_party")


def test_enrolling_needs_one_way_to_know_the_hub(tmp_path: Path) -> None:
    assert run(Place(tmp_path), *enrol_arguments(HubDouble())).exit_code == 2


def test_a_folder_where_nobody_enrolled_is_refused(tmp_path: Path, draft_file: str) -> None:
    result = run(Place(tmp_path), "send", draft_file, "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, "invalid_party")


def test_a_new_key_of_the_hub_is_pinned_beside_the_old(bench: Bench, tmp_path: Path) -> None:
    key = generate_unsealing_key("hub-pq-2", SealingProfile.PQ_1)
    bench.hub.registry["hub"].append(key_record("hub", key.kid, KeyUse.SEALING, key.public_jwk))
    (tmp_path / "hub-keys.json").write_text(json.dumps(bench.hub.published()))
    result = run(bench.place, "pin", "--hub-keys", str(tmp_path / "hub-keys.json"), "--json")
    assert answer(result)["pinned"] == ["hub-pq-2"]


def test_another_key_under_a_pinned_key_id_is_refused(bench: Bench, tmp_path: Path) -> None:
    forged = generate_signing_key(bench.hub.signing.kid)
    first, *rest = bench.hub.registry["hub"]
    bench.hub.registry["hub"] = [replace(first, jwk=forged.public_jwk), *rest]
    (tmp_path / "hub-keys.json").write_text(json.dumps(bench.hub.published()))
    result = run(bench.place, "pin", "--hub-keys", str(tmp_path / "hub-keys.json"), "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, "invalid_key")


def test_a_passphrase_file_open_to_others_is_refused(bench: Bench, draft_file: str) -> None:
    bench.place.passphrase.chmod(0o644)
    result = run(bench.place, "send", draft_file, "--json")
    assert (result.exit_code, answer(result)["code"]) == (REFUSED, "key_file_unsafe")


def test_drop_runs_one_round_and_ends_with_0_when_all_went_out(bench: Bench, tmp_path: Path, draft_file: str) -> None:
    (tmp_path / "drop" / "out").mkdir(parents=True)
    Path(draft_file).rename(tmp_path / "drop" / "out" / "referral.json")
    result = run(bench.place, "drop", str(tmp_path / "drop"), "--once", "--settle", "0", "--json")
    assert (result.exit_code, answer(result)["sent"]) == (0, ["referral.json"])


def test_drop_ends_with_1_when_something_was_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "drop" / "out").mkdir(parents=True)
    (tmp_path / "drop" / "out" / "bad.json").write_text("{}")
    assert run(bench.place, "drop", str(tmp_path / "drop"), "--once", "--settle", "0").exit_code == REFUSED
