"""`hub delivery`: what does not get through."""

from __future__ import annotations

import click

from hub.cli.installation import Installation
from hub.cli.output import as_json, show_columns, show_json
from hub.domain.deliveries import DeliveryState
from hub.services.requeue_delivery import list_deliveries, requeue_delivery


@click.group()
def delivery() -> None:
    """Look at deliveries, and try one again."""


@delivery.command("list", epilog="Example: hub delivery list --state dead")
@click.option(
    "--state", type=click.Choice([one.value for one in DeliveryState]), default=DeliveryState.QUEUED.value, show_default=True
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@as_json
@click.pass_obj
def list_command(installation: Installation, state: str, limit: int, as_json: bool) -> None:
    """List deliveries in one state, oldest first."""
    with installation.open_hub() as hub:
        found = list_deliveries(hub, DeliveryState(state), limit)
    if as_json:
        show_json(found)
        return
    if not found:
        click.echo(f"no delivery is {state}")
        return
    headings = ("delivery", "exchange", "recipient", "attempts", "last error", "next attempt")
    show_columns(
        headings, [(one.id, one.exchange, one.recipient, one.attempts, one.last_error, one.next_attempt_at) for one in found]
    )


@delivery.command(epilog="Example: hub delivery requeue 019aa5c0-0000-7000-8000-000000000001")
@click.argument("delivery_id")
@click.pass_obj
def requeue(installation: Installation, delivery_id: str) -> None:
    """Try a delivery again at once, as if it had never failed."""
    with installation.open_hub() as hub:
        before = requeue_delivery(hub, delivery_id)
    click.echo(f"{delivery_id} to {before.recipient} was {before.state} after {before.attempts} attempts, and is queued")
