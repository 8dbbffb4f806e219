"""Every table, once, for SQLite and PostgreSQL alike. The migrations build what stands here; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TextClause,
    TypeDecorator,
    UniqueConstraint,
    bindparam,
    text,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970 in UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An instant as whole microseconds since 1970 in UTC: sorts and compares alike on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's interface
        """Aware datetime to microseconds."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's interface
        """Microseconds to aware datetime in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives out row numbers only for a column that is exactly INTEGER PRIMARY KEY.
_Serial = BigInteger().with_variant(Integer(), "sqlite")
_Id = String(64)
_Digest = String(43)  # base64url of SHA-256

# --- the registry: parties, keys, agreements ---

registry_state = Table(
    "registry_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)

parties = Table(
    "parties",
    metadata,
    Column("authority", _Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("recorded_at", Instant, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("kid", _Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("owner", _Id, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("recorded_at", Instant, nullable=False),
)

agreements = Table(
    "agreements",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("canonical", LargeBinary, nullable=False),
    Column("digest", _Digest, nullable=False),
    Column("recorded_at", Instant, nullable=False),
)

agreement_signatures = Table(
    "agreement_signatures",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("authority", _Id, primary_key=True),
    Column("kid", _Id, nullable=False),
    Column("jws", Text, nullable=False),
    Column("recorded_at", Instant, nullable=False),
)

agreement_events = Table(
    "agreement_events",
    metadata,
    Column("serial", _Serial, primary_key=True),
    Column("id", _Id, nullable=False, index=True),
    Column("kind", String(16), nullable=False),  # suspended | resumed | ended
    Column("at", Instant, nullable=False),
    Column("by", _Id, nullable=False),
    Column("reason", Text, nullable=False),
)

# --- what was accepted ---

messages = Table(
    "messages",
    metadata,
    Column("exchange", _Id, primary_key=True),
    Column("sender", _Id, nullable=False),
    Column("message_id", _Id, nullable=False),
    Column("digest", _Digest, nullable=False),
    Column("type", _Id, nullable=False),
    Column("agreement", _Id, nullable=False),
    Column("agreement_version", Integer, nullable=False),
    Column("case_id", _Id, nullable=False),
    Column("accepted_at", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Column("facts", LargeBinary, nullable=False),  # what the decision was made from: no values
    Column("storage_kid", _Id, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),  # the signed octets, encrypted under the message's content key
    UniqueConstraint("message_id", "sender"),  # the replay claim; and what an answer or a case names is found by its id
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("exchange", ForeignKey("messages.exchange"), nullable=False, index=True),
    Column("recipient", _Id, nullable=False),
    Column("state", String(16), nullable=False),
    Column("position", BigInteger, nullable=True),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Instant, nullable=False),
    Column("deliver_by", Instant, nullable=False),
    Column("retrieve_by", Instant, nullable=True),
    Column("reply_by", Instant, nullable=False),
    Column("lease_until", Instant, nullable=True),
    Column("fence", BigInteger, nullable=False),
    Column("last_error", _Id, nullable=False),
    UniqueConstraint("recipient", "position"),
    Index("ix_deliveries_state_next_attempt_at", "state", "next_attempt_at"),
    Index("ix_deliveries_state_deliver_by", "state", "deliver_by"),
    Index("ix_deliveries_state_retrieve_by", "state", "retrieve_by"),
)

inbox_ends = Table(
    "inbox_ends",
    metadata,
    Column("recipient", _Id, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("delivery", ForeignKey("deliveries.id"), primary_key=True),
    Column("digest", _Digest, primary_key=True),  # of the octets that were signed and released
    Column("agreement_version", Integer, nullable=False),
    Column("decision", LargeBinary, nullable=False),
    Column("released_at", Instant, nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    Column("serial", _Serial, primary_key=True),
    Column("exchange", ForeignKey("messages.exchange"), nullable=False),
    Column("recipient", _Id, nullable=False),  # "" for the ACCEPTED receipt
    Column("event", String(16), nullable=False),
    Column("issuer", _Id, nullable=False),
    Column("kid", _Id, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("digest", _Digest, nullable=False),
    Column("jws", Text, nullable=False),  # a partner's, as received; "" for the hub's, which are signed again from the payload
    Column("recorded_at", Instant, nullable=False),
    UniqueConstraint("exchange", "recipient", "event", "issuer"),
)

# --- evidence ---

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("serial", _Serial, primary_key=True),
    Column("entry", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("exchange", _Id, nullable=False, index=True),
    Column("tree_index", BigInteger, nullable=True, unique=True),
)
Index(
    "ix_audit_entries_pending",
    audit_entries.c.serial,
    sqlite_where=audit_entries.c.tree_index.is_(None),
    postgresql_where=audit_entries.c.tree_index.is_(None),
)

log_tiles = Table(
    "log_tiles",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

log_state = Table(
    "log_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
)

log_checkpoints = Table(
    "log_checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("signed_at", Instant, nullable=False),
)

# --- access, and who does what among several nodes ---

used_tokens = Table(
    "used_tokens",
    metadata,
    Column("issuer", String(128), primary_key=True),
    Column("jti", String(128), primary_key=True),
    Column("until", Instant, nullable=False, index=True),
)

leases = Table(
    "leases",
    metadata,
    Column("name", _Id, primary_key=True),
    Column("holder", _Id, nullable=False),
    Column("until", Instant, nullable=False),
    Column("fence", BigInteger, nullable=False),
)


def insert_new(table: Table) -> TextClause:
    """An insert of one whole row that gives way where a row with its key is there: it returns a row only if it inserted one.

    Unlike a failed insert it leaves the transaction usable on PostgreSQL, and it waits for whoever is inserting the same.
    """
    names = table.columns.keys()
    values = ", ".join(f":{name}" for name in names)
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING RETURNING 1"  # noqa: S608 - our own names
    return text(statement).bindparams(*(bindparam(column.name, type_=column.type) for column in table.columns))
