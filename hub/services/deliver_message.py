"""How a message gets out: the mirror of `receive_message`, for one delivery at a time.

    choose a due delivery -> decide again under the agreement as it stands today -> minimise -> countersign -> seal for that one
    recipient -> send, or hold in the inbox -> match the recipient's signed receipt -> record

A puller's copy is sealed when it is fetched, a push partner's when it is sent: both through `release_copy` and `seal_copy`, so
that a revocation or a suspension in between holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from hub.crypto.content_keys import decrypt_content
from hub.crypto.sealing import seal
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.decisions import Decision
from hub.domain.deliveries import OPEN_STATES, Delivery, DeliveryState, next_attempt
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyUse
from hub.domain.messages import MessageFacts
from hub.domain.parties import HUB_PARTY, DeliveryMode
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.domain.sealing import SealedContentType
from hub.domain.signatures import SignatureType
from hub.formats import jwe, jws
from hub.formats.bodies import remove_attachments, remove_fields
from hub.formats.canonical_json import canonical_json
from hub.formats.decision_records import decision_members, finding_members, read_facts
from hub.formats.json_gate import parse_object
from hub.services.hub import Hub
from hub.services.issue_receipt import Subject, plan_receipt
from hub.services.receive_message import decide_now
from hub.storage import deliveries, messages, receipts
from hub.storage.deliveries import LeaseLostError, Release
from hub.storage.messages import MessageRow
from hub.storage.registry import RegistryMovedError, require_version
from hub.storage.store import Work

MAX_RACES = 5
_FAULT = "fault"


@dataclass(frozen=True)
class DueDelivery:
    """A leased delivery with its message and the registry as it stood when it was taken."""

    delivery: Delivery
    message: MessageRow
    registry: Registry


@dataclass(frozen=True)
class ReleasedCopy:
    """What one recipient may have today, signed: the original with the hub's countersignature, or a rendition.

    `digest` is base64url SHA-256 of the payload that the recipient's receipt must name.
    """

    due: DueDelivery
    decision: Decision
    octets: bytes
    digest: str


@dataclass(frozen=True)
class SealedCopy:
    """A released copy sealed to its one recipient."""

    copy: ReleasedCopy
    envelope: bytes


@dataclass(frozen=True)
class PushTask:
    """What the worker sends: a sealed copy, and where to."""

    sealed: SealedCopy
    address: str


def take_due(
    hub: Hub, most: int, *, most_pushes: int = 100, pushes_each: int = 4, busy: Collection[str] = ()
) -> list[DueDelivery]:
    """Step 1. Lease due deliveries; no other worker gets them until the lease ends. Their messages come without content.

    Args:
        hub: the hub.
        most: deliveries to be held for pulling.
        most_pushes: deliveries to be pushed, in all.
        pushes_each: and for one partner, so that a slow one does not fill the worker.
        busy: push partners that get nothing more at present.
    """
    now = hub.clock.now()
    until = now + hub.limits.worker_lease

    def unit(work: Work) -> list[DueDelivery]:
        registry = hub.registry.at(work)
        pushed = {one.authority for one in registry.parties.values() if one.delivery is DeliveryMode.PUSH}
        taken = deliveries.lease_due(work, now, until, most, but_not_of=pushed)
        ready = pushed.difference(busy)
        if ready and most_pushes > 0:
            taken += deliveries.lease_due_of(work, ready, now, until, most=most_pushes, most_each=pushes_each)
        found = messages.heads(work, [one.exchange for one in taken]) if taken else {}
        return [DueDelivery(one, found[one.exchange], registry) for one in taken]

    return hub.store.write(unit)


def relay(hub: Hub, due: list[DueDelivery]) -> list[PushTask]:
    """Bring leased deliveries on their way: those for pulling into their inboxes, all in one transaction.

    Returns:
        What must be pushed; hand each result to `record_push`.
    """
    pulls = [one for one in due if _mode_of(one) is DeliveryMode.PULL]
    if pulls:
        _hold_in_inboxes(hub, pulls)
    return _prepare_pushes(hub, [one for one in due if _mode_of(one) is DeliveryMode.PUSH])


def decide_again(due: DueDelivery, now: datetime) -> tuple[MessageFacts, Decision]:
    """Step 2. The decision for this one recipient, if the signed header names it, under the agreement as it stands at `now`."""
    facts = read_facts(due.message.facts)
    recipients = tuple(one for one in facts.header.recipients if one == due.delivery.recipient)
    alone = replace(facts, header=replace(facts.header, recipients=recipients))
    return facts, decide_now(due.registry, alone, now)


def release_copy(hub: Hub, due: DueDelivery, now: datetime) -> ReleasedCopy:
    """Steps 2 to 4. Decide again; then the original with a countersignature, or a minimised rendition.

    Raises:
        Refusal: the agreement as it stands today does not let the recipient have it.
    """
    _facts, decision = decide_again(due, now)
    if not decision.allows:
        raise Refusal(decision.failures[0].code or RefusalCode.NO_AGREEMENT, findings=decision.failures)
    storage_key = hub.keyring.storage_key(due.message.storage_kid)
    row = due.message
    octets = decrypt_content(storage_key, row.exchange, row.wrapped_key, row.content, row.facts)
    original = jws.parse_general(octets, jws.MESSAGE_ALONE)
    if decision.recipients[0].removals:
        return _render(hub, due, decision, original, now)
    return _countersign(hub, due, decision, original, now)


def seal_copy(copy: ReleasedCopy, now: datetime) -> SealedCopy:
    """Step 5. Seal for the one recipient, to its current key, under its one profile.

    Raises:
        Refusal: RECIPIENT_NOT_REACHABLE; nothing is ever sent in the clear.
    """
    recipient = copy.due.registry.parties[copy.due.delivery.recipient]
    key = copy.due.registry.current_key(recipient.authority, KeyUse.SEALING, now)
    if key is None:
        raise Refusal(RefusalCode.RECIPIENT_NOT_REACHABLE)
    protected = jwe.envelope_header(recipient.profile, SealedContentType.JWS, copy.due.message.message_id, [key.kid])
    sealed = seal(recipient.profile, copy.octets, protected.encode("ascii"), [(key.kid, key.jwk)])
    return SealedCopy(copy, jwe.serialise_envelope(recipient.profile, protected, sealed.recipients, sealed.content))


def prepare_push(hub: Hub, due: DueDelivery) -> PushTask | None:
    """Steps 2 to 5 for a push partner; a delivery that may not be released any more is closed, and gives None.

    One that the hub itself cannot release (`fault`) is tried again later: it must not hold up the others.
    """
    now = hub.clock.now()
    try:
        sealed = seal_copy(release_copy(hub, with_content(hub, due), now), now)
        return PushTask(sealed, due.registry.parties[due.delivery.recipient].push_address)
    except Refusal as refusal:
        unit = partial(close_refused, hub, due=due, refusal=refusal, now=now)
    except HubFault:
        unit = partial(_note_failed_attempt, hub, due=due, error=_FAULT, now=now)
    with suppress(LeaseLostError):
        hub.store.write(unit)
    return None


def with_content(hub: Hub, due: DueDelivery) -> DueDelivery:
    """A leased delivery whose message has its content."""
    with hub.store.reading() as work:
        message = messages.get(work, due.delivery.exchange)
    if message is None:
        raise HubFault("a delivery without its message")
    return replace(due, message=message)


def record_push(hub: Hub, task: PushTask, error: RefusalCode | str | None) -> None:
    """Record what became of a push: `error` is None where the partner took it, else a short code.

    A push that was taken is relayed; it is delivered only when the partner's signed receipt is matched. Until then it is sent
    again when its time comes: the partner recognises the repeat by its id. Nothing is recorded where somebody else has taken the
    delivery over meanwhile, or moved it.
    """
    due, now = task.sealed.copy.due, hub.clock.now()

    def unit(work: Work) -> None:
        if error is not None:
            _note_failed_attempt(hub, work, due, str(error), now)
            return
        note_relayed(hub, work, due, task.sealed.copy.decision, now)
        current = deliveries.get(work, due.delivery.id)
        if current is not None and current.state in OPEN_STATES:  # else the partner's receipt came by another way meanwhile
            attempts = due.delivery.attempts + 1
            again = next_attempt(attempts, now)
            deliveries.move(work, due.delivery, DeliveryState.SENT, attempts=attempts, next_attempt_at=again)

    with suppress(LeaseLostError):
        hub.store.write(unit)


def _note_failed_attempt(hub: Hub, work: Work, due: DueDelivery, error: str, now: datetime) -> None:
    delivery, attempts = due.delivery, due.delivery.attempts + 1
    again = next_attempt(attempts, now)
    deliveries.move(work, delivery, delivery.state, attempts=attempts, next_attempt_at=again, last_error=error[:64])
    hub.note(work, _entry(AuditEvent.DELIVERY_ATTEMPT_FAILED, due, now, outcome=error, attempts=attempts))


def _hold_in_inboxes(hub: Hub, due: list[DueDelivery]) -> None:
    now = hub.clock.now()
    in_one_order = sorted(due, key=lambda one: one.delivery.recipient)  # so that two workers do not wait for each other
    decided = [(one, decide_again(one, now)[1]) for one in in_one_order]

    def unit(work: Work) -> None:
        for one, decision in decided:
            _hold(hub, work, one, decision, now)

    try:
        hub.store.write(unit)
    except LeaseLostError:
        if len(due) > 1:  # one of them is another's by now; the rest go on by themselves
            for one in in_one_order:
                _hold_in_inboxes(hub, [one])


def _hold(hub: Hub, work: Work, due: DueDelivery, decision: Decision, now: datetime) -> None:
    if not decision.allows:
        code = decision.failures[0].code or RefusalCode.NO_AGREEMENT
        close_refused(hub, work, due, Refusal(code, findings=decision.failures), now)
        return
    position = deliveries.take_positions(work, due.delivery.recipient, 1)
    deliveries.move(work, due.delivery, DeliveryState.HELD, position=position)
    note_relayed(hub, work, due, decision, now)


def close_refused(hub: Hub, work: Work, due: DueDelivery, refusal: Refusal, now: datetime) -> None:
    """Close a delivery that may not be released any more, with the evidence that its sender needs."""
    state = DeliveryState.DEAD if refusal.code is RefusalCode.EXPIRED else DeliveryState.REFUSED
    deliveries.move(work, due.delivery, state, last_error=refusal.code.value)
    receipt = receipts.find(work, due.message.exchange, due.delivery.recipient, ReceiptEvent.NOT_DELIVERED, HUB_PARTY)
    if receipt is None:
        details = {"reason": refusal.code.value, "findings": finding_members(refusal.findings)}
        receipt = plan_receipt(
            hub, subject_of(due.message), ReceiptEvent.NOT_DELIVERED, due.delivery.recipient, now=now, details=details
        )
        receipts.add(work, [receipt])
    hub.note(work, _entry(AuditEvent.DELIVERY_REFUSED, due, now, outcome=refusal.code.value, receipt=receipt.digest))


def _prepare_pushes(hub: Hub, due: list[DueDelivery]) -> list[PushTask]:
    """Prepare, and note the releases while the registry stands; where it moved, all is decided again."""
    for _ in range(MAX_RACES):
        prepared = [prepare_push(hub, one) for one in due]
        tasks = [task for task in prepared if task is not None]
        try:
            _note_releases(hub, tasks)
        except RegistryMovedError:
            with hub.store.reading() as work:
                registry = hub.registry.at(work)
            due = [replace(task.sealed.copy.due, registry=registry) for task in tasks]
        else:
            return tasks
    return []  # their leases end, and they are taken again


def _note_releases(hub: Hub, tasks: list[PushTask]) -> None:
    """Before anything is sent: a partner's receipt may come back sooner than the answer to the request that carried it."""
    if not tasks:
        return
    now = hub.clock.now()

    def unit(work: Work) -> None:
        require_version(work, tasks[0].sealed.copy.due.registry.version)
        for task in tasks:
            note_release(work, task.sealed.copy, now)

    hub.store.write(unit)


def note_release(work: Work, copy: ReleasedCopy, now: datetime) -> None:
    """Record which octets were released to the recipient under which decision."""
    record = canonical_json(
        {"agreement_version": copy.decision.agreement_version, "decision": decision_members(copy.decision), "digest": copy.digest}
    )
    deliveries.record_release(work, Release(copy.due.delivery.id, copy.digest, copy.decision.agreement_version, record, now))


def note_relayed(hub: Hub, work: Work, due: DueDelivery, decision: Decision, now: datetime) -> None:
    """Plan the RELAYED receipt, once, and audit that the message stands ready or was sent."""
    if receipts.find(work, due.message.exchange, due.delivery.recipient, ReceiptEvent.RELAYED, HUB_PARTY) is not None:
        return
    details = {"delivery": due.delivery.id, "decision": decision_members(decision)[0]}
    receipt = plan_receipt(hub, subject_of(due.message), ReceiptEvent.RELAYED, due.delivery.recipient, now=now, details=details)
    receipts.add(work, [receipt])
    entry = _entry(AuditEvent.DELIVERY_RELAYED, due, now, receipt=receipt.digest, decision=decision_members(decision))
    hub.note(work, replace(entry, agreement_version=decision.agreement_version))


def subject_of(message: MessageRow) -> Subject:
    """The message as its receipts name it."""
    return Subject(message.exchange, message.sender, message.message_id, message.digest)


def _countersign(hub: Hub, due: DueDelivery, decision: Decision, original: jws.GeneralJws, now: datetime) -> ReleasedCopy:
    key = hub.keyring.signing_key(now)
    first = original.elements[0]
    over = jws.over_digest(first.protected_text, first.signature)
    protected = jws.protected_header(key.kid, SignatureType.COUNTERSIGNATURE, over)
    signature = key.sign(jws.signing_input(protected, original.payload_text))
    octets = jws.serialise_general(original.payload_text, [(first.protected_text, first.signature), (protected, signature)])
    return ReleasedCopy(due, decision, octets, due.message.digest)


def _render(hub: Hub, due: DueDelivery, decision: Decision, original: jws.GeneralJws, now: datetime) -> ReleasedCopy:
    """Write a minimised copy: signed by the hub alone, naming the original's digest and what was taken out under which article.

    The salt is left out, so that nobody can guess a removed value and compare digests.
    """
    document: dict[str, Any] = parse_object(original.payload)
    removals = decision.recipients[0].removals
    paths = [gone.path for gone in removals]
    header = remove_attachments(document["header"], paths)
    del header["salt"]
    payload = canonical_json(
        {
            "header": header,
            "body": remove_fields(document["body"], paths),
            "rendition": {
                "of": due.message.digest,
                "minimised": [{"path": gone.path, "article": gone.article} for gone in removals],
            },
        }
    )
    key = hub.keyring.signing_key(now)
    protected, text = jws.protected_header(key.kid, SignatureType.RENDITION), b64url_encode(payload)
    octets = jws.serialise_general(text, [(protected, key.sign(jws.signing_input(protected, text)))])
    return ReleasedCopy(due, decision, octets, b64url_encode(hashlib.sha256(payload).digest()))


def _entry(event: AuditEvent, due: DueDelivery, now: datetime, outcome: str = "ok", **details: object) -> AuditEntry:
    return AuditEntry(
        event,
        now,
        HUB_PARTY,
        outcome=outcome,
        exchange=due.message.exchange,
        agreement=due.message.agreement,
        agreement_version=due.message.agreement_version,
        details={"delivery": due.delivery.id, "recipient": due.delivery.recipient, **details},
    )


def _mode_of(due: DueDelivery) -> DeliveryMode:
    party = due.registry.parties.get(due.delivery.recipient)
    return party.delivery if party is not None else DeliveryMode.PULL
