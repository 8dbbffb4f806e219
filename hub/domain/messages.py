"""A message: its signed header, and what its body holds by data category."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum


class DataCategory(StrEnum):
    """What kind of personal or sensitive information a field holds. The policy releases or removes by category."""

    IDENTITY = "identity"
    DOCUMENT = "document"
    TRAVEL = "travel"
    BIOMETRICS = "biometrics"
    CRIMINAL_RECORD = "criminal_record"
    VICTIM = "victim"
    HEALTH = "health"
    FINANCIAL = "financial"
    INTELLIGENCE = "intelligence"
    CONTACT = "contact"

    __hash__ = str.__hash__  # the enum's own is a Python function, and a decision hashes the category of every field


class Urgency(StrEnum):
    """Reply classes of Directive (EU) 2023/977 article 5 and, for N, Framework Decision 2006/960/JHA article 4."""

    U1 = "U1"
    U2 = "U2"
    R = "R"
    N = "N"


class Handling(StrEnum):
    """Europol handling codes: a set, not a ladder."""

    H0 = "H0"
    H1 = "H1"
    H2 = "H2"
    H3 = "H3"


class Tlp(StrEnum):
    """Traffic Light Protocol 2.0 markings."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    AMBER_STRICT = "amber+strict"
    RED = "red"


TLP_BY_AUDIENCE: tuple[Tlp, ...] = (Tlp.RED, Tlp.AMBER_STRICT, Tlp.AMBER, Tlp.GREEN, Tlp.CLEAR)
"""From the narrowest audience to the widest."""


class CommonLevel(IntEnum):
    """The common ladder onto which each agreement maps the parties' own classification levels."""

    NONE = 0
    RESTRICTED = 1
    CONFIDENTIAL = 2
    SECRET = 3
    TOP_SECRET = 4


UNCLASSIFIED = "none"
"""The level that needs no mapping."""


@dataclass(frozen=True)
class Attachment:
    """What the signed header says of one attachment: SHA-256 (base64url) of its octets, media type, size in bytes.

    `category` is what the sender says the file holds, so that it is released or removed like a field. `content` is the standard
    base64 of an inline attachment, at most 1 MiB decoded.
    """

    name: str
    media_type: str
    sha256: str
    size: int
    category: DataCategory
    content: str = ""


@dataclass(frozen=True)
class Header:
    """The signed header of a message, as validated against the header schema. (sender, id) is its key."""

    v: int
    id: str
    type: str
    schema: int
    sender: str
    recipients: tuple[str, ...]
    agreement: str
    purpose: str
    issued: datetime
    expires: datetime
    urgency: Urgency
    classification: str
    tlp: Tlp
    handling: frozenset[Handling]
    language: str
    salt: str = ""
    crime_area: str = ""
    case: str = ""
    in_reply_to: str = ""
    urgency_ground: str = ""
    declassify: str = ""
    handling_text: str = ""
    retain_until: str = ""
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class PresentField:
    """A field that is present in a body: its path (`/victims/0/birth_date`, a JSON Pointer) and its data category.

    `category` is None for a field that holds nothing personal. A sealed part is one field; what is in it is not seen.
    """

    path: str
    category: DataCategory | None
    sealed: bool = False


@dataclass(frozen=True)
class MessageFacts:
    """What a decision is made from: the header, and which categories the body holds where. No values."""

    header: Header
    fields: tuple[PresentField, ...]
