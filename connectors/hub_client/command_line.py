"""`hub-partner`: what an agency's officer types. A command ends with 0 only when what it claims holds.

Exit statuses: 1 refused (by the hub, signed, or by this program), 2 wrong usage, 3 the hub gave no answer that settles anything:
try again, 4 the log has forked: call the auditors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from connectors.contract import HubUnreachableError, RefusedByHub
from connectors.hub_client.client import HubClient, open_client
from connectors.hub_client.desk import SCHEMAS, Place
from connectors.hub_client.log_proofs import LogForkedError
from hub.domain.refusals import Finding, Refusal

REFUSED, UNREACHABLE, FORKED = 1, 3, 4

Command = Callable[..., Any]


@dataclass
class Invocation:
    """One run: where things are, and whether a program reads the answer. Tests hand one in with a transport of their own."""

    place: Place
    as_json: bool = False

    @contextmanager
    def client(self) -> Iterator[HubClient]:
        """The agency's client, its connection closed at the end."""
        with self.place.open_http() as http:
            yield open_client(self.place, http)

    def report(self, members: dict[str, Any], lines: Sequence[str], *, ok: bool = True) -> None:
        """Say the result: sentences for a person, or one JSON object for a program."""
        click.echo(json.dumps({"ok": ok, **members}, ensure_ascii=False) if self.as_json else "\n".join(lines))
        if not ok:
            raise click.exceptions.Exit(REFUSED)

    def complain(self, status: int, members: dict[str, Any], lines: Sequence[str]) -> None:
        """Say why there is no result, and end."""
        if self.as_json:
            click.echo(json.dumps({"ok": False, **members}, ensure_ascii=False))
        else:
            click.echo("\n".join(lines), err=True)
        raise click.exceptions.Exit(status)


class PartnerGroup(click.Group):
    """Turns what the commands raise into sentences and exit statuses."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run one command."""
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            _complain_of_refusal(_invocation(ctx), refusal)
        except HubUnreachableError as error:
            _invocation(ctx).complain(
                UNREACHABLE, {"code": "unreachable", "detail": str(error)}, [f"not settled, try again: {error}"]
            )
        except OSError as error:
            detail = f"{error.strerror}: {Path(str(error.filename)).name}" if error.filename else str(error.strerror)
            _invocation(ctx).complain(REFUSED, {"code": "file", "detail": detail}, [detail])
        return None


def _invocation(ctx: click.Context) -> Invocation:
    found = ctx.find_object(Invocation)
    return found if found is not None else Invocation(Place(Path()))


def _complain_of_refusal(invocation: Invocation, refusal: Refusal) -> None:
    by_hub = isinstance(refusal, RefusedByHub)
    status = FORKED if isinstance(refusal, LogForkedError) else REFUSED
    members = {"code": refusal.code.value, "detail": refusal.detail, "by_hub": by_hub, "findings": refusal_members(refusal)}
    who = "refused by the hub" if by_hub else "refused"
    findings = [describe_finding(one) for one in refusal.findings if one.failed]
    invocation.complain(status, members, [f"{who}: {refusal.code.value}: {refusal.detail}", *findings])


def refusal_members(refusal: Refusal) -> list[dict[str, Any]]:
    """The failed rules as JSON values."""
    return [
        {
            "rule": one.rule,
            "code": one.code.value,
            "article": one.article,
            "recipient": one.recipient,
            "values": dict(one.values),
        }
        for one in refusal.findings
        if one.code is not None
    ]


def describe_finding(finding: Finding) -> str:
    """A failed rule as one line."""
    article = f"article {finding.article}" if finding.article else ""
    parts = [
        finding.code or "satisfied",
        article,
        finding.recipient or "",
        *(f"{name} {value}" for name, value in finding.values),
    ]
    return "  " + ", ".join(part for part in parts if part)


def json_option(command: Command) -> Command:
    """Give a command the option --json."""

    def take(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
        _invocation(ctx).as_json = value

    return click.option("--json", is_flag=True, expose_value=False, callback=take, help="Answer with one JSON object.")(command)


@click.group(
    cls=PartnerGroup,
    epilog="Example: hub-partner --home /srv/agency send referral.json",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--home", type=click.Path(path_type=Path), default=Path("agency"), show_default=True, help="The agency's folder.")
@click.option(
    "--passphrase-file", type=click.Path(path_type=Path), help="Holds the passphrase of the keys; default HOME/keys/passphrase."
)
@click.option(
    "--schemas", type=click.Path(path_type=Path), default=SCHEMAS, help="The catalogue of message types.", show_default="built in"
)
@click.option("--ca-file", type=click.Path(path_type=Path), help="Certificate authorities to believe in place of the system's.")
@click.option("--clock-offset", type=int, default=0, help="Seconds to move this program's clock by; for demonstrations only.")
@click.pass_context
def partner(
    ctx: click.Context, *, home: Path, passphrase_file: Path | None, schemas: Path, ca_file: Path | None, clock_offset: int
) -> None:
    """Exchange messages with other agencies through an Accord hub.

    Ends with 0 when what the command claims holds, 1 when something is refused, 3 when the hub gives no answer that settles
    anything (try again), 4 when the hub's log shows two histories.
    """
    if ctx.find_object(Invocation) is None:
        offset = timedelta(seconds=clock_offset)
        ctx.obj = Invocation(Place(home, passphrase_file, schemas, ca_file, offset))
    if clock_offset:
        click.echo(f"note: this program's clock is moved by {clock_offset} seconds, for demonstration", err=True)
