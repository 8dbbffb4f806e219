"""What a route needs of a request: the hub, the caller, and the body as octets, never more of it than is allowed."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qsl

from flask import Response, current_app, g, request
from pydantic import BaseModel

from hub.domain.refusals import Refusal, RefusalCode
from hub.services.callers import AccessAttempt, Caller, authenticate, fresh_nonce
from hub.services.hub import Hub

HUB_EXTENSION = "accord_hub"
MAX_FORM_BYTES = 32 * 1024
MAX_FORM_FIELDS = 32
MAX_JWS_BYTES = 16 * 1024


def current_hub() -> Hub:
    """The hub that this application serves."""
    return cast(Hub, current_app.extensions[HUB_EXTENSION])


def current_caller() -> Caller:
    """Who makes this request, by access token and DPoP proof.

    Raises:
        AccessRefusal: INVALID_TOKEN.
    """
    hub = current_hub()
    attempt = AccessAttempt(
        method=request.method,
        path=request.path,
        authorization=request.headers.get("Authorization", ""),
        proofs=request.headers.getlist("DPoP"),
        route=request.url_rule.rule if request.url_rule else "",
    )
    caller = authenticate(hub, attempt)
    g.nonce = fresh_nonce(hub)
    return caller


def read_body(most_bytes: int) -> bytes:
    """The body as received; of a larger one `most_bytes` + 1 octets, so that whoever judges it sees that it is too large.

    Raises:
        Refusal: INVALID_REQUEST where it breaks off.
    """
    octets = bytearray()
    try:
        while len(octets) <= most_bytes and (chunk := request.stream.read(most_bytes + 1 - len(octets))):
            octets += chunk
    except OSError:  # the server's word for chunks that are none, and for a client that went away
        raise Refusal(RefusalCode.INVALID_REQUEST, "the body broke off") from None
    if len(octets) <= most_bytes:
        g.body = octets  # a problem document names its digest
    return bytes(octets)


def read_jws() -> str:
    """A compact JWS sent as application/jose.

    Raises:
        Refusal: WRONG_MEDIA_TYPE, TOO_LARGE, MALFORMED_ENVELOPE.
    """
    octets = read_body(MAX_JWS_BYTES)
    if request.mimetype != "application/jose":
        raise Refusal(RefusalCode.WRONG_MEDIA_TYPE)
    if len(octets) > MAX_JWS_BYTES:
        raise Refusal(RefusalCode.TOO_LARGE)
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise Refusal(RefusalCode.MALFORMED_ENVELOPE, "a compact JWS is ASCII") from None


def read_form() -> list[tuple[str, str]]:
    """The fields of a form, in the order received; none where the body is not a form.

    Raises:
        Refusal: TOO_LARGE.
    """
    octets = read_body(MAX_FORM_BYTES)
    if len(octets) > MAX_FORM_BYTES:
        raise Refusal(RefusalCode.TOO_LARGE)
    try:
        return parse_qsl(octets.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        return []


def answer(model: BaseModel, status: int = 200) -> Response:
    """A JSON answer; members that are None are left out."""
    return Response(model.model_dump_json(exclude_none=True), status, mimetype="application/json")
