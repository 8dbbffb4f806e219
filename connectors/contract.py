"""What a connector is: a mapping between a native record and a hub message, and a transport that carries it.

`mapping.py` is pure: bytes of the agency's system to a `Draft`, an `Incoming` to bytes. `transport.py` does the input and output
and speaks to the hub through a `HubChannel` only: whatever is sent was signed and sealed, whatever arrives was verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hub.domain.encoding import b64url_encode
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.canonical_json import canonical_json

SEAL_TO = "$seal_to"
"""Marks a plain value in a draft's body that travels as a sealed part: `{"$seal_to": ROLE, "value": ..., "authority": ...}`."""


class RefusedByHub(Refusal):
    """The hub refused, and signed that it did. `problem` holds the octets that it signed, `signature` the detached JWS."""

    def __init__(self, refusal: Refusal, problem: bytes, signature: str) -> None:
        super().__init__(refusal.code, refusal.detail, refusal.findings)
        self.problem = problem
        self.signature = signature


class HubUnreachableError(Exception):
    """No answer that settles anything: try again later with the same prepared message. The text holds no content."""


@dataclass(frozen=True)
class DraftAttachment:
    """One file that goes with a draft. `category` is the data category that the sender says it holds."""

    name: str
    media_type: str
    category: str
    octets: bytes


@dataclass(frozen=True)
class Draft:
    """A message before it is completed: part of its header, and a body that may hold values marked with `SEAL_TO`."""

    header: Mapping[str, Any]
    body: Mapping[str, Any]
    attachments: tuple[DraftAttachment, ...] = ()

    def digest(self) -> str:
        """Base64url SHA-256 of everything in the draft: two drafts with one digest are one message.

        Raises:
            Refusal: SCHEMA_VIOLATION, the draft holds something that JSON messages may not hold (a float, a name outside ASCII).
        """
        files = [
            [one.name, one.media_type, one.category, b64url_encode(hashlib.sha256(one.octets).digest())]
            for one in self.attachments
        ]
        try:
            octets = canonical_json({"header": dict(self.header), "body": dict(self.body), "attachments": files})
        except ValueError as error:
            raise Refusal(RefusalCode.SCHEMA_VIOLATION, f"the draft cannot be written as a message: {error}") from None
        return b64url_encode(hashlib.sha256(octets).digest())


@dataclass(frozen=True)
class Prepared:
    """A signed and sealed message that was written down before it is sent, so that every repeat sends the same octets.

    `draft` is the draft's digest, `digest` base64url SHA-256 of what was signed. `exchange` and `receipt` (a compact JWS) are ""
    until the hub has accepted.
    """

    draft: str
    id: str
    sender: str
    type: str
    recipients: tuple[str, ...]
    digest: str
    envelope: bytes
    exchange: str = ""
    receipt: str = ""


@dataclass(frozen=True)
class VerifiedReceipt:
    """A receipt whose signature verified with a pinned key. `members` is everything it states.

    `digest` is base64url SHA-256 of the octets that its issuer signed: what the log commits to.
    """

    event: ReceiptEvent
    issuer: str
    exchange: str
    recipient: str
    sender: str
    message_id: str
    message_digest: str
    time: str
    members: Mapping[str, Any]
    digest: str
    jws: str


@dataclass(frozen=True)
class Removed:
    """One field that the hub took out, and the article that does not cover it."""

    path: str
    article: str


@dataclass(frozen=True)
class Rendition:
    """What makes a copy differ from its original, of which `of` is the digest."""

    of: str
    removed: tuple[Removed, ...]


@dataclass(frozen=True)
class Incoming:
    """A message that was opened, whose every signature verified, and that names this agency among its recipients.

    `digest` is base64url SHA-256 of the payload that was signed; `signed` the JWS as it was inside the seal, kept as evidence.
    """

    delivery: str
    exchange: str
    header: Mapping[str, Any]
    body: Mapping[str, Any]
    digest: str
    signed: bytes
    rendition: Rendition | None = None


@dataclass(frozen=True)
class Collected:
    """What became of one inbox item: `incoming` where it was taken, else the `refusal` (the hub's own where it withheld it)."""

    delivery: str
    sender: str
    type: str
    incoming: Incoming | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Round:
    """What one run of a connector did: names of what was sent, refused, left for later, and what came in."""

    sent: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    postponed: list[str] = field(default_factory=list)
    received: list[Collected] = field(default_factory=list)


Take = Callable[[Incoming], None]
"""Stores one incoming message durably. It is called again for the same delivery if anything fails before the cursor moves."""


class HubChannel(Protocol):
    """The only way in which a connector reaches the hub."""

    def prepare(self, draft: Draft, *, again: bool = False) -> Prepared:
        """Complete, sign, seal and write down a draft; the same draft gives what was written down first."""

    def send(self, prepared: Prepared) -> Prepared:
        """Send it, and verify the hub's receipt; what is returned holds exchange and receipt."""

    def collect(self, take: Take, *, wait_seconds: int = 0) -> list[Collected]:
        """Fetch, open and verify what is new, hand each message to `take`, then confirm it with a signed receipt."""


class Connector(Protocol):
    """One agency system's way in and out."""

    def run_once(self, hub: HubChannel) -> Round:
        """Send what is waiting and take what has arrived."""
