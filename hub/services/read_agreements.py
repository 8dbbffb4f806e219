"""The agreements that a party operates under. Others do not exist for it."""

from __future__ import annotations

from dataclasses import dataclass

from hub.domain.agreements import Agreement, AgreementRecord
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.callers import Caller
from hub.services.hub import Hub


@dataclass(frozen=True)
class AgreementView:
    """An agreement and the number of the version that governs now; 0 where none is signed by everybody."""

    record: AgreementRecord
    governing_version: int


def list_agreements(hub: Hub, caller: Caller) -> tuple[AgreementView, ...]:
    """Every agreement that names the caller as an operating authority, by id."""
    now = hub.clock.now()
    with hub.store.reading() as work:
        registry = hub.registry.at(work)
    seen = sorted((one for one in registry.agreements.values() if one.concerns(caller.authority)), key=lambda one: one.id)
    views = []
    for record in seen:
        governing = record.governing(now)
        views.append(AgreementView(record, governing.version if governing else 0))
    return tuple(views)


def read_agreement(hub: Hub, caller: Caller, agreement_id: str) -> AgreementView:
    """One agreement with all its versions.

    Raises:
        Refusal: NOT_FOUND.
    """
    for view in list_agreements(hub, caller):
        if view.record.id == agreement_id:
            return view
    raise Refusal(RefusalCode.NOT_FOUND)


def read_version(hub: Hub, caller: Caller, agreement_id: str, number: int) -> Agreement:
    """One version: its `canonical` octets are what the operating authorities sign. The read is audited.

    Raises:
        Refusal: NOT_FOUND.
    """
    for version in read_agreement(hub, caller, agreement_id).record.versions:
        if version.version == number:
            entry = AuditEntry(
                AuditEvent.AGREEMENT_READ,
                hub.clock.now(),
                caller.authority,
                agreement=agreement_id,
                agreement_version=number,
                details={"key": caller.kid},
            )
            hub.note_alone(entry)
            return version
    raise Refusal(RefusalCode.NOT_FOUND)
