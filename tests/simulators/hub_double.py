"""A hub that is none: it answers the client from memory, keeps to the wire, and misbehaves exactly as a test tells it to."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx2

from hub.crypto.key_files import KeyAlgorithm, generate
from hub.crypto.merkle import append, commitment, consistency_proof, inclusion_proof, new_nonce, root_hash
from hub.crypto.notes import Checkpoint, LogSigner, write_note
from hub.crypto.sealing import UnsealingKey, generate_unsealing_key, seal, unseal
from hub.crypto.signatures import SigningKey, generate_signing_key, verify_es256
from hub.crypto.tokens import NonceNeededError, verify_assertion, verify_proof
from hub.domain.encoding import b64url_encode, format_time, new_uuid7
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.parties import HUB_PARTY, SealingProfile
from hub.domain.refusals import RefusalCode
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.canonical_json import canonical_json
from hub.formats.json_gate import parse_object
from hub.formats.parties import key_document

NAME = "double.test/accord"
ADDRESS = "https://double.test"
NONCE = "the-nonce"
TOKEN = "the-token"
YEAR = timedelta(days=365)
HUB_SIGNS = frozenset({SignatureType.COUNTERSIGNATURE, SignatureType.RENDITION, SignatureType.RECEIPT, SignatureType.PROBLEM})
PARTNER_SIGNS = frozenset({SignatureType.MESSAGE, SignatureType.RECEIPT})

Members = dict[str, Any]


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def key_record(owner: str, kid: str, use: KeyUse, jwk: Any, **changes: Any) -> KeyRecord:
    values = {"state": KeyState.ACTIVE, "not_before": now() - YEAR, "not_after": now() + YEAR, **changes}
    return KeyRecord(kid=kid, owner=owner, use=use, jwk=dict(jwk), **values)


def sign_general(payload: bytes, key: SigningKey, typ: SignatureType) -> bytes:
    protected, text = jws.protected_header(key.kid, typ), b64url_encode(payload)
    return jws.serialise_general(text, [(protected, key.sign(jws.signing_input(protected, text)))])


def sign_compact(members: Members, key: SigningKey, typ: SignatureType = SignatureType.RECEIPT) -> str:
    protected, text = jws.protected_header(key.kid, typ), b64url_encode(canonical_json(members))
    return jws.serialise_compact(protected, text, key.sign(jws.signing_input(protected, text)))


def digest_of(octets: bytes) -> str:
    return b64url_encode(hashlib.sha256(octets).digest())


@dataclass
class Letter:
    """One inbox item and what is handed out for it: `envelope`, or a problem where `refuses` is set."""

    delivery: str
    exchange: str
    position: int
    sender: str
    type: str
    envelope: bytes = b""
    original: str = ""
    message_id: str = ""
    refuses: RefusalCode | None = None


class MemoryLog:
    """A transparency log in a list."""

    def __init__(self, signer: LogSigner) -> None:
        self.signer = signer
        self.size = 0
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.entries: list[tuple[bytes, bytes]] = []

    def read_tile(self, level: int, index: int) -> bytes:
        return self.tiles.get((level, index), b"")

    def add(self, members: Members) -> int:
        entry, nonce = canonical_json(members), new_nonce()
        growth = append(self.size, [commitment(nonce, entry)], self.read_tile)
        self.tiles.update(growth.tiles)
        self.size = growth.size
        self.entries.append((entry, nonce))
        return self.size - 1

    def note(self) -> bytes:
        checkpoint = Checkpoint(self.signer.key.name, self.size, root_hash(self.size, self.read_tile))
        return write_note(checkpoint, [self.signer.sign(checkpoint)])

    def proof(self, index: int) -> Members:
        hashes = inclusion_proof(index, self.size, self.read_tile)
        lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *(base64.b64encode(one).decode() for one in hashes)]
        entry, nonce = self.entries[index]
        text = "\n".join(lines) + "\n\n" + self.note().decode()
        return {"entry": entry.decode(), "nonce": b64url_encode(nonce), "index": index, "proof": text}


@dataclass
class Misbehaviour:
    """What the double does to its own statements before it signs or sends them; by default nothing."""

    receipt: Callable[[Members], Members] = lambda members: members
    receipt_key: SigningKey | None = None
    countersignature_key: SigningKey | None = None
    over: Callable[[bytes], bytes] = lambda over: over
    signs_problems: bool = True
    problem: Callable[[Members], Members] = lambda members: members
    item: Callable[[Members], Members] = lambda item: item
    refuses: RefusalCode | None = None
    breaks_off: int = 0


class HubDouble:
    """The double. `partner` is the authority that is enrolled; its keys come from its registration file."""

    def __init__(self) -> None:
        self.signing = generate_signing_key("hub-sig")
        self.sealing = {profile: generate_unsealing_key(f"hub-{profile.value}", profile) for profile in SealingProfile}
        self.log = MemoryLog(generate(KeyAlgorithm.ED25519).for_log(NAME))
        self.registry: dict[str, list[KeyRecord]] = {HUB_PARTY: self._own_keys()}
        self.peers: dict[str, SigningKey] = {}
        self.inbox: list[Letter] = []
        self.exchanges: dict[str, Members] = {}
        self.accepted: dict[str, tuple[str, str]] = {}
        self.posted: list[bytes] = []
        self.requests: list[httpx2.Request] = []
        self.statements: dict[tuple[str, str], Members] = {}
        self.preview: Members = {"allowed": True, "recipients": [], "findings": []}
        self.wrong = Misbehaviour()
        self.transport = httpx2.MockTransport(self._answer)

    def _own_keys(self) -> list[KeyRecord]:
        keys = [key_record(HUB_PARTY, self.signing.kid, KeyUse.SIGNING, self.signing.public_jwk, signs=HUB_SIGNS)]
        return keys + [key_record(HUB_PARTY, key.kid, KeyUse.SEALING, key.public_jwk) for key in self.sealing.values()]

    # --- what a test arranges ---

    def published(self, authority: str = HUB_PARTY) -> Members:
        rows = [{**json.loads(key_document(key)), "custody": key.custody.value} for key in self.registry.get(authority, [])]
        return {"hub": {"name": NAME, "issuer": ADDRESS}, "authority": authority, "keys": rows}

    def register(self, authority: str, rows: list[Members]) -> None:
        """Take a registration file's keys into the registry."""
        for row in rows:
            key = key_record(authority, row["kid"], KeyUse(row["use"]), row["jwk"], role=row.get("role", ""))
            signs = frozenset(SignatureType(one) for one in row.get("signs", []))
            self.registry.setdefault(authority, []).append(KeyRecord(**{**vars(key), "signs": signs}))

    def peer(self, authority: str) -> SigningKey:
        """Another party, with a signing key."""
        if authority not in self.peers:
            key = generate_signing_key(f"{authority}-sig")
            self.peers[authority] = key
            self.registry[authority] = [key_record(authority, key.kid, KeyUse.SIGNING, key.public_jwk, signs=PARTNER_SIGNS)]
        return self.peers[authority]

    def sealing_key_of(self, authority: str) -> KeyRecord:
        return next(key for key in self.registry[authority] if key.use is KeyUse.SEALING)

    def countersign(self, signed: bytes) -> bytes:
        """Put the hub's countersignature beside the sender's signature."""
        original = jws.parse_general(signed, jws.MESSAGE_ALONE)
        first = original.elements[0]
        key = self.wrong.countersignature_key or self.signing
        over = self.wrong.over(jws.over_digest(first.protected_text, first.signature))
        protected = jws.protected_header(key.kid, SignatureType.COUNTERSIGNATURE, over)
        second = key.sign(jws.signing_input(protected, original.payload_text))
        return jws.serialise_general(original.payload_text, [(first.protected_text, first.signature), (protected, second)])

    def seal_for(self, authority: str, signed: bytes, message_id: str, key: KeyRecord | None = None) -> bytes:
        to = key or self.sealing_key_of(authority)
        profile = SealingProfile.CLASSIC_1 if to.jwk["kty"] == "EC" else SealingProfile.PQ_1
        protected = jwe.envelope_header(profile, SealedContentType.JWS, message_id, [to.kid])
        sealed = seal(profile, signed, protected.encode(), [(to.kid, to.jwk)])
        return jwe.serialise_envelope(profile, protected, sealed.recipients, sealed.content)

    def deliver(self, authority: str, message: Members, *, key: SigningKey | None = None) -> Letter:
        """Put an original into a party's inbox, signed by its sender."""
        header = message["header"]
        payload = json.dumps(message, ensure_ascii=False).encode()
        signed = self.countersign(sign_general(payload, key or self.peer(header["sender"]), SignatureType.MESSAGE))
        return self.put(authority, header, signed, digest_of(payload))

    def deliver_rendition(self, authority: str, message: Members, removed: list[tuple[str, str]], *, of: str = "") -> Letter:
        """Put a shortened copy into a party's inbox: the caller has taken the fields out."""
        header = {name: value for name, value in message["header"].items() if name != "salt"}
        minimised = [{"path": path, "article": article} for path, article in removed]
        rendition: Members = {"of": of or digest_of(b"the original"), "minimised": minimised}
        payload = canonical_json({"header": header, "body": message["body"], "rendition": rendition})
        signed = sign_general(payload, self.signing, SignatureType.RENDITION)
        return self.put(authority, header, signed, rendition["of"])

    def put(self, authority: str, header: Members, signed: bytes, original: str) -> Letter:
        letter = Letter(
            delivery=new_uuid7(now()),
            exchange=new_uuid7(now()),
            position=len(self.inbox) + 1,
            sender=header["sender"],
            type=header["type"],
            envelope=self.seal_for(authority, signed, header["id"]),
            original=original,
            message_id=header["id"],
        )
        self.inbox.append(letter)
        return letter

    # --- answering ---

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        path, method = request.url.path, request.method
        if self.wrong.breaks_off:
            self.wrong.breaks_off -= 1
            raise httpx2.ReadTimeout("nothing came back", request=request)
        if self.wrong.refuses is not None:
            return self._problem(request, self.wrong.refuses)
        if path == "/v1/keys":
            return httpx2.Response(200, json=self.published(request.url.params.get("authority", HUB_PARTY)))
        if path == "/v1/token":
            return self._token(request)
        if (method, path) == ("POST", "/v1/messages"):
            return self._accept(request)
        if path.startswith("/v1/log/"):
            return self._log(request)
        challenge = self._check_token(request)
        return challenge if challenge is not None else self._for_caller(request)

    def _for_caller(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path == "/v1/messages/preview":
            return httpx2.Response(200, json=self.preview)
        if path == "/v1/inbox":
            after = int(request.url.params["after"])
            items = [self._item(one) for one in self.inbox if one.position > after][: int(request.url.params["limit"])]
            return httpx2.Response(200, json={"items": items, "next": items[-1]["position"] if items else after})
        if path.startswith("/v1/messages/"):
            exchange = path.split("/")[3]
            known = self.exchanges.get(exchange)
            return httpx2.Response(200, json=known) if known else self._problem(request, RefusalCode.NOT_FOUND)
        letter = next((one for one in self.inbox if one.delivery == path.split("/")[3]), None)
        if letter is None or letter.refuses is not None:
            return self._problem(request, letter.refuses if letter and letter.refuses else RefusalCode.NOT_FOUND)
        if path.endswith("/receipts"):
            return self._confirm(request, letter)
        return httpx2.Response(200, content=letter.envelope)

    def _item(self, letter: Letter) -> Members:
        names = ("delivery", "exchange", "position", "sender", "type")
        return self.wrong.item({**{name: getattr(letter, name) for name in names}, "state": "held"})

    def _accept(self, request: httpx2.Request) -> httpx2.Response:
        self.posted.append(request.content)
        envelope = jwe.open_envelope(request.content, 1 << 24)
        key: UnsealingKey = self.sealing[envelope.profile]
        octets = unseal(key, envelope.recipients[0], envelope.content, envelope.aad)
        signed = jws.parse_general(octets, jws.MESSAGE_ALONE)
        header = parse_object(signed.payload)["header"]
        record = next(one for one in self.registry[header["sender"]] if one.kid == signed.elements[0].header.kid)
        verify_es256(record.jwk, signed.signing_input(0), signed.elements[0].signature)
        if header["id"] not in self.accepted:
            exchange = new_uuid7(now())
            about = {"sender": header["sender"], "id": header["id"], "digest": digest_of(signed.payload)}
            receipt = self.receipt({"event": "accepted", "exchange": exchange, "message": about})
            self.accepted[header["id"]] = (exchange, receipt)
            self.exchanges[exchange] = {"exchange": exchange, "deliveries": [], "receipts": [self._proved(receipt)]}
        exchange, receipt = self.accepted[header["id"]]
        return httpx2.Response(202, json={"exchange": exchange, "receipt": receipt})

    def receipt(self, members: Members) -> str:
        """A receipt of the hub, after its misbehaviour."""
        whole = {"v": 1, "issuer": HUB_PARTY, "hub": NAME, "time": format_time(now()), **members}
        return sign_compact(self.wrong.receipt(whole), self.wrong.receipt_key or self.signing)

    def _proved(self, receipt: str) -> Members:
        payload = jws.parse_compact(receipt, SignatureType.RECEIPT).payload
        members = parse_object(payload)
        index = self.log.add({"exchange": members["exchange"], "details": {"receipt": digest_of(payload)}})
        row = {"event": members["event"], "issuer": members["issuer"], "recipient": members.get("recipient", "")}
        return {**row, "receipt": receipt, **self.log.proof(index)}

    def _confirm(self, request: httpx2.Request, letter: Letter) -> httpx2.Response:
        signed = jws.parse_compact(request.content.decode(), SignatureType.RECEIPT)
        members = parse_object(signed.payload)
        record = next(one for one in self.registry[members["issuer"]] if one.kid == signed.element.header.kid)
        verify_es256(record.jwk, signed.signing_input(), signed.element.signature)
        self.statements[letter.delivery, members["event"]] = members
        about = {"sender": letter.sender, "id": letter.message_id, "digest": letter.original}
        told = {"event": members["event"], "exchange": letter.exchange, "recipient": members["issuer"], "message": about}
        receipt = self.receipt({**told, "delivery": letter.delivery, "of": digest_of(signed.payload)})
        return httpx2.Response(200, json={"exchange": letter.exchange, "receipt": receipt})

    def _log(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/log/checkpoint":
            return httpx2.Response(200, content=self.log.note())
        old, new = int(request.url.params["from"]), int(request.url.params["to"])
        if new > self.log.size:
            return self._problem(request, RefusalCode.INVALID_REQUEST, 400)
        hashes = consistency_proof(old, new, self.log.read_tile)
        return httpx2.Response(200, json={"hashes": [base64.b64encode(one).decode() for one in hashes]})

    def _token(self, request: httpx2.Request) -> httpx2.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        client = next(key for key in self.registry[form["client_id"]] if key.use is KeyUse.CLIENT_AUTH)
        verify_assertion(form["client_assertion"], client.jwk, form["client_id"], [ADDRESS], now())
        try:
            proof = request.headers["DPoP"]
            verify_proof(proof, method="POST", url=f"{ADDRESS}/v1/token", nonces=[NONCE], now=now())
        except NonceNeededError:
            return httpx2.Response(400, json={"error": "use_dpop_nonce"}, headers={"DPoP-Nonce": NONCE})
        return httpx2.Response(200, json={"access_token": TOKEN, "token_type": "DPoP", "expires_in": 300})

    def _check_token(self, request: httpx2.Request) -> httpx2.Response | None:
        proof, url = request.headers.get("DPoP", ""), ADDRESS + request.url.path
        if request.headers.get("Authorization") != f"DPoP {TOKEN}":
            return self._problem(request, RefusalCode.INVALID_TOKEN, 401)
        verify_proof(proof, method=request.method, url=url, nonces=[NONCE], now=now(), access_token=TOKEN)
        return None

    def _problem(self, request: httpx2.Request, code: RefusalCode, status: int = 403) -> httpx2.Response:
        members: Members = {"code": code.value, "status": status, "detail": "as the test says", "findings": []}
        if request.content:
            members["request_sha256"] = digest_of(request.content)
        octets = canonical_json(self.wrong.problem(members))
        key = self.wrong.receipt_key or self.signing
        protected = jws.protected_header(key.kid, SignatureType.PROBLEM)
        signature = key.sign(jws.signing_input(protected, b64url_encode(octets)))
        headers = {"Content-Type": "application/problem+json"}
        if self.wrong.signs_problems:
            headers["Accord-Signature"] = jws.serialise_detached(protected, signature)
        return httpx2.Response(status, content=octets, headers=headers)
