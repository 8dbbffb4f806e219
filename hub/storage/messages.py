"""Accepted messages: the replay claim, the facts of the decision, and the encrypted evidence octets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, insert, or_, select
from sqlalchemy.exc import IntegrityError

from hub.storage.store import Work
from hub.storage.tables import deliveries, messages

_ADD = insert(messages)
_CLAIM = select(messages.c.exchange, messages.c.digest).where(
    messages.c.sender == bindparam("sender"), messages.c.message_id == bindparam("message_id")
)


class IdTakenError(Exception):
    """This sender's message id is claimed already."""


@dataclass(frozen=True)
class MessageRow:
    """One accepted message. `digest` is base64url SHA-256 of what was signed; `content` is ciphertext.

    `facts` is canonical JSON of what the decision was made from, without values.
    """

    exchange: str
    sender: str
    message_id: str
    digest: str
    type: str
    agreement: str
    agreement_version: int
    case_id: str
    accepted_at: datetime
    expires: datetime
    facts: bytes
    storage_kid: str
    wrapped_key: bytes
    content: bytes


def add(work: Work, row: MessageRow) -> None:
    """Claim (sender, message id) and store the message.

    Raises:
        IdTakenError: the claim is taken, by whoever was first.
    """
    try:
        work.execute(_ADD, row.__dict__)
    except IntegrityError as error:
        raise IdTakenError from error


def find_claim(work: Work, sender: str, message_id: str) -> tuple[str, str] | None:
    """The (exchange, digest) under which this sender's message id was accepted, or None."""
    row = work.execute(_CLAIM, {"sender": sender, "message_id": message_id}).first()
    return (row.exchange, row.digest) if row else None


def get(work: Work, exchange: str) -> MessageRow | None:
    """The message of an exchange, or None."""
    row = work.execute(select(messages).where(messages.c.exchange == exchange)).first()
    return MessageRow(**row._mapping) if row else None


def involves(work: Work, exchange: str, authority: str) -> bool:
    """Whether the authority sent the message or is one of its recipients."""
    sent = select(messages.c.exchange).where(messages.c.exchange == exchange, messages.c.sender == authority)
    received = select(deliveries.c.id).where(deliveries.c.exchange == exchange, deliveries.c.recipient == authority)
    return work.execute(sent).first() is not None or work.execute(received).first() is not None


def thread_agreements(work: Work, case_id: str, in_reply_to: str, authority: str) -> set[str]:
    """Under which agreements the opening message of a case, or the message answered, runs, as far as `authority` took part."""
    wanted = [one for one in (case_id, in_reply_to) if one]
    rows = work.execute(
        select(messages.c.agreement)
        .join(deliveries, deliveries.c.exchange == messages.c.exchange)
        .where(
            messages.c.message_id.in_(wanted),
            or_(messages.c.sender == authority, deliveries.c.recipient == authority),
        )
    )
    return set(rows.scalars())


def everything(work: Work, after: str, most: int) -> list[MessageRow]:
    """At most `most` messages in order of their exchange ids, after the one named ("" for the first)."""
    rows = work.execute(select(messages).where(messages.c.exchange > after).order_by(messages.c.exchange).limit(most))
    return [MessageRow(**row._mapping) for row in rows]
