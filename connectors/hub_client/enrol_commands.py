"""`hub-partner enrol` and `pin`: become a partner, and keep the hub's keys up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from connectors.hub_client.agency_files import open_agency
from connectors.hub_client.command_line import Invocation, json_option, partner
from connectors.hub_client.desk import check_address
from connectors.hub_client.enrolment import Applicant, enrol, make_passphrase
from connectors.hub_client.hub_session import fetch_unverified_keys
from connectors.hub_client.trust import HubPins, load_pins, make_pins, read_published_keys, select_by_fingerprint
from hub.domain.keys import KeyRecord
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object
from hub.formats.registrations import read_registration

_hub_keys = click.option(
    "--hub-keys",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What the hub's operator handed over in person (`hub identity --json`).",
)
_fingerprints = click.option(
    "--fingerprint",
    "fingerprints",
    multiple=True,
    help="In place of --hub-keys: RFC 7638 thumbprint of a hub key, told in person; once for each key (signing, sealing).",
)


_EXAMPLE = (
    "Example: hub-partner enrol --authority jp.npa --hub https://hub.example --hub-keys hub-keys.json --role victim_contact"
)


@partner.command("enrol", epilog=_EXAMPLE)
@click.option("--authority", required=True, help="The agency's authority id, for instance jp.npa.")
@click.option("--hub", required=True, help="The hub's public address, exactly as its operator tells it.")
@click.option(
    "--profile",
    type=click.Choice([one.value for one in SealingProfile]),
    default="pq-1",
    show_default=True,
    help="Sealing profile.",
)
@click.option(
    "--role", "roles", multiple=True, help="An office with a key of its own for sealed parts, for instance victim_contact."
)
@_hub_keys
@_fingerprints
@click.option(
    "--log-vkey",
    "log_vkeys",
    multiple=True,
    help="Verifier key of the hub's log (more: its cosigners'), where the file has none.",
)
@json_option
@click.pass_obj
def enrol_command(
    invocation: Invocation,
    *,
    authority: str,
    hub: str,
    profile: str,
    roles: tuple[str, ...],
    hub_keys: Path | None,
    fingerprints: tuple[str, ...],
    log_vkeys: tuple[str, ...],
) -> None:
    """Make the agency's keys, pin the hub's, and write the registration file for the hub's operator."""
    place = invocation.place
    handed_over = parse_object(hub_keys.read_bytes()) if hub_keys else {}
    keys = _obtain_keys(invocation, check_address(hub), handed_over, fingerprints)
    pins = make_pins(keys, log_vkeys or handed_over.get("log_vkeys", []))
    applicant = Applicant(authority, SealingProfile(profile), hub, roles)
    registration = enrol(place.home, applicant, pins, make_passphrase(place.passphrase), place.now())
    _authority, made = read_registration(registration.read_bytes())
    lines = [
        f"enrolled {authority} ({profile}) in {place.home}",
        f"pinned {len(pins.keys)} keys of the hub {pins.name}",
        f"hand this file to the hub's operator, and read its key ids to each other: {registration}",
        *(f"  {key.use:<12} {key.kid}" for key in made),
    ]
    invocation.report({"authority": authority, "registration": str(registration), "hub": pins.name}, lines)


@partner.command("pin", epilog="Example: hub-partner pin --hub-keys hub-keys-2027.json")
@_hub_keys
@_fingerprints
@json_option
@click.pass_obj
def pin_command(invocation: Invocation, hub_keys: Path | None, fingerprints: tuple[str, ...]) -> None:
    """Pin further keys of the hub after a rollover, or their new state; those pinned before stay."""
    path = invocation.place.home / "hub.json"
    before = load_pins(path)
    handed_over = parse_object(hub_keys.read_bytes()) if hub_keys else {}
    offered = _obtain_keys(invocation, open_agency(invocation.place.home).hub, handed_over, fingerprints)
    fresh = make_pins([*before.keys.values(), *offered], [before.log_key.vkey])
    _require_same_keys(before, fresh)
    replace(fresh, cosigners=before.cosigners).save(path)
    added = sorted(fresh.keys.keys() - before.keys.keys())
    invocation.report({"pinned": added}, [f"pinned: {kid}" for kid in added] or ["no key was new; their states are up to date"])


def _obtain_keys(
    invocation: Invocation, hub: str, handed_over: Mapping[str, Any], fingerprints: Sequence[str]
) -> list[KeyRecord]:
    """The keys of the file that was handed over, or those that the hub publishes and whose fingerprints were told."""
    if bool(handed_over) == bool(fingerprints):
        raise click.UsageError("Give either --hub-keys or --fingerprint.")
    if handed_over:
        return read_published_keys(handed_over)
    with invocation.place.open_http() as http:
        return select_by_fingerprint(fetch_unverified_keys(http, hub), fingerprints)


def _require_same_keys(before: HubPins, fresh: HubPins) -> None:
    if any(dict(fresh.keys[kid].jwk) != dict(key.jwk) for kid, key in before.keys.items()):
        raise Refusal(RefusalCode.INVALID_KEY, "a key id that is pinned comes with another key")
