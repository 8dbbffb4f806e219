"""The Merkle tree of RFC 6962 over C2SP tiles: growing it, proving from it, and verifying proofs.

The functions are pure. What is stored comes in through `read_tile(level, index)`, which returns the hashes of that tile, 32
octets each, at least as many as the tree size in question has; a tile that has grown since is as good, because its hashes never
change. Each operation reads O(log n) tiles, a tile once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hub.domain.refusals import HubFault, Refusal, RefusalCode

HASH_OCTETS = 32
TILE_HEIGHT = 8
TILE_WIDTH = 256
NONCE_OCTETS = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
_MAX_PROOF_HASHES = 64

ReadTile = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Growth:
    """What an append leaves behind: the new size and root, and the whole content of each tile that changed, by (level, index)."""

    size: int
    root: bytes
    tiles: Mapping[tuple[int, int], bytes]


def new_nonce() -> bytes:
    """32 random octets that hide a log entry inside its leaf until both are disclosed."""
    return secrets.token_bytes(NONCE_OCTETS)


def commitment(nonce: bytes, entry: bytes) -> bytes:
    """SHA-256(nonce || entry): the value of a leaf. Everybody may see it; it tells nothing about the entry."""
    if len(nonce) != NONCE_OCTETS:
        raise ValueError("a nonce has 32 octets")
    return hashlib.sha256(nonce + entry).digest()


def leaf_hash(value: bytes) -> bytes:
    """SHA-256(00 || value) (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + value).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(01 || left || right) (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """The path of a tile below the log's prefix (C2SP tlog-tiles): index in groups of three digits, `.p/W` where partial."""
    if level < 0 or index < 0 or not 1 <= width <= TILE_WIDTH:
        raise ValueError("no such tile")
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"


def append(size: int, values: Sequence[bytes], read_tile: ReadTile) -> Growth:
    """Grow a tree of `size` leaves by leaf values, in order. Nothing is stored: the caller stores the tiles, then the size.

    Raises:
        HubFault: a stored tile is shorter than the size says.
    """
    tiles: dict[tuple[int, int], bytes] = {}
    fresh = [leaf_hash(value) for value in values]
    level, start = 0, size
    while fresh:
        completed: list[bytes] = []
        position = 0
        while position < len(fresh):
            index, held = divmod(start + position, TILE_WIDTH)
            batch = fresh[position : position + TILE_WIDTH - held]
            before = _tile_prefix(read_tile, level, index, held)
            tiles[level, index] = before + b"".join(batch)
            position += len(batch)
            if held + len(batch) == TILE_WIDTH:
                completed.append(perfect_root(tiles[level, index]))
        fresh, level, start = completed, level + 1, start // TILE_WIDTH
    new_size = size + len(values)
    return Growth(new_size, root_hash(new_size, _overlay(tiles, read_tile)), tiles)


def root_hash(size: int, read_tile: ReadTile) -> bytes:
    """MTH of the first `size` leaves; the hash of nothing for size 0.

    Raises:
        HubFault: a stored tile is shorter than the size says.
    """
    return _Tree(read_tile).range_hash(0, size) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read_tile: ReadTile) -> list[bytes]:
    """PATH(index, D[size]) (RFC 6962 section 2.1.1), leaf end first.

    Raises:
        ValueError: there is no such leaf in a tree of that size.
        HubFault: a stored tile is shorter than the size says.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    tree = _Tree(read_tile)
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split_point(end - start)
        if index < middle:
            proof.append(tree.range_hash(middle, end))
            end = middle
        else:
            proof.append(tree.range_hash(start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(old_size: int, size: int, read_tile: ReadTile) -> list[bytes]:
    """PROOF(old_size, D[size]) (RFC 6962 section 2.1.2); empty where the sizes are equal.

    Raises:
        ValueError: the old size is 0 or greater than the new one.
        HubFault: a stored tile is shorter than the size says.
    """
    if not 0 < old_size <= size:
        raise ValueError("the old size is at least 1 and at most the new one")
    tree = _Tree(read_tile)
    proof: list[bytes] = []
    start, end = 0, size
    old_root_is_known = True
    while end != old_size:
        middle = start + _split_point(end - start)
        if old_size <= middle:
            proof.append(tree.range_hash(middle, end))
            end = middle
        else:
            proof.append(tree.range_hash(start, middle))
            start = middle
            old_root_is_known = False
    if not old_root_is_known:
        proof.append(tree.range_hash(start, end))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Verify that the leaf hash stands at `index` in the tree of that size and root (RFC 9162 section 2.1.3.2).

    Raises:
        Refusal: BAD_PROOF.
    """
    _require_hashes([leaf, root, *proof])
    if not 0 <= index < size:
        raise _bad_proof("the leaf lies outside the tree")
    result = leaf
    for sibling, stands_left in _climb(index, size - 1, proof):
        result = node_hash(sibling, result) if stands_left else node_hash(result, sibling)
    if result != root:
        raise _bad_proof("the proof does not lead to the root")


def verify_consistency(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """Verify that the new tree only adds to the old one (RFC 9162 section 2.1.4.2). Size 0 proves nothing and is refused.

    Raises:
        Refusal: BAD_PROOF.
    """
    _require_hashes([old_root, root, *proof])
    if not 0 < old_size <= size:
        raise _bad_proof("the sizes are not those of a growing tree")
    if old_size == size:
        if proof or old_root != root:
            raise _bad_proof("two roots for one size")
        return
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise _bad_proof("the proof is too short")
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_result = new_result = hashes[0]
    for sibling, stands_left in _climb(node, last, hashes[1:]):
        old_result = node_hash(sibling, old_result) if stands_left else old_result
        new_result = node_hash(sibling, new_result) if stands_left else node_hash(new_result, sibling)
    if old_result != old_root or new_result != root:
        raise _bad_proof("the proof does not lead to both roots")


def _climb(node: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Go from a node to the root: each sibling, and whether it stands on the left. The proof must end exactly at the root."""
    for sibling in proof:
        if last == 0:
            raise _bad_proof("the proof is too long")
        stands_left = bool(node & 1) or node == last
        yield sibling, stands_left
        while stands_left and node and not node & 1:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if last:
        raise _bad_proof("the proof is too short")


class _Tree:
    """One reading of the stored tiles: each tile is read once."""

    def __init__(self, read_tile: ReadTile) -> None:
        self._read_tile = read_tile
        self._tiles: dict[tuple[int, int], bytes] = {}

    def range_hash(self, start: int, end: int) -> bytes:
        """MTH(D[start:end]), where the range is a node of the tree or ends at its right edge."""
        count = end - start
        if count & (count - 1) == 0:
            return self._perfect_hash(count.bit_length() - 1, start // count)
        middle = start + _split_point(count)
        return node_hash(self.range_hash(start, middle), self.range_hash(middle, end))

    def _perfect_hash(self, height: int, position: int) -> bytes:
        """The root of the perfect subtree of 2^height leaves that starts at leaf position * 2^height."""
        level, height_in_tile = divmod(height, TILE_HEIGHT)
        index, offset = divmod(position << height_in_tile, TILE_WIDTH)
        end = (offset + (1 << height_in_tile)) * HASH_OCTETS
        if (level, index) not in self._tiles:
            self._tiles[level, index] = self._read_tile(level, index)
        hashes = self._tiles[level, index][offset * HASH_OCTETS : end]
        if len(hashes) != HASH_OCTETS << height_in_tile:
            raise HubFault(f"the tile {level}/{index} of the log is shorter than its size says")
        return perfect_root(hashes)


def _split_point(count: int) -> int:
    """The largest power of two smaller than `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def perfect_root(hashes: bytes) -> bytes:
    """The root over a power of two of hashes that lie one after the other: that of a full tile stands in the tile above it."""
    row = [hashes[i : i + HASH_OCTETS] for i in range(0, len(hashes), HASH_OCTETS)]
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def _tile_prefix(read_tile: ReadTile, level: int, index: int, held: int) -> bytes:
    if held == 0:
        return b""
    prefix = read_tile(level, index)[: held * HASH_OCTETS]
    if len(prefix) != held * HASH_OCTETS:
        raise HubFault(f"the tile {level}/{index} of the log is shorter than its size says")
    return prefix


def _overlay(tiles: Mapping[tuple[int, int], bytes], read_tile: ReadTile) -> ReadTile:
    def read(level: int, index: int) -> bytes:
        return tiles[level, index] if (level, index) in tiles else read_tile(level, index)

    return read


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > _MAX_PROOF_HASHES + 2 or any(len(one) != HASH_OCTETS for one in hashes):
        raise _bad_proof("a hash does not have 32 octets, or there are too many")


def _bad_proof(detail: str) -> Refusal:
    return Refusal(RefusalCode.BAD_PROOF, detail)
