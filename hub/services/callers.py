"""Who is calling: an access token bound to the caller's key, proved anew by each request, judged by today's registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.crypto.jwks import Jwk
from hub.crypto.key_manifest import HeldKeyUse
from hub.crypto.tokens import NonceNeededError, Proof, Spent, current_nonces, verify_access_token, verify_proof
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.keys import KeyRecord, KeyUse
from hub.domain.parties import Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.services.hub import Hub
from hub.services.note_refusals import note_unauthenticated_refusal
from hub.storage.access import AlreadyUsedError, burn
from hub.storage.store import Work

UNKNOWN_CALLER = "unauthenticated"
"""The actor in audit entries about somebody who did not show who he is."""


@dataclass(frozen=True)
class Caller:
    """An authenticated party, and the registered key with which it obtained its access token."""

    authority: str
    kid: str


@dataclass(frozen=True)
class AccessAttempt:
    """What a request shows of itself: method, path below the hub's public address, and the two headers of RFC 9449.

    `route` is the form of the path, which unlike the path itself holds nothing that the client chose.
    """

    method: str
    path: str
    authorization: str
    proofs: Sequence[str]
    route: str = ""


class AccessRefusal(Refusal):
    """The request does not show who makes it. `error` is the code of RFC 6750 and RFC 9449; "" where it showed nothing.

    `bearer` is whose access token came with it, where that is one; it may be a stolen one.
    """

    def __init__(self, error: str, detail: str, bearer: str = "") -> None:
        super().__init__(RefusalCode.INVALID_TOKEN, detail)
        self.error = error
        self.bearer = bearer


def authenticate(hub: Hub, attempt: AccessAttempt) -> Caller:
    """Say who makes a request (RFC 9449 section 7).

    The token alone decides nothing: the party must be in good standing and its key accepted at this moment, so that a
    suspension or a revocation holds at once.

    Raises:
        AccessRefusal: INVALID_TOKEN, with the error code for the challenge. It is audited here.
    """
    now = hub.clock.now()
    try:
        return _authenticate(hub, attempt, now)
    except AccessRefusal as refusal:
        if refusal.error != "use_dpop_nonce":
            details = {"error": refusal.error, "method": attempt.method, "route": attempt.route}
            details |= {"bearer": refusal.bearer} if refusal.bearer else {}
            entry = AuditEntry(AuditEvent.ACCESS_REFUSED, now, UNKNOWN_CALLER, outcome=refusal.code.value, details=details)
            note_unauthenticated_refusal(hub, refusal.code, entry)
        raise


def _authenticate(hub: Hub, attempt: AccessAttempt, now: datetime) -> Caller:
    scheme, _, text = attempt.authorization.partition(" ")
    if scheme.lower() != "dpop" or not text:
        raise AccessRefusal("", "an access token of type DPoP is needed")
    try:
        token = verify_access_token(text, lambda kid: token_jwk(hub, kid), hub.issuer, now)
    except Refusal as refusal:
        raise AccessRefusal("invalid_token", refusal.detail) from None
    try:
        proof = check_proof(hub, attempt, now, access_token=text)
    except NonceNeededError as refusal:
        raise AccessRefusal("use_dpop_nonce", refusal.detail) from None
    except Refusal as refusal:
        raise AccessRefusal("invalid_dpop_proof", refusal.detail, token.client) from None
    if proof.thumbprint != token.thumbprint:
        raise AccessRefusal("invalid_token", "the access token is bound to another key", token.client)
    _use_once(hub, token.client_kid, token.client, proof, now)
    return Caller(token.client, token.client_kid)


def _use_once(hub: Hub, client_kid: str, client: str, proof: Proof, now: datetime) -> None:
    def unit(work: Work) -> None:
        key = accepted_client_key(hub.registry.at(work), client_kid, now)
        if key is None or key.owner != client:
            raise AccessRefusal("invalid_token", "the party or its key is no longer accepted", client)
        burn_proof(work, proof)

    try:
        hub.store.write(unit)
    except AlreadyUsedError:
        raise AccessRefusal("invalid_dpop_proof", "the proof was used before", client) from None


def check_proof(hub: Hub, attempt: AccessAttempt, now: datetime, access_token: str | None = None) -> Proof:
    """Verify the one DPoP proof of a request. It is not used up here.

    Raises:
        Refusal: INVALID_TOKEN, BAD_SIGNATURE, KEY_NOT_VALID.
        NonceNeededError: the proof is right but has no current nonce.
    """
    if len(attempt.proofs) != 1 or "," in attempt.proofs[0]:  # a server that joins repeated headers puts a comma between
        raise Refusal(RefusalCode.INVALID_TOKEN, "exactly one DPoP header is needed")
    return verify_proof(
        attempt.proofs[0],
        method=attempt.method,
        url=hub.issuer + attempt.path,
        nonces=current_nonces(hub.keyring.token_key(now), now),
        now=now,
        access_token=access_token,
    )


def fresh_nonce(hub: Hub) -> str:
    """The DPoP nonce that a client should use next."""
    now = hub.clock.now()
    return current_nonces(hub.keyring.token_key(now), now)[0]


def token_jwk(hub: Hub, kid: str) -> Jwk | None:
    """The hub's public token key with this id, the one before it included while it is kept; or None."""
    found = (line.public_jwk for line in hub.keyring.lines if line.use is HeldKeyUse.TOKENS and line.kid == kid)
    return next(found, None)


def accepted_client_key(registry: Registry, kid: str, now: datetime) -> KeyRecord | None:
    """A key that may identify its owner now: registered for that alone, accepted, its owner known and in good standing."""
    key = registry.keys.get(kid)
    if key is None or key.use is not KeyUse.CLIENT_AUTH or not key.is_accepted(now):
        return None
    owner = registry.parties.get(key.owner)
    return key if owner is not None and owner.standing is Standing.GOOD else None


def burn_proof(work: Work, proof: Proof) -> None:
    """Use a proof up.

    Raises:
        AlreadyUsedError: it was used before.
    """
    burn(work, f"proof {proof.thumbprint}", proof.spent.jti, proof.spent.until)


def burn_assertion(work: Work, client: str, spent: Spent) -> None:
    """Use a client assertion up.

    Raises:
        AlreadyUsedError: it was used before.
    """
    burn(work, f"assertion {client}", spent.jti, spent.until)
