"""The sequencer: gives audit entries their place in the log, and signs what the log has become.

Two transactions in this order, so that a crash between them leaves nothing wrong: first the places, the tiles and the new size,
compare-and-swapped; then the checkpoint over a size that is stored already. The next run signs what a dead one left unsigned.
"""

from __future__ import annotations

from datetime import timedelta

from hub.crypto import merkle
from hub.crypto.notes import Checkpoint, write_note
from hub.services.hub import Hub
from hub.storage import audit, log
from hub.storage.store import Work

MOST_AT_ONCE = 1024
SEQUENCING_PAUSE = timedelta(milliseconds=500)
"""How long the worker rests when nothing is pending, so that an entry is in a signed checkpoint within a second."""


def sequence_pending(hub: Hub, most: int = MOST_AT_ONCE) -> int:
    """Give pending entries their place in the log, oldest first, and sign the checkpoint of what it has become.

    Any node may call this at any time: one does the work, the others find that there is nothing to do.

    Returns:
        How many entries got their place, at most `most`.
    """
    with hub.store.reading() as work:
        waiting = bool(audit.pending(work, 1))
    placed = hub.store.write(lambda work: _place_pending(work, most)) if waiting else 0
    sign_checkpoint(hub)
    return placed


def sign_checkpoint(hub: Hub) -> None:
    """Sign the log's present size and root where that was not done yet: Ed25519, and an ML-DSA-44 cosignature beside it."""
    with hub.store.reading() as work:
        size, root = log.state(work)
        latest = log.latest_checkpoint(work)
    if latest is not None and latest[0] >= size:
        return
    now = hub.clock.now()
    checkpoint = Checkpoint(hub.name, size, root)
    signature = hub.keyring.log_signer(hub.name, now).sign(checkpoint)
    cosignature = hub.keyring.log_cosigner(hub.name, now).cosign(checkpoint, int(now.timestamp()))
    note = write_note(checkpoint, [signature, cosignature]).decode()
    hub.store.write(lambda work: log.record_checkpoint(work, size, note, now))


def _place_pending(work: Work, most: int) -> int:
    if not log.lead(work):
        return 0
    rows = audit.pending(work, most)
    if not rows:
        return 0
    size, _root = log.state(work)
    values = [merkle.commitment(row.nonce, row.entry) for row in rows]
    grown = merkle.append(size, values, lambda level, number: log.read_tile(work, level, number))
    log.extend(work, size, grown.size, grown.root)
    log.write_tiles(work, grown.tiles)
    audit.place(work, rows, size)
    return len(rows)
