"""The token endpoint: stock OAuth clients use it unmodified."""

from __future__ import annotations

from typing import Literal

from flask import Response, request
from pydantic import BaseModel, Field

from hub.http_api.openapi import Content, Section
from hub.http_api.problems import TokenProblem
from hub.http_api.requests import answer, current_hub, read_form
from hub.services.callers import fresh_nonce
from hub.services.issue_token import TOKEN_PATH, issue_token

section = Section("Tokens", "Obtain an access token for reading: OAuth 2.0 client credentials, bound to your key.")


class Token(BaseModel):
    """An access token, bound to the key of the DPoP proof it was asked for with."""

    access_token: str
    token_type: Literal["DPoP"] = "DPoP"  # noqa: S105 - the type of a token, not a token
    expires_in: int = Field(description="Seconds.")
    scope: str


@section.post(
    TOKEN_PATH,
    Content(
        "grant_type=client_credentials, client_id, client_assertion_type and client_assertion (RFC 7523).",
        "application/x-www-form-urlencoded",
        example="grant_type=client_credentials&client_id=tw.npa&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A"
        "client-assertion-type%3Ajwt-bearer&client_assertion=eyJhbGciOi...",
    ),
    {
        200: Content("The token.", model=Token),
        400: Content("`use_dpop_nonce`, or what is wrong with the request.", model=TokenProblem),
        401: Content("`invalid_client`: the assertion or its key is not accepted.", model=TokenProblem),
    },
)
def give_token() -> Response:
    """Obtain an access token.

    `client_id` is your authority id; the assertion is signed with a key registered for `client_auth`. Errors have the form of RFC
    6749 section 5.2: 400, or 401 for `invalid_client`. The first request is answered 400 `use_dpop_nonce` with a DPoP-Nonce to
    put into the next proof, as RFC 9449 section 8 has it.
    """
    hub = current_hub()
    issued = issue_token(hub, read_form(), request.headers.getlist("DPoP"))
    response = answer(Token(access_token=issued.access_token, expires_in=issued.expires_in, scope=issued.scope))
    response.headers["DPoP-Nonce"] = fresh_nonce(hub)
    return response
