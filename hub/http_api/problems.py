"""What goes wrong, as problem documents (RFC 9457) that the hub signs: one table from refusal codes to HTTP statuses.

A refusal names its code, its reasons and the digest of what was sent. A fault of the hub's own names a reference number and
nothing else; the log holds the same number with the kind of the fault and the line it came from, and no content.
"""

from __future__ import annotations

import hashlib
import traceback
from http import HTTPStatus
from pathlib import Path

import structlog
from flask import Flask, Response, g, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from hub.domain.encoding import b64url_encode, format_time, new_uuid7
from hub.domain.refusals import MEANINGS, HubFault, OverloadedFault, Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.decision_records import finding_members
from hub.services.callers import AccessRefusal, fresh_nonce
from hub.services.hub import Hub
from hub.services.issue_token import TokenError, TokenRefusal
from hub.services.sign_statements import sign_detached

PROBLEM_MEDIA_TYPE = "application/problem+json"
SIGNATURE_HEADER = "Accord-Signature"
RETRY_AFTER_SECONDS = 5
INTERNAL = "internal"
"""The code of every fault of the hub's own; it is no refusal."""

STATUSES: dict[RefusalCode, int] = {
    RefusalCode.TOO_LARGE: 413,
    RefusalCode.WRONG_MEDIA_TYPE: 415,
    RefusalCode.MALFORMED_ENVELOPE: 400,
    RefusalCode.UNSUPPORTED_PROFILE: 400,
    RefusalCode.CANNOT_UNSEAL: 400,
    RefusalCode.WRONG_PROFILE: 400,
    RefusalCode.UNKNOWN_SENDER: 403,
    RefusalCode.KEY_NOT_VALID: 403,
    RefusalCode.BAD_SIGNATURE: 403,
    RefusalCode.SENDER_MISMATCH: 403,
    RefusalCode.MESSAGE_ID_REUSED: 409,
    RefusalCode.EXPIRED: 422,
    RefusalCode.ISSUED_IN_FUTURE: 422,
    RefusalCode.UNKNOWN_TYPE: 422,
    RefusalCode.SCHEMA_VIOLATION: 422,
    RefusalCode.NO_AGREEMENT: 403,
    RefusalCode.AGREEMENT_NOT_SIGNED: 403,
    RefusalCode.AGREEMENT_NOT_IN_FORCE: 403,
    RefusalCode.AGREEMENT_SUSPENDED: 403,
    RefusalCode.SENDER_NOT_IN_GOOD_STANDING: 403,
    RefusalCode.SENDER_NOT_OPERATING: 403,
    RefusalCode.NO_RECIPIENT: 422,
    RefusalCode.RECIPIENT_UNKNOWN: 403,
    RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING: 403,
    RefusalCode.RECIPIENT_NOT_OPERATING: 403,
    RefusalCode.RECIPIENT_NOT_REACHABLE: 403,
    RefusalCode.FLOW_NOT_COVERED: 403,
    RefusalCode.TYPE_NOT_COVERED: 403,
    RefusalCode.PURPOSE_NOT_ALLOWED: 403,
    RefusalCode.CATEGORY_NOT_COVERED: 403,
    RefusalCode.CLASSIFICATION_NOT_MAPPED: 403,
    RefusalCode.CLASSIFICATION_TOO_HIGH: 403,
    RefusalCode.TLP_TOO_WIDE: 403,
    RefusalCode.HANDLING_NOT_COVERED: 403,
    RefusalCode.TRUST_MODE_NOT_ALLOWED: 403,
    RefusalCode.CASE_AGREEMENT_MISMATCH: 403,
    RefusalCode.RECEIPT_MISMATCH: 409,
    RefusalCode.INVALID_REQUEST: 400,
    RefusalCode.INVALID_TOKEN: 401,
    RefusalCode.NOT_FOUND: 404,
    RefusalCode.METHOD_NOT_ALLOWED: 405,
    RefusalCode.RATE_LIMITED: 429,
    RefusalCode.OVERLOADED: 503,
    RefusalCode.KEY_FILE_UNSAFE: 500,
    RefusalCode.INVALID_KEY: 422,
    RefusalCode.INVALID_PARTY: 422,
    RefusalCode.INVALID_AGREEMENT: 422,
    RefusalCode.VERSION_IS_IMMUTABLE: 409,
    RefusalCode.ADDRESS_NOT_ALLOWED: 403,
    RefusalCode.BAD_PROOF: 422,
}
"""Every refusal code has one status."""

_CODES = {
    404: RefusalCode.NOT_FOUND,
    405: RefusalCode.METHOD_NOT_ALLOWED,
    413: RefusalCode.TOO_LARGE,
    415: RefusalCode.WRONG_MEDIA_TYPE,
    429: RefusalCode.RATE_LIMITED,
}
_TOKEN_STATUSES = {TokenError.INVALID_CLIENT: 401}

_log = structlog.get_logger()


class FailedRule(BaseModel):
    """One rule that stands against release. `values` holds codes and levels, never content."""

    rule: str
    code: str | None = None
    article: str = Field(description="The article of the agreement, or empty for a rule of the hub.")
    recipient: str | None = None
    values: dict[str, str]


class Problem(BaseModel):
    """Why something was refused, or that the hub has a fault. The hub signs these octets in the header Accord-Signature."""

    type: str = Field(description="`urn:accord:problem:` and the code.")
    title: str = Field(description="What the code means.")
    status: int
    code: str = Field(description="A stable code; docs/problems.md lists them all.")
    detail: str = Field(description="One sentence about this case, without content of the message.")
    instance: str = Field(description="A reference number to quote.")
    time: str
    findings: list[FailedRule] = Field(default=[], description="Every rule that failed, not only the first.")
    request_sha256: str | None = Field(default=None, description="base64url SHA-256 of the body that was received.")


def install(application: Flask, hub: Hub) -> None:
    """Answer everything that goes wrong in this application with a problem document."""
    application.register_error_handler(TokenRefusal, lambda refusal: _token_answer(hub, refusal))
    application.register_error_handler(AccessRefusal, lambda refusal: _challenge(hub, refusal))
    application.register_error_handler(Refusal, lambda refusal: _refused(hub, refusal))
    application.register_error_handler(OverloadedFault, lambda fault: _overloaded(hub, fault))
    application.register_error_handler(HTTPException, lambda error: _from_http(hub, error))
    application.register_error_handler(Exception, lambda error: _fault(hub, error))


def _refused(hub: Hub, refusal: Refusal) -> Response:
    status = STATUSES[refusal.code]
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:  # a refusal that no partner can have caused
        return _fault(hub, refusal)
    response = _problem(hub, refusal.code.value, status, MEANINGS[refusal.code], refusal)
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _challenge(hub: Hub, refusal: AccessRefusal) -> Response:
    """401 with the challenge of RFC 9449 section 7.1; without it clients do not take up a new nonce."""
    response = _refused(hub, refusal)
    error = f'error="{refusal.error}", ' if refusal.error else ""
    response.headers["WWW-Authenticate"] = f'DPoP {error}algs="ES256"'
    response.headers["DPoP-Nonce"] = fresh_nonce(hub)
    return response


def _token_answer(hub: Hub, refusal: TokenRefusal) -> Response:
    """The one answer in another form: OAuth clients expect that of RFC 6749 section 5.2, and no WWW-Authenticate with it."""
    answer = TokenProblem(error=refusal.error.value, error_description=refusal.detail)
    response = Response(answer.model_dump_json(), _TOKEN_STATUSES.get(refusal.error, 400), mimetype="application/json")
    response.headers["DPoP-Nonce"] = fresh_nonce(hub)
    return response


class TokenProblem(BaseModel):
    """Why no token was given (RFC 6749 section 5.2)."""

    error: str
    error_description: str


def _from_http(hub: Hub, error: HTTPException) -> Response:
    if error.code is None or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _fault(hub, error)
    response = _refused(hub, Refusal(_CODES.get(error.code, RefusalCode.INVALID_REQUEST)))
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _fault(hub: Hub, error: Exception) -> Response:
    response = _problem(hub, INTERNAL, 500, "The hub has a fault; quote the reference number.")
    _log.error("fault", reference=response.headers["Accord-Reference"], kind=type(error).__name__, at=_origin(error))
    return response


def _overloaded(hub: Hub, fault: OverloadedFault) -> Response:
    response = _refused(hub, Refusal(RefusalCode.OVERLOADED))
    cause = type(fault.__cause__).__name__
    _log.error("overloaded", reference=response.headers["Accord-Reference"], kind=cause, at=_origin(fault))
    return response


def _problem(hub: Hub, code: str, status: int, title: str, refusal: Refusal | None = None) -> Response:
    now = hub.clock.now()
    reference = new_uuid7(now)
    problem = Problem(
        type=f"urn:accord:problem:{code}",
        title=title,
        status=status,
        code=code,
        detail=refusal.detail if refusal else title,
        instance=f"urn:uuid:{reference}",
        time=format_time(now),
        findings=[FailedRule.model_validate(one) for one in finding_members(refusal.findings)] if refusal else [],
        request_sha256=b64url_encode(hashlib.sha256(g.body).digest()) if "body" in g else None,
    )
    octets = problem.model_dump_json(exclude_none=True).encode()
    response = Response(octets, status, mimetype=PROBLEM_MEDIA_TYPE)
    response.headers["Accord-Reference"] = reference
    g.problem_code = code
    try:
        response.headers[SIGNATURE_HEADER] = sign_detached(hub, SignatureType.PROBLEM, octets, now)
    except HubFault as fault:  # without a signing key the hub still says what is wrong
        _log.error("unsigned problem", reference=reference, kind=type(fault).__name__, method=request.method)
    return response


def _origin(error: Exception) -> str:
    """Where an exception was raised, as file:line; its text stays out of the log, because it may quote content."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
