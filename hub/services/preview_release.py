"""Who would receive what, and why not: the same decision as at acceptance, with nothing stored of the message."""

from __future__ import annotations

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.decisions import Decision
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.callers import Caller
from hub.services.hub import Hub, codes
from hub.services.receive_message import (
    Arrival,
    FreshMessage,
    TypedMessage,
    decide_now,
    identify_sender,
    note_arrival,
    open_envelope,
    read_body,
    read_header,
    unseal,
    verify_signature,
)

_PREVIEWED = AuditEvent.MESSAGE_PREVIEWED


def preview_release(hub: Hub, caller: Caller, octets: bytes, media_type: str) -> Decision:
    """Decide over a signed and sealed message without accepting it.

    The message comes in the very form in which it would be sent, so that what is previewed is what is decided at acceptance.

    Returns:
        The decision, whether it allows or not.

    Raises:
        Refusal: what steps 2 to 5 and 8 of `receive_message` raise; SENDER_MISMATCH where the sender is not the caller.
    """
    arrival = note_arrival(hub, octets, media_type)
    try:
        typed = _read(hub, caller, arrival)
    except Refusal as refusal:
        details = {"arrival": arrival.digest, "key": caller.kid}
        hub.note_alone(AuditEntry(_PREVIEWED, arrival.at, caller.authority, outcome=refusal.code.value, details=details))
        raise
    decision = decide_now(typed.verified.registry, typed.facts, arrival.at)
    hub.note_alone(
        AuditEntry(
            _PREVIEWED,
            arrival.at,
            caller.authority,
            outcome="allowed" if decision.allows else "refused",
            agreement=decision.agreement,
            agreement_version=decision.agreement_version,
            details={"type": typed.facts.header.type, "key": caller.kid, "codes": codes([one.code for one in decision.failures])},
        )
    )
    return decision


def _read(hub: Hub, caller: Caller, arrival: Arrival) -> TypedMessage:
    signed = unseal(hub, open_envelope(hub, arrival))
    with hub.store.reading() as work:
        authentic = verify_signature(identify_sender(hub, work, signed))
    if authentic.signer != caller.authority:
        raise Refusal(RefusalCode.SENDER_MISMATCH, "a party previews its own messages")
    return read_body(hub, FreshMessage(read_header(hub, authentic)))
