"""`hub audit verify`: the whole store against its log, and the log against every checkpoint that anybody kept of it.

Whoever holds the database and the hub's keys can rewrite the one and sign it with the others. A checkpoint that was kept
elsewhere is not rewritten with them: that is what `older_checkpoints` is for.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from hub.crypto.content_keys import decrypt_content
from hub.crypto.notes import Checkpoint, parse_checkpoint, parse_note
from hub.crypto.signatures import verify_es256
from hub.domain.audit import AuditEvent
from hub.domain.encoding import b64url_encode
from hub.domain.parties import HUB_PARTY
from hub.domain.receipts import RECIPIENT_EVENTS, Receipt, ReceiptEvent
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.domain.signatures import SignatureType
from hub.domain.verification import FlawCode, VerificationReport
from hub.formats import jws
from hub.formats.json_gate import parse_object
from hub.services.hub import Hub
from hub.services.read_log import receipts_named, verify_own_checkpoint
from hub.services.verify_log import MAX_FLAWS, FlawList, SignedRoots, walk_log
from hub.storage import audit, evidence, log, messages
from hub.storage.audit import AuditRow
from hub.storage.evidence import Outline
from hub.storage.store import Work

MESSAGES_AT_ONCE = 256

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is, in entries and messages."""


def verify_store(
    hub: Hub, older_checkpoints: Sequence[str] = (), progress: Progress = lambda _done, _total: None, *, deep: bool = False
) -> VerificationReport:
    """Verify everything that is stored, in one consistent view and in constant memory; a running hub is not disturbed.

    Args:
        hub: the hub. Its log keys say which checkpoints are its own.
        older_checkpoints: signed notes that were kept elsewhere.
        progress: is told how far it is.
        deep: also decrypt each message, and compare its octets with their digest.
    """
    flaws, signed = FlawList(), SignedRoots()
    with hub.store.reading() as work:
        size, root = log.state(work)
        stored, registry = evidence.count_messages(work), hub.registry.at(work)
        _collect_checkpoints(hub, work, older_checkpoints, signed, flaws)
        done, total = 0, size + stored
        for rows in walk_log(work, signed, flaws):
            _check_entries(work, rows, flaws)
            done += len(rows)
            progress(done, total)
        after = ""
        while page := evidence.outlines(work, after, MESSAGES_AT_ONCE):
            _check_messages(work, page, registry, flaws)
            if deep:
                _check_contents(hub, work, page, flaws)
            after = page[-1].exchange
            done += len(page)
            progress(done, total)
        for orphan in evidence.orphans(work, MAX_FLAWS):
            flaws.add(FlawCode.ORPHAN, orphan)
        pending = audit.count_pending(work)
    root_text = base64.b64encode(root).decode()
    return VerificationReport(size, root_text, pending, stored, signed.count, tuple(flaws.flaws), flaws.left_out)


def _collect_checkpoints(hub: Hub, work: Work, older: Sequence[str], signed: SignedRoots, flaws: FlawList) -> None:
    for number, note in enumerate(older, start=1):
        _collect(f"given checkpoint {number}", note, signed, flaws, partial(verify_own_checkpoint, hub))
    latest = log.latest_checkpoint(work)
    if latest is None or latest[0] < log.state(work)[0]:
        flaws.add(FlawCode.CHECKPOINT_PENDING, "the log")
    if latest is not None:
        _collect("the latest checkpoint", latest[1], signed, flaws, partial(verify_own_checkpoint, hub))
    for size, note in log.checkpoints(work)[:-1]:  # the hub's own, older ones: a key that signed them may be revoked by now
        _collect(f"stored checkpoint of size {size}", note, signed, flaws, _read_unverified)


def _read_unverified(note: str) -> Checkpoint:
    return parse_checkpoint(parse_note(note.encode()).text)


def _collect(name: str, note: str, signed: SignedRoots, flaws: FlawList, read: Callable[[str], Checkpoint]) -> None:
    try:
        checkpoint = read(note)
    except Refusal:
        flaws.add(FlawCode.CHECKPOINT_INVALID, name)
    else:
        signed.add(name, checkpoint.size, checkpoint.root)


def _check_entries(work: Work, rows: Collection[AuditRow], flaws: FlawList) -> None:
    """What entries tell of must be there: the accepted message, and each receipt."""
    accepted: dict[str, tuple[int, str]] = {}
    named: dict[tuple[str, str], int] = {}
    for row in rows:
        index, entry = row.tree_index or 0, _read_entry(row.entry)
        exchange = entry.get("exchange", "")
        if entry.get("event") == AuditEvent.MESSAGE_ACCEPTED:
            accepted[exchange] = (index, _details(entry).get("digest", ""))
        named.update({(exchange, digest): index for digest in receipts_named(entry)})
    digests = evidence.digests_of(work, accepted)
    for exchange, (index, digest) in accepted.items():
        if digests.get(exchange) != digest:
            flaws.add(FlawCode.MESSAGE_MISSING, f"exchange {exchange}, entry {index}")
    stored = evidence.stored_receipts(work, {digest for _exchange, digest in named})
    for place, index in named.items():
        if place not in stored:
            flaws.add(FlawCode.RECEIPT_MISSING, f"exchange {place[0]}, entry {index}")


def _check_messages(work: Work, page: Sequence[Outline], registry: Registry, flaws: FlawList) -> None:
    """What is stored must be told of: each message, each of its deliveries, and each of its receipts."""
    exchanges = [outline.exchange for outline in page]
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for octets in evidence.entries_of(work, exchanges):
        entry = _read_entry(octets)
        entries[entry.get("exchange", "")].append(entry)
    recipients, receipts = evidence.recipients_of(work, exchanges), evidence.receipts_of(work, exchanges)
    for outline in page:
        where = f"exchange {outline.exchange}"
        told = [one for one in entries[outline.exchange] if _tells_of(one, outline)]
        if not told:
            flaws.add(FlawCode.MESSAGE_UNLOGGED, where)
        elif sorted(one["recipient"] for one in _details(told[0]).get("decision", ())) != recipients[outline.exchange]:
            flaws.add(FlawCode.DELIVERY_MISMATCH, where)
        found = receipts[outline.exchange]
        if not any(one.event is ReceiptEvent.ACCEPTED and one.issuer == HUB_PARTY for one in found):
            flaws.add(FlawCode.RECEIPT_MISSING, where)
        named = {digest for entry in entries[outline.exchange] for digest in receipts_named(entry)}
        by_partners = {(one.recipient, one.event) for one in found if one.issuer == one.recipient}
        for receipt in found:
            _check_receipt(receipt, named, flaws)
            if receipt.issuer != HUB_PARTY:
                _check_signature(receipt, registry, flaws)
            elif receipt.event in RECIPIENT_EVENTS and (receipt.recipient, receipt.event) not in by_partners:
                flaws.add(FlawCode.RECEIPT_MISSING, f"{where}, {receipt.event.value} by {receipt.recipient}")


def _check_receipt(receipt: Receipt, named: Collection[str], flaws: FlawList) -> None:
    where = _name_of(receipt)
    signed_payload = receipt.jws.split(".")[1] if receipt.jws.count(".") == 2 else ""  # noqa: PLR2004 - a compact JWS
    if _digest(receipt.payload) != receipt.digest or (receipt.jws and signed_payload != b64url_encode(receipt.payload)):
        flaws.add(FlawCode.RECEIPT_ALTERED, where)
    if receipt.digest not in named:
        flaws.add(FlawCode.RECEIPT_UNLOGGED, where)


def _name_of(receipt: Receipt) -> str:
    return f"exchange {receipt.exchange}, {receipt.event.value} by {receipt.issuer} for {receipt.recipient or 'all'}"


def _check_signature(receipt: Receipt, registry: Registry, flaws: FlawList) -> None:
    """Verify a partner's receipt: without its signature nothing but the database says that the partner stated it."""
    try:
        signed = jws.parse_compact(receipt.jws, SignatureType.RECEIPT)
        key = registry.keys.get(signed.element.header.kid)
        if key is None or key.owner != receipt.issuer:
            raise Refusal(RefusalCode.UNKNOWN_SENDER)
        verify_es256(key.jwk, signed.signing_input(), signed.element.signature)
    except Refusal:
        flaws.add(FlawCode.RECEIPT_ALTERED, f"{_name_of(receipt)}: its signature")


def _check_contents(hub: Hub, work: Work, page: Sequence[Outline], flaws: FlawList) -> None:
    for outline in page:
        row = messages.get(work, outline.exchange)
        if row is None:
            continue
        try:
            key = hub.keyring.storage_key(row.storage_kid)
            octets = decrypt_content(key, row.exchange, row.wrapped_key, row.content, row.facts)
            holds = _digest(jws.parse_general(octets, jws.MESSAGE_ALONE).payload) == row.digest
        except (HubFault, Refusal):
            holds = False
        if not holds:
            flaws.add(FlawCode.CONTENT_ALTERED, f"exchange {row.exchange}")


def _tells_of(entry: dict[str, Any], outline: Outline) -> bool:
    return entry.get("event") == AuditEvent.MESSAGE_ACCEPTED and _details(entry).get("digest") == outline.digest


def _read_entry(octets: bytes) -> dict[str, Any]:
    try:
        return parse_object(octets)
    except Refusal:
        return {}  # not what the hub wrote: it was altered, and is noted as such


def _details(entry: dict[str, Any]) -> dict[str, Any]:
    details = entry.get("details")
    return details if isinstance(details, dict) else {}


def _digest(octets: bytes) -> str:
    return b64url_encode(hashlib.sha256(octets).digest())
