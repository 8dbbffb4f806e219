"""`hub-partner send`, `preview`, `fetch`, `watch`, `retrieved`, `receipts` and `checkpoint`: work with the hub."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from connectors.contract import Collected, HubUnreachableError, Incoming, RefusedByHub, Take
from connectors.hub_client.agency_files import write_json
from connectors.hub_client.client import HubClient
from connectors.hub_client.command_line import Invocation, json_option, partner
from connectors.hub_client.drafts import read_attachment, read_draft
from connectors.hub_client.evidence import ExchangeReport, follow_log, read_exchange
from connectors.hub_client.stored_files import message_file

LONG_POLL_SECONDS = 25
PAUSE_SECONDS = 5.0
"""Between two attempts while the hub gives no answer."""

PROOF_PAUSE_SECONDS = 0.5

_draft_file = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
_attach = click.option(
    "--attach", "attachments", multiple=True, metavar="CATEGORY=FILE", help="A file to go with it; may be repeated."
)
_out = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for what arrives; default HOME/inbox."
)


@partner.command("send", epilog="Example: hub-partner send referral.json --attach document=passport.pdf")
@_draft_file
@_attach
@click.option("--again", is_flag=True, help="Send the same content once more as a new message.")
@json_option
@click.pass_obj
def send_command(invocation: Invocation, file: Path, attachments: tuple[str, ...], again: bool) -> None:
    """Sign, seal and send a message; done when the hub's receipt is verified.

    FILE holds {"header": {...}, "body": {...}}. Version, id, sender, time, salt and, where missing, expiry are filled in. A plain
    value that only an office of the recipient may read is written {"$seal_to": ROLE, "value": ...}. Sending the same file again
    repeats the same message and gets its first receipt.
    """
    draft = read_draft(file.read_bytes(), tuple(read_attachment(one) for one in attachments))
    with invocation.client() as client:
        sent = client.send(client.prepare(draft, again=again))
    members = {"id": sent.id, "exchange": sent.exchange, "digest": sent.digest, "recipients": list(sent.recipients)}
    lines = [
        f"accepted: message {sent.id} to {', '.join(sent.recipients)}",
        f"exchange {sent.exchange}; the hub's receipt is verified",
    ]
    invocation.report({**members, "receipt": sent.receipt}, lines)


@partner.command("preview", epilog="Example: hub-partner preview referral.json")
@_draft_file
@_attach
@json_option
@click.pass_obj
def preview_command(invocation: Invocation, file: Path, attachments: tuple[str, ...]) -> None:
    """Ask who would receive what, and why not; nothing is sent on. Ends with 0 only where the message would be accepted."""
    draft = read_draft(file.read_bytes(), tuple(read_attachment(one) for one in attachments))
    with invocation.client() as client:
        answer = client.preview(draft)
    allowed = answer.get("allowed") is True
    invocation.report(answer, _describe_preview(answer), ok=allowed)


@partner.command("fetch", epilog="Example: hub-partner fetch --wait 20 --out arrivals")
@click.option("--wait", "wait_seconds", type=click.IntRange(0, 300), default=0, help="Seconds to wait for something to arrive.")
@_out
@json_option
@click.pass_obj
def fetch_command(invocation: Invocation, wait_seconds: int, out: Path | None) -> None:
    """Fetch, open and verify what has arrived, store it, and confirm it with a signed receipt.

    What cannot be verified is rejected, signed, with the reason; then the command ends with 1.
    """
    with invocation.client() as client:
        collected = client.collect(_take_into(client, out), wait_seconds=wait_seconds)
        folder = out or client.desk.agency.inbox
    everything_taken = all(one.refusal is None for one in collected)
    lines = [line for one in collected for line in describe_collected(one)] or ["nothing has arrived"]
    lines += [f"  kept in {folder / one.delivery}.json" for one in collected if one.incoming]
    invocation.report({"items": [collected_members(one) for one in collected]}, lines, ok=everything_taken)


@partner.command("watch", epilog="Example: hub-partner watch --out arrivals")
@_out
@click.option("--rounds", type=click.IntRange(min=1), help="End after so many long polls; without it, at an interrupt.")
@json_option
@click.pass_obj
def watch_command(invocation: Invocation, out: Path | None, rounds: int | None) -> None:
    """Keep fetching as messages arrive; with --json one object a line."""
    left = rounds
    with invocation.client() as client:
        while left is None or left > 0:
            left = left and left - 1
            try:
                collected = client.collect(_take_into(client, out), wait_seconds=LONG_POLL_SECONDS)
            except HubUnreachableError as error:
                click.echo(f"not settled, trying again: {error}", err=True)
                time.sleep(PAUSE_SECONDS)
                continue
            for one in collected:
                invocation.report(collected_members(one), describe_collected(one))


@partner.command("retrieved", epilog="Example: hub-partner retrieved 01930000-0000-7000-8000-000000000003")
@click.argument("delivery")
@json_option
@click.pass_obj
def retrieved_command(invocation: Invocation, delivery: str) -> None:
    """Tell the sender, signed, that a person here has opened the message."""
    with invocation.client() as client:
        receipt = client.confirm_retrieved(delivery)
    lines = [f"retrieved: the hub recorded it for exchange {receipt.exchange}"]
    invocation.report({"exchange": receipt.exchange, "receipt": receipt.jws}, lines)


@partner.command("receipts", epilog="Example: hub-partner receipts 01930000-0000-7000-8000-000000000001 --wait 5")
@click.argument("exchange")
@click.option(
    "--wait", "wait_seconds", type=click.IntRange(0, 300), default=0, help="Seconds to wait for the log to hold them all."
)
@json_option
@click.pass_obj
def receipts_command(invocation: Invocation, exchange: str, wait_seconds: int) -> None:
    """Show what became of an exchange: each receipt verified, and proved to stand in the log.

    Ends with 0 only where every receipt verifies and stands in the log under a checkpoint that grows out of the last one seen.
    """
    until = time.monotonic() + wait_seconds
    with invocation.client() as client:
        report = read_exchange(client, exchange)
        while not report.is_proved and time.monotonic() < until:
            time.sleep(PROOF_PAUSE_SECONDS)
            report = read_exchange(client, exchange)
    invocation.report(_report_members(report), _describe_report(report), ok=report.is_proved)


@partner.command("checkpoint", epilog="Example: hub-partner checkpoint")
@json_option
@click.pass_obj
def checkpoint_command(invocation: Invocation) -> None:
    """Fetch the log's newest checkpoint, hold it to the one kept before, and keep the newer."""
    with invocation.client() as client:
        checkpoint = follow_log(client)
        path = client.desk.agency.state / "checkpoint.txt"
    members = {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(), "file": str(path)}
    invocation.report(members, [f"the log of {checkpoint.origin} has {checkpoint.size} entries and only grew", f"kept in {path}"])


def _take_into(client: HubClient, out: Path | None) -> Take:
    def take(incoming: Incoming) -> None:
        write_json(folder / f"{incoming.delivery}.json", message_file(incoming))

    folder = out or client.desk.agency.inbox
    return take


def collected_members(one: Collected) -> dict[str, Any]:
    """What became of an inbox item, as JSON values."""
    members: dict[str, Any] = {"delivery": one.delivery, "sender": one.sender, "type": one.type}
    if one.refusal is not None:
        outcome = "withheld" if isinstance(one.refusal, RefusedByHub) else "rejected"
        return {**members, "outcome": outcome, "code": one.refusal.code.value, "detail": one.refusal.detail}
    if one.incoming is None:
        return members
    rendition = one.incoming.rendition
    removed = [{"path": gone.path, "article": gone.article} for gone in rendition.removed] if rendition else []
    ids = {"exchange": one.incoming.exchange, "id": str(one.incoming.header["id"]), "digest": one.incoming.digest}
    return {**members, **ids, "outcome": "rendition" if rendition else "original", "removed": removed}


def describe_collected(one: Collected) -> list[str]:
    """What became of an inbox item, as sentences."""
    head = f"{one.delivery}: {one.type} from {one.sender}"
    if one.refusal is not None:
        verb = "withheld by the hub" if isinstance(one.refusal, RefusedByHub) else "REJECTED"
        return [f"{head}: {verb}: {one.refusal.code.value}: {one.refusal.detail}"]
    if one.incoming is None:
        return [head]
    if one.incoming.rendition is None:
        return [f"{head}: verified: signed by {one.sender}, countersigned by the hub; confirmed"]
    removed = [f"  removed: {gone.path} (article {gone.article})" for gone in one.incoming.rendition.removed]
    return [f"{head}: verified: a shortened copy signed by the hub; confirmed", *removed]


def _describe_preview(answer: dict[str, Any]) -> list[str]:
    lines = [f"under {answer.get('agreement')} version {answer.get('agreement_version')}:"]
    for one in answer.get("recipients", []):
        lines.append(f"  {one.get('recipient')}: {one.get('outcome')}")
        lines += [f"    without {gone.get('path')} (article {gone.get('article')})" for gone in one.get("removed", [])]
    failed = [one for one in answer.get("findings", []) if one.get("code")]
    return lines + ["  against it: " + ", ".join(_circumstances(one)) for one in failed]


def _circumstances(finding: dict[str, Any]) -> list[str]:
    article = f"article {finding['article']}" if finding.get("article") else ""
    values = [f"{name} {value}" for name, value in finding.get("values", {}).items()]
    return [one for one in (finding["code"], article, finding.get("recipient") or "", *values) if one]


def _report_members(report: ExchangeReport) -> dict[str, Any]:
    rows = [
        {
            "event": one.receipt.event.value,
            "issuer": one.receipt.issuer,
            "recipient": one.receipt.recipient,
            "time": one.receipt.time,
            "log_index": one.index,
            "checkpoint_size": one.checkpoint_size,
        }
        for one in report.receipts
    ]
    return {"exchange": report.exchange, "deliveries": [dict(one) for one in report.deliveries], "receipts": rows}


def _describe_report(report: ExchangeReport) -> Sequence[str]:
    lines = [f"exchange {report.exchange}"]
    lines += [f"  {one.get('recipient')}: {one.get('state')}" for one in report.deliveries]
    for one in report.receipts:
        about = f" for {one.receipt.recipient}" if one.receipt.recipient else ""
        place = f"log entry {one.index} of {one.checkpoint_size}" if one.index is not None else "NOT IN THE LOG YET"
        lines.append(
            f"  {one.receipt.event.value}{about}, signed by {one.receipt.issuer} at {one.receipt.time}: verified, {place}"
        )
    return lines
