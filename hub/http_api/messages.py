"""Sending: a sealed message in, a signed receipt out; what would become of it; and what became of it."""

from __future__ import annotations

from flask import Response, request
from pydantic import BaseModel, Field

from hub.domain.encoding import format_time
from hub.domain.refusals import RefusalCode
from hub.formats.decision_records import decision_members, finding_members
from hub.http_api.openapi import Content, Section
from hub.http_api.problems import FailedRule
from hub.http_api.requests import answer, current_caller, current_hub, read_body
from hub.services.preview_release import preview_release
from hub.services.read_exchange import ExchangeView, read_exchange
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE, receive_message

REPEATED_HEADER = "Accord-Repeated"

section = Section("Messages", "Send a message, ask beforehand who would receive which part of it, and follow it.")

_EXCHANGE = "01930000-0000-7000-8000-000000000001"
_ENVELOPE = Content(
    "The signed message, sealed to the hub: a JWE in the general JSON serialisation.",
    ENVELOPE_MEDIA_TYPE,
    example='{"protected":"eyJlbmMiOi...","recipients":[{"header":{...},"encrypted_key":"..."}],"iv":"...","ciphertext":"...","tag":"..."}',
)
_BEFORE_DECISION = (
    RefusalCode.TOO_LARGE,
    RefusalCode.WRONG_MEDIA_TYPE,
    RefusalCode.MALFORMED_ENVELOPE,
    RefusalCode.UNSUPPORTED_PROFILE,
    RefusalCode.CANNOT_UNSEAL,
    RefusalCode.WRONG_PROFILE,
    RefusalCode.UNKNOWN_SENDER,
    RefusalCode.KEY_NOT_VALID,
    RefusalCode.BAD_SIGNATURE,
    RefusalCode.SENDER_MISMATCH,
    RefusalCode.UNKNOWN_TYPE,
    RefusalCode.SCHEMA_VIOLATION,
)
_DECISION = (
    RefusalCode.NO_AGREEMENT,
    RefusalCode.AGREEMENT_NOT_SIGNED,
    RefusalCode.AGREEMENT_NOT_IN_FORCE,
    RefusalCode.AGREEMENT_SUSPENDED,
    RefusalCode.SENDER_NOT_IN_GOOD_STANDING,
    RefusalCode.SENDER_NOT_OPERATING,
    RefusalCode.NO_RECIPIENT,
    RefusalCode.RECIPIENT_UNKNOWN,
    RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING,
    RefusalCode.RECIPIENT_NOT_OPERATING,
    RefusalCode.RECIPIENT_NOT_REACHABLE,
    RefusalCode.FLOW_NOT_COVERED,
    RefusalCode.TYPE_NOT_COVERED,
    RefusalCode.PURPOSE_NOT_ALLOWED,
    RefusalCode.CATEGORY_NOT_COVERED,
    RefusalCode.CLASSIFICATION_NOT_MAPPED,
    RefusalCode.CLASSIFICATION_TOO_HIGH,
    RefusalCode.TLP_TOO_WIDE,
    RefusalCode.HANDLING_NOT_COVERED,
    RefusalCode.TRUST_MODE_NOT_ALLOWED,
    RefusalCode.CASE_AGREEMENT_MISMATCH,
)


class Accepted(BaseModel):
    """The hub took the message over, for every recipient it names."""

    exchange: str = Field(description="The exchange id, minted by the hub.")
    receipt: str = Field(description="The receipt `accepted`: a compact JWS of type hub-receipt+jws.")


class RemovedField(BaseModel):
    """A field that a recipient would not get, and the article that does not cover it."""

    path: str
    category: str
    article: str


class RecipientPreview(BaseModel):
    """What one recipient would get: released, minimised or refused."""

    recipient: str
    outcome: str
    removed: list[RemovedField]


class Preview(BaseModel):
    """The decision as it would be made now. `findings` holds every rule, satisfied or not."""

    allowed: bool
    agreement: str
    agreement_version: int = Field(description="0 where no version governs.")
    recipients: list[RecipientPreview]
    findings: list[FailedRule]


class DeliveryStatus(BaseModel):
    """Where the copy for one recipient stands."""

    delivery: str
    recipient: str
    state: str
    deliver_by: str
    retrieve_by: str | None = None
    reply_by: str


class HeldReceipt(BaseModel):
    """One receipt: the hub's own (`issuer` is `hub`) or a recipient's, as it signed it."""

    event: str
    issuer: str
    recipient: str = Field(description="Empty for `accepted`, which concerns every recipient.")
    recorded_at: str
    receipt: str = Field(description="The compact JWS of type hub-receipt+jws.")


class Exchange(BaseModel):
    """An exchange as its sender sees it; a recipient sees its own delivery and receipts."""

    exchange: str
    sender: str
    message: str = Field(description="The message id that the sender gave it.")
    type: str
    agreement: str
    agreement_version: int
    case: str
    accepted_at: str
    expires: str
    deliveries: list[DeliveryStatus]
    receipts: list[HeldReceipt]


class ExchangePath(BaseModel):
    """Names one exchange."""

    exchange: str = Field(max_length=64, description="The exchange id.", examples=[_EXCHANGE])


@section.post(
    "/v1/messages",
    _ENVELOPE,
    {202: Content("Accepted; the same octets again for a repeat, with the header `Accord-Repeated: true`.", model=Accepted)},
    refuses=(
        *_BEFORE_DECISION,
        RefusalCode.MESSAGE_ID_REUSED,
        RefusalCode.EXPIRED,
        RefusalCode.ISSUED_IN_FUTURE,
        *_DECISION,
    ),
)
def send_message() -> Response:
    """Send a message.

    No token is needed: the message shows by its own signature who sent it. An answer that was lost is asked for again by sending
    the same message again; the first receipt comes back. A refusal is signed, lists every rule that failed, and leaves nothing
    behind: what was refused may be sent again.
    """
    hub = current_hub()
    issued = receive_message(hub, read_body(hub.limits.max_envelope_bytes), request.content_type or "")
    response = answer(Accepted(exchange=issued.exchange, receipt=issued.jws), 202)
    if issued.repeated:
        response.headers[REPEATED_HEADER] = "true"
    return response


@section.post(
    "/v1/messages/preview",
    _ENVELOPE,
    {200: Content("The decision, whether it allows or not.", model=Preview)},
    refuses=_BEFORE_DECISION,
    token=True,
)
def preview_message() -> Response:
    """Ask who would receive which part of a message.

    Takes what would be sent, decides as at acceptance, and keeps nothing of it.
    """
    hub = current_hub()
    octets = read_body(hub.limits.max_envelope_bytes)
    decision = preview_release(hub, current_caller(), octets, request.content_type or "")
    preview = Preview(
        allowed=decision.allows,
        agreement=decision.agreement,
        agreement_version=decision.agreement_version,
        recipients=[RecipientPreview.model_validate(one) for one in decision_members(decision)],
        findings=[FailedRule.model_validate(one) for one in finding_members(decision.findings)],
    )
    return answer(preview)


@section.get(
    "/v1/messages/<exchange>", {200: Content("The exchange.", model=Exchange)}, refuses=(RefusalCode.NOT_FOUND,), token=True
)
def show_exchange(path: ExchangePath) -> Response:
    """Follow a message: where each delivery stands, and every receipt so far."""
    return answer(describe_exchange(read_exchange(current_hub(), current_caller(), path.exchange)))


def describe_exchange(view: ExchangeView) -> Exchange:
    """An exchange as it is answered."""
    return Exchange(
        exchange=view.exchange,
        sender=view.sender,
        message=view.message_id,
        type=view.type,
        agreement=view.agreement,
        agreement_version=view.agreement_version,
        case=view.case_id,
        accepted_at=format_time(view.accepted_at),
        expires=format_time(view.expires),
        deliveries=[
            DeliveryStatus(
                delivery=one.id,
                recipient=one.recipient,
                state=one.state.value,
                deliver_by=format_time(one.deliver_by),
                retrieve_by=format_time(one.retrieve_by) if one.retrieve_by else None,
                reply_by=format_time(one.reply_by),
            )
            for one in view.deliveries
        ],
        receipts=[
            HeldReceipt(
                event=one.receipt.event.value,
                issuer=one.receipt.issuer,
                recipient=one.receipt.recipient,
                recorded_at=format_time(one.receipt.recorded_at),
                receipt=one.jws,
            )
            for one in view.receipts
        ],
    )
