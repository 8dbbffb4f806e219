"""Reading the log: its checkpoint and tiles for everybody, proofs from it, and a party's own entries with their nonces.

Tiles and bundles are immutable and hold commitments only. An entry and its nonce go to those whom it is about.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.crypto import merkle
from hub.crypto.key_manifest import HeldKeyUse
from hub.crypto.notes import Checkpoint, KeyType, NoteKey, parse_note, verify_checkpoint
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.encoding import b64url_decode
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object
from hub.services.callers import Caller
from hub.services.hub import Hub
from hub.storage import audit, log, messages, receipts
from hub.storage.store import Work

_TILE_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9]|[1-5][0-9]|6[0-3])/(?P<groups>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?\Z"
)
_RECEIPT_MEMBERS = ("receipt", "of")  # what an entry's details call the hub's receipt, and the partner's that it answers


@dataclass(frozen=True)
class ReceiptProof:
    """What proves that the log holds the entry that tells of a receipt.

    `entry` is canonical JSON, `nonce` has 32 octets, and SHA-256(nonce || entry) is the value of leaf `index`; `proof` is a
    tlog-proof (C2SP) from there to the checkpoint that it ends with.
    """

    entry: bytes
    nonce: bytes
    index: int
    proof: str


def latest_checkpoint(hub: Hub) -> str:
    """The newest checkpoint that was signed, a signed note.

    Raises:
        Refusal: NOT_FOUND before the first one.
    """
    with hub.store.reading() as work:
        return _latest(work)[1]


def read_tile(hub: Hub, path: str) -> bytes:
    """A tile or an entry bundle by its path (C2SP tlog-tiles): `tile/0/x001/067`, `tile/1/000.p/7`, `tile/entries/000`.

    Returns:
        256 hashes of 32 octets, or as many as the width says; for a bundle the leaves' values, 32 octets each behind their length
        as two octets.

    Raises:
        Refusal: NOT_FOUND where the log has no such tile (yet), or no tile could have that path.
    """
    match = _TILE_PATH.match(path)
    width = int(match["width"] or merkle.TILE_WIDTH) if match else 0
    if match is None or not 0 < width <= merkle.TILE_WIDTH or (match["width"] and width == merkle.TILE_WIDTH):
        raise Refusal(RefusalCode.NOT_FOUND)
    number = int(match["groups"].replace("x", "").replace("/", ""))
    with hub.store.reading() as work:
        if match["level"] == "entries":
            values = _leaf_values(work, number * merkle.TILE_WIDTH, width)
        else:
            tile = log.read_tile(work, int(match["level"]), number)[: width * merkle.HASH_OCTETS]
            values = [tile] if len(tile) == width * merkle.HASH_OCTETS else []
    canonical = merkle.tile_path(0, number, width).removeprefix("tile/0/")
    if not values or path != f"tile/{match['level']}/{canonical}":
        raise Refusal(RefusalCode.NOT_FOUND)
    return b"".join(values)


def prove_inclusion(hub: Hub, index: int, size: int) -> list[bytes]:
    """The hashes from leaf `index` to the root of the log when it had `size` leaves.

    Raises:
        Refusal: INVALID_REQUEST where there is no such leaf or the log does not have that size.
    """
    with hub.store.reading() as work:
        _require_size(work, size)
        try:
            return merkle.inclusion_proof(index, size, lambda level, number: log.read_tile(work, level, number))
        except ValueError as error:
            raise Refusal(RefusalCode.INVALID_REQUEST, str(error)) from None


def prove_consistency(hub: Hub, old_size: int, size: int) -> list[bytes]:
    """The hashes that show that the log at `size` only adds to what it was at `old_size`.

    Raises:
        Refusal: INVALID_REQUEST where the sizes are not ascending from 1, or the log does not have that size.
    """
    with hub.store.reading() as work:
        _require_size(work, size)
        try:
            return merkle.consistency_proof(old_size, size, lambda level, number: log.read_tile(work, level, number))
        except ValueError as error:
            raise Refusal(RefusalCode.INVALID_REQUEST, str(error)) from None


def prove_receipts(hub: Hub, caller: Caller, exchange: str) -> dict[str, ReceiptProof]:
    """Disclose the log entries that tell of an exchange's receipts: all to the sender, to a recipient those that concern it.

    Args:
        hub: the hub.
        caller: who asks. It is audited.
        exchange: the exchange.

    Returns:
        By the digest of the receipt (base64url SHA-256 of its payload). A receipt that the log's newest checkpoint does not cover
        yet, for at most a second, is left out.

    Raises:
        Refusal: NOT_FOUND where there is no such exchange or the caller had no part in it.
    """
    proofs: dict[str, ReceiptProof] = {}
    with hub.store.reading() as work:
        wanted = _digests_seen(work, caller.authority, exchange)
        size, note = log.latest_checkpoint(work) or (0, "")
        for row in audit.of_exchange(work, exchange):
            named = wanted & receipts_named(parse_object(row.entry))
            if named and row.tree_index is not None and row.tree_index < size:
                hashes = merkle.inclusion_proof(row.tree_index, size, lambda level, number: log.read_tile(work, level, number))
                proof = ReceiptProof(row.entry, row.nonce, row.tree_index, write_log_proof(row.tree_index, hashes, note))
                proofs = dict.fromkeys(named, proof) | proofs  # the entry that told of it first stands
    details = {"key": caller.kid, "proofs": len(proofs)}
    hub.note_alone(AuditEntry(AuditEvent.EVIDENCE_READ, hub.clock.now(), caller.authority, exchange=exchange, details=details))
    return proofs


def receipts_named(entry: Mapping[str, Any]) -> set[str]:
    """The digests of the receipts that an entry, read from its JSON, tells of."""
    details = entry.get("details", {})
    return {details[name] for name in _RECEIPT_MEMBERS if name in details}


def write_log_proof(index: int, hashes: list[bytes], note: str) -> str:
    """Write an inclusion proof and the checkpoint that it leads to as one text (C2SP tlog-proof)."""
    lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *(base64.b64encode(one).decode() for one in hashes)]
    return "\n".join(lines) + "\n\n" + note


def log_keys(hub: Hub, use: HeldKeyUse) -> list[NoteKey]:
    """The public keys of the log (LOG) or of its cosigner (LOG_COSIGNATURE): the present one, and earlier ones not revoked."""
    found = [line.public_jwk for line in hub.keyring.lines if line.use is use]
    if use is HeldKeyUse.LOG:
        return [NoteKey(hub.name, KeyType.ED25519, b64url_decode(jwk["x"])) for jwk in found]
    return [NoteKey(hub.name, KeyType.ML_DSA_44_COSIGNATURE, b64url_decode(jwk["pub"])) for jwk in found]


def verify_own_checkpoint(hub: Hub, note: str) -> Checkpoint:
    """Verify that this hub signed a checkpoint, with a log key that it has or had, and cosigned it.

    Raises:
        Refusal: BAD_PROOF.
    """
    octets = note.encode()
    named = {(one.name, one.key_id) for one in parse_note(octets).signatures}
    keys = [key for key in log_keys(hub, HeldKeyUse.LOG) if (key.name, key.key_id) in named]
    if not keys:
        raise Refusal(RefusalCode.BAD_PROOF, "no log key of this hub signed the checkpoint")
    cosigners = log_keys(hub, HeldKeyUse.LOG_COSIGNATURE)
    verified = verify_checkpoint(octets, keys[0], cosigners)
    if not verified.cosigned_at:
        raise Refusal(RefusalCode.BAD_PROOF, "the checkpoint has no cosignature of this hub")
    return verified.checkpoint


def _latest(work: Work) -> tuple[int, str]:
    latest = log.latest_checkpoint(work)
    if latest is None:
        raise Refusal(RefusalCode.NOT_FOUND, "no checkpoint was signed yet")
    return latest


def _require_size(work: Work, size: int) -> None:
    if not 0 <= size <= _latest(work)[0]:
        raise Refusal(RefusalCode.INVALID_REQUEST, "the log does not have this size")


def _leaf_values(work: Work, start: int, count: int) -> list[bytes]:
    rows = list(audit.sequenced(work, start, start + count))
    if len(rows) != count:
        return []
    length = merkle.HASH_OCTETS.to_bytes(2, "big")
    return [length + merkle.commitment(row.nonce, row.entry) for row in rows]


def _digests_seen(work: Work, authority: str, exchange: str) -> set[str]:
    if not messages.involves(work, exchange, authority):
        raise Refusal(RefusalCode.NOT_FOUND)
    head = messages.heads(work, [exchange])[exchange]
    seen = [one for one in receipts.of_exchange(work, exchange) if authority in (head.sender, one.recipient)]
    return {one.digest for one in seen}
