"""The log verified from its leaves up: each entry against its tile, each tile against the one above, each signed root."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from hub.crypto import merkle
from hub.domain.verification import Flaw, FlawCode
from hub.storage import audit, evidence, log
from hub.storage.audit import AuditRow
from hub.storage.store import Work

MAX_FLAWS = 1000
TILES_AT_ONCE = 16


class FlawList:
    """The flaws found so far, up to a limit."""

    def __init__(self) -> None:
        self.flaws: list[Flaw] = []
        self.left_out = 0

    def add(self, code: FlawCode, where: str) -> None:
        """Note a flaw."""
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(Flaw(code, where))
        else:
            self.left_out += 1


class SignedRoots:
    """The roots that checkpoints state, by the size they are over; `name` says which checkpoint it is."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
        self.count = 0

    def add(self, name: str, size: int, root: bytes) -> None:
        """Expect the log to have this root at this size."""
        self._by_size[size].append((name, root))
        self.count += 1

    def compare(self, size: int, root: Callable[[int], bytes], flaws: FlawList) -> None:
        """Compare those over `size` with the tree."""
        for name, stated in self._by_size.get(size, ()):
            if stated != root(size):
                flaws.add(FlawCode.CHECKPOINT_CONTRADICTED, name)

    def ahead_of(self, size: int, flaws: FlawList) -> None:
        """Note those that are over more entries than there are."""
        for larger in (one for one in self._by_size if one > size):
            for name, _root in self._by_size[larger]:
                flaws.add(FlawCode.CHECKPOINT_AHEAD, name)


class _RightEdge:
    """A tree that grows leaf by leaf and keeps its unfinished tiles only. `finish` is told of each tile that is full."""

    def __init__(self, finish: Callable[[int, int, bytes], None]) -> None:
        self._finish = finish
        self._tiles: list[bytearray] = [bytearray()]
        self._numbers = [0]

    def add(self, leaf: bytes) -> None:
        """Add a leaf's hash."""
        level = 0
        self._tiles[0] += leaf
        while len(self._tiles[level]) == merkle.TILE_WIDTH * merkle.HASH_OCTETS:
            full = bytes(self._tiles[level])
            self._finish(level, self._numbers[level], full)
            self._tiles[level].clear()
            self._numbers[level] += 1
            level += 1
            if level == len(self._tiles):
                self._tiles.append(bytearray())
                self._numbers.append(0)
            self._tiles[level] += merkle.perfect_root(full)

    def root(self, size: int) -> bytes:
        """The root over all leaves so far, `size` of them."""
        return merkle.root_hash(size, lambda level, _number: bytes(self._tiles[level]))

    def unfinished(self) -> Iterator[tuple[int, int, bytes]]:
        """The tiles at the right edge that are not full, as (level, number, hashes)."""
        for level, tile in enumerate(self._tiles):
            if tile:
                yield level, self._numbers[level], bytes(tile)

    def last_numbers(self) -> dict[int, int]:
        """The highest tile number of each level."""
        lasts = {level: number - (not tile) for level, (number, tile) in enumerate(zip(self._numbers, self._tiles, strict=True))}
        return {level: number for level, number in lasts.items() if number >= 0}


def walk_log(work: Work, signed: SignedRoots, flaws: FlawList) -> Iterator[list[AuditRow]]:
    """Verify the whole log, in constant memory, handing out its entries in pages as they are compared.

    The tree is built from the leaf tiles, so that one altered entry is one flaw; an altered leaf tile shows in the entries under
    it and in every root from there on.
    """
    size, root = log.state(work)

    def compare_with_stored(level: int, number: int, hashes: bytes) -> None:
        if level and log.read_tile(work, level, number) != hashes:
            flaws.add(FlawCode.TILE_ALTERED, f"tile {level}/{number}")

    tree = _RightEdge(compare_with_stored)
    signed.compare(0, tree.root, flaws)
    page = TILES_AT_ONCE * merkle.TILE_WIDTH
    for start in range(0, size, page):
        end = min(start + page, size)
        rows = {row.tree_index or 0: row for row in audit.sequenced(work, start, end)}
        _note_missing(rows.keys(), start, end, flaws)
        for first in range(start, end, merkle.TILE_WIDTH):
            for index, leaf in _leaf_hashes(work, rows, first, min(first + merkle.TILE_WIDTH, end), flaws):
                tree.add(leaf)
                signed.compare(index + 1, tree.root, flaws)
        yield list(rows.values())
    for level, number, hashes in tree.unfinished():
        compare_with_stored(level, number, hashes)
    if tree.root(size) != root:
        flaws.add(FlawCode.ROOT_ALTERED, f"size {size}")
    if log.last_tiles(work) != tree.last_numbers():
        flaws.add(FlawCode.TILE_UNEXPECTED, f"a log of size {size} has other last tiles")
    for index in evidence.places_beyond(work, size, MAX_FLAWS):
        flaws.add(FlawCode.ENTRY_BEYOND_LOG, f"entry {index}")
    signed.ahead_of(size, flaws)


def _leaf_hashes(work: Work, rows: dict[int, AuditRow], first: int, end: int, flaws: FlawList) -> Iterator[tuple[int, bytes]]:
    """The hashes of one leaf tile with their indices, each compared with its entry; where the tile has none, the entry's."""
    number = first // merkle.TILE_WIDTH
    tile = log.read_tile(work, 0, number)
    if len(tile) != (end - first) * merkle.HASH_OCTETS:
        flaws.add(FlawCode.TILE_ALTERED, f"tile 0/{number}")
    for index in range(first, end):
        offset = (index - first) * merkle.HASH_OCTETS
        stored = tile[offset : offset + merkle.HASH_OCTETS]
        row = rows.get(index)
        computed = (
            merkle.leaf_hash(merkle.commitment(row.nonce, row.entry)) if row and len(row.nonce) == merkle.NONCE_OCTETS else b""
        )
        if row is not None and len(stored) == merkle.HASH_OCTETS and stored != computed:
            flaws.add(FlawCode.ENTRY_ALTERED, f"entry {index}")
        yield index, stored if len(stored) == merkle.HASH_OCTETS else computed or merkle.EMPTY_ROOT


def _note_missing(found: Iterable[int], start: int, end: int, flaws: FlawList) -> None:
    missing = sorted(set(range(start, end)) - set(found))
    for _, run in itertools.groupby(enumerate(missing), key=lambda pair: pair[1] - pair[0]):
        indices = [index for _, index in run]
        flaws.add(FlawCode.ENTRY_MISSING, f"entry {indices[0]}" + (f" to {indices[-1]}" if len(indices) > 1 else ""))
