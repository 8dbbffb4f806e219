"""Receipts: signed statements about one message, after the evidence events of ETSI EN 319 522 (registered delivery)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ReceiptEvent(StrEnum):
    """What a receipt states. The hub issues all of them; a recipient issues DELIVERED, REJECTED and RETRIEVED."""

    ACCEPTED = "accepted"  # the hub took the message over, for every recipient it names
    REJECTED = "rejected"  # the recipient's system could not take what it was given, with the reason
    RELAYED = "relayed"  # the hub put it in the recipient's inbox, or pushed it
    DELIVERED = "delivered"  # the recipient's system has it, opened and verified
    NOT_DELIVERED = "not_delivered"  # the deadline passed, or release ended, before the recipient's system had it
    RETRIEVED = "retrieved"  # a person at the recipient opened it
    NOT_RETRIEVED = "not_retrieved"  # the deadline passed before a person opened it


RECIPIENT_EVENTS: frozenset[ReceiptEvent] = frozenset({ReceiptEvent.DELIVERED, ReceiptEvent.REJECTED, ReceiptEvent.RETRIEVED})


@dataclass(frozen=True)
class Receipt:
    """One receipt: the octets that are signed, who signed with which key, and the compact JWS.

    `recipient` is "" for the hub's ACCEPTED receipt. `digest` is base64url SHA-256 of `payload`.
    """

    exchange: str
    recipient: str
    event: ReceiptEvent
    issuer: str
    kid: str
    payload: bytes
    digest: str
    recorded_at: datetime
    jws: str = ""
