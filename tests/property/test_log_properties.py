"""Laws of the tree: every leaf and every growth can be proved, and no other leaf, place, size or root."""

import hashlib

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.crypto import merkle
from hub.domain.refusals import Refusal, RefusalCode

SIZE = 700
VALUES = [hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(SIZE)]
TILES: dict[tuple[int, int], bytes] = {}
SIZES = st.integers(1, SIZE)


def read_tile(level: int, index: int) -> bytes:
    return TILES[level, index]


TILES |= merkle.append(0, VALUES, read_tile).tiles


def root(size: int) -> bytes:
    return merkle.root_hash(size, read_tile)


@st.composite
def leaves(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(SIZES)
    return draw(st.integers(0, size - 1)), size


@st.composite
def growths(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(SIZES)
    return draw(st.integers(1, size)), size


@given(st.lists(st.integers(0, 300), max_size=6))
def test_the_root_does_not_depend_on_how_the_leaves_came(batches: list[int]) -> None:
    tiles: dict[tuple[int, int], bytes] = {}

    def read(level: int, index: int) -> bytes:
        return tiles[level, index]

    size, values = 0, (VALUES * 3)[: sum(batches)]
    for batch in batches:
        growth = merkle.append(size, values[size : size + batch], read)
        tiles |= growth.tiles
        size = growth.size
    assert tiles == merkle.append(0, values, read).tiles


@given(leaves())
def test_every_leaf_is_proved(place: tuple[int, int]) -> None:
    index, size = place
    merkle.verify_inclusion(
        index, size, merkle.leaf_hash(VALUES[index]), merkle.inclusion_proof(index, size, read_tile), root(size)
    )


@given(leaves(), st.integers(0, 2 * SIZE))
def test_a_proof_is_good_for_its_own_place_only(place: tuple[int, int], other: int) -> None:
    index, size = place
    leaf, proof = merkle.leaf_hash(VALUES[index]), merkle.inclusion_proof(index, size, read_tile)
    if other != index:
        with pytest.raises(Refusal) as caught:
            merkle.verify_inclusion(other, size, leaf, proof, root(size))
        assert caught.value.code is RefusalCode.BAD_PROOF


@given(leaves(), st.data())
def test_an_altered_proof_proves_nothing(place: tuple[int, int], data: st.DataObject) -> None:
    index, size = place
    proof = merkle.inclusion_proof(index, size, read_tile)
    hashes = [merkle.leaf_hash(VALUES[index]), root(size), *proof]
    which = data.draw(st.integers(0, len(hashes) - 1))
    hashes[which] = bytes([hashes[which][0] ^ 1]) + hashes[which][1:]
    with pytest.raises(Refusal) as caught:
        merkle.verify_inclusion(index, size, hashes[0], hashes[2:], hashes[1])
    assert caught.value.code is RefusalCode.BAD_PROOF


@given(growths())
def test_every_growth_is_proved(sizes: tuple[int, int]) -> None:
    old, new = sizes
    merkle.verify_consistency(old, new, root(old), root(new), merkle.consistency_proof(old, new, read_tile))


@given(growths(), SIZES)
def test_growth_from_another_root_is_not_proved(sizes: tuple[int, int], other: int) -> None:
    old, new = sizes
    if other != old:
        with pytest.raises(Refusal) as caught:
            merkle.verify_consistency(old, new, root(other), root(new), merkle.consistency_proof(old, new, read_tile))
        assert caught.value.code is RefusalCode.BAD_PROOF


def test_another_implementation_computes_the_same_roots_and_the_same_proofs() -> None:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for size, value in enumerate(VALUES[:300], start=1):
        tree.append_entry(value)
        assert tree.get_root() == root(size)
    for index in (0, 76, 255, 256, 299):
        leaf, *proof = (bytes.fromhex(one) for one in tree.prove_inclusion(index + 1, 300).serialize()["path"])
        assert leaf == merkle.leaf_hash(VALUES[index])
        assert proof == merkle.inclusion_proof(index, 300, read_tile)
