"""Bad input: each kind has its stable code and its audit entry, nothing of it is kept, and a good message goes in right after."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.crypto.key_files import KeyAlgorithm, generate
from hub.crypto.key_manifest import HeldKey, HeldKeyUse
from hub.crypto.keyrings import Keyring
from hub.crypto.sealing import generate_unsealing_key, seal
from hub.crypto.signatures import generate_signing_key
from hub.domain.audit import AuditEvent
from hub.domain.encoding import b64url_decode, b64url_encode, format_time, new_uuid7
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.parties import SealingProfile, Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.services.hub import Limits
from hub.services.issue_receipt import IssuedReceipt
from hub.services.manage_keys import PARTY_SIGNS
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE, receive_message
from tests.simulators.exchange import LONG, REFERRAL_ORDER, ROOT, START, Agency, Exchange, attachment, referral_exchange

POLICE, IMMIGRATION, SHELTER, CITY, TOKYO = "tw.npa", "tw.nia", "tw.shelter.garden", "tw.kaohsiung", "tw.npa.liaison.tokyo"
CLASSIC, STRANGER, SUSPENDED, SILENT = "tw.taichung", "xx.stranger", "tw.suspended", "tw.silent"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Code = RefusalCode
Json = dict[str, Any]
Make = Callable[[Exchange], bytes]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """One hub for the whole table: what is refused must leave it as it was."""
    folder = tmp_path_factory.mktemp("bad-input")
    made = referral_exchange(f"sqlite:///{folder}/hub.sqlite", limits=Limits(audited_refusals_per_minute=1_000_000))
    made.join(STRANGER)
    made.join(SUSPENDED)
    made.join(SILENT)
    made.join(CLASSIC, SealingProfile.CLASSIC_1)
    _agree_on_others(made)
    yield made
    made.close()


def kept(exchange: Exchange) -> list[int]:
    """How many messages, deliveries and receipts there are."""
    with exchange.hub.store.reading() as work:
        return [
            work.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in ("messages", "deliveries", "receipts")
        ]


def newest_entry(exchange: Exchange) -> Json:
    with exchange.hub.store.reading() as work:
        octets = work.exec_driver_sql("SELECT entry FROM audit_entries ORDER BY serial DESC LIMIT 1").scalar_one()
    entry: Json = json.loads(octets)
    return entry


def refused(exchange: Exchange, octets: bytes, media_type: str = ENVELOPE_MEDIA_TYPE) -> Code:
    """Send; check that it is refused, audited under its code and not kept, and that a good message goes in right after."""
    before = kept(exchange)
    with pytest.raises(Refusal) as caught:
        receive_message(exchange.hub, octets, media_type)
    code = caught.value.code
    entry = newest_entry(exchange)
    assert (entry["event"], entry["outcome"]) == (AuditEvent.MESSAGE_REFUSED.value, code.value)
    assert entry["details"]["arrival"] == b64url_encode(hashlib.sha256(octets).digest())
    assert kept(exchange) == before
    good = exchange.agencies[IMMIGRATION]
    assert good.send(good.message(recipients=[SHELTER])).repeated is False
    return code


# making bad envelopes: a good one, with one thing changed


def good_envelope(exchange: Exchange) -> bytes:
    sender = exchange.agencies[IMMIGRATION]
    return sender.envelope(sender.message(recipients=[SHELTER]))


def envelope_with(change: Callable[[Json], object]) -> Make:
    """An envelope whose outer JSON was changed after sealing."""

    def make(exchange: Exchange) -> bytes:
        members = json.loads(good_envelope(exchange))
        change(members)
        return json.dumps(members).encode()

    return make


def protected_with(change: Callable[[Json], object]) -> Make:
    """An envelope sealed under a changed protected header, so that the change is authenticated."""

    def make(exchange: Exchange) -> bytes:
        return sealed_under(exchange, lambda text: json.dumps(changed(json.loads(text), change)).encode())

    return make


def sealed_under(exchange: Exchange, rewrite: Callable[[bytes], bytes]) -> bytes:
    sender = exchange.agencies[IMMIGRATION]
    message = sender.message(recipients=[SHELTER])
    kid, jwk = exchange.hub_sealing_key(SealingProfile.PQ_1)
    usual = jwe.envelope_header(SealingProfile.PQ_1, SealedContentType.JWS, message["header"]["id"], [kid])
    protected = b64url_encode(rewrite(b64url_decode(usual)))
    sealed = seal(SealingProfile.PQ_1, sender.sign(json.dumps(message).encode()), protected.encode(), [(kid, jwk)])
    return jwe.serialise_envelope(SealingProfile.PQ_1, protected, sealed.recipients, sealed.content)


def changed(value: Json, change: Callable[[Json], object]) -> Json:
    change(value)
    return value


def setting(**members: Any) -> Callable[[Json], object]:
    return lambda value: value.update(members)


def in_recipient(**members: Any) -> Callable[[Json], object]:
    return lambda value: value["recipients"][0]["header"].update(members)


def flipped(text: str) -> str:
    octets = bytearray(b64url_decode(text))
    octets[len(octets) // 2] ^= 1
    return b64url_encode(bytes(octets))


def flip(*path: str | int) -> Callable[[Json], object]:
    """Change one bit of what stands at a path."""

    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = flipped(value[path[-1]])

    return change


# making bad signed texts, sealed as they should be


def signed_text(exchange: Exchange, change: Callable[[Json], object], sender: str = IMMIGRATION) -> bytes:
    """A sealed JWS whose JSON was changed after signing."""
    agency = exchange.agencies[sender]
    message = agency.message(recipients=[SHELTER])
    members = json.loads(agency.sign(json.dumps(message).encode()))
    change(members)
    return agency.seal(json.dumps(members).encode(), message["header"]["id"])


def jws_with(change: Callable[[Json], object]) -> Make:
    return lambda exchange: signed_text(exchange, change)


def jose_header(**members: Any) -> Make:
    """A text that was really signed under a protected header with these members."""

    def make(exchange: Exchange) -> bytes:
        agency = exchange.agencies[IMMIGRATION]
        header = {"alg": "ES256", "kid": agency.signing.kid, "typ": "hub-msg+jws", **members}
        return under_header(exchange, json.dumps({name: value for name, value in header.items() if value is not None}).encode())

    return make


def under_header(exchange: Exchange, header: bytes, sign: Callable[[bytes], bytes] | None = None) -> bytes:
    agency = exchange.agencies[IMMIGRATION]
    message = agency.message(recipients=[SHELTER])
    protected, payload = b64url_encode(header), b64url_encode(json.dumps(message).encode())
    signature = (sign or agency.signing.sign)(jws.signing_input(protected, payload))
    return agency.seal(jws.serialise_general(payload, [(protected, signature)]), message["header"]["id"])


def payload_of(rewrite: Callable[[str], str | bytes]) -> Make:
    """A message whose JSON text was rewritten before it was signed."""

    def make(exchange: Exchange) -> bytes:
        agency = exchange.agencies[IMMIGRATION]
        message = agency.message(recipients=[SHELTER])
        text = rewrite(json.dumps(message, ensure_ascii=False))
        return agency.seal(agency.sign(text if isinstance(text, bytes) else text.encode()), message["header"]["id"])

    return make


def message_with(change: Callable[[Json], object]) -> Make:
    """A message that was changed before it was signed."""

    def make(exchange: Exchange) -> bytes:
        agency = exchange.agencies[IMMIGRATION]
        return agency.envelope(changed(agency.message(recipients=[SHELTER]), change))

    return make


def header_with(**members: Any) -> Make:
    return lambda exchange: exchange.agencies[IMMIGRATION].envelope(
        exchange.agencies[IMMIGRATION].message(**{"recipients": [SHELTER], **members})
    )


def in_body(**members: Any) -> Make:
    return message_with(lambda message: message["body"].update(members))


def from_key(kid: str, use: str) -> Make:
    """A good message under the key id of another key of the same agency, signed with that key where it can sign."""

    def make(exchange: Exchange) -> bytes:
        agency = exchange.agencies[IMMIGRATION]
        key = agency.client if use == "access" else generate_signing_key(kid.format(agency.authority))
        return signed_by(exchange, replace(agency, signing=key))

    return make


def signed_by(_exchange: Exchange, agency: Agency) -> bytes:
    return agency.envelope(agency.message(recipients=[SHELTER]))


def with_key_in(state: KeyState, *, ends: timedelta = LONG, starts: timedelta = LONG) -> Make:
    """A message signed with a key of the sender that the registry has in a state and with a period."""

    def make(exchange: Exchange) -> bytes:
        agency, now = exchange.agencies[IMMIGRATION], exchange.clock.now()
        key = generate_signing_key(f"key-{new_uuid7(now)}")
        bounds = (now - starts, now + ends)
        exchange.record(KeyRecord(key.kid, agency.authority, KeyUse.SIGNING, key.public_jwk, state, *bounds, signs=PARTY_SIGNS))
        return signed_by(exchange, replace(agency, signing=key))

    return make


def duplicate(text: str, member: str) -> str:
    """JSON in which a member is written twice."""
    return text.replace(f'"{member}":', f'"{member}": null, "{member}":', 1)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def hs256(exchange: Exchange) -> bytes:
    """Key confusion: a MAC made with the sender's public key, which everybody has."""
    agency = exchange.agencies[IMMIGRATION]
    header = json.dumps({"alg": "HS256", "kid": agency.signing.kid, "typ": "hub-msg+jws"}).encode()
    secret = b64url_decode(agency.signing.public_jwk["x"])
    return under_header(exchange, header, lambda octets: hmac.digest(secret, octets, "sha256") * 2)


def der_signature(exchange: Exchange) -> bytes:
    def sign(octets: bytes) -> bytes:
        raw = exchange.agencies[IMMIGRATION].signing.sign(octets)
        return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    header = b64url_decode(jws.protected_header(exchange.agencies[IMMIGRATION].signing.kid, SignatureType.MESSAGE))
    return under_header(exchange, header, sign)


def countersigned(exchange: Exchange) -> bytes:
    def change(members: Json) -> None:
        members["signatures"].append({**members["signatures"][0]})

    return signed_text(exchange, change)


def sealed_to(make_recipients: Callable[[Exchange], list[tuple[str, dict[str, str]]]]) -> Make:
    """A good signed text sealed to other keys than the hub's current one."""

    def make(exchange: Exchange) -> bytes:
        agency = exchange.agencies[IMMIGRATION]
        message = agency.message(recipients=[SHELTER])
        recipients = make_recipients(exchange)
        protected = jwe.envelope_header(
            SealingProfile.PQ_1, SealedContentType.JWS, message["header"]["id"], [kid for kid, _ in recipients]
        )
        sealed = seal(SealingProfile.PQ_1, agency.sign(json.dumps(message).encode()), protected.encode(), recipients)
        return jwe.serialise_envelope(SealingProfile.PQ_1, protected, sealed.recipients, sealed.content)

    return make


def strange_key(kid: str = "another-hub") -> tuple[str, dict[str, str]]:
    return kid, generate_unsealing_key(kid, SealingProfile.PQ_1).public_jwk


def hub_key(exchange: Exchange) -> tuple[str, dict[str, str]]:
    return exchange.hub_sealing_key(SealingProfile.PQ_1)


def classic_from_a_pq_sender(exchange: Exchange) -> bytes:
    agency = exchange.agencies[IMMIGRATION]
    return replace(agency, party=replace(agency.party, profile=SealingProfile.CLASSIC_1)).envelope(
        agency.message(recipients=[SHELTER])
    )


def _agree_on_others(exchange: Exchange) -> None:
    """Agreements that cannot serve, and parties that are in no standing."""
    order = (ROOT / "config" / "agreements" / f"{REFERRAL_ORDER}.toml").read_text()
    renamed = {name: order.replace(REFERRAL_ORDER, name) for name in ("order-draft", "order-suspended", "order-blind")}
    exchange.agree("order-draft", text=renamed["order-draft"], unsigned_by=frozenset({SHELTER}))
    exchange.agree("order-suspended", text=renamed["order-suspended"])
    exchange.agreement_event("order-suspended", "suspended")
    exchange.agree("order-blind", text=renamed["order-blind"].replace('hub = "inspected"', 'hub = "blind"'))
    ended = order.replace(REFERRAL_ORDER, "order-ended")
    exchange.agree("order-ended", text=ended.replace("after_end", "in_force_until = 2026-11-22T09:00:00Z\nafter_end", 1))
    exchange.agree("tw-jp-police-2026")
    wider = (
        order.replace(REFERRAL_ORDER, "order-wider")
        .replace('"tw.taipei"', f'"{SUSPENDED}"')
        .replace('"tw.kaohsiung"', f'"{SILENT}"')
    )
    exchange.agree("order-wider", text=wider)
    left = order.replace(REFERRAL_ORDER, "order-left")
    exchange.agree("order-left", text=left)
    exchange.agree("order-left", text=left.replace("version = 1", "version = 2").replace(f'"{IMMIGRATION}"', f'"{STRANGER}"'))
    exchange.record(replace(exchange.agencies[SUSPENDED].party, standing=Standing.SUSPENDED))
    exchange.revoke(exchange.keys_of(exchange.agencies[SILENT])[1])


def from_suspended(exchange: Exchange) -> bytes:
    agency = exchange.agencies[SUSPENDED]
    return agency.envelope(agency.message(agreement="order-wider", recipients=[SHELTER]))


def from_stranger(exchange: Exchange) -> bytes:
    agency = exchange.agencies[STRANGER]
    return agency.envelope(agency.message(recipients=[SHELTER]))


def case_of_nobody(exchange: Exchange) -> bytes:
    message_id = new_uuid7(exchange.clock.now())
    return header_with(case=message_id, in_reply_to=message_id)(exchange)


BIG = 2**53
JUST_TOO_EARLY = format_time(START + timedelta(minutes=5, milliseconds=1))

ENVELOPES: dict[str, tuple[Make, Code]] = {
    # not an envelope
    "nothing": (lambda _: b"", Code.MALFORMED_ENVELOPE),
    "garbage": (lambda _: bytes(range(256)) * 16, Code.MALFORMED_ENVELOPE),
    "text": (lambda _: b"good morning", Code.MALFORMED_ENVELOPE),
    "null": (lambda _: b"null", Code.MALFORMED_ENVELOPE),
    "an array": (lambda _: b"[]", Code.MALFORMED_ENVELOPE),
    "an empty object": (lambda _: b"{}", Code.MALFORMED_ENVELOPE),
    "oversized": (lambda _: b" " * (10 * 1024 * 1024 + 1), Code.TOO_LARGE),
    "a byte order mark": (lambda exchange: b"\xef\xbb\xbf" + good_envelope(exchange), Code.MALFORMED_ENVELOPE),
    "UTF-16": (lambda exchange: good_envelope(exchange).decode().encode("utf-16"), Code.MALFORMED_ENVELOPE),
    "invalid UTF-8": (lambda exchange: good_envelope(exchange).replace(b'"iv":"', b'"iv":"\xff', 1), Code.MALFORMED_ENVELOPE),
    "two texts": (lambda exchange: good_envelope(exchange) * 2, Code.MALFORMED_ENVELOPE),
    "nested deep": (lambda _: nested(5_000_000).encode(), Code.MALFORMED_ENVELOPE),
    "a compact JWE": (lambda _: b"a.b.c.d.e", Code.MALFORMED_ENVELOPE),
    # its members
    "a member missing": (envelope_with(lambda value: value.pop("tag")), Code.MALFORMED_ENVELOPE),
    "a member more": (envelope_with(setting(unprotected={})), Code.MALFORMED_ENVELOPE),
    "additional authenticated data": (envelope_with(setting(aad="AAAA")), Code.MALFORMED_ENVELOPE),
    "a duplicate member": (lambda exchange: duplicate(good_envelope(exchange).decode(), "iv").encode(), Code.MALFORMED_ENVELOPE),
    "a float": (envelope_with(setting(iv=1.5)), Code.MALFORMED_ENVELOPE),
    "an infinite number": (
        lambda exchange: good_envelope(exchange).replace(b'"iv":', b'"iv":1e999,"iw":'),
        Code.MALFORMED_ENVELOPE,
    ),
    "a lone surrogate": (envelope_with(setting(iv="\ud800")), Code.MALFORMED_ENVELOPE),
    "a NUL": (envelope_with(setting(iv="\0")), Code.MALFORMED_ENVELOPE),
    "padding": (envelope_with(lambda value: value.update(tag=value["tag"] + "==")), Code.MALFORMED_ENVELOPE),
    "no recipient": (envelope_with(setting(recipients=[])), Code.MALFORMED_ENVELOPE),
    "10,000 recipients": (envelope_with(setting(recipients=[{}] * 10_000)), Code.MALFORMED_ENVELOPE),
    "10,000 recipients with their keys": (
        envelope_with(lambda value: value.update(recipients=value["recipients"] * 10_000)),
        Code.TOO_LARGE,
    ),
    "recipients that are an object": (envelope_with(setting(recipients={})), Code.MALFORMED_ENVELOPE),
    # its header
    "another list of keys than the recipients": (
        protected_with(lambda value: value["hub"].update(to=["x"])),
        Code.MALFORMED_ENVELOPE,
    ),
    "a duplicate in the protected header": (
        lambda exchange: sealed_under(exchange, lambda text: duplicate(text.decode(), "enc").encode()),
        Code.MALFORMED_ENVELOPE,
    ),
    "a protected header that is garbage": (envelope_with(setting(protected="AAAA")), Code.MALFORMED_ENVELOPE),
    "an id that is none": (protected_with(lambda value: value["hub"].update(id="1")), Code.MALFORMED_ENVELOPE),
    "another type": (protected_with(setting(typ="JWT")), Code.MALFORMED_ENVELOPE),
    "another wire version": (protected_with(lambda value: value["hub"].update(v=2)), Code.UNSUPPORTED_PROFILE),
    "an unknown profile": (protected_with(lambda value: value["hub"].update(profile="rsa-1")), Code.UNSUPPORTED_PROFILE),
    "the other profile's name": (
        protected_with(lambda value: value["hub"].update(profile="classic-1")),
        Code.UNSUPPORTED_PROFILE,
    ),
    "another content algorithm": (protected_with(setting(enc="A128CBC-HS256")), Code.UNSUPPORTED_PROFILE),
    "XML, which is not read yet": (protected_with(setting(cty="hub+xml")), Code.UNSUPPORTED_PROFILE),
    "another content type": (protected_with(setting(cty="JWT")), Code.UNSUPPORTED_PROFILE),
    "alg none": (envelope_with(in_recipient(alg="none")), Code.UNSUPPORTED_PROFILE),
    "alg dir": (envelope_with(in_recipient(alg="dir")), Code.UNSUPPORTED_PROFILE),
    "alg PBES2 with a count": (envelope_with(in_recipient(alg="PBES2-HS512+A256KW", p2c=2**31)), Code.UNSUPPORTED_PROFILE),
    # its seal
    "another hub's key": (sealed_to(lambda _: [strange_key()]), Code.CANNOT_UNSEAL),
    "another hub's key under our key id": (sealed_to(lambda exchange: [strange_key(hub_key(exchange)[0])]), Code.CANNOT_UNSEAL),
    "our key and another one": (sealed_to(lambda exchange: [hub_key(exchange), strange_key()]), Code.CANNOT_UNSEAL),
    "our key twice": (sealed_to(lambda exchange: [hub_key(exchange)] * 2), Code.MALFORMED_ENVELOPE),
    "the recipient's key": (
        sealed_to(lambda exchange: [(exchange.agencies[SHELTER].sealing.kid, exchange.agencies[SHELTER].sealing.public_jwk)]),
        Code.CANNOT_UNSEAL,
    ),
    "an altered ciphertext": (envelope_with(flip("ciphertext")), Code.CANNOT_UNSEAL),
    "an altered tag": (envelope_with(flip("tag")), Code.CANNOT_UNSEAL),
    "an altered iv": (envelope_with(flip("iv")), Code.CANNOT_UNSEAL),
    "an altered wrapped key": (envelope_with(flip("recipients", 0, "encrypted_key")), Code.CANNOT_UNSEAL),
    "an altered encapsulation": (envelope_with(flip("recipients", 0, "header", "ek")), Code.CANNOT_UNSEAL),
    "a protected header written anew": (
        envelope_with(lambda value: value.update(protected=b64url_encode(b" " + b64url_decode(value["protected"])))),
        Code.CANNOT_UNSEAL,
    ),
    "the profile that is not the sender's": (classic_from_a_pq_sender, Code.WRONG_PROFILE),
}
for _parameter in ("zip", "crit", "jku", "p2c", "x5u", "x5c", "jwk", "b64", "apu", "apv"):
    _protected = (protected_with(setting(**{_parameter: "x"})), Code.UNSUPPORTED_PROFILE)
    ENVELOPES[f"{_parameter} in the protected header"] = _protected
    ENVELOPES[f"{_parameter} in a recipient's header"] = (
        envelope_with(in_recipient(**{_parameter: "x"})),
        Code.UNSUPPORTED_PROFILE,
    )

SIGNED_TEXTS: dict[str, tuple[Make, Code]] = {
    "no JSON inside the seal": (
        lambda exchange: exchange.agencies[IMMIGRATION].seal(b"hello", new_uuid7(START)),
        Code.MALFORMED_ENVELOPE,
    ),
    "a message that nobody signed": (
        lambda exchange: exchange.agencies[IMMIGRATION].seal(b'{"header":{},"body":{}}', new_uuid7(START)),
        Code.MALFORMED_ENVELOPE,
    ),
    "a payload that is altered": (jws_with(flip("payload")), Code.BAD_SIGNATURE),
    "a signature that is altered": (jws_with(flip("signatures", 0, "signature")), Code.BAD_SIGNATURE),
    "a signature of zeros": (
        jws_with(lambda value: value["signatures"][0].update(signature=b64url_encode(bytes(64)))),
        Code.BAD_SIGNATURE,
    ),
    "a protected header written anew": (
        jws_with(
            lambda value: value["signatures"][0].update(
                protected=b64url_encode(b" " + b64url_decode(value["signatures"][0]["protected"]))
            )
        ),
        Code.BAD_SIGNATURE,
    ),
    "a DER signature": (der_signature, Code.MALFORMED_ENVELOPE),
    "an empty signature": (jws_with(lambda value: value["signatures"][0].update(signature="")), Code.MALFORMED_ENVELOPE),
    "no signature": (jws_with(setting(signatures=[])), Code.MALFORMED_ENVELOPE),
    "two signatures": (countersigned, Code.MALFORMED_ENVELOPE),
    "an unprotected header": (
        jws_with(lambda value: value["signatures"][0].update(header={"alg": "none"})),
        Code.MALFORMED_ENVELOPE,
    ),
    "the flattened form": (
        jws_with(lambda value: value.update(value.pop("signatures")[0])),
        Code.MALFORMED_ENVELOPE,
    ),
    "alg none": (jose_header(alg="none"), Code.UNSUPPORTED_PROFILE),
    "alg none and no signature": (
        lambda exchange: under_header(exchange, b'{"alg":"none","kid":"tw.nia-sig","typ":"hub-msg+jws"}', lambda _: b""),
        Code.MALFORMED_ENVELOPE,
    ),
    "a MAC with the public key": (hs256, Code.UNSUPPORTED_PROFILE),
    "another curve's name": (jose_header(alg="ES384"), Code.UNSUPPORTED_PROFILE),
    "the type of a receipt": (jose_header(typ="hub-receipt+jws"), Code.MALFORMED_ENVELOPE),
    "the type of a rendition": (jose_header(typ="hub-rendition+jws"), Code.MALFORMED_ENVELOPE),
    "a type that is in no register": (jose_header(typ="JWT"), Code.MALFORMED_ENVELOPE),
    "no type": (jose_header(typ=None), Code.MALFORMED_ENVELOPE),
    "a key id that is a path": (jose_header(kid="../../keys/hub"), Code.MALFORMED_ENVELOPE),
    "a key id that is a list": (jose_header(kid=["tw.nia-sig"]), Code.MALFORMED_ENVELOPE),
    "a duplicate in the protected header": (
        lambda exchange: under_header(exchange, b'{"alg":"none","alg":"ES256","kid":"tw.nia-sig","typ":"hub-msg+jws"}'),
        Code.MALFORMED_ENVELOPE,
    ),
    # who signed
    "a key that nobody registered": (from_key("nobodys", "signing"), Code.UNKNOWN_SENDER),
    "another key under the sender's key id": (from_key("{}-sig", "signing"), Code.BAD_SIGNATURE),
    "the access key": (from_key("", "access"), Code.KEY_NOT_VALID),
    "a sealing key's id": (from_key("{}-seal", "signing"), Code.KEY_NOT_VALID),
    "a revoked key": (with_key_in(KeyState.REVOKED), Code.KEY_NOT_VALID),
    "a retiring key past its end": (with_key_in(KeyState.RETIRING, ends=timedelta(0)), Code.KEY_NOT_VALID),
    "an active key past its end": (with_key_in(KeyState.ACTIVE, ends=timedelta(0)), Code.KEY_NOT_VALID),
    "an active key before its start": (with_key_in(KeyState.ACTIVE, starts=timedelta(seconds=-1)), Code.KEY_NOT_VALID),
    "a key that is not used yet": (with_key_in(KeyState.NEXT), Code.KEY_NOT_VALID),
    "a signer other than the sender": (header_with(sender=POLICE), Code.SENDER_MISMATCH),
    "another id in the seal": (
        lambda exchange: exchange.agencies[IMMIGRATION].seal(
            exchange.agencies[IMMIGRATION].sign(json.dumps(exchange.agencies[IMMIGRATION].message()).encode()), new_uuid7(START)
        ),
        Code.SENDER_MISMATCH,
    ),
}
for _parameter in ("crit", "jku", "x5u", "x5c", "jwk", "b64", "zip", "p2c", "cty", "nonce"):
    SIGNED_TEXTS[f"{_parameter} in the protected header"] = (jose_header(**{_parameter: "x"}), Code.UNSUPPORTED_PROFILE)

MESSAGES: dict[str, tuple[Make, Code]] = {
    # the text that was signed
    "no JSON": (payload_of(lambda _: "hello"), Code.MALFORMED_ENVELOPE),
    "an array": (payload_of(lambda text: f"[{text}]"), Code.MALFORMED_ENVELOPE),
    "a byte order mark": (payload_of(lambda text: "\ufeff" + text), Code.MALFORMED_ENVELOPE),
    "invalid UTF-8": (payload_of(lambda text: text.encode() + b"\xff"), Code.MALFORMED_ENVELOPE),
    "a duplicate member of the header": (payload_of(lambda text: duplicate(text, "purpose")), Code.MALFORMED_ENVELOPE),
    "a duplicate member of the body": (payload_of(lambda text: duplicate(text, "pseudonym")), Code.MALFORMED_ENVELOPE),
    "a duplicate header": (payload_of(lambda text: duplicate(text, "header")), Code.MALFORMED_ENVELOPE),
    "a duplicate under an escaped name": (
        payload_of(lambda text: text.replace('"purpose":', '"\\u0070urpose": "x", "purpose":', 1)),
        Code.MALFORMED_ENVELOPE,
    ),
    "a float": (in_body(referral_date=1.0), Code.MALFORMED_ENVELOPE),
    "an exponent": (payload_of(lambda text: text.replace('"v": 1,', '"v": 1e0,', 1)), Code.MALFORMED_ENVELOPE),
    "a negative zero": (payload_of(lambda text: text.replace('"v": 1,', '"v": -0,', 1)), Code.MALFORMED_ENVELOPE),
    "a number past 2^53": (in_body(more=BIG), Code.MALFORMED_ENVELOPE),
    "a number of 10,000 digits": (
        payload_of(lambda text: text.replace('"v": 1,', f'"v": {"1" * 10_000},', 1)),
        Code.MALFORMED_ENVELOPE,
    ),
    "a lone surrogate": (
        payload_of(lambda text: text.replace('"details": "', '"details": "\\ud800', 1)),
        Code.MALFORMED_ENVELOPE,
    ),
    "a surrogate in bytes": (
        payload_of(lambda text: text.encode().replace(b'"details": "', b'"details": "\xed\xa0\x80', 1)),
        Code.MALFORMED_ENVELOPE,
    ),
    "nested deep": (payload_of(lambda text: text[:-1] + f', "x": {nested(100_000)}}}'), Code.MALFORMED_ENVELOPE),
    "nested past the limit": (payload_of(lambda text: text[:-1] + f', "x": {nested(33)}}}'), Code.MALFORMED_ENVELOPE),
    "a million members": (payload_of(lambda text: text[:-1] + ', "x": [' + "0," * 1_000_000 + "0]}"), Code.MALFORMED_ENVELOPE),
    "a member name that is not ASCII": (
        payload_of(lambda text: text.replace('"purpose":', '"pürpose":', 1)),
        Code.MALFORMED_ENVELOPE,
    ),
    # its shape
    "a member beside header and body": (message_with(setting(rendition={})), Code.SCHEMA_VIOLATION),
    "no body": (message_with(lambda value: value.pop("body")), Code.SCHEMA_VIOLATION),
    "a header that is null": (message_with(lambda value: value["header"].update(type=None)), Code.SCHEMA_VIOLATION),
    "an unknown member of the header": (header_with(priority="high"), Code.SCHEMA_VIOLATION),
    "an unknown member of the body": (in_body(favourite_colour="blue"), Code.SCHEMA_VIOLATION),
    "a code that is on no list": (in_body(reason="Whim"), Code.SCHEMA_VIOLATION),
    "a required field missing": (message_with(lambda value: value["body"].pop("consent")), Code.SCHEMA_VIOLATION),
    "a date that does not exist": (in_body(referral_date="2026-02-30"), Code.SCHEMA_VIOLATION),
    "a time that does not exist": (header_with(issued="2026-11-22T25:00:00Z"), Code.SCHEMA_VIOLATION),
    "a time with an offset": (header_with(issued="2026-11-22T09:00:00+08:00"), Code.SCHEMA_VIOLATION),
    "a NUL in a string": (in_body(details="a\0b"), Code.SCHEMA_VIOLATION),
    "a body that is a list": (message_with(setting(body=[])), Code.SCHEMA_VIOLATION),
    "a body that is null": (message_with(setting(body=None)), Code.SCHEMA_VIOLATION),
    "a number where a text belongs": (header_with(sender=7), Code.SCHEMA_VIOLATION),
    "true where a number belongs": (header_with(v=True), Code.SCHEMA_VIOLATION),
    "no recipient": (header_with(recipients=[]), Code.SCHEMA_VIOLATION),
    "10,000 recipients": (header_with(recipients=[f"xx.party{one}" for one in range(10_000)]), Code.SCHEMA_VIOLATION),
    "the same recipient twice": (header_with(recipients=[SHELTER, SHELTER]), Code.SCHEMA_VIOLATION),
    "an attachment with another digest": (
        header_with(attachments=[{**attachment("a.txt", b"one", "victim"), "sha256": b64url_encode(bytes(32))}]),
        Code.SCHEMA_VIOLATION,
    ),
    "an attachment of another size": (
        header_with(attachments=[{**attachment("a.txt", b"one", "victim"), "size": 2}]),
        Code.SCHEMA_VIOLATION,
    ),
    "attachments past 1 MiB together": (
        header_with(attachments=[attachment(f"{one}.txt", bytes(700_000), "victim") for one in range(2)]),
        Code.SCHEMA_VIOLATION,
    ),
    "an unknown type": (header_with(type="gossip"), Code.UNKNOWN_TYPE),
    "an unknown version of a type": (header_with(schema=2), Code.UNKNOWN_TYPE),
    # its times
    "expired": (header_with(expires=format_time(START)), Code.EXPIRED),
    "from the future": (header_with(issued=JUST_TOO_EARLY), Code.ISSUED_IN_FUTURE),
    # its agreement
    "an agreement that nobody knows": (header_with(agreement="handshake-1999"), Code.NO_AGREEMENT),
    "an agreement that is not signed": (header_with(agreement="order-draft"), Code.AGREEMENT_NOT_SIGNED),
    "an agreement that has ended": (header_with(agreement="order-ended"), Code.AGREEMENT_NOT_IN_FORCE),
    "an agreement that is suspended": (header_with(agreement="order-suspended"), Code.AGREEMENT_SUSPENDED),
    "an agreement that names others": (header_with(agreement="tw-jp-police-2026"), Code.NO_AGREEMENT),
    "a sender that the agreement does not name": (from_stranger, Code.NO_AGREEMENT),
    "a sender that the agreement no longer names": (header_with(agreement="order-left"), Code.SENDER_NOT_OPERATING),
    "an agreement without a reading hub": (header_with(agreement="order-blind"), Code.TRUST_MODE_NOT_ALLOWED),
    "a purpose that is not allowed": (header_with(purpose="immigration_control"), Code.PURPOSE_NOT_ALLOWED),
    "a classification that nobody mapped": (header_with(classification="絕對機密"), Code.CLASSIFICATION_NOT_MAPPED),
    "a classification that is too high": (header_with(classification="機密"), Code.CLASSIFICATION_TOO_HIGH),
    "a marking that is too wide": (header_with(tlp="clear"), Code.TLP_TOO_WIDE),
    "itself as recipient": (header_with(recipients=[IMMIGRATION]), Code.FLOW_NOT_COVERED),
    "a recipient that nobody knows": (header_with(recipients=["xx.nobody"]), Code.RECIPIENT_UNKNOWN),
    "one unknown recipient among known ones": (header_with(recipients=[SHELTER, "xx.nobody"]), Code.RECIPIENT_UNKNOWN),
    "a recipient that the agreement does not name": (header_with(recipients=[STRANGER]), Code.RECIPIENT_NOT_OPERATING),
    "a suspended recipient": (
        header_with(agreement="order-wider", recipients=[SUSPENDED]),
        Code.RECIPIENT_NOT_IN_GOOD_STANDING,
    ),
    "a recipient without a sealing key": (
        header_with(agreement="order-wider", recipients=[SILENT]),
        Code.RECIPIENT_NOT_REACHABLE,
    ),
    "a suspended sender": (from_suspended, Code.SENDER_NOT_IN_GOOD_STANDING),
    "a case that nobody opened": (case_of_nobody, Code.CASE_AGREEMENT_MISMATCH),
}


@pytest.mark.parametrize(("make", "code"), ENVELOPES.values(), ids=ENVELOPES)
def test_a_bad_envelope_is_refused(exchange: Exchange, make: Make, code: Code) -> None:
    assert refused(exchange, make(exchange)) is code


@pytest.mark.parametrize(("make", "code"), SIGNED_TEXTS.values(), ids=SIGNED_TEXTS)
def test_a_bad_signed_text_is_refused(exchange: Exchange, make: Make, code: Code) -> None:
    assert refused(exchange, make(exchange)) is code


@pytest.mark.parametrize(("make", "code"), MESSAGES.values(), ids=MESSAGES)
def test_a_bad_message_is_refused(exchange: Exchange, make: Make, code: Code) -> None:
    assert refused(exchange, make(exchange)) is code


@pytest.mark.parametrize("media_type", ["", "application/json", "application/jose", "text/plain", "application/jose+json2", "\0"])
def test_another_media_type_is_refused_before_anything_is_read(exchange: Exchange, media_type: str) -> None:
    assert refused(exchange, good_envelope(exchange), media_type) is Code.WRONG_MEDIA_TYPE


def test_an_envelope_that_ends_too_early_is_refused_wherever_it_ends(exchange: Exchange) -> None:
    octets = good_envelope(exchange)
    for end in range(0, len(octets), 97):
        with pytest.raises(Refusal) as caught:
            receive_message(exchange.hub, octets[:end], ENVELOPE_MEDIA_TYPE)
        assert caught.value.code is Code.MALFORMED_ENVELOPE
        assert newest_entry(exchange)["outcome"] == "malformed_envelope"
    assert receive_message(exchange.hub, octets, ENVELOPE_MEDIA_TYPE).exchange


def test_a_signed_text_that_ends_too_early_is_refused_wherever_it_ends(exchange: Exchange) -> None:
    agency = exchange.agencies[IMMIGRATION]
    message = agency.message(recipients=[SHELTER])
    octets = agency.sign(json.dumps(message).encode())
    for end in range(0, len(octets), 97):
        with pytest.raises(Refusal) as caught:
            receive_message(exchange.hub, agency.seal(octets[:end], message["header"]["id"]), ENVELOPE_MEDIA_TYPE)
        assert caught.value.code is Code.MALFORMED_ENVELOPE


def test_a_type_that_the_flow_does_not_cover_is_refused(exchange: Exchange) -> None:
    agency = exchange.agencies[IMMIGRATION]
    question = agency.message(recipients=[SHELTER])
    agency.send(question)
    case = question["header"]["id"]
    answer = agency.message(
        "info-response", agreement=REFERRAL_ORDER, tlp="amber+strict", recipients=[SHELTER], case=case, in_reply_to=case
    )
    assert refused(exchange, agency.envelope(answer)) is Code.TYPE_NOT_COVERED


def test_a_category_that_a_flow_refuses_is_refused(exchange: Exchange) -> None:
    agency = exchange.agencies[CITY]
    message = agency.message(recipients=[POLICE], classification="none", declassify=None)
    assert refused(exchange, agency.envelope(message)) is Code.CATEGORY_NOT_COVERED


def test_a_handling_code_that_the_agreement_does_not_provide_for_is_refused(exchange: Exchange) -> None:
    text = (ROOT / "config" / "agreements" / f"{REFERRAL_ORDER}.toml").read_text().replace(REFERRAL_ORDER, "order-strict")
    exchange.agree("order-strict", text=text.replace('codes = ["H0", "H1", "H2", "H3"]', 'codes = ["H0"]'))
    assert refused(exchange, header_with(agreement="order-strict")(exchange)) is Code.HANDLING_NOT_COVERED


def test_a_classic_senders_altered_point_is_refused(exchange: Exchange) -> None:
    """A point off the curve, where the profile agrees on a key by Diffie and Hellman."""
    agency = exchange.agencies[CLASSIC]
    members = json.loads(agency.envelope(agency.message(recipients=[SHELTER])))
    epk = members["recipients"][0]["header"]["epk"]
    epk["y"] = flipped(epk["y"])
    assert refused(exchange, json.dumps(members).encode()) is Code.CANNOT_UNSEAL


# what only looks bad


def test_a_message_issued_just_within_the_tolerance_is_accepted(exchange: Exchange) -> None:
    agency = exchange.agencies[IMMIGRATION]
    assert agency.send(agency.message(issued=format_time(START + timedelta(minutes=5)))).exchange


def test_a_retiring_key_within_its_period_is_accepted(exchange: Exchange) -> None:
    assert receive_message(exchange.hub, with_key_in(KeyState.RETIRING)(exchange), ENVELOPE_MEDIA_TYPE).exchange


def test_a_media_type_with_a_parameter_is_accepted(exchange: Exchange) -> None:
    assert receive_message(exchange.hub, good_envelope(exchange), "Application/JOSE+JSON; charset=utf-8").exchange


def test_the_other_form_of_the_same_signature_is_the_same_message(exchange: Exchange) -> None:
    """ECDSA has two valid s for each r: a signature is no identifier of a message."""
    agency = exchange.agencies[IMMIGRATION]
    message = agency.message(recipients=[SHELTER])
    first = agency.send(message)
    members = json.loads(agency.sign(json.dumps(message, ensure_ascii=False).encode()))
    raw = b64url_decode(members["signatures"][0]["signature"])
    other = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    members["signatures"][0]["signature"] = b64url_encode(other)
    again = receive_message(exchange.hub, agency.seal(json.dumps(members).encode(), message["header"]["id"]), ENVELOPE_MEDIA_TYPE)
    assert (again.jws, again.repeated) == (first.jws, True)


# the hub's own keys


def test_a_seal_to_a_hub_key_that_was_revoked_on_another_node_is_refused(referrals: Exchange) -> None:
    octets = good_envelope(referrals)
    kid, jwk = hub_key(referrals)
    referrals.record(KeyRecord(kid, "hub", KeyUse.SEALING, jwk, KeyState.REVOKED, START - LONG, START + LONG))
    with pytest.raises(Refusal) as caught:
        receive_message(referrals.hub, octets, ENVELOPE_MEDIA_TYPE)
    assert caught.value.code is Code.CANNOT_UNSEAL


def test_a_seal_to_a_hub_key_that_is_past_its_end_is_refused(referrals: Exchange) -> None:
    octets = good_envelope(referrals)
    lines = tuple(
        replace(line, not_after=START) if line.use is HeldKeyUse.SEALING else line for line in referrals.hub.keyring.lines
    )
    hub = replace(referrals.hub, keyring=Keyring(lines, referrals.hub.keyring._keys))
    with pytest.raises(Refusal) as caught:
        receive_message(hub, octets, ENVELOPE_MEDIA_TYPE)
    assert caught.value.code is Code.CANNOT_UNSEAL


def test_a_seal_to_a_key_that_the_hub_keeps_for_another_is_refused(referrals: Exchange) -> None:
    """The hub holds the key of an organisation without a system of its own: it could open what is sealed to it."""
    private = generate(KeyAlgorithm.HPKE_9_KE)
    line = HeldKey(
        "kept",
        HeldKeyUse.SEALING,
        KeyAlgorithm.HPKE_9_KE,
        KeyState.ACTIVE,
        START - LONG,
        START + LONG,
        "",
        private.public_jwk,
        SHELTER,
    )
    keyring = referrals.hub.keyring
    referrals.hub = replace(referrals.hub, keyring=Keyring((*keyring.lines, line), {**keyring._keys, "kept": private}))
    referrals.record(KeyRecord("kept", SHELTER, KeyUse.SEALING, private.public_jwk, KeyState.ACTIVE, START - LONG, START + LONG))
    octets = sealed_to(lambda _: [("kept", dict(private.public_jwk))])(referrals)
    with pytest.raises(Refusal) as caught:
        receive_message(referrals.hub, octets, ENVELOPE_MEDIA_TYPE)
    assert caught.value.code is Code.CANNOT_UNSEAL


# many at once


def at_once(count: int, call: Callable[[int], IssuedReceipt]) -> list[IssuedReceipt | Refusal]:
    """Call from so many threads at the same moment; what each got."""
    start = Barrier(count)

    def one(number: int) -> IssuedReceipt | Refusal:
        start.wait(timeout=60)
        try:
            return call(number)
        except Refusal as refusal:
            return refusal

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_a_replay_from_50_threads_is_one_exchange_with_one_receipt(referrals: Exchange) -> None:
    octets = good_envelope(referrals)
    answers = at_once(50, lambda _: receive_message(referrals.hub, octets, ENVELOPE_MEDIA_TYPE))
    receipts = {(answer.exchange, answer.jws) for answer in answers if isinstance(answer, IssuedReceipt)}
    assert (len(receipts), kept(referrals)[0]) == (1, 1)
    assert sum(isinstance(answer, IssuedReceipt) for answer in answers) == 50
    assert len(referrals.audit(AuditEvent.MESSAGE_ACCEPTED)) == 1
    assert len(referrals.audit(AuditEvent.MESSAGE_REPEATED)) == 49


def test_50_contents_under_one_id_are_one_message_and_49_refusals(referrals: Exchange) -> None:
    agency = referrals.agencies[IMMIGRATION]
    message_id = new_uuid7(START)
    texts = [agency.message(id=message_id, handling_text=f"variant {number}") for number in range(50)]
    envelopes = [agency.envelope(text) for text in texts]
    answers = at_once(50, lambda number: receive_message(referrals.hub, envelopes[number], ENVELOPE_MEDIA_TYPE))
    codes = [answer.code for answer in answers if isinstance(answer, Refusal)]
    assert codes == [Code.MESSAGE_ID_REUSED] * 49
    assert kept(referrals)[0] == 1


# refusals past the rate


def garbage_after_the_limit(exchange: Exchange, count: int) -> None:
    for number in range(exchange.hub.limits.audited_refusals_per_minute + count):
        with pytest.raises(Refusal):
            receive_message(exchange.hub, b"%d" % number, ENVELOPE_MEDIA_TYPE)


@pytest.fixture
def strict(store_url: str) -> Iterator[Exchange]:
    made = referral_exchange(store_url, limits=Limits(audited_refusals_per_minute=3))
    yield made
    made.close()


def test_refusals_of_unsigned_bytes_past_the_rate_are_only_counted(strict: Exchange) -> None:
    garbage_after_the_limit(strict, 5)
    assert len(strict.audit(AuditEvent.MESSAGE_REFUSED)) == 3


def test_what_was_only_counted_is_one_entry_when_its_minute_is_over(strict: Exchange) -> None:
    garbage_after_the_limit(strict, 5)
    strict.clock.advance(minutes=1)
    agency = strict.agencies[IMMIGRATION]
    agency.send(agency.message())
    (entry,) = strict.audit(AuditEvent.ARRIVALS_REFUSED)
    assert (entry["actor"], entry["details"]) == (
        "hub",
        {"since": format_time(START), "by_code": {"malformed_envelope": 5}, "count": 5},
    )


def test_refusals_are_audited_one_by_one_again_in_the_next_minute(strict: Exchange) -> None:
    garbage_after_the_limit(strict, 5)
    strict.clock.advance(minutes=1)
    garbage_after_the_limit(strict, 0)
    assert len(strict.audit(AuditEvent.MESSAGE_REFUSED)) == 6


def test_refusals_of_what_a_party_signed_are_always_audited(strict: Exchange) -> None:
    garbage_after_the_limit(strict, 5)
    agency = strict.agencies[IMMIGRATION]
    for _ in range(5):
        with pytest.raises(Refusal):
            agency.send(agency.message(purpose="x"))
    assert len([one for one in strict.audit(AuditEvent.MESSAGE_REFUSED) if one["actor"] == IMMIGRATION]) == 5


def test_a_good_message_is_accepted_in_the_middle_of_garbage(strict: Exchange) -> None:
    garbage_after_the_limit(strict, 5)
    agency = strict.agencies[IMMIGRATION]
    assert agency.send(agency.message()).exchange


# mutations


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    folder = tmp_path_factory.mktemp("fuzz")
    made = referral_exchange(f"sqlite:///{folder}/hub.sqlite", limits=Limits(audited_refusals_per_minute=1))
    yield made
    made.close()


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(("flip", "insert", "remove")), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=3)
    ),
    min_size=1,
    max_size=4,
)
FUZZ = settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mutate(octets: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    """Flip, insert or remove bytes at places given as fractions of the length."""
    for kind, place, what in mutations:
        at = int(place * len(octets))
        if kind == "flip":
            octets = octets[:at] + bytes([octets[at] ^ (what[0] or 1)]) + octets[at + 1 :]
        elif kind == "insert":
            octets = octets[:at] + what + octets[at:]
        else:
            octets = octets[:at] + octets[at + len(what) :]
    return octets


def outcome(exchange: Exchange, octets: bytes) -> IssuedReceipt | None:
    """The receipt, or None for a refusal; any other exception fails the test."""
    try:
        return receive_message(exchange.hub, octets, ENVELOPE_MEDIA_TYPE)
    except Refusal:
        return None


@FUZZ
@given(mutations=MUTATIONS)
def test_a_mutated_envelope_is_refused_or_is_the_same_message(
    fuzzed: Exchange, mutations: list[tuple[str, float, bytes]]
) -> None:
    octets = good_envelope(fuzzed)
    first = receive_message(fuzzed.hub, octets, ENVELOPE_MEDIA_TYPE)
    again = outcome(fuzzed, mutate(octets, mutations))
    assert again is None or (again.jws, again.repeated) == (first.jws, True)


@FUZZ
@given(mutations=MUTATIONS)
def test_a_mutated_signed_text_is_refused_or_is_the_same_message(
    fuzzed: Exchange, mutations: list[tuple[str, float, bytes]]
) -> None:
    agency = fuzzed.agencies[IMMIGRATION]
    message = agency.message(recipients=[SHELTER])
    signed = agency.sign(json.dumps(message).encode())
    first = receive_message(fuzzed.hub, agency.seal(signed, message["header"]["id"]), ENVELOPE_MEDIA_TYPE)
    again = outcome(fuzzed, agency.seal(mutate(signed, mutations), message["header"]["id"]))
    assert again is None or (again.jws, again.repeated) == (first.jws, True)


@FUZZ
@given(mutations=MUTATIONS)
def test_a_mutated_message_that_is_signed_is_refused_or_accepted_and_nothing_else(
    fuzzed: Exchange, mutations: list[tuple[str, float, bytes]]
) -> None:
    agency = fuzzed.agencies[IMMIGRATION]
    message = agency.message(recipients=[SHELTER])
    payload = mutate(json.dumps(message, ensure_ascii=False).encode(), mutations)
    outcome(fuzzed, agency.seal(agency.sign(payload), message["header"]["id"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@FUZZ
@given(place=st.integers(0, 10_000), value=JSON)
def test_any_json_anywhere_in_a_signed_message_is_refused_or_accepted_and_nothing_else(
    fuzzed: Exchange, place: int, value: object
) -> None:
    agency = fuzzed.agencies[IMMIGRATION]
    message = agency.message(recipients=[SHELTER])
    message_id = message["header"]["id"]
    places = list(_places(message))
    holder, name = places[place % len(places)]
    holder[name] = value
    outcome(fuzzed, agency.seal(agency.sign(json.dumps(message).encode()), message_id))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value where another value can stand."""
    names = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in list(names):
        yield value, name
        yield from _places(value[name])
