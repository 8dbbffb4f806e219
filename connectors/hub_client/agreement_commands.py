"""`hub-partner agreement`: read an agreement in the form that is signed, and sign it with the agency's own key."""

from __future__ import annotations

import hashlib

import click

from connectors.hub_client.client import HubClient
from connectors.hub_client.command_line import Invocation, json_option, partner
from hub.domain.agreements import Agreement
from hub.domain.encoding import b64url_encode
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.agreements import read_canonical, write_toml
from hub.formats.jws import protected_header, serialise_detached, signing_input


@partner.group("agreement")
def agreement_group() -> None:
    """Read and sign the agreements that this agency operates under."""


@agreement_group.command("show", epilog="Example: hub-partner agreement show tw-jp-police-2026 1")
@click.argument("agreement_id")
@click.argument("version", type=click.IntRange(min=1))
@json_option
@click.pass_obj
def show_command(invocation: Invocation, agreement_id: str, version: int) -> None:
    """Print one version of an agreement as its lawyers wrote it, and the digest of what is signed."""
    with invocation.client() as client:
        agreement = _fetch(client, agreement_id, version)
    invocation.report(
        {"id": agreement.id, "version": agreement.version, "digest": agreement.digest, "toml": write_toml(agreement)},
        [write_toml(agreement), f"digest of what is signed: {agreement.digest}"],
    )


@agreement_group.command("sign", epilog="Example: hub-partner agreement sign tw-jp-police-2026 1 --digest q3Zc...")
@click.argument("agreement_id")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--digest", help="Sign only if this is its digest, as the other side read it out.")
@json_option
@click.pass_obj
def sign_command(invocation: Invocation, agreement_id: str, version: int, digest: str | None) -> None:
    """Sign one version for this agency; it governs once every operating authority has signed."""
    with invocation.client() as client:
        agreement = _fetch(client, agreement_id, version)
        if digest is not None and digest != agreement.digest:
            raise Refusal(RefusalCode.INVALID_AGREEMENT, "the hub shows another text than the one with this digest")
        key = client.desk.keyring.signing_key(client.desk.now())
        protected = protected_header(key.kid, SignatureType.AGREEMENT)
        signature = key.sign(signing_input(protected, b64url_encode(agreement.canonical)))
        answer = client.session.post_agreement_signature(agreement_id, version, serialise_detached(protected, signature))
    missing = [str(one) for one in answer.get("unsigned_by", [])]
    waiting = f"not signed yet by {', '.join(missing)}" if missing else "signed by every operating authority"
    invocation.report(
        {"id": agreement.id, "version": version, "digest": agreement.digest, "unsigned_by": missing},
        [f"signed {agreement.id} version {version}, digest {agreement.digest}: {waiting}"],
    )


def _fetch(client: HubClient, agreement_id: str, version: int) -> Agreement:
    """Read a version; what is signed are the octets as received, after they were read as an agreement of that name.

    Raises:
        Refusal: INVALID_AGREEMENT.
    """
    octets = client.session.get(f"/v1/agreements/{agreement_id}/versions/{version}").octets
    agreement = read_canonical(octets)
    if (agreement.id, agreement.version) != (agreement_id, version) or agreement.canonical != octets:
        raise Refusal(RefusalCode.INVALID_AGREEMENT, "the hub shows another agreement than the one asked for")
    if b64url_encode(hashlib.sha256(octets).digest()) != agreement.digest:
        raise Refusal(RefusalCode.INVALID_AGREEMENT, "the digest is not that of the text")
    return agreement
