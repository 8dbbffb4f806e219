"""The receipts of an exchange, each with what proves that the log holds it."""

from __future__ import annotations

from dataclasses import dataclass

from hub.services.callers import Caller
from hub.services.hub import Hub
from hub.services.read_exchange import ExchangeView, SignedReceipt, read_exchange
from hub.services.read_log import ReceiptProof, prove_receipts


@dataclass(frozen=True)
class Evidence:
    """An exchange, and its receipts with their proofs; None where the log's checkpoint does not cover a receipt yet."""

    view: ExchangeView
    receipts: tuple[tuple[SignedReceipt, ReceiptProof | None], ...]


def read_evidence(hub: Hub, caller: Caller, exchange: str) -> Evidence:
    """Collect what an exchange can be proved with, as far as the caller may see it. The read is audited.

    Raises:
        Refusal: NOT_FOUND for an exchange that is not there or that the caller had no part in.
    """
    view = read_exchange(hub, caller, exchange)
    proofs = prove_receipts(hub, caller, exchange)
    return Evidence(view, tuple((one, proofs.get(one.receipt.digest)) for one in view.receipts))
