import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from hub.crypto import merkle
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from tests.vectors.files import ACCEPTED, read_json

ROOTS = read_json("tlog/rfc6962_known_roots.json")
VECTORS = read_json("tlog/merkle_vectors.json")
SHORT_ROOT = "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json"  # see PROVENANCE.md
Tiles = dict[tuple[int, int], bytes]


def tree_head(leaves: list[bytes]) -> bytes:
    """MTH by its definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + tree_head(leaves[:split]) + tree_head(leaves[split:])).digest()


def values(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


def grown(batches: list[int]) -> tuple[merkle.Growth, Tiles]:
    tiles: Tiles = {}
    growth = merkle.Growth(0, merkle.EMPTY_ROOT, {})
    everything = values(sum(batches))
    for batch in batches:
        growth = merkle.append(growth.size, everything[growth.size : growth.size + batch], reader(tiles))
        tiles |= growth.tiles
    return growth, tiles


def reader(tiles: Tiles) -> Callable[[int, int], bytes]:
    return lambda level, index: tiles[level, index]


def decode(text: str) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("size", range(9))
def test_the_reference_tree_has_its_known_roots(size: int) -> None:
    leaves = [bytes.fromhex(leaf) for leaf in ROOTS["leaves_hex"][:size]]
    growth = merkle.append(0, leaves, reader({}))
    assert growth.root.hex() == ROOTS["roots_hex_by_size"][str(size)]


@pytest.mark.parametrize(
    "batches", [[1], [2, 3], [255], [256], [257], [256, 1], [255, 1, 1], [300, 212, 1], [1] * 20, [700, 900]]
)
def test_a_tree_that_grows_in_batches_has_the_root_of_its_definition(batches: list[int]) -> None:
    growth, tiles = grown(batches)
    assert (growth.size, growth.root) == (sum(batches), tree_head(values(sum(batches))))
    assert merkle.root_hash(growth.size, reader(tiles)) == growth.root


def test_a_tree_over_the_second_level_has_the_root_of_its_definition() -> None:
    growth, tiles = grown([65_000, 600, 77])
    assert growth.root == tree_head(values(65_677))
    assert max(level for level, _ in tiles) == 2


def test_a_tile_holds_the_heads_of_full_tiles_below_and_never_a_partial_one() -> None:
    growth, tiles = grown([600])
    assert {place: len(content) // 32 for place, content in tiles.items()} == {(0, 0): 256, (0, 1): 256, (0, 2): 88, (1, 0): 2}
    assert tiles[1, 0][:32] == tree_head(values(256))
    assert growth.tiles == tiles


def test_an_append_returns_the_whole_content_of_the_tiles_it_changes_and_no_other() -> None:
    _, tiles = grown([600])
    growth = merkle.append(600, [b"more"], reader(tiles))
    assert growth.tiles == {(0, 2): tiles[0, 2] + merkle.leaf_hash(b"more")}


def test_an_append_of_nothing_changes_nothing() -> None:
    growth, tiles = grown([300])
    assert merkle.append(300, [], reader(tiles)) == merkle.Growth(300, growth.root, {})


@pytest.mark.parametrize("size", [1, 2, 7, 8, 255, 256, 257, 600, 66_000])
def test_every_kind_of_leaf_is_proved_and_verified(size: int) -> None:
    growth, tiles = grown([size])
    for index in {0, 1, size // 2, size - 2, size - 1, 255, 256} & set(range(size)):
        proof = merkle.inclusion_proof(index, size, reader(tiles))
        merkle.verify_inclusion(index, size, merkle.leaf_hash(values(index + 1)[-1]), proof, growth.root)


def test_an_old_size_is_proved_from_the_tiles_of_a_tree_that_has_grown() -> None:
    _, tiles = grown([600])
    proof = merkle.inclusion_proof(298, 300, reader(tiles))
    merkle.verify_inclusion(298, 300, merkle.leaf_hash(values(299)[-1]), proof, tree_head(values(300)))


@pytest.mark.parametrize(
    ("old", "new"), [(1, 1), (1, 2), (2, 3), (3, 7), (8, 8), (255, 257), (256, 600), (300, 600), (513, 66_000)]
)
def test_growth_is_proved_and_verified(old: int, new: int) -> None:
    growth, tiles = grown([new])
    proof = merkle.consistency_proof(old, new, reader(tiles))
    merkle.verify_consistency(old, new, tree_head(values(old)), growth.root, proof)


def test_a_proof_reads_a_tile_once_and_few_of_them() -> None:
    _, tiles = grown([66_000])
    read: list[tuple[int, int]] = []

    def read_tile(level: int, index: int) -> bytes:
        read.append((level, index))
        return tiles[level, index]

    merkle.inclusion_proof(12_345, 66_000, read_tile)
    assert len(read) == len(set(read)) <= 6


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (0, 0), (1, 1), (5, 3)])
def test_there_is_no_proof_of_a_leaf_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.inclusion_proof(index, size, reader({}))


@pytest.mark.parametrize(("old", "new"), [(0, 1), (2, 1), (-1, 1)])
def test_there_is_no_proof_of_growth_from_nothing(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="old size"):
        merkle.consistency_proof(old, new, reader({}))


def test_a_stored_tile_that_is_too_short_is_our_fault() -> None:
    _, tiles = grown([300])
    tiles[0, 1] = tiles[0, 1][:-32]
    with pytest.raises(HubFault):
        merkle.append(300, [b"more"], reader(tiles))
    with pytest.raises(HubFault):
        merkle.root_hash(300, reader(tiles))


def verdict(check: Callable[..., None], *arguments: Any) -> str:
    try:
        check(*arguments)
    except Refusal as refusal:
        return refusal.code
    return ACCEPTED


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda vector: vector["name"])
def test_an_inclusion_proof_is_judged_as_others_judge_it(vector: dict[str, Any]) -> None:
    proof = [decode(one) for one in vector["proof"] or []]
    arguments = (vector["leafIdx"], vector["treeSize"], decode(vector["leafHash"]), proof, decode(vector["root"]))
    assert verdict(merkle.verify_inclusion, *arguments) == (RefusalCode.BAD_PROOF if vector["wantErr"] else ACCEPTED)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda vector: vector["name"])
def test_a_consistency_proof_is_judged_as_others_judge_it(vector: dict[str, Any]) -> None:
    proof = [decode(one) for one in vector["proof"] or []]
    arguments = (vector["size1"], vector["size2"], decode(vector["root1"]), decode(vector["root2"]), proof)
    is_refused = vector["wantErr"] or vector["name"] == SHORT_ROOT
    assert verdict(merkle.verify_consistency, *arguments) == (RefusalCode.BAD_PROOF if is_refused else ACCEPTED)


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (5, 256, "tile/0/005"),
        (999, 256, "tile/0/999"),
        (1000, 256, "tile/0/x001/000"),
        (1_234_067, 256, "tile/0/x001/x234/067"),
        (1_234_067, 17, "tile/0/x001/x234/067.p/17"),
        (1_000_000, 1, "tile/0/x001/x000/000.p/1"),
    ],
)
def test_a_tile_has_its_path(index: int, width: int, path: str) -> None:
    assert merkle.tile_path(0, index, width) == path


@pytest.mark.parametrize(("level", "index", "width"), [(-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_a_tile_that_cannot_be_has_no_path(level: int, index: int, width: int) -> None:
    with pytest.raises(ValueError, match="no such tile"):
        merkle.tile_path(level, index, width)


def test_a_leaf_commits_to_its_entry_and_hides_it() -> None:
    nonce = merkle.new_nonce()
    assert merkle.commitment(nonce, b"entry") == hashlib.sha256(nonce + b"entry").digest()
    assert nonce != merkle.new_nonce()


def test_a_nonce_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        merkle.commitment(bytes(31), b"entry")
