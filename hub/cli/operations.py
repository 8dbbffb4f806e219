"""Starting a hub, running it, and asking how it is."""

from __future__ import annotations

import sys

import click

from hub.cli.installation import Installation
from hub.cli.output import as_json, show_columns, show_json
from hub.domain.refusals import HubFault, Refusal
from hub.formats.json_gate import parse_object
from hub.formats.parties import key_document
from hub.services.hub import Hub
from hub.services.initialise_hub import identify_hub, register_hub_keys
from hub.services.inspect_hub import Severity, Symptom, inspect_hub

ROLES = ("delivery", "sequencer", "timed")


@click.command(epilog="Example: hub init")
@as_json
@click.pass_obj
def init(installation: Installation, as_json: bool) -> None:
    """Make this hub's keys and database where they are missing, and print what partners pin.

    Given again it replaces nothing, and brings the database to the form of this release.
    """
    made = installation.initialise()
    with installation.open_hub() as hub:
        register_hub_keys(hub)
        if made.keys:
            click.echo("new keys were made", err=True)
        if made.passphrase:
            click.echo("a random passphrase was made: keep a copy of its file apart from the keys", err=True)
        _show_identity(hub, as_json)


@click.command(epilog="Example: hub identity --json > hub-keys.json")
@as_json
@click.pass_obj
def identity(installation: Installation, as_json: bool) -> None:
    """Print what partners pin of this hub.

    Hand it over in person or by another way that both sides trust: a partner must not learn it from the hub itself.
    """
    with installation.open_hub() as hub:
        _show_identity(hub, as_json)


def _show_identity(hub: Hub, as_json: bool) -> None:
    found = identify_hub(hub)
    if as_json:
        keys = [parse_object(key_document(key)) for key in found.keys]
        show_json({"v": 1, "name": found.name, "issuer": found.issuer, "log_vkeys": found.log_keys, "keys": keys})
        return
    click.echo(f"hub {found.name} at {found.issuer}")
    show_columns(("key", "use", "kind", "state"), [(key.kid, key.use, key.jwk["kty"], key.state) for key in found.keys])
    click.echo(f"log verifier key: {found.log_keys[0]}")


@click.command(epilog="Example: hub serve")
@click.pass_obj
def serve(installation: Installation) -> None:
    """Run the server and the worker together, until SIGTERM or Ctrl-C."""
    installation.serve()


@click.command(epilog="Example: hub worker --only delivery --only timed")
@click.option("--only", "roles", multiple=True, type=click.Choice(ROLES), help="Run this loop only; may be given several times.")
@click.pass_obj
def worker(installation: Installation, roles: tuple[str, ...]) -> None:
    """Run the delivery loop, the sequencer and the timed jobs, until SIGTERM or Ctrl-C."""
    installation.work(frozenset(roles or ROLES))


@click.command(epilog="Example: hub doctor --json")
@as_json
@click.pass_obj
def doctor(installation: Installation, as_json: bool) -> None:
    """Look for what is wrong, or soon will be, and say what to do. Exit status 0 where there is no error."""
    symptoms = _examine(installation)
    if as_json:
        show_json({"ok": not _has_error(symptoms), "symptoms": symptoms})
    else:
        if symptoms:
            rows = [(one.severity, one.check, one.found, one.remedy) for one in symptoms]
            show_columns(("severity", "check", "found", "what to do"), rows)
        counts = {severity: sum(one.severity is severity for one in symptoms) for severity in Severity}
        click.echo(", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in counts.items()))
    sys.exit(1 if _has_error(symptoms) else 0)


def _examine(installation: Installation) -> list[Symptom]:
    try:
        with installation.open_hub() as hub:
            return inspect_hub(hub, installation.key_folder())
    except (Refusal, HubFault, FileNotFoundError) as error:
        return [
            Symptom("start", Severity.ERROR, f"the hub cannot be opened: {error}", "mend that first, or `hub init` a new hub")
        ]


def _has_error(symptoms: list[Symptom]) -> bool:
    return any(one.severity is Severity.ERROR for one in symptoms)
