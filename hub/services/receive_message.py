"""How a message gets in: one straight line of named steps. Each step takes the type that the step before returned.

The order matters. Nothing is believed before it is verified; a repeat is recognised before anything that changes with time is
looked at, so that a sender whose answer was lost gets the first receipt again whatever has happened since; and what is accepted
is recorded in one transaction: the replay claim, the message, its deliveries, the audit entry and the octets of the receipt.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from hub.crypto.content_keys import encrypt_content
from hub.crypto.sealing import unseal as unseal_octets
from hub.crypto.signatures import verify_es256
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.decisions import Decision
from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.encoding import b64url_encode, format_time, new_uuid7
from hub.domain.keys import KeyRecord, KeyUse
from hub.domain.messages import Header, MessageFacts, PresentField
from hub.domain.parties import HUB_PARTY, Party
from hub.domain.receipts import Receipt, ReceiptEvent
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.decision_records import decision_members, write_facts
from hub.formats.json_gate import parse_object
from hub.policy.deadlines import deadlines_for, deliver_by
from hub.policy.release import decide
from hub.services.hub import Hub
from hub.services.issue_receipt import IssuedReceipt, Subject, plan_receipt, sign_receipt
from hub.services.note_refusals import findings_for_log, note_unauthenticated_refusal, write_refusal_sum
from hub.storage import deliveries, messages, receipts
from hub.storage.registry import RegistryMovedError, require_version
from hub.storage.store import Work

ENVELOPE_MEDIA_TYPE = "application/jose+json"
MAX_RACES = 5


@dataclass(frozen=True)
class Arrival:
    """Bytes that arrived, and when: enough to audit any later refusal."""

    octets: bytes
    media_type: str
    digest: str
    at: datetime


@dataclass(frozen=True)
class UnverifiedEnvelope:
    """A sealed envelope of the right shape. Nothing in it is to be believed."""

    arrival: Arrival
    envelope: jwe.SealedEnvelope


@dataclass(frozen=True)
class SignedOctets:
    """What was inside the seal: a signed text, not yet verified. `octets` is kept as evidence, as received."""

    envelope: jwe.SealedEnvelope
    octets: bytes
    jws: jws.GeneralJws
    arrived_at: datetime


@dataclass(frozen=True)
class IdentifiedOctets:
    """A signed text, the registry's key that its signature names, and the party that owns the key."""

    signed: SignedOctets
    key: KeyRecord
    sender: Party
    registry: Registry


@dataclass(frozen=True)
class AuthenticText:
    """A text that its signer did sign: `payload` is what was signed, not yet read."""

    identified: IdentifiedOctets
    payload: bytes

    @property
    def signer(self) -> str:
        """The authority id of the party that signed."""
        return self.identified.sender.authority


@dataclass(frozen=True)
class VerifiedMessage:
    """A message whose signature verified and whose signer is its sender. Holds only octets that were signed."""

    octets: bytes
    digest: str
    header: Header
    body: Any
    registry: Registry
    arrived_at: datetime


@dataclass(frozen=True)
class NewMessage:
    """A verified message whose (sender, id) is not taken yet."""

    verified: VerifiedMessage


@dataclass(frozen=True)
class FreshMessage:
    """A new message that is neither past its expiry nor issued in the future."""

    verified: VerifiedMessage


@dataclass(frozen=True)
class TypedMessage:
    """A fresh message that fits its schema, with the data categories found in it."""

    verified: VerifiedMessage
    facts: MessageFacts


@dataclass(frozen=True)
class ReleasableMessage:
    """A message that its agreement lets travel to every recipient it names, whole or minimised."""

    verified: VerifiedMessage
    facts: MessageFacts
    decision: Decision


def receive_message(hub: Hub, octets: bytes, media_type: str) -> IssuedReceipt:
    """Take one message in.

    Args:
        hub: the hub.
        octets: the request body as received.
        media_type: its Content-Type.

    Returns:
        The signed receipt; the first one again, octet for octet, for a repeat.

    Raises:
        Refusal: every way in which a message can be refused; it is audited here.
    """
    arrival = note_arrival(hub, octets, media_type)
    signer, message_id = "", ""
    try:
        envelope = open_envelope(hub, arrival)
        signed = unseal(hub, envelope)
        for _ in range(MAX_RACES):
            with hub.store.reading() as work:
                authentic = verify_signature(identify_sender(hub, work, signed))
                signer = authentic.signer
                verified = read_header(hub, authentic)
                message_id = verified.header.id
                found = recognise_repeat(work, verified)
                if isinstance(found, Receipt):
                    break
                releasable = decide_release(work, read_body(hub, check_freshness(hub, found)))
            receipt = record_acceptance(hub, releasable)
            if receipt is not None:
                return issue_receipt(hub, receipt)
        else:
            raise HubFault("the registry, or this message, kept changing")
        return _give_again(hub, verified, found)
    except Refusal as refusal:
        record_refusal(hub, arrival, refusal, signer, message_id)
        raise


def note_arrival(hub: Hub, octets: bytes, media_type: str) -> Arrival:
    """Step 1. Read the clock, once, and note what came. Never refuses. The sum of refusals only counted is written when due."""
    arrival = Arrival(octets, media_type, b64url_encode(hashlib.sha256(octets).digest()), hub.clock.now())
    write_refusal_sum(hub, arrival.at)
    return arrival


def open_envelope(hub: Hub, arrival: Arrival) -> UnverifiedEnvelope:
    """Step 2. Size and media type first, then the exact shape (wire rules A3 to A5).

    Raises:
        Refusal: TOO_LARGE, WRONG_MEDIA_TYPE, MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE.
    """
    if len(arrival.octets) > hub.limits.max_envelope_bytes:
        raise Refusal(RefusalCode.TOO_LARGE, f"an envelope has at most {hub.limits.max_envelope_bytes} bytes")
    if arrival.media_type.partition(";")[0].strip().lower() != ENVELOPE_MEDIA_TYPE:
        raise Refusal(RefusalCode.WRONG_MEDIA_TYPE, f"a message is sent as {ENVELOPE_MEDIA_TYPE}")
    return UnverifiedEnvelope(arrival, jwe.open_envelope(arrival.octets, hub.limits.max_envelope_bytes))


def unseal(hub: Hub, unverified: UnverifiedEnvelope) -> SignedOctets:
    """Step 3. Open the seal with the one key of this hub that it names, and read the signed text inside.

    Raises:
        Refusal: CANNOT_UNSEAL, UNSUPPORTED_PROFILE, MALFORMED_ENVELOPE.
    """
    envelope = unverified.envelope
    if len(envelope.recipients) != 1:
        raise Refusal(RefusalCode.CANNOT_UNSEAL, "a message to the hub is sealed to one key of the hub, and to nobody else")
    wrapped = envelope.recipients[0]
    key = hub.keyring.unsealing_key(wrapped.kid, unverified.arrival.at)
    if key.profile is not envelope.profile:
        raise Refusal(RefusalCode.WRONG_PROFILE, "this key of the hub belongs to the other sealing profile")
    if envelope.content_type is not SealedContentType.JWS:
        raise Refusal(RefusalCode.UNSUPPORTED_PROFILE, "the hub does not read this content type")
    octets = unseal_octets(key, wrapped, envelope.content, envelope.aad)
    return SignedOctets(envelope, octets, jws.parse_general(octets, jws.MESSAGE_ALONE), unverified.arrival.at)


def identify_sender(hub: Hub, work: Work, signed: SignedOctets) -> IdentifiedOctets:
    """Step 4. Find the signing key in the registry by its id: never in the message.

    The key that opened the seal is looked up too: it must be the hub's own, and its revocation holds on every node at once.

    Raises:
        Refusal: CANNOT_UNSEAL, UNKNOWN_SENDER, KEY_NOT_VALID, WRONG_PROFILE.
    """
    registry = hub.registry.at(work)
    opened_by = registry.keys.get(signed.envelope.recipients[0].kid)
    if opened_by is None or opened_by.owner != HUB_PARTY or not opened_by.is_accepted(signed.arrived_at):
        raise Refusal(RefusalCode.CANNOT_UNSEAL, "not sealed to a key of this hub that is valid now")
    key = registry.keys.get(signed.jws.elements[0].header.kid)
    sender = registry.parties.get(key.owner) if key else None
    if key is None or sender is None:
        raise Refusal(RefusalCode.UNKNOWN_SENDER)
    if key.use is not KeyUse.SIGNING or SignatureType.MESSAGE not in key.signs:
        raise Refusal(RefusalCode.KEY_NOT_VALID, "this key is not registered for signing messages")
    if not key.is_accepted(signed.arrived_at):
        raise Refusal(RefusalCode.KEY_NOT_VALID, f"this key is {key.state.value}: only active and retiring count, in their time")
    if sender.profile is not signed.envelope.profile:
        raise Refusal(RefusalCode.WRONG_PROFILE)
    return IdentifiedOctets(signed, key, sender, registry)


def verify_signature(identified: IdentifiedOctets) -> AuthenticText:
    """Step 5. Verify over the octets as received; they are not read before.

    Raises:
        Refusal: BAD_SIGNATURE.
    """
    signed = identified.signed
    verify_es256(identified.key.jwk, signed.jws.signing_input(0), signed.jws.elements[0].signature)
    return AuthenticText(identified, signed.jws.payload)


def read_header(hub: Hub, authentic: AuthenticText) -> VerifiedMessage:
    """Step 5, second half. Read what was signed, and compare its header with the signer and with the seal.

    Raises:
        Refusal: MALFORMED_ENVELOPE, SCHEMA_VIOLATION, SENDER_MISMATCH.
    """
    identified, signed = authentic.identified, authentic.identified.signed
    document = parse_object(authentic.payload)
    if document.keys() != {"header", "body"}:
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, "a message has exactly the members header and body")
    header = hub.bodies.read_header(document["header"])
    if header.sender != authentic.signer:
        raise Refusal(RefusalCode.SENDER_MISMATCH, "the signing key belongs to another party than the sender")
    if header.id != signed.envelope.message_id:
        raise Refusal(RefusalCode.SENDER_MISMATCH, "the seal and the signed header name different message ids")
    digest = b64url_encode(hashlib.sha256(authentic.payload).digest())
    return VerifiedMessage(signed.octets, digest, header, document["body"], identified.registry, signed.arrived_at)


def recognise_repeat(work: Work, verified: VerifiedMessage) -> NewMessage | Receipt:
    """Step 6. A message that was accepted before gives its first receipt.

    Raises:
        Refusal: MESSAGE_ID_REUSED where the id was used for other content.
    """
    claim = messages.find_claim(work, verified.header.sender, verified.header.id)
    if claim is None:
        return NewMessage(verified)
    exchange, digest = claim
    if digest != verified.digest:
        raise Refusal(RefusalCode.MESSAGE_ID_REUSED)
    first = receipts.find(work, exchange, "", ReceiptEvent.ACCEPTED, HUB_PARTY)
    if first is None:
        raise HubFault("an accepted message without its receipt")
    return first


def check_freshness(hub: Hub, new: NewMessage) -> FreshMessage:
    """Step 7. Issued at most a few minutes ahead of our clock, and not past its expiry.

    Raises:
        Refusal: EXPIRED, ISSUED_IN_FUTURE.
    """
    header, now = new.verified.header, new.verified.arrived_at
    if header.issued > now + hub.limits.max_issued_ahead:
        raise Refusal(RefusalCode.ISSUED_IN_FUTURE)
    if header.expires <= now:
        raise Refusal(RefusalCode.EXPIRED)
    return FreshMessage(new.verified)


def read_body(hub: Hub, fresh: FreshMessage) -> TypedMessage:
    """Step 8. Schema, code lists, and which data categories stand where.

    Raises:
        Refusal: UNKNOWN_TYPE, SCHEMA_VIOLATION.
    """
    verified = fresh.verified
    fields: tuple[PresentField, ...] = hub.bodies.read_body(verified.header, verified.body)
    return TypedMessage(verified, MessageFacts(verified.header, fields))


def decide_release(work: Work, typed: TypedMessage) -> ReleasableMessage:
    """Step 9. Ask the one agreement that the message names.

    Raises:
        Refusal: the first failed rule's code, with every finding.
    """
    verified, header = typed.verified, typed.verified.header
    decision = decide_now(verified.registry, typed.facts, verified.arrived_at)
    if not decision.allows:
        raise Refusal(decision.failures[0].code or RefusalCode.NO_AGREEMENT, findings=decision.failures)
    _check_thread(work, header)
    return ReleasableMessage(verified, typed.facts, decision)


def _check_thread(work: Work, header: Header) -> None:
    """One case has one agreement: the message that opened it and the one answered are the sender's to know, and run under it."""
    wanted = {one for one in (header.case, header.in_reply_to) if one}
    if not wanted:
        return
    found = messages.thread(work, wanted, header.sender)
    fitting = {one for one, case, agreement in found if agreement == header.agreement and case == (header.case or case)}
    if fitting != wanted:
        raise Refusal(RefusalCode.CASE_AGREEMENT_MISMATCH)


def decide_now(registry: Registry, facts: MessageFacts, now: datetime) -> Decision:
    """Decide over facts under the registry as it stands: at acceptance, in a preview, and again at each release."""
    header = facts.header
    reachable = frozenset(
        recipient for recipient in header.recipients if registry.current_key(recipient, KeyUse.SEALING, now) is not None
    )
    return decide(facts, registry.agreement_of(header.sender, header.agreement), registry.parties, reachable, now)


def record_acceptance(hub: Hub, releasable: ReleasableMessage) -> Receipt | None:
    """Step 10. One transaction for everything that acceptance is.

    Returns:
        The planned receipt, or None where the registry changed since the decision or the message id was taken in between: then
        everything from step 4 on is looked at again.
    """
    verified, header, now = releasable.verified, releasable.verified.header, releasable.verified.arrived_at
    subject = Subject(new_uuid7(now), header.sender, header.id, verified.digest)
    queued = _plan_deliveries(subject.exchange, releasable)
    receipt = plan_receipt(hub, subject, ReceiptEvent.ACCEPTED, "", now=now, details=_acceptance_details(releasable, queued))
    row = _message_row(hub, subject, releasable)
    entry = AuditEntry(
        AuditEvent.MESSAGE_ACCEPTED,
        now,
        header.sender,
        exchange=subject.exchange,
        agreement=header.agreement,
        agreement_version=releasable.decision.agreement_version,
        details={
            "message": header.id,
            "digest": subject.digest,
            "type": header.type,
            "purpose": header.purpose,
            "decision": decision_members(releasable.decision),
            "receipt": receipt.digest,
        },
    )

    def unit(work: Work) -> None:
        require_version(work, verified.registry.version)
        messages.add(work, row)
        deliveries.add(work, queued)
        receipts.add(work, [receipt])
        hub.note(work, entry)

    try:
        hub.store.write(unit)
    except (RegistryMovedError, messages.IdTakenError):
        return None
    return receipt


def issue_receipt(hub: Hub, receipt: Receipt) -> IssuedReceipt:
    """Step 11. Sign the stored octets. A fault here is mended by the sender's repeat."""
    return IssuedReceipt(receipt.exchange, sign_receipt(hub, receipt))


def _give_again(hub: Hub, verified: VerifiedMessage, first: Receipt) -> IssuedReceipt:
    header = verified.header
    hub.note_alone(
        AuditEntry(
            AuditEvent.MESSAGE_REPEATED,
            verified.arrived_at,
            header.sender,
            exchange=first.exchange,
            details={"message": header.id, "digest": verified.digest},
        )
    )
    return replace(issue_receipt(hub, first), repeated=True)


def record_refusal(hub: Hub, arrival: Arrival, refusal: Refusal, signer: str, message_id: str) -> None:
    """Audit a refusal in its own transaction; unauthenticated bytes past a limit are counted only. Content is not kept.

    `signer` and `message_id` are "" as far as they were not known yet.
    """
    entry = AuditEntry(
        AuditEvent.MESSAGE_REFUSED,
        arrival.at,
        signer or "unauthenticated",
        outcome=refusal.code.value,
        details={
            "arrival": arrival.digest,
            "size": len(arrival.octets),
            **({"message": message_id} if message_id else {}),
            "findings": findings_for_log(refusal.findings),
        },
    )
    if signer:
        hub.note_alone(entry)
        return
    note_unauthenticated_refusal(hub, refusal.code, entry)


def _plan_deliveries(exchange: str, releasable: ReleasableMessage) -> list[Delivery]:
    header, now = releasable.verified.header, releasable.verified.arrived_at
    agreement = releasable.verified.registry.agreements[header.agreement].governing(now)
    if agreement is None:
        raise HubFault("released under an agreement that does not govern")
    reply_by, _acknowledge_by = deadlines_for(agreement, header.urgency, now)
    latest = deliver_by(reply_by, now, header.expires)
    return [
        Delivery(
            id=new_uuid7(now),
            exchange=exchange,
            recipient=recipient,
            state=DeliveryState.QUEUED,
            position=0,
            attempts=0,
            next_attempt_at=now,
            deliver_by=latest,
            retrieve_by=latest,
            reply_by=reply_by,
        )
        for recipient in header.recipients
    ]


def _acceptance_details(releasable: ReleasableMessage, queued: list[Delivery]) -> dict[str, object]:
    header, decision = releasable.verified.header, releasable.decision
    due = {one.recipient: one for one in queued}
    return {
        "type": header.type,
        "case": header.case or header.id,
        "agreement": {"id": decision.agreement, "version": decision.agreement_version},
        "recipients": [
            {
                **members,
                "reply_by": format_time(due[one.recipient].reply_by),
                "deliver_by": format_time(due[one.recipient].deliver_by),
            }
            for one, members in zip(decision.recipients, decision_members(decision), strict=True)
        ],
    }


def _message_row(hub: Hub, subject: Subject, releasable: ReleasableMessage) -> messages.MessageRow:
    verified, header = releasable.verified, releasable.verified.header
    storage_key = hub.keyring.current_storage_key(verified.arrived_at)
    facts = write_facts(releasable.facts)
    wrapped_key, content = encrypt_content(storage_key, subject.exchange, verified.octets, facts)
    return messages.MessageRow(
        exchange=subject.exchange,
        sender=header.sender,
        message_id=header.id,
        digest=subject.digest,
        type=header.type,
        agreement=header.agreement,
        agreement_version=releasable.decision.agreement_version,
        case_id=header.case or header.id,
        accepted_at=verified.arrived_at,
        expires=header.expires,
        facts=facts,
        storage_kid=storage_key.kid,
        wrapped_key=wrapped_key,
        content=content,
    )
