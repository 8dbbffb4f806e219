"""The agency's folder: who it is, and what it must not forget between two runs. Every file is written whole or not at all.

agency.json         authority, sealing profile, the hub's address
hub.json            the hub's public keys and its log's verifier keys, pinned out of band
registration.json   the agency's public keys, for the hub's operator
keys/               private keys, encrypted, and the passphrase file unless it is kept elsewhere
state/              prepared messages, receipts, the inbox cursor, partners' keys, the newest checkpoint
inbox/              messages that were taken, one file a delivery
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode

PART_SUFFIX = ".part"
"""Of a file that is still being written; nobody reads such a file."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")


def write_whole(path: Path, octets: bytes) -> None:
    """Write a file of mode 0600 beside its place, sync it, and rename it into place; its folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=PART_SUFFIX)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write a JSON value for people to read, whole or not at all."""
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the folder's own JSON files; {} where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def file_name(text: str) -> str:
    """An id that came from outside, once it is known to be a plain file name.

    Raises:
        Refusal: INVALID_REQUEST, it could lead elsewhere.
    """
    if not _FILE_NAME.match(text):
        raise Refusal(RefusalCode.INVALID_REQUEST, "an id is not made of letters, digits, dot, dash and underscore")
    return text


@dataclass(frozen=True)
class Agency:
    """An agency's folder. `hub` is the hub's public address, as it stands in the hub's own metadata (its issuer)."""

    home: Path
    authority: str
    profile: SealingProfile
    hub: str

    @property
    def state(self) -> Path:
        """Where the client remembers."""
        return self.home / "state"

    @property
    def keys(self) -> Path:
        """Where the private keys lie."""
        return self.home / "keys"

    @property
    def inbox(self) -> Path:
        """Where messages are kept that were taken without another destination."""
        return self.home / "inbox"

    def save(self) -> None:
        """Write `agency.json`."""
        members = {"v": 1, "authority": self.authority, "profile": self.profile.value, "hub": self.hub}
        write_json(self.home / "agency.json", members)


def open_agency(home: Path) -> Agency:
    """Open an enrolled agency's folder.

    Raises:
        Refusal: INVALID_PARTY, nobody has enrolled there.
    """
    members: Mapping[str, Any] = read_json(home / "agency.json")
    try:
        return Agency(home, members["authority"], SealingProfile(members["profile"]), members["hub"])
    except (KeyError, ValueError):
        raise Refusal(RefusalCode.INVALID_PARTY, f"{home}: no agency is enrolled here; start with `hub-partner enrol`") from None
