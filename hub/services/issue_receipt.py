"""The hub's receipts: planned as octets in the transaction they tell of, signed afterwards, the same octets every time.

Because ES256 is deterministic here (RFC 6979), signing the stored octets again gives the receipt that was given first, to the
last octet, whatever has happened since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hub.domain.encoding import b64url_encode, format_time
from hub.domain.parties import HUB_PARTY
from hub.domain.receipts import Receipt, ReceiptEvent
from hub.domain.signatures import SignatureType
from hub.formats.canonical_json import canonical_json
from hub.formats.jws import protected_header, serialise_compact, signing_input
from hub.services.hub import Hub


@dataclass(frozen=True)
class IssuedReceipt:
    """A receipt as it is handed out: the exchange, the compact JWS, and whether it was given before."""

    exchange: str
    jws: str
    repeated: bool = False


@dataclass(frozen=True)
class Subject:
    """The message that a receipt is about. `digest` is base64url SHA-256 of the octets that its sender signed."""

    exchange: str
    sender: str
    message_id: str
    digest: str


def plan_receipt(
    hub: Hub, subject: Subject, event: ReceiptEvent, recipient: str, *, now: datetime, details: Mapping[str, object]
) -> Receipt:
    """Write the octets of a hub receipt, to be stored in the transaction of what it states.

    Args:
        hub: the hub, whose current signing key is named in the receipt.
        subject: the message.
        event: what is stated.
        recipient: whom it concerns; "" for ACCEPTED, which concerns all.
        now: when it happened.
        details: further members, JSON values without content.
    """
    payload = canonical_json(
        {
            "v": 1,
            "event": event.value,
            "issuer": HUB_PARTY,
            "hub": hub.name,
            "exchange": subject.exchange,
            "message": {"sender": subject.sender, "id": subject.message_id, "digest": subject.digest},
            "time": format_time(now),
            **({"recipient": recipient} if recipient else {}),
            **details,
        }
    )
    digest = b64url_encode(hashlib.sha256(payload).digest())
    kid = hub.keyring.signing_key(now).kid
    return Receipt(subject.exchange, recipient, event, HUB_PARTY, kid, payload, digest, now)


def sign_receipt(hub: Hub, receipt: Receipt) -> str:
    """The receipt as a compact JWS: a partner's as it was received, the hub's signed from its stored octets.

    Raises:
        HubFault: the hub no longer has the key that this receipt names.
    """
    if receipt.jws:
        return receipt.jws
    protected = protected_header(receipt.kid, SignatureType.RECEIPT)
    payload = b64url_encode(receipt.payload)
    signature = hub.keyring.signed_with(receipt.kid).sign(signing_input(protected, payload))
    return serialise_compact(protected, payload, signature)
