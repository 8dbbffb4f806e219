"""What the codec writes, two other JOSE libraries for Python read, and the other way round.

Both need to be held back from what they do by default: joserfc wants to open every recipient and knows no member `hub`; jwcrypto
is content with any one signature and writes one recipient in the flattened form.
"""

import json
from typing import Any

import pytest
from joserfc import jwe as joserfc_jwe
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey
from jwcrypto import jwe as jwcrypto_jwe
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jws as jwcrypto_jws

from hub.crypto.sealing import seal, seal_part, unseal, unsealing_key_from_jwk
from hub.crypto.signatures import signing_key_from_jwk, verify_es256
from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.parties import SealingProfile
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from tests.vectors.files import read_json

EXAMPLE = read_json("wire/classic-1.json")
MESSAGE_ID = "01930000-0000-7000-8000-000000000001"
PAYLOAD = '{"header":{"id":"x"},"body":{"name":"Müller 😀"}}'.encode()
SENDER, HUB, A, B = (EXAMPLE[name] for name in ("sender", "hub", "a", "b"))
SIGNER, COUNTERSIGNER = signing_key_from_jwk(SENDER), signing_key_from_jwk(HUB)
ALGORITHMS = ["ECDH-ES+A256KW", "A256GCM"]


def public(key: dict[str, str]) -> Any:
    return {name: value for name, value in key.items() if name != "d"}


def countersigned() -> bytes:
    payload = b64url_encode(PAYLOAD)
    first = jws.protected_header("sender-1", SignatureType.MESSAGE)
    signature = SIGNER.sign(jws.signing_input(first, payload))
    second = jws.protected_header("hub-1", SignatureType.COUNTERSIGNATURE, jws.over_digest(first, signature))
    return jws.serialise_general(payload, [(first, signature), (second, COUNTERSIGNER.sign(jws.signing_input(second, payload)))])


def sealed(*recipients: dict[str, str]) -> Any:
    kids = [one["kid"] for one in recipients]
    protected = jwe.envelope_header(SealingProfile.CLASSIC_1, SealedContentType.JWS, MESSAGE_ID, kids)
    result = seal(SealingProfile.CLASSIC_1, PAYLOAD, protected.encode(), [(one["kid"], public(one)) for one in recipients])
    return json.loads(jwe.serialise_envelope(SealingProfile.CLASSIC_1, protected, result.recipients, result.content))


def opened(octets: bytes, key: dict[str, str]) -> bytes:
    envelope = jwe.open_envelope(octets, 1_000_000)
    wrapped = next(one for one in envelope.recipients if one.kid == key["kid"])
    return unseal(unsealing_key_from_jwk(key), wrapped, envelope.content, envelope.aad)


def header_for(kids: list[str]) -> Any:
    return json.loads(b64url_decode(jwe.envelope_header(SealingProfile.CLASSIC_1, SealedContentType.JWS, MESSAGE_ID, kids)))


def test_joserfc_verifies_both_signatures_of_a_countersigned_message() -> None:
    keys = {key["kid"]: ECKey.import_key(public(key)) for key in (SENDER, HUB)}
    registry = joserfc_jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    read = joserfc_jws.deserialize_json(json.loads(countersigned()), lambda one: keys[one.headers()["kid"]], registry=registry)
    assert read.payload == PAYLOAD


@pytest.mark.parametrize(("key", "position"), [(SENDER, 0), (HUB, 1)], ids=["sender", "hub"])
def test_jwcrypto_verifies_each_signature_of_a_countersigned_message(key: Any, position: int) -> None:
    document = json.loads(countersigned())
    token = jwcrypto_jws.JWS()
    token.deserialize(json.dumps({"payload": document["payload"], **document["signatures"][position]}))
    token.verify(jwcrypto_jwk.JWK(**public(key)))
    assert token.payload == PAYLOAD


def test_a_message_that_joserfc_signed_verifies() -> None:
    member: Any = {"protected": {"alg": "ES256", "kid": "sender-1", "typ": "hub-msg+jws"}}
    document = joserfc_jws.serialize_json([member], PAYLOAD, ECKey.import_key(SENDER))
    read = jws.parse_general(json.dumps(document).encode(), jws.MESSAGE_ALONE)
    verify_es256(public(SENDER), read.signing_input(0), read.elements[0].signature)
    assert read.payload == PAYLOAD


def test_a_message_that_jwcrypto_signed_verifies_in_the_general_form() -> None:
    token = jwcrypto_jws.JWS(PAYLOAD)
    token.add_signature(jwcrypto_jwk.JWK(**SENDER), None, json.dumps({"typ": "hub-msg+jws", "kid": "sender-1", "alg": "ES256"}))
    flattened = json.loads(token.serialize())
    entry = {name: flattened[name] for name in ("protected", "signature")}
    octets = json.dumps({"payload": flattened["payload"], "signatures": [entry]}).encode()
    read = jws.parse_general(octets, jws.MESSAGE_ALONE)
    verify_es256(public(SENDER), read.signing_input(0), read.elements[0].signature)


def test_a_receipt_that_jwcrypto_signed_verifies_in_the_compact_form() -> None:
    token = jwcrypto_jws.JWS(b"{}")
    token.add_signature(jwcrypto_jwk.JWK(**HUB), None, json.dumps({"alg": "ES256", "kid": "hub-1", "typ": "hub-receipt+jws"}))
    read = jws.parse_compact(token.serialize(compact=True), SignatureType.RECEIPT)
    verify_es256(public(HUB), read.signing_input(), read.element.signature)


def test_joserfc_verifies_a_compact_receipt() -> None:
    protected, payload = jws.protected_header("hub-1", SignatureType.RECEIPT), b64url_encode(b"{}")
    text = jws.serialise_compact(protected, payload, COUNTERSIGNER.sign(jws.signing_input(protected, payload)))
    assert joserfc_jws.deserialize_compact(text, ECKey.import_key(public(HUB)), algorithms=["ES256"]).payload == b"{}"


@pytest.mark.parametrize("key", [A, B], ids=["a", "b"])
def test_joserfc_opens_an_envelope_cut_to_one_recipient(key: Any) -> None:
    envelope = sealed(A, B)
    envelope["recipients"] = [one for one in envelope["recipients"] if one["header"]["kid"] == key["kid"]]
    registry = joserfc_jwe.JWERegistry(algorithms=ALGORITHMS, strict_check_header=False)
    assert joserfc_jwe.decrypt_json(envelope, ECKey.import_key(key), registry=registry).plaintext == PAYLOAD


@pytest.mark.parametrize("key", [A, B], ids=["a", "b"])
def test_jwcrypto_opens_an_envelope_for_two(key: Any) -> None:
    token = jwcrypto_jwe.JWE()
    token.deserialize(json.dumps(sealed(A, B)), jwcrypto_jwk.JWK(**key))
    assert token.payload == PAYLOAD


def test_an_envelope_that_joserfc_sealed_opens() -> None:
    token = joserfc_jwe.GeneralJSONEncryption(header_for(["a-1", "b-1"]), PAYLOAD)
    for key in (A, B):
        token.add_recipient({"alg": "ECDH-ES+A256KW", "kid": key["kid"]}, ECKey.import_key(public(key)))
    registry = joserfc_jwe.JWERegistry(algorithms=ALGORITHMS, strict_check_header=False)
    octets = json.dumps(joserfc_jwe.encrypt_json(token, None, registry=registry)).encode()
    assert [opened(octets, key) for key in (A, B)] == [PAYLOAD, PAYLOAD]


def test_an_envelope_that_jwcrypto_sealed_for_two_opens() -> None:
    token = jwcrypto_jwe.JWE(PAYLOAD, json.dumps(header_for(["a-1", "b-1"]), indent=1))
    for key in (A, B):
        token.add_recipient(jwcrypto_jwk.JWK(**public(key)), json.dumps({"alg": "ECDH-ES+A256KW", "kid": key["kid"]}))
    octets = token.serialize().encode()
    assert [opened(octets, key) for key in (A, B)] == [PAYLOAD, PAYLOAD]


def test_jwcrypto_opens_a_sealed_part() -> None:
    protected, result = seal_part(
        SealingProfile.CLASSIC_1,
        b"name",
        (A["kid"], public(A)),
        lambda wrapped: jwe.part_header(SealingProfile.CLASSIC_1, MESSAGE_ID, "/reporter", wrapped),
    )
    token = jwcrypto_jwe.JWE()
    token.deserialize(jwe.serialise_part(protected, result.recipients[0], result.content), jwcrypto_jwk.JWK(**A))
    assert token.payload == b"name"


def test_a_sealed_part_that_jwcrypto_sealed_opens() -> None:
    header = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": "a-1", "typ": "hub-part+jwe"}
    binding = {"v": 1, "profile": "classic-1", "id": MESSAGE_ID, "path": "/reporter"}
    token = jwcrypto_jwe.JWE(b"name", json.dumps(header | {"hub": binding}), recipient=jwcrypto_jwk.JWK(**public(A)))
    part = jwe.parse_part(token.serialize(compact=True))
    assert unseal(unsealing_key_from_jwk(A), part.recipient, part.content, part.aad) == b"name"
