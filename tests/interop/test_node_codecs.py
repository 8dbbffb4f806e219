"""The page's modules for Node and the hub's codecs, both ways, without a hub between them; and what the page's reader refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.crypto.sealing import UnsealingKey, generate_unsealing_key, seal, seal_part, unseal, unsealing_key_from_jwk
from hub.crypto.signatures import SigningKey, generate_signing_key
from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from tests.interop.partner_page import run_node, write_programs
from tests.vectors.files import read_json

MESSAGE_ID = "01930000-0000-7000-8000-000000000001"
OTHER_ID = "01930000-0000-7000-8000-000000000002"
SIGNED = {"payload": "e30", "signatures": []}
PART = '{"phone":"+886900000000"}'
CLASSIC, PQ = read_json("wire/classic-1.json"), read_json("wire/pq-1.json")
OWN = {
    SealingProfile.CLASSIC_1: {"kid": "a-1", "jwk": {name: CLASSIC["a"][name] for name in ("kty", "crv", "x", "y", "d")}},
    SealingProfile.PQ_1: {"kid": "a-pq-1", "jwk": {name: PQ["a"][name] for name in ("kty", "alg", "pub", "priv")}},
}
KEYS: dict[SealingProfile, UnsealingKey] = {
    SealingProfile.CLASSIC_1: unsealing_key_from_jwk(CLASSIC["a"]),
    SealingProfile.PQ_1: unsealing_key_from_jwk(PQ["a"]),
}
SENDER, HUB, STRANGER = (generate_signing_key(kid) for kid in ("sender-1", "hub-1", "stranger-1"))

Node = Callable[..., dict[str, Any]]
Change = Callable[[dict[str, Any]], None]

each_profile = pytest.mark.parametrize("profile", list(SealingProfile), ids=str)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    folder: Path = tmp_path_factory.mktemp("node") / "programs"
    write_programs(folder)

    def run(do: str, **task: Any) -> dict[str, Any]:
        done = run_node(folder, "codec.mjs", text=json.dumps({"do": do, **task}))
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


def recipient(profile: SealingProfile) -> tuple[str, dict[str, str]]:
    return KEYS[profile].kid, KEYS[profile].public_jwk


def sealed_by_us(profile: SealingProfile, *others: UnsealingKey) -> dict[str, Any]:
    to = [recipient(profile), *((one.kid, one.public_jwk) for one in others)]
    protected = jwe.envelope_header(profile, SealedContentType.JWS, MESSAGE_ID, [kid for kid, _ in to])
    result = seal(profile, json.dumps(SIGNED).encode(), protected.encode(), to)
    envelope: dict[str, Any] = json.loads(jwe.serialise_envelope(profile, protected, result.recipients, result.content))
    return envelope


def part_by_us(profile: SealingProfile) -> str:
    protected, result = seal_part(
        profile,
        PART.encode(),
        recipient(profile),
        lambda wrapped: jwe.part_header(profile, MESSAGE_ID, "/victim_contact", wrapped),
    )
    return jwe.serialise_part(protected, result.recipients[0], result.content)


@each_profile
def test_what_the_page_seals_opens_here(node: Node, profile: SealingProfile) -> None:
    kid, jwk = recipient(profile)
    text = node("seal", text="sealed ✓", to={"kid": kid, "jwk": jwk}, id=MESSAGE_ID)["result"]
    envelope = jwe.open_envelope(text.encode(), 1_000_000)
    assert envelope.message_id == MESSAGE_ID
    assert unseal(KEYS[profile], envelope.recipients[0], envelope.content, envelope.aad) == "sealed ✓".encode()


@each_profile
def test_what_is_sealed_here_opens_with_the_page(node: Node, profile: SealingProfile) -> None:
    opened = node("open", envelope=json.dumps(sealed_by_us(profile)), own=OWN[profile])
    assert opened == {"result": {"id": MESSAGE_ID, "signed": SIGNED}}


@each_profile
def test_a_part_that_the_page_seals_opens_here(node: Node, profile: SealingProfile) -> None:
    kid, jwk = recipient(profile)
    to = {"kid": kid, "jwk": jwk}
    part = jwe.parse_part(node("sealPart", text=PART, to=to, id=MESSAGE_ID, path="/victim_contact")["result"])
    assert (part.message_id, part.path) == (MESSAGE_ID, "/victim_contact")
    assert unseal(KEYS[profile], part.recipient, part.content, part.aad) == PART.encode()


@each_profile
def test_a_part_that_is_sealed_here_opens_with_the_page(node: Node, profile: SealingProfile) -> None:
    task = {"part": part_by_us(profile), "own": OWN[profile], "id": MESSAGE_ID, "path": "/victim_contact"}
    assert node("openPart", **task) == {"result": PART}


@each_profile
@pytest.mark.parametrize("elsewhere", [{"id": OTHER_ID}, {"path": "/reporter_identity"}], ids=["message", "field"])
def test_the_page_refuses_a_part_of_another_place(node: Node, profile: SealingProfile, elsewhere: dict[str, str]) -> None:
    task = {"part": part_by_us(profile), "own": OWN[profile], "id": MESSAGE_ID, "path": "/victim_contact", **elsewhere}
    assert node("openPart", **task) == {"code": "sender_mismatch"}


def flipped(text: str) -> str:
    return ("B" if text[0] == "A" else "A") + text[1:]


def change_ciphertext(envelope: dict[str, Any]) -> None:
    envelope["ciphertext"] = flipped(envelope["ciphertext"])


def change_wrapped_key(envelope: dict[str, Any]) -> None:
    envelope["recipients"][0]["encrypted_key"] = flipped(envelope["recipients"][0]["encrypted_key"])


def change_header(member: str, value: object) -> Change:
    def change(envelope: dict[str, Any]) -> None:
        header = json.loads(b64url_decode(envelope["protected"]))
        (header["hub"] if member in header["hub"] else header)[member] = value
        envelope["protected"] = b64url_encode(json.dumps(header).encode())

    return change


ENVELOPE_CHANGES: dict[str, tuple[Change, str]] = {
    "ciphertext": (change_ciphertext, "cannot_unseal"),
    "wrapped key": (change_wrapped_key, "cannot_unseal"),
    "message id": (change_header("id", OTHER_ID), "cannot_unseal"),
    "profile": (change_header("profile", "pq-9"), "wrong_profile"),
    "to": (change_header("to", ["another"]), "malformed_envelope"),
    "typ": (change_header("typ", "JOSE"), "unsupported_profile"),
    "zip": (change_header("zip", "DEF"), "unsupported_profile"),
    "a member more": (lambda envelope: envelope.update(aad=""), "malformed_envelope"),
    "padding": (lambda envelope: envelope.update(protected=envelope["protected"] + "="), "malformed_envelope"),
}


@each_profile
@pytest.mark.parametrize(("change", "code"), ENVELOPE_CHANGES.values(), ids=ENVELOPE_CHANGES)
def test_the_page_refuses_an_altered_envelope(node: Node, profile: SealingProfile, change: Change, code: str) -> None:
    envelope = sealed_by_us(profile)
    change(envelope)
    assert node("open", envelope=json.dumps(envelope), own=OWN[profile]) == {"code": code}


@each_profile
def test_the_page_refuses_an_envelope_that_others_open_too(node: Node, profile: SealingProfile) -> None:
    envelope = sealed_by_us(profile, generate_unsealing_key("another", profile))
    assert node("open", envelope=json.dumps(envelope), own=OWN[profile]) == {"code": "sender_mismatch"}


@each_profile
def test_the_hub_refuses_what_the_page_sealed_and_somebody_altered(node: Node, profile: SealingProfile) -> None:
    kid, jwk = recipient(profile)
    altered = json.loads(node("seal", text="x", to={"kid": kid, "jwk": jwk}, id=MESSAGE_ID)["result"])
    change_ciphertext(altered)
    envelope = jwe.open_envelope(json.dumps(altered).encode(), 1_000_000)
    with pytest.raises(Refusal) as caught:
        unseal(KEYS[profile], envelope.recipients[0], envelope.content, envelope.aad)
    assert caught.value.code is RefusalCode.CANNOT_UNSEAL


# --- signatures ---


def published(key: SigningKey, owner: str, *signs: SignatureType, state: str = "active") -> dict[str, Any]:
    return {"kid": key.kid, "owner": owner, "use": "signing", "signs": list(signs), "state": state, "jwk": dict(key.public_jwk)}


def countersigned() -> dict[str, Any]:
    payload = b64url_encode(json.dumps({"header": {"id": MESSAGE_ID, "sender": "tw.nia"}, "body": {}}).encode())
    first = jws.protected_header(SENDER.kid, SignatureType.MESSAGE)
    signature = SENDER.sign(jws.signing_input(first, payload))
    second = jws.protected_header(HUB.kid, SignatureType.COUNTERSIGNATURE, jws.over_digest(first, signature))
    elements = [(first, signature), (second, HUB.sign(jws.signing_input(second, payload)))]
    signed: dict[str, Any] = json.loads(jws.serialise_general(payload, elements))
    return signed


def resigned(at: int, key: SigningKey, **members: object) -> Change:
    """Sign an element anew with another key, or under another header: every signature by itself is good."""

    def change(signed: dict[str, Any]) -> None:
        element = signed["signatures"][at]
        header = {**json.loads(b64url_decode(element["protected"])), **members}
        element["protected"] = b64url_encode(json.dumps(header).encode())
        element["signature"] = b64url_encode(key.sign(jws.signing_input(element["protected"], signed["payload"])))

    return change


def change_signature(at: int) -> Change:
    def change(signed: dict[str, Any]) -> None:
        signed["signatures"][at]["signature"] = flipped(signed["signatures"][at]["signature"])

    return change


def change_payload(signed: dict[str, Any]) -> None:
    signed["payload"] = b64url_encode(json.dumps({"header": {"sender": "tw.nia"}, "body": {"more": 1}}).encode())


SIGNATURE_CHANGES: dict[str, tuple[Change, str]] = {
    "sender's signature": (change_signature(0), "bad_signature"),
    "hub's signature": (change_signature(1), "bad_signature"),
    "payload": (change_payload, "bad_signature"),
    "sender's key": (resigned(0, STRANGER), "bad_signature"),
    "countersignature over another signature": (resigned(1, HUB, over=b64url_encode(bytes(32))), "bad_signature"),
    "sender's key id": (resigned(0, STRANGER, kid="stranger-1"), "bad_signature"),
    "a parameter more": (resigned(1, HUB, jku="https://example.org"), "unsupported_profile"),
    "order": (lambda signed: signed["signatures"].reverse(), "malformed_envelope"),
    "no countersignature": (lambda signed: signed["signatures"].pop(), "malformed_envelope"),
}
HUB_KEYS = [published(HUB, "hub", SignatureType.COUNTERSIGNATURE, SignatureType.RENDITION)]
SENDER_KEYS = [published(SENDER, "tw.nia", SignatureType.MESSAGE)]


def test_the_page_accepts_a_copy_that_both_signed(node: Node) -> None:
    answer = node("verify", signed=countersigned(), hubKeys=HUB_KEYS, senderKeys=SENDER_KEYS)
    assert answer["result"]["header"]["id"] == MESSAGE_ID


@pytest.mark.parametrize(("change", "code"), SIGNATURE_CHANGES.values(), ids=SIGNATURE_CHANGES)
def test_the_page_refuses_a_copy_of_which_any_signature_is_wrong(node: Node, change: Change, code: str) -> None:
    signed = copy.deepcopy(countersigned())
    change(signed)
    assert node("verify", signed=signed, hubKeys=HUB_KEYS, senderKeys=SENDER_KEYS) == {"code": code}


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ([published(STRANGER, "tw.nia", SignatureType.MESSAGE)], "unknown_sender"),
        ([published(SENDER, "tw.nia", SignatureType.RECEIPT)], "key_not_valid"),
        ([published(SENDER, "tw.nia", SignatureType.MESSAGE, state="revoked")], "key_not_valid"),
    ],
    ids=["unknown", "for receipts only", "revoked"],
)
def test_the_page_refuses_a_senders_key_that_is_not_one(node: Node, keys: list[dict[str, Any]], code: str) -> None:
    assert node("verify", signed=countersigned(), hubKeys=HUB_KEYS, senderKeys=keys) == {"code": code}


# --- what the hub says of a refusal ---

PROBLEM = '{"code":"purpose_not_allowed","status":403}'


def problem_signed_with(key: SigningKey, typ: SignatureType = SignatureType.PROBLEM) -> str:
    protected = jws.protected_header(key.kid, typ)
    return jws.serialise_detached(protected, key.sign(jws.signing_input(protected, b64url_encode(PROBLEM.encode()))))


@pytest.mark.parametrize(
    ("signature", "text", "expected"),
    [
        (problem_signed_with(HUB), PROBLEM, {"result": PROBLEM}),
        (problem_signed_with(HUB), PROBLEM.replace("403", "503"), {"code": "bad_signature"}),
        (problem_signed_with(HUB, SignatureType.RECEIPT), PROBLEM, {"code": "malformed_envelope"}),
        (problem_signed_with(STRANGER), PROBLEM, {"code": "unknown_sender"}),
    ],
    ids=["as it was signed", "altered", "of another type", "by another key"],
)
def test_the_page_believes_a_refusal_only_as_it_was_signed(
    node: Node, signature: str, text: str, expected: dict[str, str]
) -> None:
    keys = [published(HUB, "a party", SignatureType.PROBLEM)]
    assert node("detached", jws=signature, text=text, keys=keys, typ=SignatureType.PROBLEM) == expected


# --- worked examples ---


def test_stock_jose_verifies_both_signatures_of_the_worked_example(node: Node) -> None:
    keys = {one["kid"]: {name: one[name] for name in ("kty", "crv", "x", "y")} for one in (CLASSIC["sender"], CLASSIC["hub"])}
    answer = node("signatures", signed=CLASSIC["jws"], keys=keys)
    assert answer == {"result": ["hub-msg+jws", "hub-cs+jws"]}


@pytest.mark.parametrize("key", ["a", "b"])
@pytest.mark.parametrize(("task", "example"), [("classic entry", CLASSIC), ("pq entry", PQ)], ids=["classic-1", "pq-1"])
def test_stock_libraries_open_the_worked_examples(node: Node, task: str, example: dict[str, Any], key: str) -> None:
    answer = node(task, envelope=example["jwe"], own=example[key])
    assert json.loads(answer["result"]) == CLASSIC["jws"]
