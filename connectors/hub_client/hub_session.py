"""HTTP with the hub: the token dance, the addresses, and answers that are believed only where the hub signed them.

A token is asked for with private_key_jwt (RFC 7523) and bound to a key of this process by DPoP (RFC 9449). A refusal counts only
as a signed problem document over this very request; anything else leaves the matter open and is tried again later.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx2

from connectors.contract import HubUnreachableError, RefusedByHub
from connectors.hub_client.trust import HubPins, read_published_keys
from hub.crypto.signatures import SigningKey, generate_signing_key, verify_es256
from hub.crypto.tokens import make_assertion, make_proof
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyRecord
from hub.domain.refusals import Finding, Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.json_gate import parse_object
from hub.formats.jws import parse_detached

ENVELOPE_MEDIA_TYPE = "application/jose+json"
RECEIPT_MEDIA_TYPE = "application/jose"
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""A sealed copy of the largest message, base64url twice, is below it."""

ANSWER_SECONDS = 30.0
_ATTEMPTS = 3  # the first, one with a nonce, one with a fresh token
_TOKEN_MARGIN = timedelta(seconds=20)
_ERROR = re.compile(r"[a-z_]{1,40}\Z")
_ADVICE = {"invalid_client": ": are this agency's keys imported and active at the hub, and is the clock here right?"}
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Answer:
    """An answer of the hub: its status, its headers, its octets."""

    status: int
    headers: Mapping[str, str]
    octets: bytes

    def members(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            Refusal: MALFORMED_ENVELOPE.
        """
        return parse_object(self.octets)


@dataclass(frozen=True)
class Client:
    """Who asks: the authority, the key it authenticates with, and the hub's address."""

    authority: str
    key: SigningKey
    hub: str


class HubSession:
    """One process's session. Not for several threads at once."""

    def __init__(self, http: httpx2.Client, client: Client, pins: HubPins, now: Callable[[], datetime]) -> None:
        self._http = http
        self._client = client
        self._pins = pins
        self._now = now
        self._proof_key = generate_signing_key("dpop")
        self._nonce = ""
        self._token = ""
        self._token_until: datetime | None = None

    # --- what stands open ---

    def post_message(self, envelope: bytes) -> dict[str, Any]:
        """POST a sealed message: `{"exchange", "receipt"}`, not yet verified."""
        headers = {"Content-Type": ENVELOPE_MEDIA_TYPE}
        return self._settle(self._send("POST", "/v1/messages", headers, content=envelope), envelope, 202).members()

    def keys_of(self, authority: str) -> list[KeyRecord]:
        """The public keys of a party in the hub's registry."""
        answer = self._send("GET", "/v1/keys", {}, params={"authority": authority})
        return read_published_keys(self._settle(answer, b"", 200).members())

    def get_open(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """GET what everybody may read: the log."""
        return self._settle(self._send("GET", path, {}, params=params or {}), b"", 200)

    # --- what needs a token ---

    def preview(self, envelope: bytes) -> dict[str, Any]:
        """POST a sealed message to be decided over, not accepted."""
        return self._ask("POST", "/v1/messages/preview", media_type=ENVELOPE_MEDIA_TYPE, content=envelope).members()

    def list_inbox(self, after: int, limit: int, wait_seconds: int) -> dict[str, Any]:
        """One page of the inbox; with `wait_seconds` the hub holds the request until there is something."""
        params = {"after": str(after), "limit": str(limit), "wait": str(wait_seconds)}
        return self._ask("GET", "/v1/inbox", params=params, patience=wait_seconds).members()

    def fetch(self, delivery: str) -> bytes:
        """One sealed copy."""
        return self._ask("GET", f"/v1/inbox/{delivery}").octets

    def post_receipt(self, delivery: str, receipt: str) -> dict[str, Any]:
        """POST one's own signed receipt: `{"receipt"}`, the hub's, not yet verified."""
        path, content = f"/v1/inbox/{delivery}/receipts", receipt.encode("ascii")
        return self._ask("POST", path, media_type=RECEIPT_MEDIA_TYPE, content=content).members()

    def post_agreement_signature(self, agreement: str, version: int, signature: str) -> dict[str, Any]:
        """POST one's own detached signature over a version: `{"id", "version", "unsigned_by"}`."""
        path, content = f"/v1/agreements/{agreement}/versions/{version}/signatures", signature.encode("ascii")
        return self._ask("POST", path, media_type=RECEIPT_MEDIA_TYPE, content=content).members()

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """GET anything else that is read with a token."""
        return self._ask("GET", path, params=params or {})

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        media_type: str = "",
        content: bytes = b"",
        patience: float = 0.0,
    ) -> Answer:
        """Ask with a token, again where the hub wants another nonce or no longer takes the token."""
        for attempt in range(_ATTEMPTS):
            token = self._current_token()
            proof = self._proof(method, path, access_token=token)
            headers = {"Authorization": f"DPoP {token}", "DPoP": proof} | ({"Content-Type": media_type} if media_type else {})
            answer = self._send(method, path, headers, params=params or {}, content=content, patience=patience)
            challenge = answer.headers.get("www-authenticate", "")
            if answer.status != httpx2.codes.UNAUTHORIZED or attempt == _ATTEMPTS - 1:
                return self._settle(answer, content, 200)
            if "use_dpop_nonce" not in challenge:
                self._token = ""
        raise HubUnreachableError("the hub did not take the token")

    # --- tokens ---

    def _current_token(self) -> str:
        if not self._token or self._token_until is None or self._now() >= self._token_until:
            self._token, self._token_until = self._fetch_token()
        return self._token

    def _fetch_token(self) -> tuple[str, datetime]:
        for _ in range(_ATTEMPTS):
            assertion = make_assertion(self._client.key, self._client.authority, self._client.hub, self._now())
            form = {
                "grant_type": "client_credentials",
                "client_id": self._client.authority,
                "client_assertion_type": _ASSERTION_TYPE,
                "client_assertion": assertion,
            }
            answer = self._send("POST", "/v1/token", {"DPoP": self._proof("POST", "/v1/token")}, form=form)
            if answer.status == httpx2.codes.OK:
                return _read_token(answer, self._now())
            error = _oauth_error(answer)
            if error != "use_dpop_nonce":
                raise Refusal(RefusalCode.INVALID_TOKEN, f"the token endpoint answered {error}{_ADVICE.get(error, '')}")
        raise HubUnreachableError("the token endpoint keeps asking for another nonce")

    def _proof(self, method: str, path: str, *, access_token: str = "") -> str:
        url = self._client.hub.rstrip("/") + path
        return make_proof(self._proof_key, method, url, self._now(), nonce=self._nonce, access_token=access_token)

    # --- one request ---

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        content: bytes = b"",
        form: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> Answer:
        url = self._client.hub.rstrip("/") + path
        body: dict[str, Any] = {"data": dict(form)} if form else {"content": content} if content else {}
        try:
            with self._http.stream(
                method, url, headers=dict(headers), params=dict(params or {}) or None, timeout=ANSWER_SECONDS + patience, **body
            ) as response:
                octets = _read_bounded(response)
        except httpx2.HTTPError as error:
            raise HubUnreachableError(f"no answer from {self._client.hub} ({type(error).__name__})") from None
        if nonce := response.headers.get("dpop-nonce", ""):
            self._nonce = nonce[:256]
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, octets)

    def _settle(self, answer: Answer, request: bytes, expected: int) -> Answer:
        """Give a good answer on; turn any other into what it means.

        Raises:
            RefusedByHub: the hub refused and signed it.
            Refusal: BAD_SIGNATURE, UNKNOWN_SENDER, KEY_NOT_VALID, MALFORMED_ENVELOPE, RECEIPT_MISMATCH: a refusal that the hub
                did not sign as it should.
            HubUnreachableError: the hub has a fault, or is overloaded.
        """
        if answer.status == expected:
            return answer
        signature = answer.headers.get("accord-signature", "")
        if answer.status >= httpx2.codes.INTERNAL_SERVER_ERROR and not signature:
            raise HubUnreachableError(f"the hub answered {answer.status}")
        if not signature:
            raise Refusal(RefusalCode.BAD_SIGNATURE, f"the hub answered {answer.status} and did not sign it")
        refusal = self._read_problem(answer, signature, request)
        if answer.status >= httpx2.codes.INTERNAL_SERVER_ERROR or refusal.code in _PASSING:
            raise HubUnreachableError(f"the hub answered {refusal.code.value}")
        raise refusal

    def _read_problem(self, answer: Answer, signature: str, request: bytes) -> RefusedByHub:
        signed = parse_detached(signature, answer.octets, SignatureType.PROBLEM)
        key = self._pins.signing_key(signed.element.header.kid, SignatureType.PROBLEM)
        verify_es256(key.jwk, signed.signing_input(), signed.element.signature)
        problem = answer.members()
        refusal, about = _as_refusal(problem, answer.status), problem.get("request_sha256")
        expected = {b64url_encode(hashlib.sha256(request).digest())} | (
            {None} if not request or refusal.code in _UNREAD else set()
        )
        if about not in expected:
            raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the hub's problem document is about another request")
        return RefusedByHub(refusal, answer.octets, signature)


_PASSING = frozenset({RefusalCode.RATE_LIMITED, RefusalCode.OVERLOADED})
"""Refusals that say nothing about what was sent: the same octets are sent again later."""

_UNREAD = frozenset({RefusalCode.TOO_LARGE, RefusalCode.WRONG_MEDIA_TYPE, RefusalCode.INVALID_TOKEN, *_PASSING})
"""Refusals for which the hub did not read what was sent, so that they may leave out its digest."""


def fetch_unverified_keys(http: httpx2.Client, hub: str) -> list[KeyRecord]:
    """What a hub that is not pinned yet publishes as its keys: to be held against fingerprints, and believed only then.

    Raises:
        HubUnreachableError, Refusal: no such answer.
    """
    try:
        with http.stream("GET", hub.rstrip("/") + "/v1/keys", timeout=ANSWER_SECONDS) as response:
            octets = _read_bounded(response)
    except httpx2.HTTPError as error:
        raise HubUnreachableError(f"no answer from {hub} ({type(error).__name__})") from None
    if response.status_code != httpx2.codes.OK:
        raise HubUnreachableError(f"the hub answered {response.status_code}")
    return read_published_keys(parse_object(octets))


def _as_refusal(problem: Mapping[str, Any], status: int) -> Refusal:
    detail = str(problem.get("detail", ""))[:1000]
    try:
        code = RefusalCode(str(problem.get("code", "")))
    except ValueError:
        code, detail = RefusalCode.INVALID_REQUEST, f"the hub answered {status} with a code that this client does not know"
    rows = problem.get("findings")
    findings = tuple(_as_finding(row) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return Refusal(code, detail, findings)


def _as_finding(row: Mapping[str, Any]) -> Finding:
    known = {code.value: code for code in RefusalCode}
    values = row.get("values")
    pairs = tuple((str(name), str(value)) for name, value in values.items()) if isinstance(values, dict) else ()
    recipient = row.get("recipient")
    return Finding(
        rule=str(row.get("rule", "")),
        code=known.get(str(row.get("code"))),
        article=str(row.get("article", "")),
        recipient=str(recipient) if recipient is not None else None,
        values=pairs,
    )


def _read_bounded(response: httpx2.Response) -> bytes:
    octets = bytearray()
    for chunk in response.iter_bytes():
        octets += chunk
        if len(octets) > MAX_ANSWER_BYTES:
            raise Refusal(RefusalCode.TOO_LARGE, "the hub's answer is larger than any message")
    return bytes(octets)


def _read_token(answer: Answer, now: datetime) -> tuple[str, datetime]:
    members = answer.members()
    token, lifetime = members.get("access_token"), members.get("expires_in", 60)
    if not isinstance(token, str) or str(members.get("token_type", "")).lower() != "dpop" or not isinstance(lifetime, int):
        raise Refusal(RefusalCode.INVALID_TOKEN, "the token endpoint gave no token that is bound to this client's key")
    return token, now + timedelta(seconds=lifetime) - _TOKEN_MARGIN


def _oauth_error(answer: Answer) -> str:
    """The error code of an RFC 6749 error answer; nothing else of it is repeated."""
    if answer.status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        raise HubUnreachableError(f"the token endpoint answered {answer.status}")
    error = str(answer.members().get("error", ""))
    return error if _ERROR.match(error) else f"status {answer.status}"
