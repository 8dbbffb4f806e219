"""What an operator types and sees: each command does what it says, and its exit status is 0 only then."""

import json
import tomllib
from pathlib import Path

import pytest

from hub.crypto.key_files import KeyAlgorithm, generate, store_key
from hub.services.sequence_log import sequence_pending
from tests.cli.conftest import Shell
from tests.services.registry_facts import CONFIG, registration, sealing_key, signing_key

AGREEMENT = "tw-jp-police-2026"
PARTIES = [CONFIG / "parties" / f"{name}.toml" for name in ("tw.npa", "jp.npa")]


def sequence(shell: Shell) -> None:
    with shell.installation.open_hub() as hub:
        sequence_pending(hub)


def enrol(shell: Shell, authority: str) -> Path:
    """Import an authority's keys; gives the file of its private signing key, which opens with `secret`."""
    private, file = generate(KeyAlgorithm.ES256), shell.folder / f"{authority}.key"
    store_key(file, private, b"secret")
    handed_over = shell.folder / f"{authority}.json"
    handed_over.write_bytes(registration(authority, signing_key(authority, private)))
    shell.do("key", "import", "--owner", authority, handed_over)
    return file


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("secret\n", encoding="ascii")
    return file


def test_init_prints_the_log_key_that_partners_pin(shell: Shell) -> None:
    assert "log verifier key: hub.test/accord+" in shell.do("init")


def test_init_again_gives_the_same_identity(shell: Shell) -> None:
    assert shell.read("init") == shell.read("identity")


def test_without_init_the_way_to_it_is_named(shell: Shell) -> None:
    shell.installation.settings.keys.passphrase_file.unlink()
    assert "hub init" in shell.refusal("identity")


def test_doctor_is_content_with_a_new_hub(shell: Shell) -> None:
    sequence(shell)
    assert shell.read("doctor") == {"ok": True, "symptoms": []}


def test_doctor_fails_where_there_is_an_error(shell: Shell) -> None:
    sequence(shell)
    (shell.installation.settings.keys.folder / "manifest.json").unlink()
    result = shell.run("doctor", "--json")
    assert result.exit_code == 1
    assert [(one["check"], one["severity"]) for one in json.loads(result.stdout)["symptoms"]] == [("start", "error")]


def test_parties_are_added_and_listed(shell: Shell) -> None:
    assert shell.do("party", "add", *PARTIES) == "tw.npa: recorded, 0 keys\njp.npa: recorded, 0 keys\n"
    assert [one["authority"] for one in shell.read("party", "list")] == ["jp.npa", "tw.npa"]
    assert "National Police Agency" in shell.do("party", "list")


def test_an_exported_party_is_added_again_unchanged(shell: Shell) -> None:
    shell.do("party", "add", *PARTIES)
    enrol(shell, "tw.npa")
    file = shell.folder / "exported.toml"
    file.write_text(shell.do("party", "export", "tw.npa"), encoding="utf-8")
    assert shell.do("party", "add", file) == "tw.npa: unchanged, 1 keys\n"


def test_a_party_file_that_is_wrong_is_named(shell: Shell) -> None:
    file = shell.folder / "wrong.toml"
    file.write_text("[party]\n", encoding="utf-8")
    assert "invalid_party" in shell.refusal("party", "add", file)
    assert "wrong.toml" in shell.refusal("party", "add", file)


def test_a_suspended_party_shows_it(shell: Shell) -> None:
    shell.do("party", "add", *PARTIES)
    assert shell.do("party", "suspend", "jp.npa") == "jp.npa: standing suspended\n"
    assert json.loads(shell.do("party", "show", "jp.npa"))["party"]["standing"] == "suspended"
    assert shell.do("party", "reinstate", "jp.npa") == "jp.npa: standing good\n"


def test_a_party_that_is_not_there_is_not_shown(shell: Shell) -> None:
    assert "not_found" in shell.refusal("party", "show", "xx.nobody")


def test_keys_are_imported_activated_and_revoked(shell: Shell) -> None:
    shell.do("party", "add", *PARTIES)
    first, second = signing_key("jp.npa"), signing_key("jp.npa")
    file = shell.folder / "registration.json"
    file.write_bytes(registration("jp.npa", first, second, sealing_key("jp.npa", KeyAlgorithm.ECDH_ES)))
    assert [one["state"] for one in shell.read("key", "import", "--owner", "jp.npa", file)] == ["active", "next", "active"]
    shell.do("key", "activate", second.kid)
    shell.do("key", "revoke", first.kid)
    states = {one["kid"]: one["state"] for one in shell.read("key", "list", "--owner", "jp.npa")}
    assert (states[first.kid], states[second.kid]) == ("revoked", "active")


def test_a_key_that_is_revoked_already_says_so(shell: Shell) -> None:
    shell.do("party", "add", *PARTIES)
    enrol(shell, "jp.npa")
    (line,) = shell.read("key", "list", "--owner", "jp.npa")
    shell.do("key", "revoke", line["kid"])
    assert shell.do("key", "revoke", line["kid"]) == f"{line['kid']} was revoked already\n"


def test_a_new_key_of_the_hub_waits_to_be_activated(shell: Shell) -> None:
    printed = shell.do("key", "new", "--use", "signing", "--days", "365")
    assert printed.endswith("of hub for signing is next\n")
    kid = printed.split()[0]
    assert f"{kid} of hub for signing is active" in shell.do("key", "activate", kid)


def test_the_hub_makes_and_keeps_the_key_of_a_shelter_and_signs_with_it(shell: Shell) -> None:
    order = "tw-referral-order-2024"
    shell.do("party", "add", CONFIG / "parties" / "tw.shelter.garden.toml")
    shell.do("key", "new", "--owner", "tw.shelter.garden", "--use", "signing")
    shell.do("agreement", "add", CONFIG / "agreements" / f"{order}.toml")
    shell.do("agreement", "sign", order, "1", "--as", "tw.shelter.garden")
    versions = json.loads(shell.do("agreement", "show", order))["versions"]
    assert versions[0]["signed_by"] == ["tw.shelter.garden"]


def test_an_agreement_comes_into_force_by_its_signatures_and_ends_by_command(shell: Shell, secret: Path) -> None:
    shell.do("party", "add", *PARTIES)
    shell.do("agreement", "add", CONFIG / "agreements" / f"{AGREEMENT}.toml")
    states = [shell.read("agreement", "list")[0]["state"]]
    for authority in ("tw.npa", "jp.npa"):
        key = enrol(shell, authority)
        shell.do("agreement", "sign", AGREEMENT, "1", "--as", authority, "--key", key, "--passphrase-file", secret)
        states.append(shell.read("agreement", "list")[0]["state"])
    shell.do("agreement", "suspend", AGREEMENT, "--reason", "a test")
    states.append(shell.read("agreement", "list")[0]["state"])
    shell.do("agreement", "resume", AGREEMENT, "--reason", "a test")
    assert shell.do("agreement", "end", AGREEMENT, "--reason", "a test") == f"{AGREEMENT}: ended\n"
    assert states == ["draft", "draft", "in force", "suspended"]


def test_a_wrong_passphrase_does_not_sign(shell: Shell, tmp_path: Path) -> None:
    shell.do("party", "add", *PARTIES)
    shell.do("agreement", "add", CONFIG / "agreements" / f"{AGREEMENT}.toml")
    key, wrong = enrol(shell, "tw.npa"), tmp_path / "wrong"
    wrong.write_text("wrong", encoding="ascii")
    words = ("agreement", "sign", AGREEMENT, "1", "--as", "tw.npa", "--key", key, "--passphrase-file", wrong)
    assert "key_file_unsafe" in shell.refusal(*words)


@pytest.mark.parametrize("file", sorted((CONFIG / "agreements").glob("*.toml")), ids=lambda file: file.stem)
def test_every_configured_agreement_is_checked_and_not_recorded(shell: Shell, file: Path) -> None:
    assert "a draft: to be signed by" in shell.do("agreement", "check", file)
    assert shell.read("agreement", "list") == []


def test_an_exported_agreement_has_the_same_digest(shell: Shell) -> None:
    shell.do("agreement", "add", CONFIG / "agreements" / f"{AGREEMENT}.toml")
    file = shell.folder / "exported.toml"
    file.write_text(shell.do("agreement", "export", AGREEMENT), encoding="utf-8")
    assert tomllib.loads(file.read_text(encoding="utf-8"))["agreement"]["id"] == AGREEMENT
    assert "recorded already, digest" in shell.do("agreement", "add", file)


def test_what_is_signed_is_exported_octet_for_octet(shell: Shell) -> None:
    shell.do("agreement", "add", CONFIG / "agreements" / f"{AGREEMENT}.toml")
    assert json.loads(shell.do("agreement", "export", AGREEMENT, "--canonical"))["agreement"]["version"] == 1


def test_a_signature_file_that_is_no_signature_is_refused(shell: Shell) -> None:
    shell.do("agreement", "add", CONFIG / "agreements" / f"{AGREEMENT}.toml")
    file = shell.folder / "not.jws"
    file.write_text("nothing", encoding="ascii")
    assert "malformed_envelope" in shell.refusal("agreement", "add-signature", AGREEMENT, "1", file)


def test_a_store_that_is_whole_is_verified(shell: Shell) -> None:
    sequence(shell)
    report = shell.read("audit", "verify")
    assert (report["ok"], report["flaws"]) == (True, [])


def test_a_store_is_verified_against_a_checkpoint_that_was_kept(shell: Shell) -> None:
    sequence(shell)
    kept = shell.folder / "checkpoint"
    kept.write_text(shell.do("log", "checkpoint"), encoding="utf-8")
    shell.do("party", "add", *PARTIES)
    sequence(shell)
    assert "1 of them given" in shell.do("audit", "verify", "--against", kept, "--deep")


def test_a_store_that_is_not_the_one_of_the_checkpoint_is_not_verified(shell: Shell) -> None:
    sequence(shell)
    kept = shell.folder / "checkpoint"
    note = shell.do("log", "checkpoint")
    kept.write_text(note.replace(note.splitlines()[2], "A" * 43 + "="), encoding="utf-8")
    result = shell.run("audit", "verify", "--against", kept)
    assert result.exit_code == 1
    assert "NOT VERIFIED" in result.stdout


def test_there_is_nothing_to_show_of_an_exchange_that_never_was(shell: Shell) -> None:
    assert "not_found" in shell.refusal("audit", "show", "never")


def test_no_delivery_is_listed_where_there_is_none(shell: Shell) -> None:
    assert shell.read("delivery", "list", "--state", "dead") == []


def test_a_delivery_that_never_was_is_not_requeued(shell: Shell) -> None:
    assert "not_found" in shell.refusal("delivery", "requeue", "never")
