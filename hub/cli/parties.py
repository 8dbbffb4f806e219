"""`hub party`: the authorities that exchange through the hub."""

from __future__ import annotations

from pathlib import Path

import click

from hub.cli.installation import Installation
from hub.cli.output import as_json, show_columns, show_json
from hub.domain.parties import Party, Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.formats.parties import write_party_toml
from hub.services.record_party import change_standing, record_party

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group()
def party() -> None:
    """Add, show, suspend and reinstate parties."""


@party.command(epilog="Example: hub party add config/parties/*.toml")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.pass_obj
def add(installation: Installation, files: tuple[Path, ...]) -> None:
    """Record the parties in FILES and their public keys, up to the first file that is not acceptable."""
    with installation.open_hub() as hub:
        for file in files:
            try:
                recorded = record_party(hub, file.read_bytes())
            except Refusal as refusal:
                raise Refusal(refusal.code, f"{file}: {refusal.detail}") from None
            click.echo(
                f"{recorded.party.authority}: {'recorded' if recorded.changed else 'unchanged'}, {len(recorded.keys)} keys"
            )


@party.command("list", epilog="Example: hub party list --json")
@as_json
@click.pass_obj
def list_command(installation: Installation, as_json: bool) -> None:
    """List every party."""
    parties = sorted(_registry(installation).parties.values(), key=lambda one: one.authority)
    if as_json:
        show_json(parties)
        return
    headings = ("authority", "name", "country", "kind", "profile", "delivery", "standing")
    show_columns(
        headings,
        [(one.authority, one.names["en"], one.country, one.kind, one.profile, one.delivery, one.standing) for one in parties],
    )


@party.command(epilog="Example: hub party show tw.npa")
@click.argument("authority")
@click.pass_obj
def show(installation: Installation, authority: str) -> None:
    """Show one party and its keys as JSON."""
    registry = _registry(installation)
    show_json({"party": _find(registry, authority), "keys": [key for key in registry.keys.values() if key.owner == authority]})


@party.command(epilog="Example: hub party export tw.npa > tw.npa.toml")
@click.argument("authority")
@click.pass_obj
def export(installation: Installation, authority: str) -> None:
    """Print one party and its keys as TOML that `hub party add` reads."""
    registry = _registry(installation)
    keys = [key for key in registry.keys.values() if key.owner == authority]
    click.echo(write_party_toml(_find(registry, authority), keys), nl=False)


@party.command(epilog="Example: hub party suspend vn.mps")
@click.argument("authority")
@click.pass_obj
def suspend(installation: Installation, authority: str) -> None:
    """Suspend a party: from this moment it neither sends nor receives."""
    _change(installation, authority, Standing.SUSPENDED)


@party.command(epilog="Example: hub party reinstate vn.mps")
@click.argument("authority")
@click.pass_obj
def reinstate(installation: Installation, authority: str) -> None:
    """Bring a suspended party back into good standing."""
    _change(installation, authority, Standing.GOOD)


def _change(installation: Installation, authority: str, standing: Standing) -> None:
    with installation.open_hub() as hub:
        changed = change_standing(hub, authority, standing)
    click.echo(f"{authority}: standing {standing}{'' if changed else ', as before'}")


def _registry(installation: Installation) -> Registry:
    with installation.open_hub() as hub, hub.store.reading() as work:
        return hub.registry.at(work)


def _find(registry: Registry, authority: str) -> Party:
    if authority not in registry.parties:
        raise Refusal(RefusalCode.NOT_FOUND, "there is no such party")
    return registry.parties[authority]
