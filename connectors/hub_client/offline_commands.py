"""`hub-partner verify` and `open-part`: work without the hub, with what was pinned and seen before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from connectors.hub_client.command_line import Invocation, json_option, partner
from connectors.hub_client.desk import open_desk
from connectors.hub_client.enrolment import role_of
from connectors.hub_client.incoming import open_part
from connectors.hub_client.stored_files import verify_file
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object
from hub.formats.jwe import parse_part


@partner.command("verify", epilog="Example: hub-partner verify agency/inbox/*.json")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@click.pass_obj
def verify_command(invocation: Invocation, files: tuple[Path, ...]) -> None:
    """Verify stored messages and receipts offline: signatures, digests, and the log proofs that are with them."""
    desk = open_desk(invocation.place)
    verifier = desk.verifier()
    verified = [(file, verify_file(file.read_bytes(), verifier)) for file in files]
    rows = [{"file": str(file), "kind": one.kind, "statements": list(one.statements)} for file, one in verified]
    lines = [line for file, one in verified for line in (f"verified: {file}", *(f"  {text}" for text in one.statements))]
    invocation.report({"files": rows}, lines)


@partner.command("open-part", epilog="Example: hub-partner open-part agency/inbox/DELIVERY.json /victim_contact")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("pointer")
@json_option
@click.pass_obj
def open_part_command(invocation: Invocation, file: Path, pointer: str) -> None:
    """Open a sealed part of a stored message with the role key it is sealed to, and show it. The message is verified first."""
    desk = open_desk(invocation.place)
    octets = file.read_bytes()
    verify_file(octets, desk.verifier())
    message = parse_object(octets)["message"]
    text = _follow(message["body"], pointer)
    value = open_part(text, message, pointer, desk.recipient, desk.now()).decode("utf-8", "replace")
    role = role_of(desk.agency, parse_part(text).recipient.kid)
    invocation.report({"role": role, "value": value}, [value])


def _follow(body: Any, pointer: str) -> str:
    """The text at a JSON Pointer.

    Raises:
        Refusal: NOT_FOUND.
    """
    value = body
    for step in pointer.split("/")[1:]:
        if isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, str) or not pointer.startswith("/"):
        raise Refusal(RefusalCode.NOT_FOUND, "there is no sealed part at that place of the body")
    return value
