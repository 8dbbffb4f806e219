"""The registry, the messages, the outbox, the receipts, the log and what access control remembers.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String(64)
_DIGEST = sa.String(43)  # base64url of SHA-256
_INSTANT = sa.BigInteger()  # microseconds since 1970

# from the last to the first, as foreign keys want it
_TABLES = (
    *("leases", "used_tokens", "log_checkpoints", "log_state", "log_tiles", "audit_entries", "receipts", "releases"),
    *("inbox_ends", "deliveries", "messages"),
    *("agreement_events", "agreement_signatures", "agreements", "keys", "parties", "registry_state"),
)


def upgrade() -> None:
    _create_registry()
    _create_agreements()
    _create_messages()
    _create_outbox()
    _create_receipts()
    _create_log()
    _create_access()


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)


def _create_registry() -> None:
    registry_state = op.create_table(
        "registry_state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_registry_state"),
    )
    op.bulk_insert(registry_state, [{"id": 1, "version": 0}])
    op.create_table(
        "parties",
        sa.Column("authority", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("authority", "version", name="pk_parties"),
    )
    op.create_table(
        "keys",
        sa.Column("kid", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", _NAME, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("kid", "version", name="pk_keys"),
    )


def _create_agreements() -> None:
    op.create_table(
        "agreements",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("canonical", sa.LargeBinary(), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", "version", name="pk_agreements"),
    )
    op.create_table(
        "agreement_signatures",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("authority", _NAME, nullable=False),
        sa.Column("kid", _NAME, nullable=False),
        sa.Column("jws", sa.Text(), nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", "version", "authority", name="pk_agreement_signatures"),
    )
    op.create_table(
        "agreement_events",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("id", _NAME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("by", _NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_agreement_events"),
    )
    op.create_index("ix_agreement_events_id", "agreement_events", ["id"])


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("exchange", _NAME, nullable=False),
        sa.Column("sender", _NAME, nullable=False),
        sa.Column("message_id", _NAME, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("type", _NAME, nullable=False),
        sa.Column("agreement", _NAME, nullable=False),
        sa.Column("agreement_version", sa.Integer(), nullable=False),
        sa.Column("case_id", _NAME, nullable=False),
        sa.Column("accepted_at", _INSTANT, nullable=False),
        sa.Column("expires", _INSTANT, nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("storage_kid", _NAME, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("exchange", name="pk_messages"),
        sa.UniqueConstraint("message_id", "sender", name="uq_messages_message_id_sender"),
    )


def _create_outbox() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _NAME, nullable=False),
        sa.Column("exchange", _NAME, nullable=False),
        sa.Column("recipient", _NAME, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", _INSTANT, nullable=False),
        sa.Column("deliver_by", _INSTANT, nullable=False),
        sa.Column("retrieve_by", _INSTANT, nullable=True),
        sa.Column("reply_by", _INSTANT, nullable=False),
        sa.Column("lease_until", _INSTANT, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("last_error", _NAME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["exchange"], ["messages.exchange"], name="fk_deliveries_exchange"),
        sa.UniqueConstraint("recipient", "position", name="uq_deliveries_recipient_position"),
    )
    op.create_index("ix_deliveries_exchange", "deliveries", ["exchange"])
    for column in ("next_attempt_at", "deliver_by", "retrieve_by"):
        op.create_index(f"ix_deliveries_state_{column}", "deliveries", ["state", column])
    op.create_table(
        "inbox_ends",
        sa.Column("recipient", _NAME, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("recipient", name="pk_inbox_ends"),
    )
    op.create_table(
        "releases",
        sa.Column("delivery", _NAME, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("agreement_version", sa.Integer(), nullable=False),
        sa.Column("decision", sa.LargeBinary(), nullable=False),
        sa.Column("released_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("delivery", "digest", name="pk_releases"),
        sa.ForeignKeyConstraint(["delivery"], ["deliveries.id"], name="fk_releases_delivery"),
    )


def _create_receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("exchange", _NAME, nullable=False),
        sa.Column("recipient", _NAME, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("issuer", _NAME, nullable=False),
        sa.Column("kid", _NAME, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("jws", sa.Text(), nullable=False),
        sa.Column("recorded_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_receipts"),
        sa.ForeignKeyConstraint(["exchange"], ["messages.exchange"], name="fk_receipts_exchange"),
        sa.UniqueConstraint("exchange", "recipient", "event", "issuer", name="uq_receipts_exchange_recipient_event_issuer"),
    )


def _create_log() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("serial", _SERIAL, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("exchange", _NAME, nullable=False),
        sa.Column("tree_index", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("serial", name="pk_audit_entries"),
        sa.UniqueConstraint("tree_index", name="uq_audit_entries_tree_index"),
    )
    op.create_index("ix_audit_entries_exchange", "audit_entries", ["exchange"])
    pending = sa.text("tree_index IS NULL")
    op.create_index("ix_audit_entries_pending", "audit_entries", ["serial"], sqlite_where=pending, postgresql_where=pending)
    op.create_table(
        "log_tiles",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name="pk_log_tiles"),
    )
    log_state = op.create_table(
        "log_state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_state"),
    )
    op.bulk_insert(log_state, [{"id": 1, "size": 0, "root": hashlib.sha256(b"").digest()}])
    op.create_table(
        "log_checkpoints",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_log_checkpoints"),
    )


def _create_access() -> None:
    op.create_table(
        "used_tokens",
        sa.Column("issuer", sa.String(128), nullable=False),
        sa.Column("jti", sa.String(128), nullable=False),
        sa.Column("until", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti", name="pk_used_tokens"),
    )
    op.create_index("ix_used_tokens_until", "used_tokens", ["until"])
    op.create_table(
        "leases",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("holder", _NAME, nullable=False),
        sa.Column("until", _INSTANT, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
