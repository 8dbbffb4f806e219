"""`hub key`: the keys of the hub and of its partners."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from hub.cli.installation import Installation
from hub.cli.output import as_json, show_columns, show_json
from hub.crypto.key_manifest import HeldKeyUse
from hub.domain.keys import KeyState
from hub.domain.parties import HUB_PARTY, SealingProfile
from hub.services.manage_keys import DEFAULT_VALIDITY, change_key_state, import_registration, list_keys, make_kept_key

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_USES = [HeldKeyUse.SIGNING.value, HeldKeyUse.SEALING.value, HeldKeyUse.TOKENS.value, HeldKeyUse.STORAGE.value]
_PROFILES = [one.value for one in SealingProfile]


@click.group()
def key() -> None:
    """List, make, import, activate, retire and revoke keys."""


@key.command("list", epilog="Example: hub key list --owner jp.npa")
@click.option("--owner", help="The keys of this authority only; `hub` for the hub's own.")
@as_json
@click.pass_obj
def list_command(installation: Installation, owner: str | None, as_json: bool) -> None:
    """List keys with their state."""
    with installation.open_hub() as hub:
        lines = list_keys(hub, installation.key_folder(), owner)
    if as_json:
        show_json(lines)
        return
    headings = ("owner", "use", "state", "kid", "not after", "custody", "role or what it signs")
    show_columns(
        headings,
        [(one.owner, one.use, one.state, one.kid, one.not_after, one.custody, one.role or ", ".join(one.signs)) for one in lines],
    )


@key.command("new", epilog="Example: hub key new --use signing")
@click.option(
    "--owner", default=HUB_PARTY, show_default=True, help="Whose key it is: the hub, or an authority it keeps keys for."
)
@click.option("--use", type=click.Choice(_USES), required=True)
@click.option("--profile", type=click.Choice(_PROFILES), default=_PROFILES[0], help="Of a sealing key of the hub itself.")
@click.option(
    "--days", type=click.IntRange(1, 36500), default=DEFAULT_VALIDITY.days, show_default=True, help="How long it is good."
)
@click.pass_obj
def new(installation: Installation, owner: str, use: str, profile: str, days: int) -> None:
    """Make a key that the hub keeps. The first key for a purpose is active; a later one is published, and used once activated."""
    with installation.open_hub() as hub:
        line = make_kept_key(
            hub,
            installation.key_folder(),
            owner,
            HeldKeyUse(use),
            profile=SealingProfile(profile),
            validity=timedelta(days=days),
        )
    click.echo(f"{line.kid} of {line.owner} for {line.use} is {line.state}")


@key.command("import", epilog="Example: hub key import --owner jp.npa registration.json")
@click.option("--owner", required=True, help="Whose keys these are.")
@click.argument("file", type=_FILE)
@as_json
@click.pass_obj
def import_command(installation: Installation, owner: str, file: Path, as_json: bool) -> None:
    """Record the public keys of a registration FILE; compare the key ids with the partner by telephone."""
    with installation.open_hub() as hub:
        keys = import_registration(hub, owner, file.read_bytes())
    if as_json:
        show_json(keys)
        return
    show_columns(("kid", "use", "state"), [(one.kid, one.use, one.state) for one in keys])


@key.command(epilog="Example: hub key activate 3oqY4BCw")
@click.argument("kid")
@click.pass_obj
def activate(installation: Installation, kid: str) -> None:
    """Put the key KID to use. The one it follows retires: still accepted, no longer used."""
    _change(installation, kid, KeyState.ACTIVE)


@key.command(epilog="Example: hub key retire 3oqY4BCw")
@click.argument("kid")
@click.pass_obj
def retire(installation: Installation, kid: str) -> None:
    """Stop using the key KID, and go on accepting what it made."""
    _change(installation, kid, KeyState.RETIRING)


@key.command(epilog="Example: hub key revoke 3oqY4BCw")
@click.argument("kid")
@click.pass_obj
def revoke(installation: Installation, kid: str) -> None:
    """End the key KID for good: from this moment what it signs is refused."""
    _change(installation, kid, KeyState.REVOKED)


def _change(installation: Installation, kid: str, state: KeyState) -> None:
    with installation.open_hub() as hub:
        changed = change_key_state(hub, installation.key_folder(), kid, state)
    for one in changed:
        click.echo(f"{one.kid} of {one.owner} for {one.use} is {one.state}")
    if not changed:
        click.echo(f"{kid} was {state} already")
