"""What became of an exchange: every receipt that the hub shows, each verified, and each proved to stand in the log."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.contract import VerifiedReceipt
from connectors.hub_client.client import HubClient
from connectors.hub_client.log_proofs import CheckpointKeeper
from connectors.hub_client.receipts import require_about, verify_receipt
from connectors.hub_client.stored_files import PROOF_MEMBERS, read_proof
from hub.crypto.notes import Checkpoint
from hub.domain.parties import HUB_PARTY
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import Refusal, RefusalCode


@dataclass(frozen=True)
class ShownReceipt:
    """A verified receipt, and where it stands in the log: `index` is None while the log has not sequenced it."""

    receipt: VerifiedReceipt
    index: int | None
    checkpoint_size: int | None


@dataclass(frozen=True)
class ExchangeReport:
    """An exchange as its hub shows it. `deliveries` is the hub's word; `receipts` are evidence."""

    exchange: str
    deliveries: tuple[Mapping[str, Any], ...]
    receipts: tuple[ShownReceipt, ...]

    @property
    def is_proved(self) -> bool:
        """Whether there are receipts, and every one stands in the log."""
        return bool(self.receipts) and all(one.index is not None for one in self.receipts)


def read_exchange(client: HubClient, exchange: str) -> ExchangeReport:
    """Read an exchange, verify and keep its receipts and their log proofs.

    Raises:
        Refusal: a receipt or proof does not verify, or is about another message; RECEIPT_MISMATCH, one that was seen is withheld.
        LogForkedError: a proof's checkpoint and the newest that was seen are of two histories.
        RefusedByHub: NOT_FOUND, this agency has no part in the exchange.
    """
    client.partners.forget_answers()
    view = client.session.get(f"/v1/messages/{exchange}").members()
    evidence = client.session.get(f"/v1/messages/{exchange}/evidence").members()
    keeper = CheckpointKeeper(client.desk.agency.state, client.desk.pins)
    kept = client.kept_receipts(exchange)
    shown = tuple(_verify(client, exchange, row, keeper) for row in _rows(evidence, "receipts"))
    if not kept <= {one.receipt.jws for one in shown}:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the hub does not show a receipt that it gave before")
    return ExchangeReport(exchange, tuple(_rows(view, "deliveries")), shown)


def follow_log(client: HubClient) -> Checkpoint:
    """Fetch the log's newest checkpoint and hold it to the one kept before; the newer one is kept.

    Raises:
        Refusal: BAD_PROOF.
        LogForkedError: the two are of two histories.
    """
    keeper = CheckpointKeeper(client.desk.agency.state, client.desk.pins)
    note = client.session.get_open("/v1/log/checkpoint").octets
    return keeper.compare(note, lambda old, new: _ask_for_consistency(client, old, new))


def _verify(client: HubClient, exchange: str, row: Mapping[str, Any], keeper: CheckpointKeeper) -> ShownReceipt:
    receipt = verify_receipt(row.get("receipt"), client.desk.pins, client.partners)
    require_about(receipt, exchange=exchange)
    sent = client.sent_as(exchange)
    if sent is not None:
        require_about(receipt, sender=sent.sender)
    if sent is not None and not _is_of_unopened(receipt):
        require_about(receipt, message_id=sent.id)
        if receipt.issuer == HUB_PARTY or "of" not in receipt.members:
            require_about(receipt, message_digest=sent.digest)
        elif receipt.members["of"] != sent.digest:
            raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the recipient's copy is of another original")
    proof = {name: row[name] for name in PROOF_MEMBERS if row.get(name) is not None}
    if not proof:
        client.keep_receipt(receipt)
        return ShownReceipt(receipt, None, None)
    proved = read_proof(receipt, proof, client.desk.pins)
    keeper.compare(proved.note, lambda old, new: _ask_for_consistency(client, old, new))
    client.keep_receipt(receipt, proof)
    return ShownReceipt(receipt, proved.index, proved.checkpoint.size)


def _is_of_unopened(receipt: VerifiedReceipt) -> bool:
    """Whether a recipient rejects what it could not open: it knows neither the message's id nor its digest."""
    is_rejection = receipt.event is ReceiptEvent.REJECTED and receipt.issuer != HUB_PARTY
    return is_rejection and (receipt.message_id, receipt.message_digest) == ("", "")


def _ask_for_consistency(client: HubClient, old: int, new: int) -> list[bytes]:
    answer = client.session.get_open("/v1/log/proof/consistency", {"from": str(old), "to": str(new)}).members()
    try:
        return [base64.b64decode(one, validate=True) for one in answer["hashes"]]
    except (KeyError, TypeError, ValueError):
        raise Refusal(RefusalCode.BAD_PROOF, "the hub gave no consistency proof") from None


def _rows(members: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = members.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise Refusal(RefusalCode.INVALID_REQUEST, f"the hub's answer has no list of {name}")
    return rows
