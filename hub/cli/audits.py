"""`hub audit` and `hub log`: the evidence, for the operator and the auditor."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hub.cli.installation import Installation
from hub.cli.output import as_json, show_columns, show_json
from hub.domain.verification import VerificationReport
from hub.services.read_audit import read_audit
from hub.services.read_log import latest_checkpoint
from hub.services.verify_store import verify_store

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group()
def audit() -> None:
    """Verify the store against its log, and read what was logged."""


@audit.command(epilog="Example: hub audit verify --against checkpoint-of-last-month")
@click.option(
    "--against", "against", type=_FILE, multiple=True, help="A checkpoint that was kept elsewhere; may be given several times."
)
@click.option("--deep", is_flag=True, help="Also decrypt every message and compare it with its digest.")
@as_json
@click.pass_obj
def verify(installation: Installation, against: tuple[Path, ...], deep: bool, as_json: bool) -> None:
    """Verify everything that is stored. Exit status 0 only where nothing was found.

    Whoever holds database and keys can rewrite both: only a checkpoint that somebody else kept shows that.
    """
    older = [file.read_text(encoding="utf-8") for file in against]
    with installation.open_hub() as hub, _progress_bar() as bar:
        task = bar.add_task("verifying", total=None)
        report = verify_store(hub, older, lambda done, total: bar.update(task, completed=done, total=total), deep=deep)
    if as_json:
        flaws = [{"severity": one.severity, "meaning": one.meaning, "advice": one.advice, **vars(one)} for one in report.flaws]
        show_json({"ok": report.ok, **vars(report), "flaws": flaws})
    else:
        _show_report(report, len(older))
    sys.exit(0 if report.ok else 1)


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def _show_report(report: VerificationReport, given: int) -> None:
    click.echo(f"log: {report.size} entries, root {report.root}, {report.pending} more waiting for their place")
    click.echo(f"messages: {report.messages}; checkpoints compared: {report.checkpoints}, {given} of them given")
    if report.flaws:
        show_columns(
            ("", "flaw", "where", "what to do"), [(one.severity, one.code, one.where, one.advice) for one in report.flaws]
        )
    if report.left_out:
        click.echo(f"and {report.left_out} more")
    click.echo("verified: nothing was changed, left out or added" if report.ok else "NOT VERIFIED")


@audit.command(epilog="Example: hub audit show 019aa5c0-0000-7000-8000-000000000001")
@click.argument("exchange")
@as_json
@click.pass_obj
def show(installation: Installation, exchange: str, as_json: bool) -> None:
    """Show every entry about one EXCHANGE; that it was read becomes an entry too."""
    with installation.open_hub() as hub:
        entries = read_audit(hub, exchange)
    if as_json:
        show_json(entries)
        return
    headings = ("index", "at", "event", "actor", "outcome")
    rows = [("waiting" if one["index"] is None else one["index"], *(one[name] for name in headings[1:])) for one in entries]
    show_columns(headings, rows)


@click.group()
def log() -> None:
    """The log that commits to every audit entry."""


@log.command(epilog="Example: hub log checkpoint > checkpoint-2026-11-22")
@click.pass_obj
def checkpoint(installation: Installation) -> None:
    """Print the newest signed checkpoint: keep copies where the hub's operator cannot reach them."""
    with installation.open_hub() as hub:
        click.echo(latest_checkpoint(hub), nl=False)
