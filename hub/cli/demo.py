"""`hub demo`: the main job as a story, told by real commands: agencies enrol, exchange, are refused, and check everything."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import click

from hub.cli.demo_stage import ROOT, Stage, StepFailedError
from hub.domain.encoding import format_time
from hub.formats.catalogue import load_catalogue

TOKYO, IMMIGRATION, SHELTER, POLICE, JAPAN, VIETNAM = (
    "tw.npa.liaison.tokyo",
    "tw.nia",
    "tw.shelter.garden",
    "tw.npa",
    "jp.npa",
    "vn.mps",
)
AGENCIES = (TOKYO, IMMIGRATION, SHELTER, POLICE, JAPAN, VIETNAM)
CITIES = ("tw.kaohsiung", "tw.taipei")
REFERRAL_ORDER, POLICE_MOU, ENDING = "tw-referral-order-2024", "tw-jp-police-2026", "tw-vn-police-2026"
CASE_WORKER = "victim_contact"
A_DAY_AND_AN_HOUR = 25 * 3600
_LEFT_TO_THE_CLIENT = ("v", "id", "sender", "issued", "expires", "salt", "case", "in_reply_to")


@click.command(epilog="Example: hub demo --once")
@click.option("--once", is_flag=True, help="End after the story, with a status that says whether all of it was true.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=ROOT / "var" / "demo",
    show_default="var/demo",
    help="Where it takes place.",
)
def demo(once: bool, folder: Path) -> None:
    """Show the main job on this machine: agencies exchange, are refused, and verify it all themselves.

    Everything lies below one folder, which is emptied first; keys are made for it and are worth nothing.
    """
    stage = Stage(folder.resolve())
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _tell(stage)
        if not once:
            _stay(stage)
    except (StepFailedError, KeyError) as error:
        click.echo(f"\nThe demonstration failed: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nstopped")
    finally:
        stage.stop()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(stage: Stage) -> None:
    _set_up(stage)
    referral = _refer_to_immigration(stage)
    placed = _refer_to_shelter(stage)
    request = _ask_and_answer(stage)
    kept = _keep_a_checkpoint(stage)
    _refuse_a_purpose(stage)
    ended = _let_an_agreement_end(stage)
    _check_receipts(stage, {TOKYO: referral, IMMIGRATION: placed, JAPAN: request, POLICE: ended})
    _audit(stage, kept)
    click.echo("\nEverything above was done by real processes, and every claim in it was checked. All of it holds.")


def _scene(title: str) -> None:
    click.echo(f"\n{title}\n{'-' * len(title)}")


def _say(text: str) -> None:
    click.echo(f"  {text}")


# --- the scenes ---


def _set_up(stage: Stage) -> None:
    _scene("Setting up: a hub, eight parties, three agreements")
    stage.clear()
    stage.hub("init")
    handed_over = stage.folder / "handed-over"
    handed_over.mkdir()
    identity = stage.hub("identity", as_json=True)
    (handed_over / "hub-keys.json").write_text(json.dumps(identity), encoding="utf-8")
    parties = [_party_file(stage, authority) for authority in (*AGENCIES, *CITIES)]
    stage.hub("party", "add", *map(str, parties))
    for party in stage.hub("party", "list", as_json=True):
        _say(f"{party['authority']:<22}{party['names']['en']} ({party['country']})")
    for authority in AGENCIES:
        _join(stage, authority)
    for authority in CITIES:
        stage.hub("key", "new", "--owner", authority, "--use", "signing")
        stage.hub("key", "new", "--owner", authority, "--use", "sealing")
    _say(f"hub {identity['name']} at {stage.address}: server, delivery worker and log sequencer")
    _say("six agencies made their own keys and pinned the hub's; two cities have the hub keep theirs, and the registry says so")
    if stage.confines:
        _require_confinement(stage)
        _say("the kernel keeps each agency's process from the hub's files: reading database and keys was tried, and denied")
    else:
        _say("note: this kernel cannot confine processes (no Landlock), so here the agencies could read the hub's files")
    stage.start()
    _agree(stage)


def _party_file(stage: Stage, authority: str) -> Path:
    """The party as configured; here the cities' keys, and nobody else's, are kept by the hub."""
    text = _configured(authority).replace('custody = "hub"\n', "")
    if authority in CITIES:
        text = text.replace('standing = "good"', 'custody = "hub"\nstanding = "good"')
    file = stage.hub_folder / "config" / f"{authority}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def _configured(authority: str) -> str:
    return (ROOT / "config" / "parties" / f"{authority}.toml").read_text(encoding="utf-8")


def _join(stage: Stage, authority: str) -> None:
    profile = "classic-1" if 'profile = "classic-1"' in _configured(authority) else "pq-1"
    keys = stage.folder / "handed-over" / "hub-keys.json"
    arguments = ("--authority", authority, "--hub", stage.address, "--hub-keys", str(keys), "--profile", profile)
    enrolled = stage.partner(authority, "enrol", *arguments, "--role", CASE_WORKER)
    stage.hub("key", "import", "--owner", authority, enrolled["registration"])


def _require_confinement(stage: Stage) -> None:
    for name in ("var/hub.sqlite", "keys/manifest.json"):
        file = stage.hub_folder / name
        trial = f"import sys\ntry:\n    open({str(file)!r}).close()\nexcept PermissionError:\n    sys.exit(0)\nsys.exit(1)"
        stage.partner_program(JAPAN, [sys.executable, "-c", trial])


def _agree(stage: Stage) -> None:
    ending = stage.hub_folder / "config" / f"{ENDING}.toml"
    ending.write_text(_ending_agreement(), encoding="utf-8")
    configured = [ROOT / "config" / "agreements" / f"{name}.toml" for name in (REFERRAL_ORDER, POLICE_MOU)]
    stage.hub("agreement", "add", *map(str, configured), str(ending))
    others = ("tw-id-trafficking-2023", "tw-vn-police-2019")
    stage.hub("agreement", "add", *(str(ROOT / "config" / "agreements" / f"{name}.toml") for name in others))
    for city in CITIES:
        stage.hub("agreement", "sign", REFERRAL_ORDER, "1", "--as", city)
    signers = {REFERRAL_ORDER: (TOKYO, IMMIGRATION, SHELTER, POLICE), POLICE_MOU: (POLICE, JAPAN), ENDING: (POLICE, VIETNAM)}
    for agreement, authorities in signers.items():
        signed = [stage.partner(authority, "agreement", "sign", agreement, "1") for authority in authorities][-1]
        if signed["unsigned_by"]:
            raise StepFailedError(f"{agreement} is not signed by {', '.join(signed['unsigned_by'])}")
        _say(f"agreement {agreement} is signed by all that operate under it, and governs from now on")
    _say(f"not signed, so drafts that govern nothing: {', '.join(others)}")


def _ending_agreement() -> str:
    now = datetime.now(UTC).replace(microsecond=0)
    text = (ROOT / "config" / "agreements" / "tw-vn-police-2019.toml").read_text(encoding="utf-8")
    for old, new in (
        ('id = "tw-vn-police-2019"', f'id = "{ENDING}"'),
        ("in_force_from = 2019-07-01T00:00:00+07:00", f"in_force_from = {format_time(now - timedelta(days=700))}"),
        ("in_force_until = 2024-07-01T00:00:00+07:00", f"in_force_until = {format_time(now + timedelta(hours=2))}"),
        ('"criminal_record"]', '"criminal_record", "contact", "financial", "intelligence"]'),
    ):
        if old not in text:
            raise StepFailedError(f"config/agreements/tw-vn-police-2019.toml has no {old}")
        text = text.replace(old, new)
    return text


def _refer_to_immigration(stage: Stage) -> str:
    _scene("1. The liaison post in Tokyo refers a presumed victim to the immigration agency")
    draft = _draft("ht-referral", [IMMIGRATION], REFERRAL_ORDER)
    exchange: str = _send(stage, TOKYO, "referral-from-tokyo", draft)["exchange"]
    item = _fetch(stage, IMMIGRATION)
    _say(f"{IMMIGRATION} opened and verified it: {_form(item)}, signed by {item['sender']}; its signed receipt went back")
    return exchange


def _refer_to_shelter(stage: Stage) -> str:
    _scene("2. The immigration agency refers her to a shelter, which may not learn everything")
    draft = _draft("ht-referral", [SHELTER], REFERRAL_ORDER)
    first = _send(stage, IMMIGRATION, "referral-to-shelter", draft)
    again = stage.partner(IMMIGRATION, "send", str(_file(stage, IMMIGRATION, "referral-to-shelter")))
    _require(again["receipt"] == first["receipt"], "the repeat got another receipt")
    _say("suppose that answer was lost: the same file is sent again, and gets the very same receipt; it stays one message")
    drop = stage.home(SHELTER) / "drop"
    item = _until(lambda: stage.partner(SHELTER, "drop", str(drop), "--once", "--settle", "0").get("received"))[0]
    _say(f"{SHELTER} took it from its drop folder: {_form(item)}")
    for article, paths in _removed(item).items():
        _say(f"left out, as article {article} of the agreement says: parts of {', '.join(paths)}")
    stored = next((drop / "in").glob("*.json"))
    opened = stage.partner(SHELTER, "open-part", str(stored), f"/{CASE_WORKER}")
    _say(f"the sealed part {CASE_WORKER} ({len(str(opened['value']))} characters) was opened by the shelter's case worker;")
    _say("  the hub carried it, and holds no key that opens it")
    return str(first["exchange"])


def _ask_and_answer(stage: Stage) -> str:
    _scene("3. The Japanese police ask, the Taiwanese police answer")
    draft = _draft("info-request", [POLICE], POLICE_MOU)
    sent = _send(stage, JAPAN, "request", draft)
    item = _fetch(stage, POLICE)
    _say(f"{POLICE} opened and verified the request: {_form(item)}")
    stage.partner(POLICE, "retrieved", item["delivery"])
    _say("an officer there has read it: the receipt that says so is signed, too")
    answer = _draft("info-response", [JAPAN], POLICE_MOU, in_reply_to=sent["id"], case=sent["id"])
    _send(stage, POLICE, "answer", answer)
    item = _fetch(stage, JAPAN)
    _say(f"{JAPAN} opened and verified the answer: {_form(item)}")
    for article, paths in _removed(item).items():
        _say(f"left out, as article {article} of the agreement says: parts of {', '.join(paths)}")
    return str(sent["exchange"])


def _refuse_a_purpose(stage: Stage) -> None:
    _scene("4. A request for a purpose that the agreement does not allow")
    purpose = "immigration_enforcement"
    draft = _draft("info-request", [POLICE], POLICE_MOU, purpose=purpose)
    _say(f"{JAPAN} sent the same request under {POLICE_MOU}, but for the purpose {purpose}")
    file = _write(stage, JAPAN, "forbidden", draft)
    refused = stage.partner(JAPAN, "send", str(file), status=1)
    _require(refused["code"] == "purpose_not_allowed", f"refused for {refused['code']}")
    _say(f"refused: {refused['code']}. The refusal is signed by the hub, over this very request, and {JAPAN} verified it")
    for finding in refused["findings"]:
        _say(f"it says why: {finding['code']}, article {finding['article']} of the agreement")


def _let_an_agreement_end(stage: Stage) -> str:
    _scene("5. An agreement ends between acceptance and delivery")
    draft = _draft("info-request", [VIETNAM], ENDING, handling=["H1"])
    exchange = _send(stage, POLICE, "too-late", draft)["exchange"]
    _until(lambda: _events(stage, POLICE, exchange) >= {"accepted", "relayed"})
    stage.move_clock(A_DAY_AND_AN_HOUR)
    _say(f"it waits in the inbox of {VIETNAM}; meanwhile 25 hours pass, and the agreement ends")
    _say("  (the clock was moved: possible in a demonstration only, and logged)")
    withheld = stage.partner(VIETNAM, "fetch", status=1)["items"]
    reason = withheld[0]["code"] if withheld else ""
    _require(reason == "agreement_not_in_force", f"withheld for {reason!r}")
    _say(f"{VIETNAM} asks for it and gets nothing: {reason}, decided again under the agreement as it stands now")
    _until(lambda: "not_delivered" in _events(stage, POLICE, exchange))
    _say(f"{POLICE} gets signed evidence that it was not delivered, without asking")
    return str(exchange)


def _check_receipts(stage: Stage, exchanges: dict[str, str]) -> None:
    _scene("6. Each sender checks its receipts, and that they stand in the log")
    _say("accepted: the hub keeps it; relayed: it lies ready for the recipient; delivered: the recipient's system has it;")
    _say("  retrieved: a person there opened it; not_...: 24 hours passed without that. Signed by whom stands in brackets")
    for authority, exchange in exchanges.items():
        report = stage.partner(authority, "receipts", exchange, "--wait", "30")
        events = ", ".join(f"{one['event']} ({one['issuer']})" for one in report["receipts"])
        _say(f"verified by {authority}: {events}")
        _say(f"  exchange {exchange}: {len(report['receipts'])} receipts, each proved to stand in the log")


def _keep_a_checkpoint(stage: Stage) -> dict[str, Any]:
    checkpoint: dict[str, Any] = stage.partner(JAPAN, "checkpoint")
    kept = shutil.copy(checkpoint["file"], stage.home(JAPAN) / "kept-checkpoint.txt")
    _say(f"{JAPAN} kept what the hub signed for its log of {checkpoint['size']} entries so far: a checkpoint, for chapter 7")
    return {**checkpoint, "file": str(kept)}


def _audit(stage: Stage, kept: dict[str, Any]) -> None:
    _scene("7. The auditor: nobody rewrote anything")
    result = stage.hub("audit", "verify", "--deep", "--against", kept["file"], as_json=True)
    _require(result["ok"] is True, "hub audit verify found something")
    _say(f"hub audit verify: {result['size']} log entries and {result['messages']} messages are as signed; none is missing")
    _say(f"and they continue the {kept['size']} entries of the checkpoint that {JAPAN} kept in chapter 3: the past is the same")


# --- what the scenes are made of ---


def _draft(message_type: str, recipients: list[str], agreement: str, **header: object) -> dict[str, Any]:
    example = load_catalogue(ROOT / "schemas").get(message_type, 1)
    members = {name: value for name, value in example.example_header.items() if name not in _LEFT_TO_THE_CLIENT}
    body: dict[str, Any] = copy.deepcopy(dict(example.example_body))
    if CASE_WORKER in body:
        body[CASE_WORKER] = {"$seal_to": CASE_WORKER, "value": "Call after 20:00 only, from a number that shows no agency."}
    return {"header": {**members, "recipients": recipients, "agreement": agreement, **header}, "body": body}


def _file(stage: Stage, authority: str, name: str) -> Path:
    return stage.home(authority) / "drafts" / f"{name}.json"


def _write(stage: Stage, authority: str, name: str, draft: dict[str, Any]) -> Path:
    file = _file(stage, authority, name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(draft, ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def _send(stage: Stage, authority: str, name: str, draft: dict[str, Any]) -> dict[str, Any]:
    sent: dict[str, Any] = stage.partner(authority, "send", str(_write(stage, authority, name, draft)))
    header = draft["header"]
    _say(f"{authority} sent {header['type']} {sent['id']} to {', '.join(sent['recipients'])} under {header['agreement']}")
    _say("accepted: the hub's signed receipt names this very message")
    return sent


def _fetch(stage: Stage, authority: str) -> dict[str, Any]:
    items: list[dict[str, Any]] = _until(lambda: stage.partner(authority, "fetch", "--wait", "20")["items"])
    return items[0]


def _form(item: dict[str, Any]) -> str:
    if item["removed"]:
        return f"minimised by the hub ({len(item['removed'])} fields removed), and signed by the hub as such"
    return "unchanged, with the hub's countersignature"


def _removed(item: dict[str, Any]) -> dict[str, list[str]]:
    by_article: dict[str, list[str]] = {}
    for gone in item["removed"]:
        parts = [part for part in gone["path"].split("/") if part and not part.isdigit()]
        names = by_article.setdefault(gone["article"], [])
        if parts[0] not in names:
            names.append(parts[0])
    return by_article


def _events(stage: Stage, authority: str, exchange: str) -> set[str]:
    report = stage.partner(authority, "receipts", exchange, "--wait", "30")
    return {one["event"] for one in report["receipts"]}


def _until(ask: Callable[[], Any], tries: int = 30) -> Any:
    for _ in range(tries):
        if answer := ask():
            return answer
    raise StepFailedError("something that should have happened did not")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StepFailedError(otherwise)


def _stay(stage: Stage) -> None:
    settings = stage.hub_folder / "config" / "hub.toml"
    partner = f"hub-partner --home agencies/{JAPAN} --clock-offset {stage.offset_seconds}"
    click.echo(f"\nThe hub keeps running until Ctrl-C. Its API is described at {stage.address}/docs")
    click.echo("Try next, in another terminal (--clock-offset, because chapter 5 moved the clocks):\n")
    click.echo(f"  cd {stage.folder}")
    click.echo(f"  export PATH={Path(sys.executable).parent}:$PATH ACCORD_CONFIG={settings}")
    click.echo("  hub doctor")
    click.echo("  hub agreement list")
    for draft in ("request", "forbidden"):
        click.echo(f"  {partner} preview agencies/{JAPAN}/drafts/{draft}.json")
    signal.pause()
