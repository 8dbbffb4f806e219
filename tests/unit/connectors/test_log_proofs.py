"""The log is held to account: a receipt is proved to stand in it, and a second history raises the alarm."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.contract import Prepared
from connectors.hub_client.evidence import ExchangeReport, follow_log, read_exchange
from connectors.hub_client.log_proofs import LogForkedError, parse_log_proof
from hub.crypto.key_files import KeyAlgorithm, generate
from hub.domain.refusals import Refusal, RefusalCode
from tests.simulators.hub_double import NAME, MemoryLog, sign_compact
from tests.unit.connectors.conftest import Bench, draft_to

OTHER = "tw.kaohsiung"


@pytest.fixture
def sent(bench: Bench) -> Prepared:
    return bench.client.send(bench.client.prepare(draft_to(OTHER)))


def evidence_of(bench: Bench, sent: Prepared) -> dict[str, Any]:
    """The hub's evidence of the one receipt, for a test to change."""
    row: dict[str, Any] = bench.hub.exchanges[sent.exchange]["receipts"][0]
    return row


def refused(bench: Bench, sent: Prepared) -> RefusalCode:
    with pytest.raises(Refusal) as caught:
        read_exchange(bench.client, sent.exchange)
    return caught.value.code


def test_a_receipt_is_proved_to_stand_in_the_log(bench: Bench, sent: Prepared) -> None:
    report = read_exchange(bench.client, sent.exchange)
    assert [(one.index, one.checkpoint_size) for one in report.receipts] == [(0, 1)]


def test_a_receipt_that_is_not_sequenced_yet_is_shown_as_not_proved(bench: Bench, sent: Prepared) -> None:
    row = evidence_of(bench, sent)
    del row["entry"], row["nonce"], row["proof"]
    assert not read_exchange(bench.client, sent.exchange).is_proved


@pytest.mark.parametrize("member", ["entry", "nonce"])
def test_an_entry_or_nonce_other_than_the_logged_one_is_refused(bench: Bench, sent: Prepared, member: str) -> None:
    row = evidence_of(bench, sent)
    row[member] = row[member].replace("a", "b", 1) if member == "entry" else "A" * 43
    assert refused(bench, sent) is RefusalCode.BAD_PROOF


def test_half_a_proof_is_refused(bench: Bench, sent: Prepared) -> None:
    del evidence_of(bench, sent)["nonce"]
    assert refused(bench, sent) is RefusalCode.BAD_PROOF


@pytest.mark.parametrize("details", [{"receipt": "A" * 43}, {}])
def test_an_entry_that_tells_of_another_receipt_is_refused(bench: Bench, sent: Prepared, details: dict[str, str]) -> None:
    index = bench.hub.log.add({"exchange": sent.exchange, "details": details})
    evidence_of(bench, sent).update(bench.hub.log.proof(index))
    assert refused(bench, sent) is RefusalCode.RECEIPT_MISMATCH


def test_an_entry_of_another_exchange_is_refused(bench: Bench, sent: Prepared) -> None:
    report = read_exchange(bench.client, sent.exchange)
    index = bench.hub.log.add({"exchange": "another", "details": {"receipt": report.receipts[0].receipt.digest}})
    evidence_of(bench, sent).update(bench.hub.log.proof(index))
    assert refused(bench, sent) is RefusalCode.RECEIPT_MISMATCH


def test_a_checkpoint_signed_with_another_key_is_refused(bench: Bench) -> None:
    bench.hub.log = MemoryLog(generate(KeyAlgorithm.ED25519).for_log(NAME))
    bench.hub.log.add({"n": 1})
    with pytest.raises(Refusal) as caught:
        follow_log(bench.client)
    assert caught.value.code is RefusalCode.BAD_PROOF
    assert not isinstance(caught.value, LogForkedError)


def test_a_log_that_grows_is_followed_and_the_newest_checkpoint_kept(bench: Bench) -> None:
    for number in range(5):
        bench.hub.log.add({"n": number})
        assert follow_log(bench.client).size == number + 1
    kept = (bench.place.home / "state" / "checkpoint.txt").read_bytes()
    assert kept.split(b"\n")[:2] == [NAME.encode(), b"5"]


def grown_log(bench: Bench, *entries: int) -> MemoryLog:
    log = MemoryLog(bench.hub.log.signer)
    for number in entries:
        log.add({"n": number})
    return log


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_log_that_was_rewritten_raises_the_alarm_and_leaves_both_checkpoints(bench: Bench, size: int) -> None:
    bench.hub.log = grown_log(bench, 1, 2, 3)
    follow_log(bench.client)
    bench.hub.log = grown_log(bench, *range(9, 9 + size))
    with pytest.raises(LogForkedError) as caught:
        follow_log(bench.client)
    assert caught.value.code is RefusalCode.BAD_PROOF
    names = {path.name.split("-")[0] for path in (bench.place.home / "state" / "log-fork").iterdir()}
    assert names == {"kept.txt", "shown"}


def test_a_log_that_was_set_back_raises_the_alarm(bench: Bench) -> None:
    bench.hub.log = grown_log(bench, 1, 2, 3)
    follow_log(bench.client)
    bench.hub.log = grown_log(bench, 1, 2)
    with pytest.raises(LogForkedError):
        follow_log(bench.client)


def test_an_older_checkpoint_of_the_same_history_is_no_alarm(bench: Bench, sent: Prepared) -> None:
    for number in range(5):
        bench.hub.log.add({"n": number})
    assert follow_log(bench.client).size == 6
    assert read_exchange(bench.client, sent.exchange).receipts[0].checkpoint_size == 1


def test_the_kept_checkpoint_survives_an_alarm(bench: Bench) -> None:
    bench.hub.log = grown_log(bench, 1, 2, 3)
    follow_log(bench.client)
    kept = (bench.place.home / "state" / "checkpoint.txt").read_bytes()
    bench.hub.log = grown_log(bench, 1, 2, 4, 5)
    with pytest.raises(LogForkedError):
        follow_log(bench.client)
    assert (bench.place.home / "state" / "checkpoint.txt").read_bytes() == kept


def test_a_partners_receipt_of_a_shortened_copy_counts_for_the_original_it_names(bench: Bench, sent: Prepared) -> None:
    key = bench.hub.peer(OTHER)
    about = {"sender": sent.sender, "id": sent.id, "digest": "B" * 43}
    members = {"v": 1, "event": "delivered", "issuer": OTHER, "recipient": OTHER, "exchange": sent.exchange, "message": about}
    row = {"receipt": sign_compact({**members, "time": "2026-11-22T09:00:00Z", "of": sent.digest}, key)}
    bench.hub.exchanges[sent.exchange]["receipts"].append(row)
    assert [one.receipt.issuer for one in read_exchange(bench.client, sent.exchange).receipts] == ["hub", OTHER]


def test_a_rejection_of_what_did_not_open_is_shown(bench: Bench, sent: Prepared) -> None:
    about = {"sender": sent.sender, "id": "", "digest": ""}
    members = {"v": 1, "event": "rejected", "issuer": OTHER, "recipient": OTHER, "exchange": sent.exchange, "message": about}
    text = sign_compact({**members, "time": "2026-11-22T09:00:00Z", "reason": "cannot_unseal"}, bench.hub.peer(OTHER))
    bench.hub.exchanges[sent.exchange]["receipts"].append({"receipt": text})
    assert [one.receipt.event for one in read_exchange(bench.client, sent.exchange).receipts] == ["accepted", "rejected"]


def test_a_receipt_that_the_hub_withholds_is_missed(bench: Bench, sent: Prepared) -> None:
    bench.hub.exchanges[sent.exchange]["receipts"].clear()
    assert refused(bench, sent) is RefusalCode.RECEIPT_MISMATCH


def test_nothing_is_proved_without_a_receipt() -> None:
    assert not ExchangeReport("exchange", (), ()).is_proved


@pytest.mark.parametrize("change", [{"of": "C" * 43}, {"recipient": "tw.taipei"}, {"event": "relayed"}, {"exchange": "another"}])
def test_a_partners_receipt_that_does_not_fit_is_refused(bench: Bench, sent: Prepared, change: dict[str, str]) -> None:
    key = bench.hub.peer(OTHER)
    about = {"sender": sent.sender, "id": sent.id, "digest": "B" * 43}
    members = {"v": 1, "event": "delivered", "issuer": OTHER, "recipient": OTHER, "exchange": sent.exchange, "message": about}
    stated = {**members, "time": "2026-11-22T09:00:00Z", "of": sent.digest, **change}
    bench.hub.exchanges[sent.exchange]["receipts"].append({"receipt": sign_compact(stated, key)})
    assert refused(bench, sent) is RefusalCode.RECEIPT_MISMATCH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1\nindex 1\n",
        "c2sp.org/tlog-proof@v2\nindex 1\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 01\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\n!!\n\nnote",
        "c2sp.org/tlog-proof@v1\n\nnote",
    ],
)
def test_what_is_no_log_proof_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_log_proof(text)
    assert caught.value.code is RefusalCode.BAD_PROOF


def test_a_log_proof_may_carry_extra_data() -> None:
    assert parse_log_proof("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 7\n\nnote").index == 7
