"""Who would receive what, and why not: the same decision as at acceptance, with nothing stored of the message."""

from __future__ import annotations

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.decisions import Decision
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.callers import Caller
from hub.services.hub import Hub
from hub.services.receive_message import (
    FreshMessage,
    decide_now,
    identify_sender,
    note_arrival,
    open_envelope,
    read_body,
    unseal,
    verify_signature,
)


def preview_release(hub: Hub, caller: Caller, octets: bytes, media_type: str) -> Decision:
    """Decide over a signed and sealed message without accepting it.

    The message comes in the very form in which it would be sent, so that what is previewed is what is decided at acceptance.

    Returns:
        The decision, whether it allows or not.

    Raises:
        Refusal: what steps 2 to 5 and 8 of `receive_message` raise; SENDER_MISMATCH where the sender is not the caller.
    """
    signed = unseal(hub, open_envelope(hub, note_arrival(hub, octets, media_type)))
    with hub.store.reading() as work:
        verified = verify_signature(hub, identify_sender(hub, work, signed))
    if verified.header.sender != caller.authority:
        raise Refusal(RefusalCode.SENDER_MISMATCH, "a party previews its own messages")
    typed = read_body(hub, FreshMessage(verified))
    decision = decide_now(verified.registry, typed.facts, verified.arrived_at)
    hub.note_alone(
        AuditEntry(
            AuditEvent.MESSAGE_PREVIEWED,
            verified.arrived_at,
            caller.authority,
            outcome="allowed" if decision.allows else "refused",
            agreement=decision.agreement,
            agreement_version=decision.agreement_version,
            details={"type": verified.header.type, "codes": sorted({str(one.code) for one in decision.failures})},
        )
    )
    return decision
