"""Audit entries: who did what under which agreement, with which outcome. Ids, digests and codes; no content, no names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class AuditEvent(StrEnum):
    """What can be logged."""

    MESSAGE_ACCEPTED = "message.accepted"
    MESSAGE_REFUSED = "message.refused"
    MESSAGE_REPEATED = "message.repeated"
    MESSAGE_PREVIEWED = "message.previewed"
    MESSAGE_READ = "message.read"
    ARRIVALS_REFUSED = "arrivals.refused"  # unauthenticated bytes, counted into one entry a minute
    DELIVERY_RELAYED = "delivery.relayed"
    DELIVERY_ATTEMPT_FAILED = "delivery.attempt_failed"
    DELIVERY_REFUSED = "delivery.refused"
    DELIVERY_FETCHED = "delivery.fetched"
    DELIVERY_REQUEUED = "delivery.requeued"
    INBOX_LISTED = "inbox.listed"
    RECEIPT_ISSUED = "receipt.issued"
    RECEIPT_RECORDED = "receipt.recorded"
    RECEIPT_REFUSED = "receipt.refused"
    TOKEN_ISSUED = "token.issued"  # noqa: S105 - an event name
    TOKEN_REFUSED = "token.refused"  # noqa: S105 - an event name
    ACCESS_REFUSED = "access.refused"
    PARTY_RECORDED = "party.recorded"
    KEY_RECORDED = "key.recorded"
    KEY_STATE_CHANGED = "key.state_changed"
    AGREEMENT_RECORDED = "agreement.recorded"
    AGREEMENT_SIGNED = "agreement.signed"
    AGREEMENT_READ = "agreement.read"
    AGREEMENT_SUSPENDED = "agreement.suspended"
    AGREEMENT_RESUMED = "agreement.resumed"
    AGREEMENT_ENDED = "agreement.ended"
    HUB_STARTED = "hub.started"
    HUB_STOPPED = "hub.stopped"
    CLOCK_OFFSET = "hub.clock_offset"
    EVIDENCE_READ = "evidence.read"


@dataclass(frozen=True)
class AuditEntry:
    """One entry before it is written. `details` holds JSON values: ids, digests, codes and counts only."""

    event: AuditEvent
    at: datetime
    actor: str
    outcome: str = "ok"
    exchange: str = ""
    agreement: str = ""
    agreement_version: int = 0
    details: Mapping[str, object] = field(default_factory=dict)
