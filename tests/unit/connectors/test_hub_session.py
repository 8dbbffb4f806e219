"""Tokens and answers: what is asked with which proof, and what an answer of another form means."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from connectors.contract import HubUnreachableError, RefusedByHub
from connectors.hub_client.desk import check_address
from connectors.hub_client.hub_session import MAX_ANSWER_BYTES, Client, HubSession
from hub.crypto.signatures import generate_signing_key
from hub.domain.refusals import Refusal, RefusalCode
from tests.simulators.hub_double import ADDRESS, TOKEN, now
from tests.unit.connectors.conftest import AUTHORITY, Bench


def session_over(bench: Bench, answer: Callable[[httpx2.Request], httpx2.Response]) -> HubSession:
    """A session whose hub is one function."""
    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return HubSession(http, Client(AUTHORITY, bench.desk.keyring.client_key(now()), ADDRESS), bench.desk.pins, now)


def test_one_token_serves_many_requests(bench: Bench) -> None:
    bench.collect()
    bench.collect()
    paths = [one.url.path for one in bench.hub.requests]
    assert paths.count("/v1/token") == 2  # without a nonce, then with it
    assert paths.count("/v1/inbox") == 2


def test_a_token_that_the_hub_no_longer_takes_is_asked_for_anew(bench: Bench) -> None:
    bench.collect()
    bench.client.session._token = "an-old-one"
    assert bench.collect() == []
    assert bench.client.session._token == TOKEN


def test_a_client_key_that_the_hub_does_not_know_gets_no_token(bench: Bench) -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(401, json={"error": "invalid_client"})

    with pytest.raises(Refusal) as caught:
        session_over(bench, answer).fetch("x")
    assert caught.value.code is RefusalCode.INVALID_TOKEN
    assert "invalid_client" in caught.value.detail


def test_a_bearer_token_is_refused_because_it_is_bound_to_no_key(bench: Bench) -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"access_token": "x", "token_type": "Bearer", "expires_in": 300})

    with pytest.raises(Refusal) as caught:
        session_over(bench, answer).fetch("x")
    assert caught.value.code is RefusalCode.INVALID_TOKEN


def test_a_hub_that_asks_for_nonces_without_end_settles_nothing(bench: Bench) -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(400, json={"error": "use_dpop_nonce"}, headers={"DPoP-Nonce": "again"})

    with pytest.raises(HubUnreachableError):
        session_over(bench, answer).fetch("x")


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_fault_of_the_hub_settles_nothing(bench: Bench, status: int) -> None:
    with pytest.raises(HubUnreachableError):
        session_over(bench, lambda _request: httpx2.Response(status)).post_message(b"{}")


def test_a_redirect_is_not_followed(bench: Bench) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(307, headers={"Location": "https://elsewhere.test/"})

    with pytest.raises(Refusal) as caught:
        session_over(bench, answer).post_message(b"{}")
    assert (caught.value.code, len(asked)) == (RefusalCode.BAD_SIGNATURE, 1)


def test_an_endless_answer_is_cut_off(bench: Bench) -> None:
    with pytest.raises(Refusal) as caught:
        session_over(bench, lambda _request: httpx2.Response(202, content=b" " * (MAX_ANSWER_BYTES + 1))).post_message(b"{}")
    assert caught.value.code is RefusalCode.TOO_LARGE


def test_an_answer_that_is_not_json_is_refused(bench: Bench) -> None:
    with pytest.raises(Refusal) as caught:
        session_over(bench, lambda _request: httpx2.Response(202, content=b"<html>")).post_message(b"{}")
    assert caught.value.code is RefusalCode.MALFORMED_ENVELOPE


def test_a_code_of_a_newer_hub_is_still_a_signed_refusal(bench: Bench) -> None:
    bench.hub.wrong.refuses = RefusalCode.NO_AGREEMENT
    bench.hub.wrong.problem = lambda members: {**members, "code": "code_of_tomorrow"}
    with pytest.raises(RefusedByHub) as caught:
        bench.client.session.post_message(b"{}")
    assert caught.value.code is RefusalCode.INVALID_REQUEST


def test_a_problem_signed_with_an_unknown_key_is_not_believed(bench: Bench) -> None:
    bench.hub.wrong.refuses = RefusalCode.NO_AGREEMENT
    bench.hub.wrong.receipt_key = generate_signing_key("stranger")
    with pytest.raises(Refusal) as caught:
        bench.client.session.post_message(b"{}")
    assert caught.value.code is RefusalCode.UNKNOWN_SENDER


@pytest.mark.parametrize("address", ["https://hub.example", "https://hub.example/accord", "http://127.0.0.1:8000"])
def test_a_safe_address_is_taken_as_it_is(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize(
    "address",
    ["http://hub.example", "ftp://hub.example", "https://", "https://a@hub.example", "https://hub.example/?x=1", "hub.example"],
)
def test_an_unsafe_address_is_refused(address: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_address(address)
    assert caught.value.code is RefusalCode.ADDRESS_NOT_ALLOWED
