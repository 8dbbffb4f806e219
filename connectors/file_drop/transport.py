"""File drop's transport: folders in, folders out, `hub-partner drop`.

    out/        the agency's system puts NAME.json here, by renaming it into place; names ending in .part are not looked at
    working/    claimed by this program, by renaming; what lies here after a crash is taken up again and sends the same octets
    sent/       NAME.json, and NAME.receipt.json beside it
    refused/    NAME.json, and NAME.problem.json beside it
    in/         DELIVERY.json: a message with what it takes to verify it; DELIVERY.rejected.json: what could not be taken
    attachments/  files that outgoing ones name

A file is sent under the identity of its content: the same content dropped twice is one message, and gets its first receipt again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from connectors.contract import (
    Collected,
    Connector,
    Draft,
    HubChannel,
    HubUnreachableError,
    Incoming,
    Prepared,
    RefusedByHub,
    Round,
)
from connectors.file_drop import mapping
from connectors.hub_client.agency_files import PART_SUFFIX, file_name, sync_folder, write_json, write_whole
from connectors.hub_client.command_line import Invocation, json_option
from connectors.hub_client.exchange_commands import collected_members, describe_collected
from connectors.hub_client.stored_files import message_file
from hub.domain.refusals import Refusal, RefusalCode

FOLDERS = ("out", "working", "sent", "refused", "in", "attachments")
SETTLE_SECONDS = 2.0
"""A file younger than this may still be written by a program that does not rename; it is left for the next round."""

MAX_FILE_BYTES = 10 * 1024 * 1024
POLL_SECONDS = 10
PAUSE_SECONDS = 5.0
_SUFFIX = ".json"


@dataclass(frozen=True)
class FileDrop:
    """One drop folder. `settle_seconds` 0 takes files at once: for systems that always rename into place."""

    folder: Path
    settle_seconds: float = SETTLE_SECONDS
    wait_seconds: int = 0

    def run_once(self, hub: HubChannel) -> Round:
        """Send what lies in `working/` and `out/`, then take what has arrived.

        Raises:
            HubUnreachableError: only while collecting; a file that could not be sent stays in `working/`.
        """
        self._make_folders()
        done = Round()
        for path in [*self._left_over(), *self._claim()]:
            self._send(path, hub, done)
        done.received.extend(self._collect(hub))
        return done

    def _make_folders(self) -> None:
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def _left_over(self) -> list[Path]:
        return sorted(path for path in (self.folder / "working").glob(f"*{_SUFFIX}") if path.is_file())

    def _claim(self) -> Iterator[Path]:
        """Claim each outgoing file by renaming it; whoever renames first has it."""
        now = time.time()
        for path in sorted((self.folder / "out").iterdir()):
            if path.suffix != _SUFFIX or path.name.startswith(".") or path.name.endswith(PART_SUFFIX):
                continue
            try:
                if path.is_symlink() or not path.is_file() or now - path.stat().st_mtime < self.settle_seconds:
                    continue
                claimed = self._free_name(self.folder / "working", path.name)
                path.rename(claimed)
            except FileNotFoundError:
                continue  # another process was first
            sync_folder(claimed.parent)
            yield claimed

    def _send(self, path: Path, hub: HubChannel, done: Round) -> None:
        """Send one claimed file. Only what the hub signed settles it; else it stays and sends the same octets later."""
        try:
            prepared = hub.prepare(self._read(path))
        except HubUnreachableError:
            done.postponed.append(path.name)
        except Refusal as refusal:
            self._refuse(path, refusal, done)
        else:
            self._send_prepared(path, prepared, hub, done)

    def _send_prepared(self, path: Path, prepared: Prepared, hub: HubChannel, done: Round) -> None:
        try:
            sent = hub.send(prepared)
        except RefusedByHub as refusal:
            self._refuse(path, refusal, done)
        except (HubUnreachableError, Refusal):
            done.postponed.append(path.name)
        else:
            self._file_away(path, "sent", ".receipt.json", mapping.accepted_record(sent))
            done.sent.append(path.name)

    def _refuse(self, path: Path, refusal: Refusal, done: Round) -> None:
        self._file_away(path, "refused", ".problem.json", mapping.refused_record(refusal))
        done.refused.append(path.name)

    def _read(self, path: Path) -> Draft:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Refusal(RefusalCode.TOO_LARGE, f"an outgoing file has at most {MAX_FILE_BYTES} bytes")
        octets = path.read_bytes()
        files = {name: self._read_attachment(name) for name in mapping.attachment_names(octets)}
        return mapping.to_draft(octets, files)

    def _read_attachment(self, name: str) -> bytes:
        path = self.folder / "attachments" / name
        if Path(name).name != name or not path.is_file():
            raise Refusal(RefusalCode.NOT_FOUND, "an attachment that the file names does not lie in attachments/")
        return path.read_bytes()

    def _file_away(self, path: Path, place: str, suffix: str, record: bytes) -> None:
        """The record first, then the file: a crash in between repeats the sending, which is harmless."""
        target = self._free_name(self.folder / place, path.name)
        write_whole(target.with_name(target.name.removesuffix(_SUFFIX) + suffix), record)
        path.rename(target)
        sync_folder(target.parent)

    def _free_name(self, folder: Path, name: str) -> Path:
        stem = name.removesuffix(_SUFFIX)
        names = (name, *(f"{stem}.{number}{_SUFFIX}" for number in range(2, 10_000)))
        return next(folder / one for one in names if not (folder / one).exists())

    def _collect(self, hub: HubChannel) -> list[Collected]:
        collected = hub.collect(self._take, wait_seconds=self.wait_seconds)
        for item in collected:
            if item.refusal is not None:
                path = self.folder / "in" / f"{file_name(item.delivery)}.rejected.json"
                write_whole(path, mapping.rejected_record(item, item.refusal))
        return collected

    def _take(self, incoming: Incoming) -> None:
        place = self.folder / "in"
        write_json(place / f"{file_name(incoming.delivery)}{_SUFFIX}", message_file(incoming))
        (place / f"{incoming.delivery}.rejected.json").unlink(missing_ok=True)


@click.command("drop", epilog="Example: hub-partner drop /srv/agency/drop --once")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--once", is_flag=True, help="One round, then end; without it, go on until interrupted.")
@click.option(
    "--settle", type=click.FloatRange(min=0), default=SETTLE_SECONDS, show_default=True, help="Least age of a file, in seconds."
)
@json_option
@click.pass_obj
def drop_command(invocation: Invocation, folder: Path, once: bool, settle: float) -> None:
    """Exchange through a folder: what lies in FOLDER/out is sent, what arrives is put into FOLDER/in.

    With --once it ends with 0 only if nothing was refused, rejected or left for later.
    """
    drop = FileDrop(folder, settle, 0 if once else POLL_SECONDS)
    with invocation.client() as client:
        while True:
            is_clean = run_round(invocation, drop, client)
            if once:
                raise click.exceptions.Exit(0 if is_clean else 1)


def run_round(invocation: Invocation, drop: Connector, hub: HubChannel) -> bool:
    """One round, and what it did on the screen; whether nothing is left to look at."""
    try:
        done = drop.run_once(hub)
    except HubUnreachableError as error:
        click.echo(f"not settled, trying again: {error}", err=True)
        time.sleep(PAUSE_SECONDS)
        return False
    groups = {"sent": done.sent, "refused": done.refused, "postponed": done.postponed}
    lines = [f"{outcome}: {name}" for outcome, names in groups.items() for name in names]
    lines += ["why each was refused stands beside it in refused/, in NAME.problem.json"] if done.refused else []
    lines += [line for one in done.received for line in describe_collected(one)]
    if lines:
        invocation.report({**groups, "received": [collected_members(one) for one in done.received]}, lines)
    return not done.refused and not done.postponed and all(one.refusal is None for one in done.received)
