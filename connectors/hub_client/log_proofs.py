"""The hub's log as its partners hold it to account: receipts proved to be in it, and no checkpoint ever taken back.

The newest checkpoint that was seen is kept. Whatever the hub shows later must grow out of it; if it does not, the log has two
histories, and both signed checkpoints are kept as evidence.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.contract import RefusedByHub, VerifiedReceipt
from connectors.hub_client.agency_files import write_whole
from connectors.hub_client.trust import HubPins
from hub.crypto.merkle import commitment, leaf_hash, verify_consistency, verify_inclusion
from hub.crypto.notes import Checkpoint, verify_checkpoint
from hub.domain.encoding import b64url_decode
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object

MAX_PROOF_LINES = 64
_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})\Z")

AskForConsistency = Callable[[int, int], list[bytes]]
"""(old size, new size) to the hashes of the consistency proof, as the hub gives them."""


class LogForkedError(Refusal):
    """The log shows two histories: the alarm. Both checkpoints lie in the state folder, each signed by the log."""

    def __init__(self, detail: str) -> None:
        super().__init__(RefusalCode.BAD_PROOF, f"THE LOG HAS FORKED: {detail}")


@dataclass(frozen=True)
class LogProof:
    """A tlog-proof (C2SP), not yet verified: the leaf's index, the inclusion proof, and the checkpoint as a signed note."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes


@dataclass(frozen=True)
class ProvedEntry:
    """A log entry that is proved to stand in the log at `index`, under the checkpoint that `note` signs."""

    index: int
    checkpoint: Checkpoint
    note: bytes
    entry: Mapping[str, Any]


def parse_log_proof(text: str) -> LogProof:
    """Read a tlog-proof.

    Raises:
        Refusal: BAD_PROOF.
    """
    head, blank, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if lines and lines[0].startswith("extra "):
        lines = lines[1:]
    match = _INDEX.match(lines[0]) if lines else None
    if first != _FIRST_LINE or not blank or match is None or len(lines) > MAX_PROOF_LINES + 1:
        raise Refusal(RefusalCode.BAD_PROOF, "not a tlog-proof")
    try:
        hashes = tuple(base64.b64decode(line, validate=True) for line in lines[1:])
    except ValueError:
        raise Refusal(RefusalCode.BAD_PROOF, "not a tlog-proof") from None
    return LogProof(int(match[1]), hashes, note.encode())


def prove_receipt(receipt: VerifiedReceipt, entry_text: str, nonce_text: str, proof_text: str, pins: HubPins) -> ProvedEntry:
    """Verify that the log holds the entry which tells of a receipt.

    1. The checkpoint is signed with the pinned key of the log. 2. SHA-256(nonce || entry) stands in its tree at that index.
    3. The entry is about the receipt's exchange and names the receipt's digest (`of` where the hub's answers it).

    Raises:
        Refusal: BAD_PROOF, MALFORMED_ENVELOPE; RECEIPT_MISMATCH, the entry tells of something else.
    """
    proof = parse_log_proof(proof_text)
    checkpoint = verify_checkpoint(proof.checkpoint, pins.log_key, pins.cosigners).checkpoint
    octets = entry_text.encode()
    try:
        leaf = leaf_hash(commitment(b64url_decode(nonce_text), octets))
    except ValueError:
        raise Refusal(RefusalCode.BAD_PROOF, "the nonce is malformed") from None
    verify_inclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root)
    entry = parse_object(octets)
    details = entry.get("details")
    named = {details.get("receipt"), details.get("of")} if isinstance(details, dict) else set()
    if entry.get("exchange") != receipt.exchange or receipt.digest not in named:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the log entry tells of another receipt")
    return ProvedEntry(proof.index, checkpoint, proof.checkpoint, entry)


class CheckpointKeeper:
    """Keeps the newest checkpoint that was seen, and raises the alarm when the log turns away from it."""

    def __init__(self, folder: Path, pins: HubPins) -> None:
        self._folder = folder
        self._pins = pins

    @property
    def path(self) -> Path:
        """The kept checkpoint, a signed note: what `hub audit verify --against` takes."""
        return self._folder / "checkpoint.txt"

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that was seen; None before the first."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return verify_checkpoint(octets, self._pins.log_key, self._pins.cosigners).checkpoint

    def compare(self, note: bytes, ask: AskForConsistency) -> Checkpoint:
        """Check a checkpoint against the kept one, and keep it if it is newer.

        A log that refuses to prove that one follows from the other has forked too: it signed both sizes, so it could.

        Raises:
            Refusal: BAD_PROOF, the note is not signed by the pinned log.
            LogForkedError: it and the kept one are of two histories.
        """
        shown = verify_checkpoint(note, self._pins.log_key, self._pins.cosigners).checkpoint
        kept = self.newest()
        if kept is not None:
            self._require_one_history(kept, shown, note, ask)
        if kept is None or shown.size > kept.size:
            write_whole(self.path, note)
        return shown

    def _require_one_history(self, kept: Checkpoint, shown: Checkpoint, note: bytes, ask: AskForConsistency) -> None:
        old, new = sorted((kept, shown), key=lambda one: one.size)
        if old.size == 0:
            return
        try:
            proof = [] if old.size == new.size else ask(old.size, new.size)
        except RefusedByHub as refusal:
            raise self._alarm(kept, shown, note, refusal.detail) from None
        try:
            verify_consistency(old.size, new.size, old.root, new.root, proof)
        except Refusal as refusal:
            raise self._alarm(kept, shown, note, refusal.detail) from None

    def _alarm(self, kept: Checkpoint, shown: Checkpoint, note: bytes, detail: str) -> LogForkedError:
        """Keep both checkpoints as evidence."""
        folder = self._folder / "log-fork"
        write_whole(folder / "kept.txt", self.path.read_bytes())
        write_whole(folder / f"shown-{shown.size}-{shown.root.hex()[:16]}.txt", note)
        return LogForkedError(f"size {shown.size} against size {kept.size}: {detail}")
