"""Agreements over HTTP: a party sees those that it operates under, and signs for itself."""

import hashlib

from hub.crypto.signatures import SigningKey
from hub.domain.encoding import b64url_encode
from hub.domain.refusals import MEANINGS, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.jws import protected_header, serialise_detached, signing_input
from tests.simulators.api_client import ApiClient, verified_problem
from tests.simulators.exchange import REFERRAL_ORDER, Exchange
from tests.unit.http_api.conftest import Referral

VERSION = f"/v1/agreements/{REFERRAL_ORDER}/versions/1"


def signature(key: SigningKey, octets: bytes) -> bytes:
    protected = protected_header(key.kid, SignatureType.AGREEMENT)
    return serialise_detached(protected, key.sign(signing_input(protected, b64url_encode(octets)))).encode()


def test_a_party_lists_the_agreements_it_operates_under(referral: Referral) -> None:
    (shown,) = referral.police.sign_in().get("/v1/agreements").json["agreements"]
    assert (shown["id"], shown["governing_version"], shown["versions"][0]["is_signed"]) == (REFERRAL_ORDER, 1, True)
    assert referral.police.get(f"/v1/agreements/{REFERRAL_ORDER}").json == shown


def test_others_do_not_exist_for_it(referral: Referral) -> None:
    stranger = ApiClient(referral.police.http.application, referral.exchange.join("jp.npa")).sign_in()
    assert stranger.get("/v1/agreements").json == {"agreements": []}
    for path in (f"/v1/agreements/{REFERRAL_ORDER}", VERSION):
        assert stranger.get(path).json["code"] == "not_found"


def test_its_signature_is_no_way_to_ask_whether_they_exist(referral: Referral) -> None:
    stranger = ApiClient(referral.police.http.application, referral.exchange.join("jp.npa")).sign_in()
    answers = [
        stranger.post(f"{path}/signatures", signature(stranger.agency.signing, b"{}"), "application/jose").json
        for path in (VERSION, "/v1/agreements/there-is-none/versions/1")
    ]
    assert [(one["code"], one["detail"]) for one in answers] == [("not_found", MEANINGS[RefusalCode.NOT_FOUND])] * 2


def test_a_version_is_given_in_the_very_octets_that_are_signed(referral: Referral) -> None:
    client = referral.police.sign_in()
    digest = client.get(f"/v1/agreements/{REFERRAL_ORDER}").json["versions"][0]["digest"]
    assert b64url_encode(hashlib.sha256(client.get(VERSION).data).digest()) == digest


def test_an_authority_signs_for_itself(exchange: Exchange, police: ApiClient) -> None:
    exchange.agree(REFERRAL_ORDER, unsigned_by=frozenset({"tw.npa", "tw.nia"}))
    octets = police.sign_in().get(VERSION).data
    answer = police.post(f"{VERSION}/signatures", signature(police.agency.signing, octets), "application/jose")
    assert answer.json == {"id": REFERRAL_ORDER, "version": 1, "unsigned_by": ["tw.nia"]}


def test_a_signature_over_other_octets_is_refused(exchange: Exchange, police: ApiClient) -> None:
    exchange.agree(REFERRAL_ORDER, unsigned_by=frozenset({"tw.npa"}))
    answer = police.sign_in().post(f"{VERSION}/signatures", signature(police.agency.signing, b"{}"), "application/jose")
    assert verified_problem(answer, exchange.hub_signing_jwk())["code"] == "bad_signature"


def test_nobody_hands_in_the_signature_of_another(exchange: Exchange, police: ApiClient) -> None:
    exchange.agree(REFERRAL_ORDER, unsigned_by=frozenset({"tw.npa", "tw.nia"}))
    other = exchange.join("tw.nia")
    octets = police.sign_in().get(VERSION).data
    answer = police.post(f"{VERSION}/signatures", signature(other.signing, octets), "application/jose")
    assert verified_problem(answer, exchange.hub_signing_jwk())["code"] == "sender_mismatch"
