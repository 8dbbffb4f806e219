from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.hub_client.log_proofs import parse_log_proof
from hub.crypto import merkle
from hub.crypto.key_manifest import HeldKeyUse
from hub.crypto.notes import parse_checkpoint, parse_note, verify_checkpoint
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object
from hub.services.deliver_message import relay, take_due
from hub.services.read_log import (
    latest_checkpoint,
    log_keys,
    prove_consistency,
    prove_inclusion,
    prove_receipts,
    read_tile,
    verify_own_checkpoint,
)
from hub.services.sequence_log import sequence_pending
from hub.storage import audit, log, receipts
from hub.storage.store import Store
from tests.simulators.exchange import Exchange, referral_exchange
from tests.storage.logs import grow, hub_over


def refusal_of(code: RefusalCode, call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(Refusal) as caught:
        call(*arguments)
    assert caught.value.code is code
    return caught.value.detail


def leaves(store: Store, end: int) -> list[bytes]:
    with store.reading() as work:
        return [merkle.commitment(row.nonce, row.entry) for row in audit.sequenced(work, 0, end)]


def test_there_is_no_checkpoint_before_the_first_one_is_signed(store: Store) -> None:
    assert "no checkpoint" in refusal_of(RefusalCode.NOT_FOUND, latest_checkpoint, hub_over(store))


def test_every_tile_of_a_size_can_be_read_by_its_path(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 300)
    hashes = [merkle.leaf_hash(value) for value in leaves(store, 300)]
    assert read_tile(hub, "tile/0/000") == b"".join(hashes[:256])
    assert read_tile(hub, "tile/0/001.p/44") == b"".join(hashes[256:])
    assert len(read_tile(hub, "tile/1/000.p/1")) == 32


def test_a_partial_tile_stays_readable_after_it_grew(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 3)
    before = read_tile(hub, "tile/0/000.p/3")
    grow(hub, 20)
    assert read_tile(hub, "tile/0/000.p/3") == before


def test_a_bundle_holds_the_commitments_and_no_entry(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 3)
    assert read_tile(hub, "tile/entries/000.p/3") == b"".join(b"\x00\x20" + value for value in leaves(store, 3))


@pytest.mark.parametrize(
    "path",
    [
        *("tile/0/000", "tile/0/000.p/4", "tile/1/000.p/1", "tile/0/001.p/1", "tile/entries/000", "tile/entries/000.p/4"),
        *("tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/03", "tile/0/x000/000.p/3", "tile/64/000.p/1", "tile/00/000.p/3"),
        *("tile/0/0.p/3", "tile/0/000.p/3/", "tile/0/000.p/3\n", "/tile/0/000.p/3", "tile/0/../0/000.p/3", "checkpoint", ""),
    ],
)
def test_what_the_log_does_not_have_is_not_found(migrated_sqlite: bytes, tmp_path: Path, path: str) -> None:
    file = tmp_path / "hub.sqlite"
    file.write_bytes(migrated_sqlite)
    store = Store(f"sqlite:///{file}")
    hub = hub_over(store)
    grow(hub, 3)
    refusal_of(RefusalCode.NOT_FOUND, read_tile, hub, path)
    store.close()


def test_inclusion_and_consistency_are_proved_for_earlier_sizes_too(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 100)
    with store.reading() as work:
        old_root = log.state(work)[1]
    grow(hub, 200)
    with store.reading() as work:
        root = log.state(work)[1]
    values = leaves(store, 300)
    merkle.verify_inclusion(17, 100, merkle.leaf_hash(values[17]), prove_inclusion(hub, 17, 100), old_root)
    merkle.verify_inclusion(299, 300, merkle.leaf_hash(values[299]), prove_inclusion(hub, 299, 300), root)
    merkle.verify_consistency(100, 300, old_root, root, prove_consistency(hub, 100, 300))


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 4), (0, 0), (0, -1)])
def test_a_leaf_that_is_not_there_has_no_proof(store: Store, index: int, size: int) -> None:
    hub = hub_over(store)
    grow(hub, 3)
    refusal_of(RefusalCode.INVALID_REQUEST, prove_inclusion, hub, index, size)


@pytest.mark.parametrize(("old", "size"), [(0, 3), (3, 2), (1, 4), (-1, 3)])
def test_sizes_that_do_not_ascend_have_no_consistency_proof(store: Store, old: int, size: int) -> None:
    hub = hub_over(store)
    grow(hub, 3)
    refusal_of(RefusalCode.INVALID_REQUEST, prove_consistency, hub, old, size)


def test_a_checkpoint_without_the_cosignature_is_not_ours(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 1)
    signed_once = "".join(latest_checkpoint(hub).splitlines(keepends=True)[:-1])
    assert "no cosignature" in refusal_of(RefusalCode.BAD_PROOF, verify_own_checkpoint, hub, signed_once)


def test_a_checkpoint_of_another_log_is_not_ours(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 1)
    foreign = latest_checkpoint(hub).replace("hub.test/accord", "hub.test/other")
    assert "no log key of this hub" in refusal_of(RefusalCode.BAD_PROOF, verify_own_checkpoint, hub, foreign)


@pytest.fixture
def exchange(store_url: str) -> Iterator[Exchange]:
    exchange = referral_exchange(store_url)
    yield exchange
    exchange.close()


def sent(exchange: Exchange) -> tuple[str, dict[tuple[str, str], str]]:
    """Send one referral and hold it in the inboxes: its exchange id, and the digests of its receipts by (event, recipient)."""
    sender = exchange.agencies["tw.npa.liaison.tokyo"]
    issued = sender.send(sender.message())
    relay(exchange.hub, take_due(exchange.hub, 100))
    with exchange.hub.store.reading() as work:
        found = receipts.of_exchange(work, issued.exchange)
    return issued.exchange, {(one.event.value, one.recipient): one.digest for one in found}


def test_the_sender_proves_every_receipt_to_be_in_the_log(exchange: Exchange) -> None:
    exchange_id, digests = sent(exchange)
    sequence_pending(exchange.hub)
    proofs = prove_receipts(exchange.hub, exchange.agencies["tw.npa.liaison.tokyo"].caller, exchange_id)
    assert proofs.keys() == set(digests.values())
    for digest, proof in proofs.items():
        read = parse_log_proof(proof.proof)
        checkpoint = verify_checkpoint(read.checkpoint, log_keys(exchange.hub, HeldKeyUse.LOG)[0]).checkpoint
        leaf = merkle.leaf_hash(merkle.commitment(proof.nonce, proof.entry))
        merkle.verify_inclusion(read.index, checkpoint.size, leaf, read.hashes, checkpoint.root)
        assert parse_object(proof.entry)["details"]["receipt"] == digest
        assert read.index == proof.index


def test_a_recipient_proves_the_receipt_that_concerns_it_and_no_other(exchange: Exchange) -> None:
    exchange_id, digests = sent(exchange)
    sequence_pending(exchange.hub)
    recipient = next(name for event, name in digests if event == ReceiptEvent.RELAYED.value)
    proofs = prove_receipts(exchange.hub, exchange.agencies[recipient].caller, exchange_id)
    assert proofs.keys() == {digests[ReceiptEvent.RELAYED.value, recipient]}


def test_a_party_that_had_no_part_gets_no_proof(exchange: Exchange) -> None:
    exchange_id, _digests = sent(exchange)
    sequence_pending(exchange.hub)
    refusal_of(RefusalCode.NOT_FOUND, prove_receipts, exchange.hub, exchange.join("jp.npa").caller, exchange_id)


def test_an_exchange_that_is_not_there_has_no_proof(exchange: Exchange) -> None:
    refusal_of(RefusalCode.NOT_FOUND, prove_receipts, exchange.hub, exchange.agencies["tw.npa.liaison.tokyo"].caller, "x")


@pytest.mark.parametrize("signed_before", [False, True])
def test_a_receipt_that_no_checkpoint_covers_yet_has_no_proof_yet(exchange: Exchange, signed_before: bool) -> None:
    if signed_before:
        sequence_pending(exchange.hub)
    exchange_id, _digests = sent(exchange)
    assert prove_receipts(exchange.hub, exchange.agencies["tw.npa.liaison.tokyo"].caller, exchange_id) == {}


def test_an_entry_that_has_its_place_is_not_proved_before_the_checkpoint_is_signed(exchange: Exchange) -> None:
    sequence_pending(exchange.hub)
    exchange_id, _digests = sent(exchange)
    early = latest_checkpoint(exchange.hub)
    sequence_pending(exchange.hub)
    size = parse_checkpoint(parse_note(early.encode()).text).size
    exchange.hub.store.write(lambda work: work.exec_driver_sql(f"DELETE FROM log_checkpoints WHERE size > {size}"))
    exchange.hub.store.write(lambda work: log.record_checkpoint(work, size, early, exchange.clock.now()))
    assert prove_receipts(exchange.hub, exchange.agencies["tw.npa.liaison.tokyo"].caller, exchange_id) == {}


def test_disclosing_entries_is_audited_once(exchange: Exchange) -> None:
    exchange_id, digests = sent(exchange)
    sequence_pending(exchange.hub)
    caller = exchange.agencies["tw.npa.liaison.tokyo"].caller
    prove_receipts(exchange.hub, caller, exchange_id)
    with exchange.hub.store.reading() as work:
        told = [parse_object(row.entry) for row in audit.of_exchange(work, exchange_id)]
    found = [(one["actor"], one["details"]) for one in told if one["event"] == "evidence.read"]
    assert found == [(caller.authority, {"key": caller.kid, "proofs": len(digests)})]


def test_the_checkpoint_names_the_size_that_its_tiles_have(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 5)
    assert parse_checkpoint(parse_note(latest_checkpoint(hub).encode()).text).size == len(read_tile(hub, "tile/0/000.p/5")) // 32
