"""What the verification of a store can find, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is: an ERROR means that the store does not hold what the log committed to, or cannot prove it."""

    ERROR = "error"
    NOTE = "note"


class FlawCode(StrEnum):
    """Every kind of flaw. Codes are stable."""

    ENTRY_MISSING = "entry_missing"
    ENTRY_ALTERED = "entry_altered"
    ENTRY_BEYOND_LOG = "entry_beyond_log"
    TILE_ALTERED = "tile_altered"
    TILE_UNEXPECTED = "tile_unexpected"
    ROOT_ALTERED = "root_altered"
    CHECKPOINT_PENDING = "checkpoint_pending"
    CHECKPOINT_AHEAD = "checkpoint_ahead"
    CHECKPOINT_INVALID = "checkpoint_invalid"
    CHECKPOINT_CONTRADICTED = "checkpoint_contradicted"
    MESSAGE_MISSING = "message_missing"
    MESSAGE_UNLOGGED = "message_unlogged"
    CONTENT_ALTERED = "content_altered"
    DELIVERY_MISMATCH = "delivery_mismatch"
    RECEIPT_MISSING = "receipt_missing"
    RECEIPT_ALTERED = "receipt_altered"
    RECEIPT_UNLOGGED = "receipt_unlogged"
    ORPHAN = "orphan"


_RESTORE = "Stop the hub, keep this database as evidence, and restore the row from a backup that verifies."
_ASK = "Stop the hub and keep this database and the checkpoint as evidence: one of them was changed after it was signed."

EXPLANATIONS: dict[FlawCode, tuple[str, str]] = {
    FlawCode.ENTRY_MISSING: ("The log commits to an entry that is not stored.", _RESTORE),
    FlawCode.ENTRY_ALTERED: ("An entry, its nonce or its place is not what the log commits to.", _RESTORE),
    FlawCode.ENTRY_BEYOND_LOG: ("An entry has a place that the log does not reach.", _RESTORE),
    FlawCode.TILE_ALTERED: ("A tile is missing, has another length, or does not hash to what stands above it.", _RESTORE),
    FlawCode.TILE_UNEXPECTED: ("There is a tile that a log of this size does not have.", _RESTORE),
    FlawCode.ROOT_ALTERED: ("The stored root is not that of the tree.", _RESTORE),
    FlawCode.CHECKPOINT_PENDING: ("The log's present size is not signed yet.", "Run the worker: it signs within a second."),
    FlawCode.CHECKPOINT_AHEAD: ("A checkpoint is over more entries than the log has: its end was cut off.", _ASK),
    FlawCode.CHECKPOINT_INVALID: ("A checkpoint is not signed by this hub.", "Check that it is this hub's, and unchanged."),
    FlawCode.CHECKPOINT_CONTRADICTED: ("At a checkpoint's size the log has another root: its past was rewritten.", _ASK),
    FlawCode.MESSAGE_MISSING: ("The log tells of an accepted message that is not stored.", _RESTORE),
    FlawCode.MESSAGE_UNLOGGED: ("A message, or this digest of it, has no entry of its acceptance.", _RESTORE),
    FlawCode.CONTENT_ALTERED: ("A message's content does not decrypt to the octets with its digest.", _RESTORE),
    FlawCode.DELIVERY_MISMATCH: ("A message's deliveries are not to the recipients that its acceptance names.", _RESTORE),
    FlawCode.RECEIPT_MISSING: ("There is no receipt where the log, or an accepted message, calls for one.", _RESTORE),
    FlawCode.RECEIPT_ALTERED: ("A receipt's octets do not have its digest, or are not those that were signed.", _RESTORE),
    FlawCode.RECEIPT_UNLOGGED: ("No entry tells of a receipt.", _RESTORE),
    FlawCode.ORPHAN: ("A delivery, a release or a receipt belongs to nothing that is stored.", _RESTORE),
}
"""What each flaw means, and what to do."""


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong: `where` names it by index, path or id."""

    code: FlawCode
    where: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity.NOTE if self.code is FlawCode.CHECKPOINT_PENDING else Severity.ERROR

    @property
    def meaning(self) -> str:
        """What it means, one sentence."""
        return EXPLANATIONS[self.code][0]

    @property
    def advice(self) -> str:
        """What to do about it, one sentence."""
        return EXPLANATIONS[self.code][1]


@dataclass(frozen=True)
class VerificationReport:
    """What was compared, and every flaw up to a limit; `left_out` counts those past it.

    `root` is base64 of the root over the log's `size` entries, as a checkpoint has it. `pending` entries wait for their place.
    """

    size: int
    root: str
    pending: int
    messages: int
    checkpoints: int
    flaws: tuple[Flaw, ...]
    left_out: int

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return self.left_out == 0 and not any(flaw.severity is Severity.ERROR for flaw in self.flaws)
