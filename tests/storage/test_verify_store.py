"""Every lie that is planted in a store is found, where it was planted."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hub.crypto import merkle
from hub.domain.verification import EXPLANATIONS, FlawCode, Severity, VerificationReport
from hub.services.deliver_message import relay, take_due
from hub.services.hub import Hub
from hub.services.read_log import latest_checkpoint
from hub.services.sequence_log import sequence_pending, sign_checkpoint
from hub.services.verify_log import MAX_FLAWS
from hub.services.verify_store import verify_store
from hub.storage import audit, log
from hub.storage.store import Store, Work
from tests.simulators.exchange import Exchange, referral_exchange
from tests.storage.logs import grow, hub_over, note_entries


def flaws(report: VerificationReport) -> list[tuple[FlawCode, str]]:
    return [(flaw.code, flaw.where) for flaw in report.flaws]


def change(store: Store, statement: str, **values: Any) -> None:
    store.write(lambda work: work.execute(text(statement), values))


@pytest.fixture
def hub(store: Store) -> Hub:
    """A log of 300 entries: one full tile, and one that is not."""
    hub = hub_over(store)
    grow(hub, 300)
    return hub


@pytest.fixture
def exchange(store_url: str) -> Iterator[Exchange]:
    """Two referrals that stand in their inboxes, all of it sequenced."""
    with closing(referral_exchange(store_url)) as exchange:
        sender = exchange.agencies["tw.npa.liaison.tokyo"]
        for _ in range(2):
            sender.send(sender.message())
        relay(exchange.hub, take_due(exchange.hub, 100))
        sequence_pending(exchange.hub)
        yield exchange


@pytest.fixture
def first(exchange: Exchange) -> str:
    """The first referral's exchange id."""
    with exchange.hub.store.reading() as work:
        found: str = work.execute(text("SELECT min(exchange) FROM messages")).scalar_one()
    return found


def test_a_store_that_nobody_touched_is_clean(hub: Hub) -> None:
    report = verify_store(hub, [latest_checkpoint(hub)])
    assert (report.ok, report.flaws, report.size, report.pending) == (True, (), 300, 0)


def test_a_store_with_messages_that_nobody_touched_is_clean(exchange: Exchange) -> None:
    report = verify_store(exchange.hub, deep=True)
    assert (report.ok, report.flaws, report.messages) == (True, (), 2)


def test_an_empty_store_is_clean(store: Store) -> None:
    hub = hub_over(store)
    sign_checkpoint(hub)
    report = verify_store(hub, [latest_checkpoint(hub)])
    assert (report.ok, report.flaws, report.size) == (True, (), 0)


@pytest.mark.parametrize("size", [255, 256, 257, 512])
def test_a_log_that_fills_its_tiles_exactly_is_clean(store: Store, size: int) -> None:
    hub = hub_over(store)
    grow(hub, size)
    assert verify_store(hub).flaws == ()


def test_entries_that_wait_for_their_place_are_counted_and_are_no_flaw(hub: Hub) -> None:
    note_entries(hub, 2)
    report = verify_store(hub)
    assert (report.ok, report.pending) == (True, 2)


def test_a_size_that_is_not_signed_yet_is_a_note_and_no_error(hub: Hub) -> None:
    change(hub.store, "DELETE FROM log_checkpoints")
    report = verify_store(hub)
    assert (report.ok, flaws(report)) == (True, [(FlawCode.CHECKPOINT_PENDING, "the log")])
    assert report.flaws[0].severity is Severity.NOTE


@pytest.mark.parametrize("index", [0, 17, 255, 256, 299])
def test_a_changed_byte_in_an_entry_is_found(hub: Hub, index: int) -> None:
    with hub.store.reading() as work:
        (row,) = audit.sequenced(work, index, index + 1)
    altered = row.entry.replace(b"tw.npa", b"tw.nia")
    change(hub.store, "UPDATE audit_entries SET entry = :entry WHERE tree_index = :index", entry=altered, index=index)
    report = verify_store(hub)
    assert (report.ok, flaws(report)) == (False, [(FlawCode.ENTRY_ALTERED, f"entry {index}")])


def test_a_changed_nonce_is_found(hub: Hub) -> None:
    change(hub.store, "UPDATE audit_entries SET nonce = :nonce WHERE tree_index = 17", nonce=b"\x00" * 32)
    assert flaws(verify_store(hub)) == [(FlawCode.ENTRY_ALTERED, "entry 17")]


def test_a_nonce_of_another_length_is_found(hub: Hub) -> None:
    change(hub.store, "UPDATE audit_entries SET nonce = :nonce WHERE tree_index = 17", nonce=b"")
    assert flaws(verify_store(hub)) == [(FlawCode.ENTRY_ALTERED, "entry 17")]


def test_deleted_entries_are_found_as_ranges(hub: Hub) -> None:
    change(hub.store, "DELETE FROM audit_entries WHERE tree_index IN (17, 100, 101, 102)")
    assert flaws(verify_store(hub)) == [(FlawCode.ENTRY_MISSING, "entry 17"), (FlawCode.ENTRY_MISSING, "entry 100 to 102")]


def test_swapped_entries_are_found(hub: Hub) -> None:
    for old, new in ((20, -1), (30, 20), (-1, 30)):
        change(hub.store, "UPDATE audit_entries SET tree_index = :new WHERE tree_index = :old", old=old, new=new)
    assert flaws(verify_store(hub)) == [(FlawCode.ENTRY_ALTERED, "entry 20"), (FlawCode.ENTRY_ALTERED, "entry 30")]


def test_an_entry_behind_the_end_is_found(hub: Hub) -> None:
    note_entries(hub, 1)
    change(hub.store, "UPDATE audit_entries SET tree_index = 300 WHERE tree_index IS NULL")
    assert flaws(verify_store(hub)) == [(FlawCode.ENTRY_BEYOND_LOG, "entry 300")]


def rewrite(hub: Hub, size: int) -> None:
    """Make the log anew from the first `size` entries as they stand, as somebody with the whole database would."""

    def unit(work: Work) -> None:
        values = [merkle.commitment(row.nonce, row.entry) for row in audit.sequenced(work, 0, size)]
        for table in ("log_tiles", "log_checkpoints"):
            work.execute(text(f"DELETE FROM {table}"))
        work.execute(text("DELETE FROM audit_entries WHERE tree_index >= :size"), {"size": size})
        grown = merkle.append(0, values, lambda _level, _number: b"")
        log.write_tiles(work, grown.tiles)
        work.execute(text("UPDATE log_state SET size = :size, root = :root"), {"size": size, "root": grown.root})

    hub.store.write(unit)
    sign_checkpoint(hub)


def test_a_tail_that_was_cut_off_with_its_tiles_is_seen_through_a_checkpoint_that_was_kept(hub: Hub) -> None:
    kept = latest_checkpoint(hub)
    rewrite(hub, 290)
    assert verify_store(hub).ok  # the store alone cannot tell
    assert flaws(verify_store(hub, [kept])) == [(FlawCode.CHECKPOINT_AHEAD, "given checkpoint 1")]


def test_a_tail_that_was_cut_off_is_seen_through_the_stored_checkpoint(hub: Hub) -> None:
    note = latest_checkpoint(hub)
    rewrite(hub, 290)
    hub.store.write(lambda work: log.record_checkpoint(work, 300, note, hub.clock.now()))
    assert (FlawCode.CHECKPOINT_AHEAD, "the latest checkpoint") in flaws(verify_store(hub))


def test_entries_cut_off_without_their_tiles_are_missing(hub: Hub) -> None:
    change(hub.store, "DELETE FROM audit_entries WHERE tree_index >= 290")
    assert flaws(verify_store(hub)) == [(FlawCode.ENTRY_MISSING, "entry 290 to 299")]


def test_a_past_rewritten_with_the_hubs_own_keys_is_seen_through_an_older_checkpoint(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 100)
    kept = latest_checkpoint(hub)
    grow(hub, 200)
    with store.reading() as work:
        (row,) = audit.sequenced(work, 17, 18)
    altered = row.entry.replace(b"tw.npa", b"tw.nia")
    change(store, "UPDATE audit_entries SET entry = :entry WHERE tree_index = 17", entry=altered)
    rewrite(hub, 300)
    assert verify_store(hub).ok  # everything fits together again, and is signed
    assert flaws(verify_store(hub, [kept])) == [(FlawCode.CHECKPOINT_CONTRADICTED, "given checkpoint 1")]


def test_a_change_after_a_checkpoint_does_not_contradict_it(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 100)
    early = latest_checkpoint(hub)
    grow(hub, 200)
    late = latest_checkpoint(hub)
    change(store, "UPDATE audit_entries SET nonce = :nonce WHERE tree_index = 150", nonce=b"\x00" * 32)
    rewrite(hub, 300)
    assert flaws(verify_store(hub, [early, late])) == [(FlawCode.CHECKPOINT_CONTRADICTED, "given checkpoint 2")]


def test_an_older_checkpoint_that_holds_is_compared(store: Store) -> None:
    hub = hub_over(store)
    grow(hub, 77)
    kept = latest_checkpoint(hub)
    grow(hub, 200)
    report = verify_store(hub, [kept])
    assert (report.ok, report.checkpoints) == (True, 2)


def test_a_checkpoint_that_the_hub_did_not_sign_is_named(hub: Hub) -> None:
    forged = latest_checkpoint(hub).replace("\n300\n", "\n299\n")
    report = verify_store(hub, [forged, "not a note"])
    assert [where for code, where in flaws(report) if code is FlawCode.CHECKPOINT_INVALID] == [
        "given checkpoint 1",
        "given checkpoint 2",
    ]


def test_a_stored_checkpoint_that_was_changed_is_found(hub: Hub) -> None:
    forged = latest_checkpoint(hub).replace("\n300\n", "\n299\n")
    change(hub.store, "UPDATE log_checkpoints SET note = :note WHERE size = 300", note=forged)
    assert flaws(verify_store(hub)) == [(FlawCode.CHECKPOINT_INVALID, "the latest checkpoint")]


def tile(store: Store, level: int, number: int) -> bytes:
    with store.reading() as work:
        return log.read_tile(work, level, number)


def test_a_changed_leaf_tile_disagrees_with_its_entry_and_with_the_root(hub: Hub) -> None:
    hashes = bytearray(tile(hub.store, 0, 1))
    hashes[0] ^= 1
    hub.store.write(lambda work: log.write_tiles(work, {(0, 1): bytes(hashes)}))
    assert flaws(verify_store(hub)) == [
        (FlawCode.ENTRY_ALTERED, "entry 256"),
        (FlawCode.CHECKPOINT_CONTRADICTED, "the latest checkpoint"),
        (FlawCode.ROOT_ALTERED, "size 300"),
    ]


def test_a_changed_upper_tile_is_found(hub: Hub) -> None:
    hub.store.write(lambda work: log.write_tiles(work, {(1, 0): b"\x00" * 32}))
    assert flaws(verify_store(hub)) == [(FlawCode.TILE_ALTERED, "tile 1/0")]


def test_a_full_upper_tile_is_compared_too(migrated_sqlite: bytes, tmp_path: Path) -> None:
    """On SQLite alone: it takes 65,536 entries to fill one."""
    file = tmp_path / "hub.sqlite"
    file.write_bytes(migrated_sqlite)
    store = Store(f"sqlite:///{file}")
    hub = hub_over(store)
    store.write(lambda work: audit.add(work, [(b"{}", b"\x00" * 32, "")] * 65_800))
    assert sequence_pending(hub, 65_800) == 65_800
    assert verify_store(hub).flaws == ()
    store.write(lambda work: log.write_tiles(work, {(1, 0): tile(store, 1, 0)[:-32] + b"\x00" * 32}))
    assert flaws(verify_store(hub)) == [(FlawCode.TILE_ALTERED, "tile 1/0")]
    store.close()


@pytest.mark.parametrize("kept_octets", [0, 32, 8191])
def test_a_leaf_tile_that_was_shortened_is_found(hub: Hub, kept_octets: int) -> None:
    shorter = tile(hub.store, 0, 0)[:kept_octets]
    hub.store.write(lambda work: log.write_tiles(work, {(0, 0): shorter}))
    assert flaws(verify_store(hub)) == [(FlawCode.TILE_ALTERED, "tile 0/0")]


def test_a_tile_that_the_log_does_not_have_is_found(hub: Hub) -> None:
    hub.store.write(lambda work: log.write_tiles(work, {(0, 2): b"\x00" * 32}))
    assert [code for code, _where in flaws(verify_store(hub))] == [FlawCode.TILE_UNEXPECTED]


def test_a_changed_root_is_found(hub: Hub) -> None:
    change(hub.store, "UPDATE log_state SET root = :root", root=b"\x00" * 32)
    assert flaws(verify_store(hub)) == [(FlawCode.ROOT_ALTERED, "size 300")]


def test_a_message_that_was_deleted_is_missed(exchange: Exchange, first: str) -> None:
    store = exchange.hub.store
    change(store, "DELETE FROM deliveries WHERE exchange = :exchange", exchange=first)
    change(store, "DELETE FROM receipts WHERE exchange = :exchange", exchange=first)
    change(store, "DELETE FROM messages WHERE exchange = :exchange", exchange=first)
    found = flaws(verify_store(exchange.hub))
    assert {code for code, _where in found} == {FlawCode.MESSAGE_MISSING, FlawCode.RECEIPT_MISSING}
    assert all(first in where for _code, where in found)


def test_a_message_with_another_digest_is_found_from_both_sides(exchange: Exchange, first: str) -> None:
    change(exchange.hub.store, "UPDATE messages SET digest = 'A' WHERE exchange = :exchange", exchange=first)
    assert {code for code, _where in flaws(verify_store(exchange.hub))} == {FlawCode.MESSAGE_MISSING, FlawCode.MESSAGE_UNLOGGED}


def test_a_message_that_no_entry_tells_of_is_found(exchange: Exchange, first: str) -> None:
    change(exchange.hub.store, "UPDATE audit_entries SET exchange = '' WHERE exchange = :exchange", exchange=first)
    assert (FlawCode.MESSAGE_UNLOGGED, f"exchange {first}") in flaws(verify_store(exchange.hub))


def test_a_delivery_that_was_deleted_is_found(exchange: Exchange, first: str) -> None:
    change(exchange.hub.store, "DELETE FROM deliveries WHERE exchange = :exchange", exchange=first)
    assert flaws(verify_store(exchange.hub)) == [(FlawCode.DELIVERY_MISMATCH, f"exchange {first}")]


def test_a_delivery_that_was_turned_to_somebody_else_is_found(exchange: Exchange, first: str) -> None:
    change(exchange.hub.store, "UPDATE deliveries SET recipient = 'tw.other' WHERE exchange = :exchange", exchange=first)
    assert flaws(verify_store(exchange.hub)) == [(FlawCode.DELIVERY_MISMATCH, f"exchange {first}")]


def test_a_receipt_that_was_deleted_is_missed(exchange: Exchange, first: str) -> None:
    change(exchange.hub.store, "DELETE FROM receipts WHERE event = 'accepted' AND exchange = :exchange", exchange=first)
    found = flaws(verify_store(exchange.hub))
    assert {code for code, _where in found} == {FlawCode.RECEIPT_MISSING}
    assert (FlawCode.RECEIPT_MISSING, f"exchange {first}") in found


def test_a_receipt_whose_octets_were_changed_is_found(exchange: Exchange, first: str) -> None:
    statement = "UPDATE receipts SET payload = :payload WHERE event = 'accepted' AND exchange = :exchange"
    change(exchange.hub.store, statement, payload=b"{}", exchange=first)
    where = f"exchange {first}, accepted by hub for all"
    assert flaws(verify_store(exchange.hub)) == [(FlawCode.RECEIPT_ALTERED, where)]


def test_a_receipt_that_no_entry_tells_of_is_found(exchange: Exchange, first: str) -> None:
    statement = (
        "INSERT INTO receipts (exchange, recipient, event, issuer, kid, payload, digest, jws, recorded_at) "
        "SELECT exchange, recipient, 'retrieved', issuer, kid, payload, 'A', jws, recorded_at "
        "FROM receipts WHERE event = 'relayed' AND exchange = :exchange"
    )
    change(exchange.hub.store, statement, exchange=first)
    codes = {code for code, _where in flaws(verify_store(exchange.hub))}
    assert codes == {FlawCode.RECEIPT_UNLOGGED, FlawCode.RECEIPT_ALTERED, FlawCode.RECEIPT_MISSING}


def confirm(exchange: Exchange) -> str:
    """Let a recipient confirm what it fetched, all of it sequenced: the exchange, and the recipient."""
    recipient = exchange.agencies[next(iter(exchange.deliveries_of(newest(exchange))))]
    item, copy, _document = recipient.fetch()
    recipient.acknowledge("delivered", item, copy.payload)
    sequence_pending(exchange.hub)
    return f"exchange {item.delivery.exchange}, delivered by {recipient.authority}"


def newest(exchange: Exchange) -> str:
    with exchange.hub.store.reading() as work:
        found: str = work.execute(text("SELECT max(exchange) FROM messages")).scalar_one()
    return found


def test_a_store_with_a_recipients_receipt_that_nobody_touched_is_clean(exchange: Exchange) -> None:
    confirm(exchange)
    assert verify_store(exchange.hub, deep=True).flaws == ()


def test_a_delivery_that_the_hub_states_and_no_recipient_signed_is_found(exchange: Exchange) -> None:
    stated = confirm(exchange)
    change(exchange.hub.store, "DELETE FROM receipts WHERE event = 'delivered' AND issuer <> 'hub'")
    assert (FlawCode.RECEIPT_MISSING, stated) in flaws(verify_store(exchange.hub))


def test_a_recipients_receipt_whose_signature_does_not_verify_is_found(exchange: Exchange) -> None:
    stated = confirm(exchange)
    recipient = stated.rpartition(" ")[2]
    with exchange.hub.store.reading() as work:
        (signed,) = work.execute(text("SELECT jws FROM receipts WHERE jws <> ''")).scalars()
    forged = signed.rpartition(".")[0] + "." + "A" * 86
    change(exchange.hub.store, "UPDATE receipts SET jws = :forged WHERE jws <> ''", forged=forged)
    where = f"{stated} for {recipient}: its signature"
    assert flaws(verify_store(exchange.hub)) == [(FlawCode.RECEIPT_ALTERED, where)]


def test_a_partners_receipt_with_another_signed_payload_is_found(exchange: Exchange, first: str) -> None:
    statement = "UPDATE receipts SET jws = 'aaaa.bbbb.cccc' WHERE event = 'relayed' AND exchange = :exchange"
    change(exchange.hub.store, statement, exchange=first)
    assert {code for code, _where in flaws(verify_store(exchange.hub))} == {FlawCode.RECEIPT_ALTERED}


def test_content_that_was_changed_is_found_by_the_deep_verification(exchange: Exchange, first: str) -> None:
    change(
        exchange.hub.store, "UPDATE messages SET content = :octets WHERE exchange = :exchange", octets=b"x" * 64, exchange=first
    )
    assert verify_store(exchange.hub).ok
    assert flaws(verify_store(exchange.hub, deep=True)) == [(FlawCode.CONTENT_ALTERED, f"exchange {first}")]


def test_content_of_another_message_is_found_by_the_deep_verification(exchange: Exchange, first: str) -> None:
    statement = (
        "UPDATE messages SET content = (SELECT content FROM messages WHERE exchange <> :exchange), "
        "wrapped_key = (SELECT wrapped_key FROM messages WHERE exchange <> :exchange) WHERE exchange = :exchange"
    )
    change(exchange.hub.store, statement, exchange=first)
    assert flaws(verify_store(exchange.hub, deep=True)) == [(FlawCode.CONTENT_ALTERED, f"exchange {first}")]


def test_a_delivery_without_its_message_is_found(exchange: Exchange, first: str) -> None:
    def unit(work: Work) -> None:
        if work.dialect.name == "postgresql":
            work.execute(text("ALTER TABLE deliveries DROP CONSTRAINT fk_deliveries_exchange"))
        work.execute(text("UPDATE deliveries SET exchange = 'nowhere' WHERE exchange = :exchange"), {"exchange": first})

    if exchange.hub.store.engine.dialect.name == "sqlite":
        with exchange.hub.store.engine.connect() as connection:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]  # it is open
            with connection.execution_options(writes=True).begin():
                unit(connection)
            connection.invalidate()
    else:
        exchange.hub.store.write(unit)
    found = flaws(verify_store(exchange.hub))
    assert [where.partition(" of ")[2] for code, where in found if code is FlawCode.ORPHAN] == ["nowhere"]


def test_past_a_limit_flaws_are_only_counted(hub: Hub) -> None:
    grow(hub, 710)
    change(hub.store, "UPDATE audit_entries SET nonce = :nonce", nonce=b"\x00" * 32)
    report = verify_store(hub)
    assert (len(report.flaws), report.left_out, report.ok) == (MAX_FLAWS, 10, False)


def test_progress_is_told_up_to_the_end(exchange: Exchange) -> None:
    seen: list[tuple[int, int]] = []
    verify_store(exchange.hub, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_every_flaw_has_its_meaning_and_its_advice() -> None:
    assert set(EXPLANATIONS) == set(FlawCode)
