"""What every answer has in common: headers, problems for whatever goes wrong, discovery, and the operator's addresses."""

import dataclasses
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.http_api.app import create_app
from hub.services.hub import Hub
from tests.simulators.api_client import ApiClient, verified_problem
from tests.simulators.exchange import Exchange


class BrokenRegistry:
    """A registry whose reading fails with an exception whose text must not get out."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def at(self, _work: object) -> Any:
        raise self.error


def with_broken_registry(hub: Hub, error: Exception) -> Any:
    return create_app(dataclasses.replace(hub, registry=BrokenRegistry(error))).test_client()  # type: ignore[arg-type]  # broken by intent


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/messages", 405, "method_not_allowed"),
        ("DELETE", "/v1/inbox", 405, "method_not_allowed"),
        ("GET", "/v1/keys?authority=nobody", 404, "not_found"),
        ("GET", "/v1/keys?authority=hub&other=1", 400, "invalid_request"),
        ("GET", "/v1/log/proof/inclusion?index=-1&size=2", 400, "invalid_request"),
        ("GET", "/v1/log/proof/consistency?from=1", 400, "invalid_request"),
    ],
)
def test_whatever_is_wrong_with_an_address_is_a_signed_problem(
    police: ApiClient, exchange: Exchange, method: str, path: str, status: int, code: str
) -> None:
    problem = verified_problem(police.http.open(path, method=method), exchange.hub_signing_jwk())
    assert (problem["status"], problem["code"]) == (status, code)


def test_a_wrong_method_is_answered_with_the_right_ones(police: ApiClient) -> None:
    assert "POST" in police.http.get("/v1/messages").headers["Allow"]


def test_an_invalid_parameter_is_named_and_its_value_is_not_repeated(police: ApiClient) -> None:
    detail = police.http.get("/v1/log/proof/inclusion?index=canary&size=1&secret=canary").json["detail"]
    assert detail == "an unknown parameter; index: int parsing"


@pytest.mark.parametrize("error", [HubFault("canary"), ValueError("canary"), RecursionError("canary")])
def test_a_fault_of_the_hub_is_a_reference_number_and_nothing_else(exchange: Exchange, error: Exception) -> None:
    with capture_logs() as logged:
        answer = with_broken_registry(exchange.hub, error).get("/v1/keys")
    problem = verified_problem(answer, exchange.hub_signing_jwk())
    assert (problem["status"], problem["code"]) == (500, "internal")
    assert "canary" not in answer.text
    (line,) = logged
    assert problem["instance"] == f"urn:uuid:{line['reference']}"
    assert (line["kind"], "canary" in json.dumps(line)) == (type(error).__name__, False)


@pytest.mark.parametrize("path", ["/livez", "/v1/keys", "/nowhere", "/v1/inbox", "/openapi.json"])
def test_every_answer_carries_the_security_headers(police: ApiClient, path: str) -> None:
    headers = police.http.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_hub_with_an_https_address_asks_for_https_for_good(exchange: Exchange) -> None:
    client = create_app(dataclasses.replace(exchange.hub, issuer="https://hub.test")).test_client()
    assert client.get("/livez").headers["Strict-Transport-Security"] == "max-age=63072000"


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"])
def test_both_kinds_of_oauth_client_find_the_token_endpoint(police: ApiClient, path: str) -> None:
    metadata = police.http.get(path).json
    assert (metadata["issuer"], metadata["token_endpoint"]) == ("http://127.0.0.1", "http://127.0.0.1/v1/token")
    assert metadata["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]


def test_the_configuration_states_the_limits_that_hold(exchange: Exchange, police: ApiClient) -> None:
    configuration = police.http.get("/.well-known/hub-configuration").json
    assert configuration["max_envelope_bytes"] == exchange.hub.limits.max_envelope_bytes
    assert configuration["name"] == exchange.hub.name


def test_the_hubs_own_keys_are_open_to_everybody(exchange: Exchange, police: ApiClient) -> None:
    answer = police.http.get("/v1/keys").json
    assert {key["owner"] for key in answer["keys"]} == {"hub"}
    assert exchange.hub_signing_jwk() in [key["jwk"] for key in answer["keys"]]


def test_the_keys_of_a_party_are_given_with_its_profile(police: ApiClient) -> None:
    answer = police.http.get("/v1/keys?authority=tw.npa").json
    assert answer["profile"] == "pq-1"
    assert {(key["kid"], key["use"]) for key in answer["keys"]} == {
        ("tw.npa-auth", "client_auth"),
        ("tw.npa-seal", "sealing"),
        ("tw.npa-sig", "signing"),
    }


def test_a_hub_that_can_take_messages_is_ready(police: ApiClient) -> None:
    answer = police.http.get("/readyz")
    assert (answer.status_code, answer.json["ready"]) == (200, True)
    assert [check["name"] for check in answer.json["checks"]] == ["store", "keys", "log", "disk"]


def test_a_sequencer_that_stands_still_makes_the_hub_not_ready(exchange: Exchange, police: ApiClient) -> None:
    police.sign_in()  # leaves audit entries that nobody sequences
    exchange.clock.advance(seconds=61)
    answer = police.http.get("/readyz")
    assert answer.status_code == 503
    assert [check["name"] for check in answer.json["checks"] if not check["ok"]] == ["log"]


def test_a_registry_that_cannot_be_read_makes_the_hub_not_ready(exchange: Exchange) -> None:
    answer = with_broken_registry(exchange.hub, ValueError("canary")).get("/readyz")
    assert answer.status_code == 503
    failed = [(check["name"], check["detail"]) for check in answer.json["checks"] if not check["ok"]]
    assert failed == [("store", "ValueError")]


def test_the_process_is_alive_whatever_the_store_does(exchange: Exchange) -> None:
    assert with_broken_registry(exchange.hub, ValueError("canary")).get("/livez").json == {"alive": True}


def test_the_figures_count_answers_problems_and_what_waits_for_the_log(police: ApiClient) -> None:
    police.sign_in()
    police.http.get("/v1/inbox")
    figures = police.http.get("/metrics").text
    assert 'route="/v1/token",status="200"} 1.0' in figures
    assert 'code="invalid_token"' in figures
    assert "accord_log_pending_entries 2.0" in figures
    assert 'accord_deliveries{state="queued"} 0.0' in figures


@pytest.mark.parametrize(("code", "status"), [(RefusalCode.OVERLOADED, 503), (RefusalCode.RATE_LIMITED, 429)])
def test_what_may_succeed_later_says_when_to_try_again(exchange: Exchange, code: RefusalCode, status: int) -> None:
    answer = with_broken_registry(exchange.hub, Refusal(code)).get("/v1/keys")
    assert verified_problem(answer, exchange.hub_signing_jwk())["code"] == code.value
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "5")


def test_a_refusal_that_only_the_operator_can_have_caused_is_a_fault(exchange: Exchange) -> None:
    answer = with_broken_registry(exchange.hub, Refusal(RefusalCode.KEY_FILE_UNSAFE, "canary")).get("/v1/keys")
    assert (answer.status_code, answer.json["code"], "canary" in answer.text) == (500, "internal", False)


def test_a_hub_without_a_current_signing_key_still_says_what_is_wrong(exchange: Exchange) -> None:
    exchange.clock.advance(days=4000)
    answer = ApiClient(create_app(exchange.hub), exchange.agencies["tw.npa"]).http.get("/nowhere")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert "Accord-Signature" not in answer.headers
