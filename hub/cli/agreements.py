"""`hub agreement`: the agreements under which messages travel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from hub.cli.installation import Installation
from hub.cli.output import as_json, show_columns, show_json
from hub.domain.agreements import Agreement, AgreementRecord
from hub.domain.refusals import Refusal
from hub.formats.agreements import write_toml
from hub.services.change_agreement import end_agreement, resume_agreement, state_of, suspend_agreement
from hub.services.hub import Hub
from hub.services.record_agreement import (
    AgreementDraft,
    add_signature,
    check_agreement,
    find_version,
    record_agreement,
    sign_with_kept_key,
    sign_with_key_file,
)

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_REASON = click.option("--reason", required=True, help="Why; it is kept with the agreement. Name no person.")


@click.group()
def agreement() -> None:
    """Record, sign, suspend and end agreements."""


@agreement.command(epilog="Example: hub agreement add config/agreements/*.toml")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.pass_obj
def add(installation: Installation, files: tuple[Path, ...]) -> None:
    """Record the agreements in FILES as drafts; one that is there already is left as it is."""
    _each(installation, files, record_agreement, "recorded")


@agreement.command(epilog="Example: hub agreement check draft.toml")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.pass_obj
def check(installation: Installation, files: tuple[Path, ...]) -> None:
    """Say how the agreements in FILES would stand, and record nothing."""
    _each(installation, files, check_agreement, "acceptable, not recorded")


def _each(installation: Installation, files: tuple[Path, ...], do: Callable[[Hub, bytes], AgreementDraft], done: str) -> None:
    with installation.open_hub() as hub:
        for file in files:
            try:
                _show_draft(do(hub, file.read_bytes()), done)
            except Refusal as refusal:
                raise Refusal(refusal.code, f"{file}: {refusal.detail}") from None


def _show_draft(draft: AgreementDraft, done: str) -> None:
    found = draft.agreement
    click.echo(f"{found.id} version {found.version}: {done if draft.new else 'recorded already'}, digest {found.digest}")
    if draft.unsigned_by:
        click.echo(f"  a draft: to be signed by {', '.join(draft.unsigned_by)}")
    if draft.unknown_authorities:
        click.echo(f"  not registered: {', '.join(draft.unknown_authorities)}")


@agreement.command("list", epilog="Example: hub agreement list --json")
@as_json
@click.pass_obj
def list_command(installation: Installation, as_json: bool) -> None:
    """List every agreement and how it stands now."""
    with installation.open_hub() as hub, hub.store.reading() as work:
        now = hub.clock.now()
        rows = [_summary(record, state_of(record, now)) for record in hub.registry.at(work).agreements.values()]
    if as_json:
        show_json(rows)
        return
    show_columns(tuple(rows[0]) if rows else ("no agreement is recorded",), [tuple(row.values()) for row in rows])


def _summary(record: AgreementRecord, state: str) -> dict[str, object]:
    newest = record.versions[-1]
    return {
        "agreement": record.id,
        "version": newest.version,
        "state": state,
        "ends": newest.term.end or "",
        "title": newest.titles["en"],
    }


@agreement.command(epilog="Example: hub agreement show tw-jp-police-2026")
@click.argument("agreement_id")
@click.pass_obj
def show(installation: Installation, agreement_id: str) -> None:
    """Show one agreement: its versions, who signed which, and how it stands now, as JSON."""
    with installation.open_hub() as hub, hub.store.reading() as work:
        registry = hub.registry.at(work)
        newest = find_version(registry, agreement_id)
        record = registry.agreements[agreement_id]
        state = state_of(record, hub.clock.now())
    versions = [
        {
            "version": one.version,
            "digest": one.digest,
            "signed_by": record.signed_by.get(one.version, frozenset()),
            "term": one.term,
        }
        for one in record.versions
    ]
    operators = [one.authority for one in newest.operating_authorities]
    show_json(
        {
            "agreement": agreement_id,
            "title": newest.titles,
            "state": state,
            "operating_authorities": operators,
            "versions": versions,
            "suspensions": record.suspensions,
            "ended_at": record.ended_at,
        }
    )


@agreement.command(epilog="Example: hub agreement export tw-jp-police-2026 > tw-jp-police-2026.toml")
@click.argument("agreement_id")
@click.option("--version", type=int, help="The newest where none is given.")
@click.option("--canonical", is_flag=True, help="The octets that are signed, instead of TOML.")
@click.pass_obj
def export(installation: Installation, agreement_id: str, version: int | None, canonical: bool) -> None:
    """Print one version as TOML, or as the octets that its authorities sign."""
    with installation.open_hub() as hub, hub.store.reading() as work:
        found: Agreement = find_version(hub.registry.at(work), agreement_id, version)
    click.echo(found.canonical if canonical else write_toml(found), nl=False)


@agreement.command(epilog="Example: hub agreement sign tw-jp-police-2026 1 --as tw.npa --key signing.key")
@click.argument("agreement_id")
@click.argument("version", type=int)
@click.option("--as", "authority", required=True, help="The operating authority that signs.")
@click.option("--key", "key_file", type=_FILE, help="Its private key (encrypted PKCS#8); without it, the key that the hub keeps.")
@click.option("--passphrase-file", type=_FILE, help="What opens the key; without it you are asked.")
@click.pass_obj
def sign(installation: Installation, /, agreement_id: str, version: int, authority: str, **key: Path | None) -> None:
    """Sign one version of an agreement for an operating authority. It governs once all of them have signed."""
    key_file = key["key_file"]
    with installation.open_hub() as hub:
        if key_file is None:
            draft = sign_with_kept_key(hub, agreement_id, version, authority)
        else:
            passphrase = _passphrase(key["passphrase_file"])
            draft = sign_with_key_file(hub, agreement_id, version, authority, file=key_file, passphrase=passphrase)
    _show_signed(draft)


def _passphrase(file: Path | None) -> bytes:
    if file is not None:
        return file.read_bytes().partition(b"\n")[0]
    answer: str = click.prompt("Passphrase of the key", hide_input=True, err=True)
    return answer.encode()


@agreement.command("add-signature", epilog="Example: hub agreement add-signature tw-jp-police-2026 1 jp.npa.jws")
@click.argument("agreement_id")
@click.argument("version", type=int)
@click.argument("file", type=_FILE)
@click.pass_obj
def add_signature_command(installation: Installation, agreement_id: str, version: int, file: Path) -> None:
    """Record a signature that was made elsewhere: FILE holds a detached JWS of type hub-agreement+jws."""
    with installation.open_hub() as hub:
        _show_signed(add_signature(hub, agreement_id, version, file.read_text(encoding="utf-8").strip()))


def _show_signed(draft: AgreementDraft) -> None:
    click.echo("signed" if draft.new else "this authority had signed already; its first signature stands")
    if draft.unsigned_by:
        click.echo(f"still a draft: to be signed by {', '.join(draft.unsigned_by)}")
    else:
        click.echo("signed by every operating authority")


@agreement.command(epilog='Example: hub agreement suspend tw-vn-police-2019 --reason "note verbale of 20 November 2026"')
@click.argument("agreement_id")
@_REASON
@click.pass_obj
def suspend(installation: Installation, agreement_id: str, reason: str) -> None:
    """Suspend an agreement from this moment until it is resumed."""
    _change(installation, agreement_id, reason, suspend_agreement)


@agreement.command(epilog='Example: hub agreement resume tw-vn-police-2019 --reason "consultation concluded"')
@click.argument("agreement_id")
@_REASON
@click.pass_obj
def resume(installation: Installation, agreement_id: str, reason: str) -> None:
    """Lift a suspension that was recorded here; one that the agreement's own text holds stays."""
    _change(installation, agreement_id, reason, resume_agreement)


@agreement.command(epilog='Example: hub agreement end tw-vn-police-2019 --reason "denounced on 1 November 2026"')
@click.argument("agreement_id")
@_REASON
@click.pass_obj
def end(installation: Installation, agreement_id: str, reason: str) -> None:
    """End an agreement for good, from this moment."""
    _change(installation, agreement_id, reason, end_agreement)


def _change(installation: Installation, agreement_id: str, reason: str, do: Callable[[Hub, str, str], bool]) -> None:
    with installation.open_hub() as hub:
        changed = do(hub, agreement_id, reason)
        with hub.store.reading() as work:
            state = state_of(hub.registry.at(work).agreements[agreement_id], hub.clock.now())
    click.echo(f"{agreement_id}: {state}{'' if changed else ', as before'}")
