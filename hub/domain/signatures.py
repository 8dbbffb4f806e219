"""What a signature is for: the register of `typ` values, and the form of a key id."""

from __future__ import annotations

import re
from enum import StrEnum

_KID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class SignatureType(StrEnum):
    """The `typ` of a protected header. A key signs only the types that it is registered for."""

    MESSAGE = "hub-msg+jws"  # the sender, over the original message
    COUNTERSIGNATURE = "hub-cs+jws"  # the hub, beside the sender's signature
    RENDITION = "hub-rendition+jws"  # the hub alone, over a minimised or translated copy
    LABEL = "hub-label+jws"  # the sender, over the label of a message that the hub cannot open
    RECEIPT = "hub-receipt+jws"
    PROBLEM = "hub-problem+jws"
    AGREEMENT = "hub-agreement+jws"
    PERMISSION = "hub-permission+jws"
    DELETION = "hub-deletion+jws"
    MANDATE = "hub-mandate+jws"


def is_key_id(text: object) -> bool:
    """Whether this is a key id: 1 to 64 characters of `[A-Za-z0-9._-]` (wire rule A1.6)."""
    return isinstance(text, str) and _KID.match(text) is not None
