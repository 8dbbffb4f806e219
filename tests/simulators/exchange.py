"""A hub and its agencies in memory: tests edit, sign, seal and break messages, and move the clock."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from hub.crypto.jwks import thumbprint
from hub.crypto.key_files import PrivateKey, generate
from hub.crypto.key_manifest import HUB_KEYS, HeldKey, HeldKeyUse
from hub.crypto.keyrings import Keyring
from hub.crypto.sealing import UnsealingKey, generate_unsealing_key, seal, unseal
from hub.crypto.signatures import SigningKey, generate_signing_key, verify_es256
from hub.domain.audit import AuditEvent
from hub.domain.deliveries import Delivery
from hub.domain.encoding import b64url_encode, format_time, new_uuid7
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.parties import ContactPoint, DeliveryMode, Party, PartyKind, SealingProfile
from hub.domain.receipts import Receipt
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.agreements import read_agreement
from hub.formats.bodies import BodyReader
from hub.formats.catalogue import load_catalogue
from hub.formats.json_gate import parse_object
from hub.formats.parties import key_document, party_document
from hub.services.callers import Caller
from hub.services.deliver_message import PushTask, relay, take_due
from hub.services.hub import Hub, Limits
from hub.services.issue_receipt import IssuedReceipt
from hub.services.manage_keys import PARTY_SIGNS, public_record
from hub.services.pull_inbox import InboxItem, fetch_delivery, list_inbox
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE, receive_message
from hub.services.record_receipt import record_receipt
from hub.services.refusal_meter import RefusalMeter
from hub.services.registry_reader import RegistryReader
from hub.storage import audit, deliveries, migrations, receipts
from hub.storage import registry as registry_rows
from hub.storage.registry import EventRow, SignatureRow
from hub.storage.store import Store, Work

ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
LONG = timedelta(days=3650)
HUB_NAME = "hub.test/accord"
REFERRAL = "ht-referral"
REFERRAL_ORDER = "tw-referral-order-2024"


class MovableClock:
    """A clock that stands until a test moves it."""

    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """Where the clock stands."""
        return self.moment

    def advance(self, **by: float) -> None:
        """Move it on."""
        self.moment += timedelta(**by)


_CATALOGUE = load_catalogue(ROOT / "schemas")
BODIES = BodyReader(_CATALOGUE)


def example(message_type: str) -> dict[str, Any]:
    """A fresh copy of the catalogue's example of a type: {"header", "body"}."""
    found = _CATALOGUE.get(message_type, 1)
    return copy.deepcopy({"header": dict(found.example_header), "body": dict(found.example_body)})


def attachment(name: str, content: bytes, category: str) -> dict[str, Any]:
    """An inline attachment as it stands in a header."""
    return {
        "name": name,
        "media_type": "text/plain",
        "category": category,
        "sha256": b64url_encode(sha256(content).digest()),
        "size": len(content),
        "content": b64encode(content).decode(),
    }


def make_keyring(now: datetime) -> Keyring:
    """A hub's keys, in memory only."""
    lines: list[HeldKey] = []
    keys: dict[str, PrivateKey] = {}
    for use, algorithm in HUB_KEYS:
        key = generate(algorithm)
        kid = thumbprint(key.public_jwk) if key.public_jwk else f"storage-{len(lines)}"
        keys[kid] = key
        lines.append(HeldKey(kid, use, algorithm, KeyState.ACTIVE, now - LONG, now + LONG, "", key.public_jwk))
    return Keyring(tuple(lines), keys)


@dataclass
class Agency:
    """One party with its private keys."""

    party: Party
    signing: SigningKey
    sealing: UnsealingKey
    client: SigningKey
    exchange: Exchange = field(repr=False)

    @property
    def authority(self) -> str:
        """Its id."""
        return self.party.authority

    @property
    def caller(self) -> Caller:
        """It as an authenticated caller."""
        return Caller(self.authority, self.client.kid)

    def message(self, message_type: str = REFERRAL, *, body: dict[str, Any] | None = None, **header: Any) -> dict[str, Any]:
        """A message of a type: the catalogue's example, with some header members changed; None takes a member out."""
        document = example(message_type)
        now = self.exchange.clock.now()
        members = {
            **document["header"],
            "id": new_uuid7(now),
            "sender": self.authority,
            "issued": format_time(now),
            "expires": format_time(now + timedelta(days=30)),
            **header,
        }
        return {"header": {name: value for name, value in members.items() if value is not None}, "body": body or document["body"]}

    def sign(self, payload: bytes, typ: SignatureType = SignatureType.MESSAGE, key: SigningKey | None = None) -> bytes:
        """A general JWS over any octets."""
        signer = key or self.signing
        protected, text = jws.protected_header(signer.kid, typ), b64url_encode(payload)
        return jws.serialise_general(text, [(protected, signer.sign(jws.signing_input(protected, text)))])

    def seal(self, signed: bytes, message_id: str, recipient: tuple[str, dict[str, str]] | None = None) -> bytes:
        """An envelope to the hub (or to another key) over any octets."""
        kid, jwk = recipient or self.exchange.hub_sealing_key(self.party.profile)
        protected = jwe.envelope_header(self.party.profile, SealedContentType.JWS, message_id, [kid])
        sealed = seal(self.party.profile, signed, protected.encode(), [(kid, jwk)])
        return jwe.serialise_envelope(self.party.profile, protected, sealed.recipients, sealed.content)

    def envelope(self, message: dict[str, Any]) -> bytes:
        """A message signed and sealed as it should be."""
        return self.seal(self.sign(json.dumps(message, ensure_ascii=False).encode()), message["header"]["id"])

    def send(self, message: dict[str, Any]) -> IssuedReceipt:
        """Hand a message to the hub."""
        return receive_message(self.exchange.hub, self.envelope(message), ENVELOPE_MEDIA_TYPE)

    def open(self, envelope: bytes) -> tuple[jws.GeneralJws, dict[str, Any]]:
        """Open what the hub sealed for this agency: the signed text and its payload."""
        sealed = jwe.open_envelope(envelope, 20_000_000)
        octets = unseal(self.sealing, sealed.recipients[0], sealed.content, sealed.aad)
        signed = jws.parse_general(octets, jws.COUNTERSIGNED_MESSAGE, jws.RENDITION_ALONE)
        return signed, parse_object(signed.payload)

    def inbox(self) -> list[InboxItem]:
        """What stands in its inbox."""
        return list(list_inbox(self.exchange.hub, self.caller, 0, 100).items)

    def fetch(self) -> tuple[InboxItem, jws.GeneralJws, dict[str, Any]]:
        """Fetch and open the newest item of its inbox: the item, the signed text and its payload."""
        item = self.inbox()[-1]
        _exchange, envelope = fetch_delivery(self.exchange.hub, self.caller, item.delivery.id)
        return item, *self.open(envelope)

    def state(self, event: str, item: InboxItem, payload: bytes, **changes: Any) -> dict[str, Any]:
        """What it would state in a receipt about an item whose payload it opened; None takes a member out."""
        document = parse_object(payload)
        header = document["header"]
        members = {
            "v": 1,
            "event": event,
            "issuer": self.authority,
            "recipient": self.authority,
            "exchange": item.delivery.exchange,
            "delivery": item.delivery.id,
            "message": {"sender": header["sender"], "id": header["id"], "digest": b64url_encode(sha256(payload).digest())},
            "time": format_time(self.exchange.clock.now()),
            "of": document["rendition"]["of"] if "rendition" in document else None,
            **changes,
        }
        return {name: value for name, value in members.items() if value is not None}

    def acknowledge(self, event: str, item: InboxItem, payload: bytes, **changes: Any) -> IssuedReceipt:
        """Hand the hub a receipt about an item."""
        text = self.receipt(**self.state(event, item, payload, **changes))
        return record_receipt(self.exchange.hub, self.caller, item.delivery.id, text)

    def receipt(self, **members: Any) -> str:
        """A signed receipt of this agency."""
        payload = json.dumps(members).encode()
        protected, text = jws.protected_header(self.signing.kid, SignatureType.RECEIPT), b64url_encode(payload)
        return jws.serialise_compact(protected, text, self.signing.sign(jws.signing_input(protected, text)))


class Exchange:
    """A hub over a fresh store, with the parties and agreements that a test asks for."""

    def __init__(self, url: str, *, limits: Limits | None = None) -> None:
        self.clock = MovableClock()
        self.url = url
        migrations.upgrade(url)
        bounds = limits or Limits()
        self.hub = Hub(
            name=HUB_NAME,
            issuer="http://127.0.0.1",
            store=Store(url),
            keyring=make_keyring(START),
            bodies=BODIES,
            registry=RegistryReader(),
            clock=self.clock,
            refusals=RefusalMeter(bounds.audited_refusals_per_minute),
            limits=bounds,
        )
        self.agencies: dict[str, Agency] = {}
        self.record_hub_keys()

    def record_hub_keys(self) -> None:
        """Write the public halves of the hub's own keys into the registry, in the state that the keyring has them in."""
        uses = {HeldKeyUse.SIGNING: KeyUse.SIGNING, HeldKeyUse.SEALING: KeyUse.SEALING}
        lines = [line for line in self.hub.keyring.lines if line.use in uses]
        self.record(*(public_record(line) for line in lines))

    def close(self) -> None:
        """Close the store."""
        self.hub.store.close()

    def join(self, authority: str, profile: SealingProfile = SealingProfile.PQ_1, **changes: Any) -> Agency:
        """Register a party with fresh keys."""
        values: dict[str, Any] = {
            "authority": authority,
            "names": {"en": authority},
            "country": authority[:2].upper(),
            "kind": PartyKind.DOMESTIC_AGENCY,
            "profile": profile,
            "delivery": DeliveryMode.PULL,
            "contact_points": (ContactPoint("Duty desk", "24/7", email="duty@example.org"),),
            **changes,
        }
        party = Party(**values)
        agency = Agency(
            party,
            generate_signing_key(f"{authority}-sig"),
            generate_unsealing_key(f"{authority}-seal", profile),
            generate_signing_key(f"{authority}-auth"),
            self,
        )
        self.record(party, *self.keys_of(agency))
        self.agencies[authority] = agency
        return agency

    def keys_of(self, agency: Agency) -> tuple[KeyRecord, KeyRecord, KeyRecord]:
        """An agency's keys as the registry has them: for signing, for sealing, for its access."""
        owner, bounds = agency.authority, (START - LONG, START + LONG)
        signing, sealing, client = agency.signing, agency.sealing, agency.client
        return (
            KeyRecord(signing.kid, owner, KeyUse.SIGNING, signing.public_jwk, KeyState.ACTIVE, *bounds, signs=PARTY_SIGNS),
            KeyRecord(sealing.kid, owner, KeyUse.SEALING, sealing.public_jwk, KeyState.ACTIVE, *bounds),
            KeyRecord(client.kid, owner, KeyUse.CLIENT_AUTH, client.public_jwk, KeyState.ACTIVE, *bounds),
        )

    def record(self, *entries: Party | KeyRecord) -> None:
        """Write versions of parties and keys into the registry, in one transaction."""
        now = self.clock.now()

        def unit(work: Work) -> None:
            for one in entries:
                if isinstance(one, Party):
                    registry_rows.record_party(work, one.authority, party_document(one), now)
                else:
                    registry_rows.record_key(work, one.kid, one.owner, key_document(one), now)

        self.hub.store.write(unit)

    def record_party(self, party: Party) -> None:
        """Write a version of a party into the registry."""
        self.record(party)

    def record_key(self, key: KeyRecord) -> None:
        """Write a version of a key into the registry."""
        self.record(key)

    def agree(self, agreement_id: str, *, unsigned_by: frozenset[str] = frozenset(), text: str = "") -> None:
        """Record one of the configured agreements (or another text), signed by its operating authorities."""
        octets = text.encode() or (ROOT / "config" / "agreements" / f"{agreement_id}.toml").read_bytes()
        agreement, now = read_agreement(octets), self.clock.now()

        def unit(work: Work) -> None:
            registry_rows.record_agreement(work, agreement, now)
            for operator in agreement.operating_authorities:
                if operator.authority not in unsigned_by:
                    row = SignatureRow(agreement.id, agreement.version, operator.authority, "kid", "jws")
                    registry_rows.record_signature(work, row, now)

        self.hub.store.write(unit)

    def agreement_event(self, agreement_id: str, kind: str) -> None:
        """Suspend, resume or end an agreement now."""
        row = EventRow(agreement_id, kind, self.clock.now(), "tw.npa", "a test")
        self.hub.store.write(lambda work: registry_rows.record_event(work, row))

    def revoke(self, key: KeyRecord) -> None:
        """Revoke a key now."""
        self.record(replace(key, state=KeyState.REVOKED))

    def deliver(self) -> list[PushTask]:
        """One round of a worker: what is due is held for pulling; what must be pushed is returned."""
        return relay(self.hub, take_due(self.hub, 100))

    def audit(self, event: AuditEvent | None = None) -> list[dict[str, Any]]:
        """The audit entries (of one event) in the order in which they were written."""
        with self.hub.store.reading() as work:
            entries = [parse_object(row.entry) for row in audit.pending(work, 1_000_000)]
        return [entry for entry in entries if event is None or entry["event"] == event.value]

    def deliveries_of(self, exchange: str) -> dict[str, Delivery]:
        """The deliveries of one message by recipient."""
        with self.hub.store.reading() as work:
            return {one.recipient: one for one in deliveries.of_exchange(work, exchange)}

    def receipts_of(self, exchange: str) -> list[Receipt]:
        """The stored receipts of one message, in the order in which they were recorded."""
        with self.hub.store.reading() as work:
            return receipts.of_exchange(work, exchange)

    def statement(self, text: str) -> dict[str, Any]:
        """What a receipt of the hub states; its signature is verified with the key in the registry that it names."""
        signed = jws.parse_compact(text, SignatureType.RECEIPT)
        with self.hub.store.reading() as work:
            key = self.hub.registry.at(work).keys[signed.element.header.kid]
        verify_es256(key.jwk, signed.signing_input(), signed.element.signature)
        return parse_object(signed.payload)

    def hub_sealing_key(self, profile: SealingProfile) -> tuple[str, dict[str, str]]:
        """The hub's public sealing key of a profile, as (kid, JWK)."""
        for line in self.hub.keyring.lines:
            if line.use is HeldKeyUse.SEALING and (line.public_jwk["kty"] == "AKP") == (profile is SealingProfile.PQ_1):
                return line.kid, dict(line.public_jwk)
        raise LookupError(profile)

    def hub_signing_jwk(self) -> dict[str, str]:
        """The hub's public signing key."""
        return next(dict(line.public_jwk) for line in self.hub.keyring.lines if line.use is HeldKeyUse.SIGNING)


def referral_exchange(url: str, **options: Any) -> Exchange:
    """An exchange under the domestic referral order, with police, immigration, the Tokyo post, two cities and a shelter."""
    exchange = Exchange(url, **options)
    for authority in ("tw.npa", "tw.nia", "tw.npa.liaison.tokyo", "tw.kaohsiung", "tw.taipei", "tw.shelter.garden"):
        exchange.join(authority)
    exchange.agree(REFERRAL_ORDER)
    return exchange
