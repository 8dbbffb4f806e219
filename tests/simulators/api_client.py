"""An agency's HTTP client over the hub's application: it does the token dance properly, and lets a test break any step of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Flask

from hub.crypto.signatures import SigningKey, generate_signing_key, verify_es256
from hub.crypto.tokens import make_assertion, make_proof
from hub.domain.signatures import SignatureType
from hub.formats.jws import parse_detached
from hub.services.issue_token import TOKEN_PATH
from tests.simulators.exchange import Agency

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ApiClient:
    """One agency's session. `nonce` is the last one that the hub gave."""

    def __init__(self, application: Flask, agency: Agency) -> None:
        self.http: Any = application.test_client()  # what it answers is JSON of any shape
        self.agency = agency
        self.hub = agency.exchange.hub
        self.proof_key: SigningKey = generate_signing_key("proof")
        self.nonce = ""
        self.token = ""

    def assertion(self, **changes: Any) -> str:
        """A client assertion as it should be."""
        values = {"client": self.agency.authority, "audience": self.hub.issuer, "now": self.hub.clock.now(), **changes}
        return make_assertion(self.agency.client, **values)

    def proof(self, method: str, path: str, *, with_token: bool = True) -> str:
        """A fresh proof for one request."""
        token = self.token if with_token else ""
        now, url = self.hub.clock.now(), self.hub.issuer + path
        return make_proof(self.proof_key, method, url, now, nonce=self.nonce, access_token=token)

    def ask_for_token(self, assertion: str | None = None, proof: str | None = None, **form: str) -> Any:
        """One request to the token endpoint, with whatever a test puts into it."""
        fields = {
            "grant_type": "client_credentials",
            "client_id": self.agency.authority,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(),
            **form,
        }
        headers = {"DPoP": proof or self.proof("POST", TOKEN_PATH, with_token=False)}
        return self._send("POST", TOKEN_PATH, headers, urlencode(fields).encode(), "application/x-www-form-urlencoded")

    def sign_in(self) -> ApiClient:
        """Obtain a token: refused once for want of a nonce, then given."""
        assert self.ask_for_token().json == {
            "error": "use_dpop_nonce",
            "error_description": "the proof needs the nonce that comes with this answer",
        }
        answer = self.ask_for_token()
        assert answer.status_code == 200, answer.text
        self.token = answer.json["access_token"]
        return self

    def get(self, path: str, query: str = "") -> Any:
        """GET with token and proof."""
        return self._send("GET", path, self.authorization("GET", path), query=query)

    def post(self, path: str, body: bytes, media_type: str) -> Any:
        """POST with token and proof."""
        return self._send("POST", path, self.authorization("POST", path), body, media_type)

    def authorization(self, method: str, path: str) -> dict[str, str]:
        """The two headers of one request."""
        return {"Authorization": f"DPoP {self.token}", "DPoP": self.proof(method, path)}

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", media_type: str = "", query: str = ""
    ) -> Any:
        answer = self.http.open(
            path, method=method, headers=headers, data=body or None, content_type=media_type or None, query_string=query
        )
        self.nonce = answer.headers.get("DPoP-Nonce", self.nonce)
        return answer


def verified_problem(answer: Any, hub_jwk: dict[str, str]) -> dict[str, Any]:
    """The problem document of an answer, after the hub's signature over its octets is verified."""
    assert answer.mimetype == "application/problem+json", answer.text
    signed = parse_detached(answer.headers["Accord-Signature"], answer.data, SignatureType.PROBLEM)
    verify_es256(hub_jwk, signed.signing_input(), signed.element.signature)
    problem: dict[str, Any] = answer.json
    assert problem["status"] == answer.status_code
    return problem
