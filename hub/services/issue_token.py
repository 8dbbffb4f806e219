"""Access tokens: OAuth 2.0 client credentials with private_key_jwt (RFC 7523), bound to the client's key by DPoP (RFC 9449).

A client is a party: `client_id` is its authority id. It signs its assertions with a key registered for `client_auth` and for
nothing else, so that the key that identifies a machine never signs a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.crypto.tokens import AccessToken, NonceNeededError, Proof, Spent, claimed_key_id, make_access_token, verify_assertion
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.encoding import new_uuid7
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.callers import (
    UNKNOWN_CALLER,
    AccessAttempt,
    Caller,
    accepted_client_key,
    burn_assertion,
    burn_proof,
    check_proof,
)
from hub.services.hub import Hub
from hub.services.note_refusals import note_unauthenticated_refusal
from hub.storage.access import AlreadyUsedError
from hub.storage.store import Work

TOKEN_PATH = "/v1/token"  # noqa: S105 - an address
SCOPE = "exchange"
"""The one scope there is: take part in exchanges, as the party that one is."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenError(StrEnum):
    """Error codes of the token endpoint (RFC 6749 section 5.2, RFC 9449 sections 5 and 8)."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    INVALID_SCOPE = "invalid_scope"
    INVALID_DPOP_PROOF = "invalid_dpop_proof"
    USE_DPOP_NONCE = "use_dpop_nonce"


class TokenRefusal(Refusal):
    """No token, and the error code that OAuth clients understand. `client` is who asked, where that was shown."""

    def __init__(self, error: TokenError, detail: str, client: str = UNKNOWN_CALLER) -> None:
        super().__init__(RefusalCode.INVALID_TOKEN, detail)
        self.error = error
        self.client = client


@dataclass(frozen=True)
class IssuedToken:
    """A token as it is handed out; `expires_in` in whole seconds."""

    access_token: str
    expires_in: int
    scope: str = SCOPE


@dataclass(frozen=True)
class IdentifiedClient:
    """A client whose assertion verified; the assertion is not used up yet."""

    caller: Caller
    spent: Spent


def issue_token(hub: Hub, form: Sequence[tuple[str, str]], proofs: Sequence[str]) -> IssuedToken:
    """Give a client an access token.

    Args:
        hub: the hub.
        form: name and value of each parameter, in the order received.
        proofs: the DPoP headers of the request.

    Raises:
        TokenRefusal: with the OAuth error code. It is audited here; being told to use a nonce is no refusal.
    """
    now = hub.clock.now()
    try:
        parameters = read_parameters(form)
        client = identify_client(hub, parameters, now)
        proof = prove_possession(hub, client, proofs, now)
        return grant(hub, client, proof, now)
    except TokenRefusal as refusal:
        if refusal.error is not TokenError.USE_DPOP_NONCE:
            details = {"error": refusal.error.value}
            entry = AuditEntry(AuditEvent.TOKEN_REFUSED, now, refusal.client, outcome=refusal.code.value, details=details)
            if refusal.client == UNKNOWN_CALLER:
                note_unauthenticated_refusal(hub, refusal.code, entry)
            else:  # it showed who it is: no flood of others' garbage hides this
                hub.note_alone(entry)
        raise


def read_parameters(form: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """Check what is asked for: each parameter once, unknown ones ignored (RFC 6749 section 3.2)."""
    parameters = dict(form)
    if len(parameters) != len(form):
        raise TokenRefusal(TokenError.INVALID_REQUEST, "a parameter stands twice")
    if parameters.get("grant_type") != "client_credentials":
        raise TokenRefusal(TokenError.UNSUPPORTED_GRANT_TYPE, "the grant type is client_credentials")
    if parameters.get("scope", SCOPE) != SCOPE:
        raise TokenRefusal(TokenError.INVALID_SCOPE, f"the scope is {SCOPE}")
    if parameters.get("client_assertion_type") != _ASSERTION_TYPE or "client_assertion" not in parameters:
        raise TokenRefusal(TokenError.INVALID_CLIENT, "the client authenticates with private_key_jwt")
    return parameters


def identify_client(hub: Hub, parameters: Mapping[str, str], now: datetime) -> IdentifiedClient:
    """Verify the client assertion with the key that the registry holds now."""
    assertion = parameters["client_assertion"]
    try:
        kid = claimed_key_id(assertion)
        with hub.store.reading() as work:
            key = accepted_client_key(hub.registry.at(work), kid, now)
        if key is None or parameters.get("client_id", key.owner) != key.owner:
            raise TokenRefusal(TokenError.INVALID_CLIENT, "the client or its key is not accepted")
        spent = verify_assertion(assertion, key.jwk, key.owner, {hub.issuer, hub.issuer + TOKEN_PATH}, now)
    except TokenRefusal:
        raise
    except Refusal as refusal:
        raise TokenRefusal(TokenError.INVALID_CLIENT, refusal.detail) from None
    return IdentifiedClient(Caller(key.owner, key.kid), spent)


def prove_possession(hub: Hub, client: IdentifiedClient, proofs: Sequence[str], now: datetime) -> Proof:
    """Verify the DPoP proof, its nonce last."""
    authority = client.caller.authority
    try:
        return check_proof(hub, AccessAttempt("POST", TOKEN_PATH, "", proofs), now)
    except NonceNeededError as refusal:
        raise TokenRefusal(TokenError.USE_DPOP_NONCE, refusal.detail, authority) from None
    except Refusal as refusal:
        raise TokenRefusal(TokenError.INVALID_DPOP_PROOF, refusal.detail, authority) from None


def grant(hub: Hub, client: IdentifiedClient, proof: Proof, now: datetime) -> IssuedToken:
    """Use assertion and proof up, note the grant, and write the token: in one transaction, all or nothing."""
    lifetime = hub.limits.token_lifetime
    caller = client.caller
    token = AccessToken(caller.authority, caller.kid, proof.thumbprint, SCOPE, new_uuid7(now), now + lifetime)
    details = {"key": caller.kid, "bound_to": proof.thumbprint, "token": token.jti}
    entry = AuditEntry(AuditEvent.TOKEN_ISSUED, now, caller.authority, details=details)

    def unit(work: Work) -> None:
        burn_assertion(work, caller.authority, client.spent)
        burn_proof(work, proof)
        hub.note(work, entry)

    try:
        hub.store.write(unit)
    except AlreadyUsedError:
        raise TokenRefusal(TokenError.INVALID_CLIENT, "the assertion or the proof was used before", caller.authority) from None
    return IssuedToken(make_access_token(hub.keyring.token_key(now), hub.issuer, token, now), int(lifetime.total_seconds()))
