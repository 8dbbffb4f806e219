"""Accepted messages: the replay claim, the facts of the decision, and the encrypted evidence octets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, or_, select
from sqlalchemy.exc import IntegrityError

from hub.storage.hot_statements import HotStatement, hot_insert
from hub.storage.store import Work
from hub.storage.tables import deliveries, messages

_ADD = hot_insert(messages)
_CLAIM = HotStatement(
    select(messages.c.exchange, messages.c.digest).where(
        messages.c.sender == bindparam("sender"), messages.c.message_id == bindparam("message_id")
    )
)
_HEADS = select(*(column for column in messages.c if column.name != "content")).where(
    messages.c.exchange.in_(bindparam("wanted", expanding=True))
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
        _ADD.run(work, [row.__dict__])
    except IntegrityError as error:
        raise IdTakenError from error


def find_claim(work: Work, sender: str, message_id: str) -> tuple[str, str] | None:
    """The (exchange, digest) under which this sender's message id was accepted, or None."""
    row = _CLAIM.first(work, sender=sender, message_id=message_id)
    return (row[0], row[1]) if row else None


def get(work: Work, exchange: str) -> MessageRow | None:
    """The message of an exchange, or None."""
    row = work.execute(select(messages).where(messages.c.exchange == exchange)).first()
    return MessageRow(**row._mapping) if row else None


def heads(work: Work, exchanges: Collection[str]) -> dict[str, MessageRow]:
    """The messages of these exchanges by exchange id, without their content: `content` is empty."""
    return {row.exchange: MessageRow(**row._mapping, content=b"") for row in work.execute(_HEADS, {"wanted": list(exchanges)})}


def involves(work: Work, exchange: str, authority: str) -> bool:
    """Whether the authority sent the message or is one of its recipients."""
    sent = select(messages.c.exchange).where(messages.c.exchange == exchange, messages.c.sender == authority)
    received = select(deliveries.c.id).where(deliveries.c.exchange == exchange, deliveries.c.recipient == authority)
    return work.execute(sent).first() is not None or work.execute(received).first() is not None


def thread(work: Work, message_ids: Collection[str], authority: str) -> set[tuple[str, str, str]]:
    """The (message id, case id, agreement) of the messages with these ids that `authority` sent or was sent.

    Ids are unique for each sender only. Of several messages with one id the first counts: whoever uses another's id anew has
    seen it before, and moves no case by it.
    """
    columns = messages.c
    rows = work.execute(
        select(columns.message_id, columns.case_id, columns.agreement)
        .join(deliveries, deliveries.c.exchange == columns.exchange)
        .where(columns.message_id.in_(message_ids), or_(columns.sender == authority, deliveries.c.recipient == authority))
        .order_by(columns.accepted_at.desc(), columns.exchange.desc())
    )
    return set({row.message_id: (row.message_id, row.case_id, row.agreement) for row in rows}.values())


def everything(work: Work, after: str, most: int) -> list[MessageRow]:
    """At most `most` messages in order of their exchange ids, after the one named ("" for the first)."""
    rows = work.execute(select(messages).where(messages.c.exchange > after).order_by(messages.c.exchange).limit(most))
    return [MessageRow(**row._mapping) for row in rows]
