"""`hub`: what operators and auditors do from a shell. Each command calls one service; exit status 0 only when its claim holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub import __version__
from hub.cli.agreements import agreement
from hub.cli.audits import audit, log
from hub.cli.catalogue import catalogue
from hub.cli.deliveries import delivery
from hub.cli.demo import demo
from hub.cli.keys import key
from hub.cli.operations import doctor, identity, init, serve, worker
from hub.cli.parties import party
from hub.domain.refusals import HubFault, Refusal


class _HubGroup(click.Group):
    """Turns refusals and faults into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            raise click.ClickException(f"{refusal.code}: {refusal.detail}") from refusal
        except HubFault as fault:
            raise click.ClickException(str(fault)) from fault
        except FileNotFoundError as missing:
            raise click.ClickException(f"{missing.filename} is missing; a new hub starts with `hub init`") from missing


@click.group(cls=_HubGroup, epilog="Example: hub init && hub serve")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file; else ACCORD_CONFIG, else config/hub.toml."
)
@click.version_option(__version__, prog_name="hub")
@click.pass_context
def hub(context: click.Context, config: Path | None) -> None:
    """Run and look after an Accord hub."""
    context.obj = context.obj(config)


for command in (init, identity, serve, worker, doctor, party, key, agreement, delivery, audit, log, catalogue, demo):
    hub.add_command(command)
