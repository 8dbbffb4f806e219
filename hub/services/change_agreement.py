"""Suspending, resuming and ending an agreement: events beside its immutable text, in effect from the moment they are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hub.domain.agreements import AgreementRecord
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.services.change_registry import OPERATOR, change_registry
from hub.services.hub import Hub
from hub.storage import registry as rows
from hub.storage.store import Work

MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class _Change:
    kind: str
    event: AuditEvent


_SUSPEND = _Change("suspended", AuditEvent.AGREEMENT_SUSPENDED)
_RESUME = _Change("resumed", AuditEvent.AGREEMENT_RESUMED)
_END = _Change("ended", AuditEvent.AGREEMENT_ENDED)


def suspend_agreement(hub: Hub, agreement_id: str, reason: str) -> bool:
    """Suspend an agreement until it is resumed; says whether it was not suspended before.

    Raises:
        Refusal: NOT_FOUND; INVALID_REQUEST for a missing or overlong reason.
    """
    return _record(hub, agreement_id, _SUSPEND, reason, lambda record, now: not is_suspended(record, now))


def resume_agreement(hub: Hub, agreement_id: str, reason: str) -> bool:
    """Lift a recorded suspension; says whether there was one. A suspension that stands in the text itself stays.

    Raises:
        Refusal: NOT_FOUND, INVALID_REQUEST.
    """
    return _record(hub, agreement_id, _RESUME, reason, is_suspended)


def end_agreement(hub: Hub, agreement_id: str, reason: str) -> bool:
    """End an agreement for good, from now on; says whether it had not ended before.

    Raises:
        Refusal: NOT_FOUND, INVALID_REQUEST.
    """
    return _record(hub, agreement_id, _END, reason, lambda record, _now: record.ended_at is None)


def is_suspended(record: AgreementRecord, now: datetime) -> bool:
    """Whether a suspension that was recorded beside the agreement covers `now`."""
    return any(one.covers(now) for one in record.suspensions)


def _record(
    hub: Hub, agreement_id: str, change: _Change, reason: str, makes_a_difference: Callable[[AgreementRecord, datetime], bool]
) -> bool:
    if not 0 < len(reason) <= MAX_REASON_CHARACTERS:
        raise Refusal(RefusalCode.INVALID_REQUEST, f"a reason has 1 to {MAX_REASON_CHARACTERS} characters")
    now = hub.clock.now()

    def write(registry: Registry, work: Work) -> bool:
        record = registry.agreements.get(agreement_id)
        if record is None:
            raise Refusal(RefusalCode.NOT_FOUND, "there is no such agreement")
        if not makes_a_difference(record, now):
            return False
        version = record.governing(now)
        rows.record_event(work, rows.EventRow(agreement_id, change.kind, now, OPERATOR, reason))
        hub.note(
            work,
            AuditEntry(change.event, now, OPERATOR, agreement=agreement_id, agreement_version=version.version if version else 0),
        )
        return True

    return change_registry(hub, write)


def state_of(record: AgreementRecord, now: datetime) -> str:
    """How an agreement stands at `now`: draft, not yet in force, in force, suspended or ended."""
    if record.ended_at is not None and record.ended_at <= now:
        return "ended"
    governing = record.governing(now)
    if governing is None:
        return "draft"
    if governing.term.end is not None and governing.term.end <= now:
        return "ended"
    if any(one.covers(now) for one in (*governing.term.suspensions, *record.suspensions)):
        return "suspended"
    return "in force" if governing.term.start <= now else "not yet in force"
