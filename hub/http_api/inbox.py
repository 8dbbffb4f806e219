"""Receiving by pull: list, fetch one sealed copy, and confirm it with one's own signed receipt."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from hub.domain.refusals import RefusalCode
from hub.http_api.openapi import Content, Section
from hub.http_api.requests import answer, current_caller, current_hub, read_jws
from hub.services.pull_inbox import fetch_delivery, list_inbox
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE
from hub.services.record_receipt import record_receipt

section = Section("Inbox", "Fetch what was sent to you, and confirm it.")

EXCHANGE_HEADER = "Accord-Exchange"
_DELIVERY = "01930000-0000-7000-8000-000000000003"


class InboxQuery(BaseModel):
    """Which part of the inbox."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(default=0, ge=0, lt=2**53, description="The cursor: `next` of the page before, 0 for the start.")
    limit: int = Field(
        default=50, ge=1, le=1000, description="How many items at most; the hub's own limit is in its configuration."
    )
    wait: int = Field(default=0, ge=0, le=300, description="Seconds to wait for something to be there; the hub has a limit too.")


class Item(BaseModel):
    """One delivery, before it is opened."""

    delivery: str
    exchange: str
    position: int
    sender: str
    type: str
    state: str


class Page(BaseModel):
    """Part of the inbox, ascending by position. A confirmed item keeps its place."""

    items: list[Item]
    next: int = Field(description="The cursor for the page after this one.")


class DeliveryPath(BaseModel):
    """Names one delivery."""

    delivery: str = Field(max_length=64, description="The delivery id.", examples=[_DELIVERY])


class Confirmed(BaseModel):
    """The hub's own receipt, which tells the sender the same."""

    exchange: str
    receipt: str = Field(description="A compact JWS of type hub-receipt+jws.")


@section.get(
    "/v1/inbox",
    {200: Content("One page.", model=Page)},
    refuses=(RefusalCode.INVALID_REQUEST, RefusalCode.RATE_LIMITED),
    token=True,
)
def show_inbox(query: InboxQuery) -> Response:
    """List the inbox.

    With `wait` the hub holds the request until something stands past the cursor, or the time is over. Where too many wait
    already it answers 429 instead; what stands in the inbox is always given.
    """
    page = list_inbox(current_hub(), current_caller(), query.after, query.limit, query.wait)
    items = [
        Item(
            delivery=one.delivery.id,
            exchange=one.delivery.exchange,
            position=one.delivery.position,
            sender=one.sender,
            type=one.type,
            state=one.delivery.state.value,
        )
        for one in page.items
    ]
    return answer(Page(items=items, next=page.next))


@section.get(
    "/v1/inbox/<delivery>",
    {200: Content("The copy, sealed to your current key: a JWE in the general JSON serialisation.", ENVELOPE_MEDIA_TYPE)},
    refuses=(RefusalCode.NOT_FOUND, RefusalCode.AGREEMENT_NOT_IN_FORCE, RefusalCode.AGREEMENT_SUSPENDED, RefusalCode.EXPIRED),
    token=True,
)
def fetch_copy(path: DeliveryPath) -> Response:
    """Fetch one copy.

    The hub decides again, under the agreement as it stands at this moment, and may refuse what it released before. The header
    Accord-Exchange names the exchange.
    """
    exchange, envelope = fetch_delivery(current_hub(), current_caller(), path.delivery)
    return Response(envelope, 200, {EXCHANGE_HEADER: exchange}, mimetype=ENVELOPE_MEDIA_TYPE)


@section.post(
    "/v1/inbox/<delivery>/receipts",
    Content(
        "Your receipt: a compact JWS of type hub-receipt+jws.", "application/jose", example="eyJhbGciOi...Q.eyJ2IjoxLC...0.kT9..."
    ),
    {200: Content("Recorded; the same answer again for a repeat.", model=Confirmed)},
    refuses=(
        RefusalCode.NOT_FOUND,
        RefusalCode.TOO_LARGE,
        RefusalCode.WRONG_MEDIA_TYPE,
        RefusalCode.MALFORMED_ENVELOPE,
        RefusalCode.UNKNOWN_SENDER,
        RefusalCode.KEY_NOT_VALID,
        RefusalCode.BAD_SIGNATURE,
        RefusalCode.RECEIPT_MISMATCH,
    ),
    token=True,
)
def confirm_delivery(path: DeliveryPath) -> Response:
    """Confirm a copy.

    State `delivered` once it is opened and verified, `rejected` with a reason where it cannot be, `retrieved` once a person has
    opened it.
    """
    text = read_jws()
    issued = record_receipt(current_hub(), current_caller(), path.delivery, text)
    return answer(Confirmed(exchange=issued.exchange, receipt=issued.jws))
