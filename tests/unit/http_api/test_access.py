"""Tokens and proofs over HTTP, as stock OAuth clients use them, and each way of getting them wrong."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from hub.crypto.signatures import generate_signing_key
from hub.crypto.tokens import make_assertion, make_proof
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyState
from hub.domain.parties import Standing
from hub.services.issue_token import TOKEN_PATH
from hub.storage import audit
from tests.simulators.api_client import ApiClient, verified_problem
from tests.simulators.exchange import Exchange

INBOX = "/v1/inbox"


def entries(exchange: Exchange, event: str) -> list[dict[str, Any]]:
    with exchange.hub.store.reading() as work:
        found = [json.loads(row.entry) for row in audit.pending(work, 1000)]
    return [entry for entry in found if entry["event"] == event]


def with_nonce(client: ApiClient) -> ApiClient:
    client.ask_for_token()
    return client


def forge(client: ApiClient, header: dict[str, Any], **claims: Any) -> str:
    """An assertion with a header and claims of a test's own, properly signed with the client's key."""
    now = client.hub.clock.now().timestamp()
    authority = client.agency.authority
    members = {"iss": authority, "sub": authority, "aud": client.hub.issuer, "exp": now + 60, "jti": "one", **claims}
    payload = {name: value for name, value in members.items() if value is not None}
    parts = [
        b64url_encode(json.dumps(part).encode())
        for part in ({"alg": "ES256", "kid": client.agency.client.kid, **header}, payload)
    ]
    return ".".join([*parts, b64url_encode(client.agency.client.sign(".".join(parts).encode()))])


# --- the token endpoint ---


def test_a_token_is_of_type_dpop_and_lives_five_minutes(police: ApiClient) -> None:
    answer = with_nonce(police).ask_for_token()
    assert answer.status_code == 200
    members = {name: answer.json[name] for name in ("token_type", "expires_in", "scope")}
    assert members == {"token_type": "DPoP", "expires_in": 300, "scope": "exchange"}


def test_a_token_says_for_whom_it_is_and_which_key_it_is_bound_to(police: ApiClient) -> None:
    token = police.sign_in().token
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("tw.npa", "tw.npa", police.hub.issuer)
    assert claims["client_kid"] == "tw.npa-auth"
    assert claims["cnf"].keys() == {"jkt"}


def test_without_a_nonce_the_answer_gives_one_and_uses_nothing_up(police: ApiClient, exchange: Exchange) -> None:
    assertion = police.assertion()
    first = police.ask_for_token(assertion)
    assert (first.status_code, first.json["error"]) == (400, "use_dpop_nonce")
    assert "WWW-Authenticate" not in first.headers
    assert police.ask_for_token(assertion).status_code == 200
    assert entries(exchange, "token.refused") == []


def test_giving_a_token_is_audited(police: ApiClient, exchange: Exchange) -> None:
    police.sign_in()
    (entry,) = entries(exchange, "token.issued")
    assert (entry["actor"], entry["details"]["key"]) == ("tw.npa", "tw.npa-auth")


def test_refusing_a_token_is_audited_with_its_error(police: ApiClient, exchange: Exchange) -> None:
    police.ask_for_token(grant_type="password")
    (entry,) = entries(exchange, "token.refused")
    assert (entry["actor"], entry["details"]) == ("unauthenticated", {"error": "unsupported_grant_type"})


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"scope": "everything"}, 400, "invalid_scope"),
        ({"client_assertion_type": "urn:other"}, 401, "invalid_client"),
        ({"client_id": "tw.nia"}, 401, "invalid_client"),
    ],
)
def test_a_wrong_parameter_has_its_error(police: ApiClient, form: dict[str, str], status: int, error: str) -> None:
    answer = with_nonce(police).ask_for_token(**form)
    assert (answer.status_code, answer.json["error"]) == (status, error)


def test_a_parameter_that_stands_twice_is_an_invalid_request(police: ApiClient) -> None:
    answer = police.http.post(TOKEN_PATH, data=b"scope=a&scope=b", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_an_unknown_parameter_is_ignored(police: ApiClient) -> None:
    assert with_nonce(police).ask_for_token(resource="anything").status_code == 200


@pytest.mark.parametrize("audience", ["http://127.0.0.1", "http://127.0.0.1/v1/token", ["http://127.0.0.1"]])
def test_the_assertion_may_name_the_hub_or_its_token_endpoint(police: ApiClient, audience: object) -> None:
    assert with_nonce(police).ask_for_token(forge(police, {}, aud=audience)).status_code == 200


def test_a_client_clock_may_be_thirty_seconds_ahead(police: ApiClient) -> None:
    ahead = police.hub.clock.now().timestamp() + 30
    assert with_nonce(police).ask_for_token(forge(police, {}, nbf=ahead, iat=ahead)).status_code == 200


FORGERIES: dict[str, Callable[[ApiClient], str]] = {
    "garbage": lambda _: "garbage",
    "longer than 8 KiB": lambda client: client.assertion() + "A" * 8192,
    "algorithm none": lambda client: forge(client, {"alg": "none"}),
    "algorithm of another family": lambda client: forge(client, {"alg": "HS256"}),
    "an address for the key": lambda client: forge(client, {"jku": "https://evil.example"}),
    "a key in the header": lambda client: forge(client, {"jwk": client.agency.client.public_jwk}),
    "critical extensions": lambda client: forge(client, {"crit": ["b64"], "b64": True}),
    "no key id": lambda client: forge(client, {"kid": None}),
    "nested without end": lambda _: b64url_encode(b"[" * 5000) + ".e30.AAAA",
    "claims nested without end": lambda _: ".".join(
        [b64url_encode(b'{"alg":"ES256","kid":"tw.npa-auth"}'), b64url_encode(b"[" * 5000), "AA"]
    ),
    "an unknown key": lambda client: make_assertion(
        generate_signing_key("nobody"), "tw.npa", client.hub.issuer, client.hub.clock.now()
    ),
    "another key under this id": lambda client: make_assertion(
        generate_signing_key("tw.npa-auth"), "tw.npa", client.hub.issuer, client.hub.clock.now()
    ),
    "a key for messages": lambda client: make_assertion(
        client.agency.signing, "tw.npa", client.hub.issuer, client.hub.clock.now()
    ),
    "another subject": lambda client: forge(client, {}, sub="tw.nia"),
    "another issuer": lambda client: forge(client, {}, iss="tw.nia"),
    "another audience": lambda client: forge(client, {}, aud="https://other.example"),
    "this hub and another": lambda client: forge(client, {}, aud=[client.hub.issuer, "https://other.example"]),
    "no expiry": lambda client: forge(client, {}, exp=None),
    "an expiry that is no number": lambda client: forge(client, {}, exp=True),
    "an expiry beyond all time": lambda client: forge(client, {}, exp=1e300),
    "expired": lambda client: forge(client, {}, exp=client.hub.clock.now().timestamp() - 30),
    "good for too long": lambda client: forge(client, {}, exp=client.hub.clock.now().timestamp() + 631),
    "not good yet": lambda client: forge(client, {}, nbf=client.hub.clock.now().timestamp() + 31),
    "from the future": lambda client: forge(client, {}, iat=client.hub.clock.now().timestamp() + 31),
    "no token id": lambda client: forge(client, {}, jti=None),
    "a token id too long to remember": lambda client: forge(client, {}, jti="x" * 129),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_an_assertion_that_is_not_exactly_right_is_an_invalid_client(police: ApiClient, forgery: str) -> None:
    answer = with_nonce(police).ask_for_token(FORGERIES[forgery](police))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    assert "WWW-Authenticate" not in answer.headers


def test_an_assertion_is_good_for_one_use(police: ApiClient) -> None:
    assertion = with_nonce(police).assertion()
    assert police.ask_for_token(assertion).status_code == 200
    answer = police.ask_for_token(assertion)
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


def test_a_revoked_client_key_gets_no_token(police: ApiClient, exchange: Exchange) -> None:
    revoke_client_key(exchange)
    assert with_nonce(police).ask_for_token().json["error"] == "invalid_client"


def test_a_suspended_party_gets_no_token(police: ApiClient, exchange: Exchange) -> None:
    suspend(exchange)
    assert with_nonce(police).ask_for_token().json["error"] == "invalid_client"


def test_the_proof_for_a_token_must_be_for_the_token_endpoint(police: ApiClient) -> None:
    answer = with_nonce(police).ask_for_token(proof=police.proof("POST", "/v1/other", with_token=False))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_dpop_proof")


# --- what needs a token ---


def challenge(client: ApiClient, headers: dict[str, str]) -> str:
    answer = client.http.get(INBOX, headers=headers)
    problem = verified_problem(answer, client.agency.exchange.hub_signing_jwk())
    assert (problem["status"], problem["code"]) == (401, "invalid_token")
    assert answer.headers["DPoP-Nonce"]
    return str(answer.headers["WWW-Authenticate"])


def revoke_client_key(exchange: Exchange) -> None:
    with exchange.hub.store.reading() as work:
        key = exchange.hub.registry.at(work).keys["tw.npa-auth"]
    exchange.record_key(dataclasses.replace(key, state=KeyState.REVOKED))


def suspend(exchange: Exchange) -> None:
    exchange.record_party(dataclasses.replace(exchange.agencies["tw.npa"].party, standing=Standing.SUSPENDED))


def error(code: str) -> str:
    return f'DPoP error="{code}", algs="ES256"'


def test_a_token_with_its_proof_opens_the_inbox_and_brings_the_next_nonce(police: ApiClient) -> None:
    answer = police.sign_in().get(INBOX)
    assert (answer.status_code, answer.json) == (200, {"items": [], "next": 0})
    assert answer.headers["DPoP-Nonce"]


def test_nothing_shown_is_answered_with_a_bare_challenge(police: ApiClient) -> None:
    assert challenge(police, {}) == 'DPoP algs="ES256"'


def test_a_bearer_token_is_not_taken(police: ApiClient) -> None:
    police.sign_in()
    assert challenge(police, {"Authorization": f"Bearer {police.token}"}) == 'DPoP algs="ES256"'


def test_a_proof_without_nonce_is_told_to_use_one(police: ApiClient) -> None:
    police.sign_in().nonce = ""
    assert challenge(police, police.authorization("GET", INBOX)) == error("use_dpop_nonce")


def test_the_nonce_of_the_window_before_is_still_taken(police: ApiClient, exchange: Exchange) -> None:
    nonce = police.sign_in().nonce
    exchange.clock.advance(minutes=4, seconds=59)
    police.nonce = nonce
    assert police.get(INBOX).status_code == 200


def test_a_nonce_of_two_windows_ago_is_not(police: ApiClient, exchange: Exchange) -> None:
    old = police.sign_in().nonce
    exchange.clock.advance(minutes=10)
    police.sign_in().nonce = old
    assert challenge(police, police.authorization("GET", INBOX)) == error("use_dpop_nonce")


def test_a_proof_is_good_for_one_request(police: ApiClient) -> None:
    headers = police.sign_in().authorization("GET", INBOX)
    assert police.http.get(INBOX, headers=headers).status_code == 200
    assert challenge(police, headers) == error("invalid_dpop_proof")


def test_an_expired_token_is_refused(police: ApiClient, exchange: Exchange) -> None:
    police.sign_in()
    exchange.clock.advance(minutes=5)
    assert challenge(police, police.authorization("GET", INBOX)) == error("invalid_token")


def test_a_revoked_client_key_ends_its_tokens_at_once(police: ApiClient, exchange: Exchange) -> None:
    police.sign_in()
    revoke_client_key(exchange)
    assert challenge(police, police.authorization("GET", INBOX)) == error("invalid_token")


def test_a_suspension_ends_the_tokens_of_a_party_at_once(police: ApiClient, exchange: Exchange) -> None:
    police.sign_in()
    suspend(exchange)
    assert challenge(police, police.authorization("GET", INBOX)) == error("invalid_token")


def test_a_stolen_token_is_of_no_use_without_its_key(police: ApiClient) -> None:
    police.sign_in().proof_key = generate_signing_key("thief")
    assert challenge(police, police.authorization("GET", INBOX)) == error("invalid_token")


def test_an_assertion_is_no_access_token(police: ApiClient) -> None:
    police.sign_in().token = police.assertion()
    assert challenge(police, police.authorization("GET", INBOX)) == error("invalid_token")


def test_a_token_signed_by_somebody_else_is_refused(police: ApiClient) -> None:
    head, claims, _ = police.sign_in().token.split(".")
    police.token = f"{head}.{claims}.{b64url_encode(police.agency.client.sign(f'{head}.{claims}'.encode()))}"
    assert challenge(police, police.authorization("GET", INBOX)) == error("invalid_token")


def bad_proof(client: ApiClient, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A proof with changed members, signed with the right key."""
    head, payload, _ = client.proof("GET", INBOX).split(".")
    members = {**json.loads(jwt.utils.base64url_decode(payload)), **claims}
    headers = {**json.loads(jwt.utils.base64url_decode(head)), **(header or {})}
    parts = [b64url_encode(json.dumps(part).encode()) for part in (headers, members)]
    return ".".join([*parts, b64url_encode(client.proof_key.sign(".".join(parts).encode()))])


def private_member(client: ApiClient) -> str:
    return bad_proof(client, {"jwk": {**client.proof_key.public_jwk, "d": "AA"}})


PROOFS: dict[str, Callable[[ApiClient], str]] = {
    "garbage": lambda _: "garbage",
    "two, joined by a server on the way": lambda client: f"{client.proof('GET', INBOX)}, {client.proof('GET', INBOX)}",
    "of another type": lambda client: bad_proof(client, {"typ": "JWT"}),
    "with a private key": private_member,
    "with a key that is no text": lambda client: bad_proof(client, {"jwk": {**client.proof_key.public_jwk, "x": 7}}),
    "with a key on no curve": lambda client: bad_proof(client, {"jwk": {**client.proof_key.public_jwk, "x": "A" * 43}}),
    "with a key that did not sign it": lambda client: bad_proof(client, {"jwk": generate_signing_key("other").public_jwk}),
    "naming a registered key instead": lambda client: bad_proof(client, {"kid": "tw.npa-auth"}),
    "for another method": lambda client: bad_proof(client, htm="POST"),
    "for another address": lambda client: bad_proof(client, htu="http://127.0.0.1/v1/agreements"),
    "for another host": lambda client: bad_proof(client, htu="https://evil.example/v1/inbox"),
    "too old": lambda client: bad_proof(client, iat=client.hub.clock.now().timestamp() - 301),
    "from the future": lambda client: bad_proof(client, iat=client.hub.clock.now().timestamp() + 31),
    "for another token": lambda client: bad_proof(client, ath="x"),
    "without token": lambda client: make_proof(
        client.proof_key, "GET", client.hub.issuer + INBOX, client.hub.clock.now(), nonce=client.nonce
    ),
    "without id": lambda client: bad_proof(client, jti=""),
}


@pytest.mark.parametrize("defect", PROOFS)
def test_a_proof_that_is_not_exactly_right_is_refused(police: ApiClient, defect: str) -> None:
    police.sign_in()
    headers = {"Authorization": f"DPoP {police.token}", "DPoP": PROOFS[defect](police)}
    assert challenge(police, headers) == error("invalid_dpop_proof")


def test_refused_access_is_audited_without_the_token(police: ApiClient, exchange: Exchange) -> None:
    police.sign_in()
    challenge(police, {"Authorization": f"DPoP {police.token}"})
    (entry,) = entries(exchange, "access.refused")
    details = {"error": "invalid_dpop_proof", "method": "GET", "route": INBOX, "bearer": "tw.npa"}
    assert (entry["actor"], entry["details"]) == ("unauthenticated", details)


def test_what_an_unknown_client_writes_into_an_address_is_not_logged(police: ApiClient, exchange: Exchange) -> None:
    police.http.get("/v1/inbox/the%20name%20of%20a%20victim")
    (entry,) = entries(exchange, "access.refused")
    assert entry["details"] == {"error": "", "method": "GET", "route": "/v1/inbox/<delivery>"}


def test_no_flood_hides_the_refusal_of_a_client_that_showed_who_it_is(police: ApiClient, exchange: Exchange) -> None:
    police.sign_in()
    used = police.assertion()
    police.ask_for_token(used)
    for _ in range(exchange.hub.limits.audited_refusals_per_minute + 1):
        police.ask_for_token(grant_type="password")
    police.ask_for_token(used)
    found = entries(exchange, "token.refused")
    assert len(found) == exchange.hub.limits.audited_refusals_per_minute + 1
    assert (found[-1]["actor"], found[-1]["details"]) == ("tw.npa", {"error": "invalid_client"})
