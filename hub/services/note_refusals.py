"""Auditing refusals: those of bytes that nobody is known to have signed one by one, and past a limit in one sum a minute."""

from __future__ import annotations

from datetime import datetime

from hub.domain.audit import AuditEntry
from hub.domain.refusals import Finding, RefusalCode
from hub.formats.decision_records import finding_members
from hub.services.hub import Hub


def findings_for_log(findings: tuple[Finding, ...]) -> list[dict[str, object]]:
    """Findings as they may stand in an audit entry: a level that no agreement maps is whatever its sender wrote, and left out."""
    unmapped = RefusalCode.CLASSIFICATION_NOT_MAPPED
    return finding_members(tuple(one._replace(values=()) if one.code is unmapped else one for one in findings))


def write_refusal_sum(hub: Hub, now: datetime) -> None:
    """Audit the sum of the refusals that this process only counted, once their minute is over."""
    summary = hub.refusals.flush(now)
    if summary is not None:
        hub.note_alone(summary)


def note_unauthenticated_refusal(hub: Hub, code: RefusalCode, entry: AuditEntry) -> None:
    """Audit a refusal of bytes that nobody signed: by itself up to the limit, past it in the minute's sum."""
    by_itself, summary = hub.refusals.admit(code, entry.at)
    entries = [one for one in (summary, entry if by_itself else None) if one is not None]
    if entries:
        hub.note_alone(*entries)
