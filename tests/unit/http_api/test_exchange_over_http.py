"""A referral over HTTP: sent, received, confirmed, followed, proved."""

import base64
import hashlib
import io
import json
from typing import Any

import pytest

from hub.crypto.merkle import commitment
from hub.crypto.notes import parse_note
from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.signatures import SignatureType
from hub.formats.jws import parse_compact
from hub.http_api.app import create_app
from hub.services.deliver_message import relay, take_due
from hub.services.hub import Limits
from hub.services.sequence_log import sequence_pending
from tests.simulators.api_client import ApiClient, verified_problem
from tests.simulators.exchange import Exchange
from tests.unit.http_api.conftest import Referral

ENVELOPE = "application/jose+json"
JWS = "application/jose"


def send(client: ApiClient, envelope: bytes, media_type: str = ENVELOPE) -> Any:
    return client.http.post("/v1/messages", data=envelope, content_type=media_type)


def sent(referral: Referral) -> str:
    """Send one referral and bring it to the shelter's inbox; its exchange id."""
    answer = send(referral.police, referral.police.agency.envelope(referral.police.agency.message()))
    assert answer.status_code == 202, answer.text
    hub = referral.exchange.hub
    assert relay(hub, take_due(hub, 10)) == []
    return str(answer.json["exchange"])


def confirm(referral: Referral, of: str, **changes: Any) -> Any:
    """Fetch the one item in the shelter's inbox and confirm it."""
    (item,) = referral.shelter.sign_in().get("/v1/inbox").json["items"]
    copy = referral.shelter.get(f"/v1/inbox/{item['delivery']}")
    signed, payload = referral.shelter.agency.open(copy.data)
    members: dict[str, Any] = {
        "v": 1,
        "event": "delivered",
        "issuer": "tw.shelter.garden",
        "recipient": "tw.shelter.garden",
        "exchange": of,
        "delivery": item["delivery"],
        "time": "2026-11-22T09:00:00Z",
        "message": {
            "sender": "tw.npa",
            "id": payload["header"]["id"],
            "digest": b64url_encode(hashlib.sha256(signed.payload).digest()),
        },
        "of": payload["rendition"]["of"],
        **changes,
    }
    receipt = referral.shelter.agency.receipt(**members)
    return referral.shelter.post(f"/v1/inbox/{item['delivery']}/receipts", receipt.encode(), JWS)


def test_an_accepted_message_is_answered_202_with_a_signed_receipt(referral: Referral) -> None:
    answer = send(referral.police, referral.police.agency.envelope(referral.police.agency.message()))
    assert (answer.status_code, answer.json.keys()) == (202, {"exchange", "receipt"})
    receipt = json.loads(parse_compact(answer.json["receipt"], SignatureType.RECEIPT).payload)
    assert (receipt["event"], receipt["exchange"]) == ("accepted", answer.json["exchange"])
    assert "Accord-Repeated" not in answer.headers


def test_a_repeat_gets_the_same_octets_and_says_so(referral: Referral) -> None:
    envelope = referral.police.agency.envelope(referral.police.agency.message())
    first, second = send(referral.police, envelope), send(referral.police, envelope)
    assert (second.status_code, second.data) == (202, first.data)
    assert second.headers["Accord-Repeated"] == "true"


def test_a_refusal_is_signed_and_names_the_rule_the_article_and_the_octets_it_is_about(referral: Referral) -> None:
    envelope = referral.police.agency.envelope(referral.police.agency.message(purpose="border_control"))
    answer = send(referral.police, envelope)
    problem = verified_problem(answer, referral.exchange.hub_signing_jwk())
    assert (answer.status_code, problem["code"]) == (403, "purpose_not_allowed")
    assert problem["type"] == "urn:accord:problem:purpose_not_allowed"
    assert problem["request_sha256"] == b64url_encode(hashlib.sha256(envelope).digest())
    assert problem["time"] == "2026-11-22T09:00:00Z"
    (finding,) = [one for one in problem["findings"] if one["code"] == "purpose_not_allowed"]
    assert finding["article"]


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"garbage", ENVELOPE, 400, "malformed_envelope"),
        (b"", ENVELOPE, 400, "malformed_envelope"),
        (b"{}", "text/plain", 415, "wrong_media_type"),
    ],
)
def test_what_is_no_envelope_has_its_code(police: ApiClient, body: bytes, media_type: str, status: int, code: str) -> None:
    problem = verified_problem(send(police, body, media_type), police.agency.exchange.hub_signing_jwk())
    assert (problem["status"], problem["code"]) == (status, code)


class TestAnOversizedBody:
    limit = 1000

    @pytest.fixture
    def small(self, tmp_path: Any) -> Any:
        exchange = Exchange(f"sqlite:///{tmp_path}/hub.sqlite", limits=Limits(max_envelope_bytes=self.limit))
        yield ApiClient(create_app(exchange.hub), exchange.join("tw.npa"))
        exchange.close()

    def test_is_refused_and_audited_however_it_is_sent(self, small: ApiClient) -> None:
        problem = verified_problem(send(small, b"x" * (self.limit + 1)), small.agency.exchange.hub_signing_jwk())
        assert (problem["status"], problem["code"]) == (413, "too_large")
        assert "request_sha256" not in problem

    def test_is_not_read_past_the_limit(self, small: ApiClient) -> None:
        body = io.BytesIO(b"x" * 50_000)
        small.http.post(
            "/v1/messages", input_stream=body, content_type=ENVELOPE, environ_overrides={"wsgi.input_terminated": True}
        )
        assert body.tell() <= self.limit + 1


class BrokenStream(io.RawIOBase):
    """A body whose chunks are not well formed, as a server reports it."""

    def readinto(self, _buffer: object) -> int:
        raise OSError("canary")

    def readable(self) -> bool:
        return True


def test_a_body_that_breaks_off_is_refused(police: ApiClient) -> None:
    answer = police.http.post(
        "/v1/messages",
        content_type=ENVELOPE,
        environ_overrides={"wsgi.input": BrokenStream(), "wsgi.input_terminated": True},
    )
    problem = verified_problem(answer, police.agency.exchange.hub_signing_jwk())
    assert (problem["status"], problem["code"]) == (400, "invalid_request")


def test_the_inbox_shows_what_is_there_and_where_to_go_on(referral: Referral) -> None:
    exchange = sent(referral)
    page = referral.shelter.sign_in().get("/v1/inbox").json
    (item,) = page["items"]
    shown = {name: item[name] for name in ("exchange", "position", "sender", "type", "state")}
    assert shown == {"exchange": exchange, "position": 1, "sender": "tw.npa", "type": "ht-referral", "state": "held"}
    assert page["next"] == 1
    assert referral.shelter.get("/v1/inbox", "after=1").json == {"items": [], "next": 1}


def test_a_fetched_copy_is_sealed_to_its_recipient(referral: Referral) -> None:
    exchange = sent(referral)
    (item,) = referral.shelter.sign_in().get("/v1/inbox").json["items"]
    answer = referral.shelter.get(f"/v1/inbox/{item['delivery']}")
    assert (answer.mimetype, answer.headers["Accord-Exchange"]) == (ENVELOPE, exchange)
    _, payload = referral.shelter.agency.open(answer.data)
    assert payload["header"]["sender"] == "tw.npa"


def test_a_confirmed_delivery_is_answered_with_the_hubs_receipt(referral: Referral) -> None:
    exchange = sent(referral)
    answer = confirm(referral, exchange)
    assert answer.status_code == 200, answer.text
    assert json.loads(parse_compact(answer.json["receipt"], SignatureType.RECEIPT).payload)["event"] == "delivered"


def test_a_receipt_about_something_else_is_refused(referral: Referral) -> None:
    exchange = sent(referral)
    problem = verified_problem(confirm(referral, exchange, exchange="other"), referral.exchange.hub_signing_jwk())
    assert (problem["status"], problem["code"]) == (409, "receipt_mismatch")


def test_a_receipt_of_another_media_type_is_refused(referral: Referral) -> None:
    sent(referral)
    (item,) = referral.shelter.sign_in().get("/v1/inbox").json["items"]
    answer = referral.shelter.post(f"/v1/inbox/{item['delivery']}/receipts", b"a.b.c", "text/plain")
    assert (answer.status_code, answer.json["code"]) == (415, "wrong_media_type")


def test_the_sender_follows_its_message(referral: Referral) -> None:
    exchange = sent(referral)
    confirm(referral, exchange)
    view = referral.police.sign_in().get(f"/v1/messages/{exchange}").json
    assert [(one["recipient"], one["state"]) for one in view["deliveries"]] == [("tw.shelter.garden", "delivered")]
    shown = [(one["event"], one["issuer"]) for one in view["receipts"]]
    assert shown == [("accepted", "hub"), ("relayed", "hub"), ("delivered", "tw.shelter.garden"), ("delivered", "hub")]


def test_an_exchange_does_not_exist_for_those_who_have_no_part_in_it(referral: Referral) -> None:
    exchange = sent(referral)
    outsider = referral.outsider.sign_in()
    for path in (f"/v1/messages/{exchange}", f"/v1/messages/{exchange}/evidence"):
        answer = outsider.get(path)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_preview_tells_what_each_recipient_would_get(referral: Referral) -> None:
    envelope = referral.police.agency.envelope(referral.police.agency.message())
    preview = referral.police.sign_in().post("/v1/messages/preview", envelope, ENVELOPE).json
    assert (preview["allowed"], preview["agreement"]) == (True, "tw-referral-order-2024")
    assert [one["recipient"] for one in preview["recipients"]] == ["tw.shelter.garden"]
    assert send(referral.police, envelope).headers.get("Accord-Repeated") is None


def test_a_preview_of_what_would_be_refused_lists_every_rule_that_fails(referral: Referral) -> None:
    message = referral.police.agency.message(purpose="border_control", tlp="clear")
    preview = referral.police.sign_in().post("/v1/messages/preview", referral.police.agency.envelope(message), ENVELOPE).json
    failed = {one["code"] for one in preview["findings"] if "code" in one}
    assert (preview["allowed"], {"purpose_not_allowed", "tlp_too_wide"} <= failed) == (False, True)


def test_the_evidence_proves_each_receipt_from_the_log(referral: Referral) -> None:
    exchange = sent(referral)
    sequence_pending(referral.exchange.hub)
    receipts = referral.police.sign_in().get(f"/v1/messages/{exchange}/evidence").json["receipts"]
    assert [one["event"] for one in receipts] == ["accepted", "relayed"]
    for one in receipts:
        digest = b64url_encode(hashlib.sha256(parse_compact(one["receipt"], SignatureType.RECEIPT).payload).digest())
        assert json.loads(one["entry"])["details"]["receipt"] == digest
        assert one["proof"].startswith(f"c2sp.org/tlog-proof@v1\nindex {one['index']}\n")


def test_a_receipt_that_is_not_in_the_log_yet_comes_without_proof(referral: Referral) -> None:
    receipts = referral.police.sign_in().get(f"/v1/messages/{sent(referral)}/evidence").json["receipts"]
    assert [one.get("proof") for one in receipts] == [None, None]


def test_everybody_may_read_checkpoint_tiles_and_proofs(referral: Referral) -> None:
    exchange = sent(referral)
    sequence_pending(referral.exchange.hub)
    http = referral.outsider.http
    size = int(parse_note(http.get("/v1/log/checkpoint").data).text.split("\n")[1])
    tile = http.get(f"/v1/log/tile/entries/000.p/{size}")
    assert (tile.status_code, tile.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    (accepted, *_) = referral.police.sign_in().get(f"/v1/messages/{exchange}/evidence").json["receipts"]
    leaf = commitment(b64url_decode(accepted["nonce"]), accepted["entry"].encode())
    assert tile.data[accepted["index"] * 34 + 2 :].startswith(leaf)
    inclusion = http.get("/v1/log/proof/inclusion", query_string={"index": accepted["index"], "size": size}).json["hashes"]
    assert {len(base64.b64decode(one)) for one in inclusion} == {32}
    assert http.get("/v1/log/proof/consistency", query_string={"from": 1, "to": size}).status_code == 200


def test_a_tile_that_is_not_there_is_not_found(police: ApiClient) -> None:
    assert police.http.get("/v1/log/tile/0/000").json["code"] == "not_found"
