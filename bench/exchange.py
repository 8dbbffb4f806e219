"""A hub on the embedded default with one sender and ten pulling recipients, and messages sealed beforehand."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from hub.bootstrap import SCHEMAS, Installation
from hub.crypto.notes import NoteKey
from hub.crypto.sealing import UnsealingKey, generate_unsealing_key, seal
from hub.crypto.signatures import SigningKey, generate_signing_key
from hub.domain.catalogue import MessageType
from hub.domain.encoding import b64url_encode, format_time, new_uuid7
from hub.domain.keys import KeyRecord, KeyState, KeyUse
from hub.domain.messages import DataCategory
from hub.domain.parties import HUB_PARTY, ContactPoint, Party, PartyKind, SealingProfile
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.agreements import read_agreement
from hub.formats.catalogue import load_catalogue
from hub.formats.parties import key_document, party_document
from hub.services.hub import Hub
from hub.services.record_agreement import make_signature
from hub.storage import registry
from hub.storage.registry import SignatureRow

SENDER = "zz.sender"
RECIPIENTS = [f"zz.recipient-{number:02d}" for number in range(10)]
_PERIOD = timedelta(days=400)
_AGREEMENT = """
[agreement]
id = "measurement"
version = 1
kind = "domestic_order"
title.en = "Order for measurement"
authentic_text_sha256 = "{digest}"
authentic_languages = ["en"]
[[signatories]]
name.en = "Measurement"
on_behalf_of = "zz"
{operators}
[term]
article = "9"
in_force_from = 2020-01-01T00:00:00Z
after_end = "keep_under_terms"
[purposes]
article = "2"
allowed = ["investigation"]
[[flows]]
article = "4"
from = ["{sender}"]
to = [{recipients}]
types = ["info-request"]
categories = [{categories}]
highest_classification = "none"
widest_tlp = "green"
uncovered_category = "refuse"
[classification]
article = "7"
levels = []
[handling]
article = "5"
codes = ["H0", "H1"]
[retention]
article = "6"
default = "1y"
[trust]
article = "8"
hub = "inspected"
"""
_OPERATOR = '[[operating_authorities]]\nauthority = "{authority}"\nparty = "zz"\narticle = "1"\n'


@dataclass(frozen=True)
class Member:
    """A party's private keys."""

    authority: str
    signing: SigningKey
    sealing: UnsealingKey
    client: SigningKey


def set_up(config: Path) -> dict[str, Member]:
    """Register the parties, their keys and the agreement in a hub that was initialised."""
    with Installation(config).open_hub() as hub:
        now = hub.clock.now()
        members = {authority: _join(hub, authority, now) for authority in (SENDER, *RECIPIENTS)}
        agreement = read_agreement(
            _AGREEMENT.format(
                digest="0" * 64,
                operators="".join(_OPERATOR.format(authority=authority) for authority in members),
                sender=SENDER,
                categories=", ".join(f'"{category}"' for category in DataCategory),
                recipients=", ".join(f'"{recipient}"' for recipient in RECIPIENTS),
            ).encode()
        )
        hub.store.write(lambda work: registry.record_agreement(work, agreement, now))
        for authority, member in members.items():
            row = SignatureRow(agreement.id, 1, authority, member.signing.kid, make_signature(agreement, member.signing))
            hub.store.write(lambda work, row=row: registry.record_signature(work, row, now))  # type: ignore[misc]  # bound now
    return members


def _join(hub: Hub, authority: str, now: datetime) -> Member:
    member = Member(
        authority,
        generate_signing_key(f"{authority}.signing"),
        generate_unsealing_key(f"{authority}.sealing", SealingProfile.PQ_1),
        generate_signing_key(f"{authority}.client"),
    )
    contact = ContactPoint("Desk", "24/7", email="desk@example.org")
    party = Party(authority, {"en": authority}, "ZZ", PartyKind.DOMESTIC_AGENCY, SealingProfile.PQ_1, contact_points=(contact,))
    signs = frozenset({SignatureType.MESSAGE, SignatureType.RECEIPT, SignatureType.AGREEMENT})
    period = (now - _PERIOD, now + _PERIOD)
    keys = [
        KeyRecord(
            member.signing.kid, authority, KeyUse.SIGNING, member.signing.public_jwk, KeyState.ACTIVE, *period, signs=signs
        ),
        KeyRecord(member.sealing.kid, authority, KeyUse.SEALING, member.sealing.public_jwk, KeyState.ACTIVE, *period),
        KeyRecord(member.client.kid, authority, KeyUse.CLIENT_AUTH, member.client.public_jwk, KeyState.ACTIVE, *period),
    ]
    hub.store.write(lambda work: registry.record_party(work, authority, party_document(party), now))
    for key in keys:
        hub.store.write(lambda work, key=key: registry.record_key(work, key.kid, authority, key_document(key), now))  # type: ignore[misc]  # bound now
    return member


def hub_keys(config: Path) -> tuple[tuple[str, dict[str, str]], NoteKey]:
    """The hub's public sealing key of the profile pq-1, as (kid, JWK), and its log's verifier key."""
    with Installation(config).open_hub() as hub, hub.store.reading() as work:
        keys = hub.registry.at(work).keys_of(HUB_PARTY, KeyUse.SEALING)
        sealing = next((key.kid, dict(key.jwk)) for key in keys if key.jwk["kty"] == "AKP")
        return sealing, hub.keyring.log_signer(hub.name, hub.clock.now()).key


def seal_messages(
    sender: Member, hub_key: tuple[str, dict[str, str]], count: int, size: int, recipients: list[str]
) -> list[bytes]:
    """Messages signed and sealed to the hub; the octets that are signed have `size` bytes."""
    return [_seal_message(sender, hub_key, size, recipients) for _ in range(count)]


@cache
def _example() -> MessageType:
    return load_catalogue(SCHEMAS).get("info-request", 1)


def _message(sender: str, recipients: list[str]) -> dict[str, dict[str, Any]]:
    now = datetime.now(UTC).replace(microsecond=0)
    header = {
        **_example().example_header,
        "id": new_uuid7(now),
        "sender": sender,
        "recipients": recipients,
        "agreement": "measurement",
        "issued": format_time(now),
        "expires": format_time(now + timedelta(days=30)),
        "handling": ["H1"],
        "salt": b64url_encode(secrets.token_bytes(16)),
    }
    return {"header": header, "body": dict(_example().example_body)}


def _seal_message(sender: Member, hub_key: tuple[str, dict[str, str]], size: int, recipients: list[str]) -> bytes:
    message = _message(sender.authority, recipients)
    missing = size - len(orjson.dumps(message))
    message["body"]["facts"] += "x" * max(0, missing)
    protected, text = jws.protected_header(sender.signing.kid, SignatureType.MESSAGE), b64url_encode(orjson.dumps(message))
    signed = jws.serialise_general(text, [(protected, sender.signing.sign(jws.signing_input(protected, text)))])
    header = jwe.envelope_header(SealingProfile.PQ_1, SealedContentType.JWS, message["header"]["id"], [hub_key[0]])
    sealed = seal(SealingProfile.PQ_1, signed, header.encode("ascii"), [hub_key])
    return jwe.serialise_envelope(SealingProfile.PQ_1, header, sealed.recipients, sealed.content)
