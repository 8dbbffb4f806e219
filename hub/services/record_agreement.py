"""Agreements enter the hub as documents, and come to govern by the verified signature of every operating authority."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hub.crypto.key_files import KeyAlgorithm, load_key
from hub.crypto.signatures import SigningKey, verify_es256
from hub.domain.agreements import Agreement
from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.encoding import b64url_encode
from hub.domain.keys import KeyRecord, KeyUse
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.domain.signatures import SignatureType
from hub.formats.agreements import read_agreement
from hub.formats.jws import CompactJws, parse_detached, protected_header, serialise_detached, signing_input
from hub.services.change_registry import OPERATOR, change_registry
from hub.services.hub import Hub
from hub.storage import registry as rows
from hub.storage.store import Work


@dataclass(frozen=True)
class AgreementDraft:
    """A version as it stands in the registry: whether it is new there, whose signatures it lacks, and who is not registered."""

    agreement: Agreement
    new: bool
    unsigned_by: tuple[str, ...]
    unknown_authorities: tuple[str, ...]


def check_agreement(hub: Hub, toml_octets: bytes) -> AgreementDraft:
    """Say how an agreement would stand, and record nothing.

    Raises:
        Refusal: INVALID_AGREEMENT, VERSION_IS_IMMUTABLE.
    """
    agreement = read_agreement(toml_octets)
    with hub.store.reading() as work:
        return _draft(agreement, hub.registry.at(work))


def record_agreement(hub: Hub, toml_octets: bytes) -> AgreementDraft:
    """Record one version of an agreement. It is a draft until every operating authority has signed it.

    Raises:
        Refusal: INVALID_AGREEMENT, VERSION_IS_IMMUTABLE.
    """
    agreement, now = read_agreement(toml_octets), hub.clock.now()

    def change(registry: Registry, work: Work) -> AgreementDraft:
        draft = _draft(agreement, registry)
        if draft.new:
            rows.record_agreement(work, agreement, now)
            hub.note(work, _entry(AuditEvent.AGREEMENT_RECORDED, agreement, now, OPERATOR))
        return draft

    return change_registry(hub, change)


def find_version(registry: Registry, agreement_id: str, version: int | None = None) -> Agreement:
    """One version of an agreement; the newest where none is named.

    Raises:
        Refusal: NOT_FOUND.
    """
    record = registry.agreements.get(agreement_id)
    for agreement in reversed(record.versions if record else ()):
        if version in (None, agreement.version):
            return agreement
    raise Refusal(RefusalCode.NOT_FOUND, "there is no such agreement, or no such version of it")


def sign_with_kept_key(hub: Hub, agreement_id: str, version: int, authority: str) -> AgreementDraft:
    """Sign a version for an organisation whose key the hub keeps, and record the signature.

    Raises:
        Refusal: as for `add_signature`; INVALID_KEY where the hub keeps no key for that authority.
    """
    try:
        key = hub.keyring.signing_key(hub.clock.now(), authority)
    except HubFault:
        raise Refusal(RefusalCode.INVALID_KEY, "the hub keeps no signing key for this authority: name its key file") from None
    return _sign(hub, agreement_id, version, authority, key)


def sign_with_key_file(
    hub: Hub, agreement_id: str, version: int, authority: str, *, file: Path, passphrase: bytes
) -> AgreementDraft:
    """Sign a version with a private key from a file, and record the signature.

    Raises:
        Refusal: as for `add_signature`; KEY_FILE_UNSAFE; INVALID_KEY where the key is not one registered for that authority.
    """
    private = load_key(file, KeyAlgorithm.ES256, passphrase)
    with hub.store.reading() as work:
        registered = hub.registry.at(work).keys_of(authority, KeyUse.SIGNING)
    kid = next((key.kid for key in registered if dict(key.jwk) == private.public_jwk), None)
    if kid is None:
        raise Refusal(RefusalCode.INVALID_KEY, "this is not a key that is registered for that authority")
    return _sign(hub, agreement_id, version, authority, private.for_signing(kid))


def _sign(hub: Hub, agreement_id: str, version: int, authority: str, key: SigningKey) -> AgreementDraft:
    with hub.store.reading() as work:
        agreement = find_version(hub.registry.at(work), agreement_id, version)
    return add_signature(hub, agreement_id, version, make_signature(agreement, key), authority)


def make_signature(agreement: Agreement, key: SigningKey) -> str:
    """Sign a version: a detached compact JWS (`hub-agreement+jws`) over its canonical octets."""
    protected = protected_header(key.kid, SignatureType.AGREEMENT)
    return serialise_detached(protected, key.sign(signing_input(protected, b64url_encode(agreement.canonical))))


def add_signature(hub: Hub, agreement_id: str, version: int, jws: str, authority: str | None = None) -> AgreementDraft:
    """Record an operating authority's signature over one version, after verifying it against the registry as it stands now.

    Args:
        hub: the hub.
        agreement_id: which agreement.
        version: which version of it.
        jws: the detached compact JWS.
        authority: who hands it in, where that is known: nobody hands in another's signature, or learns of others' agreements.

    What is refused is audited here, without the names that were asked for: they may be anything.

    Raises:
        Refusal: NOT_FOUND, MALFORMED_ENVELOPE, UNSUPPORTED_PROFILE, UNKNOWN_SENDER, SENDER_MISMATCH, SENDER_NOT_OPERATING,
            KEY_NOT_VALID, BAD_SIGNATURE.
    """
    now = hub.clock.now()

    def change(registry: Registry, work: Work) -> AgreementDraft:
        if authority is not None and registry.agreement_of(authority, agreement_id) is None:
            raise Refusal(RefusalCode.NOT_FOUND)
        agreement = find_version(registry, agreement_id, version)
        key = verify_signature(registry, agreement, jws, now)
        if authority is not None and key.owner != authority:
            raise Refusal(RefusalCode.SENDER_MISMATCH, "the signature is by another authority's key")
        row = rows.SignatureRow(agreement.id, agreement.version, key.owner, key.kid, jws)
        new = rows.record_signature(work, row, now)
        if new:
            digest = b64url_encode(hashlib.sha256(jws.encode("ascii")).digest())
            hub.note(work, _entry(AuditEvent.AGREEMENT_SIGNED, agreement, now, key.owner, kid=key.kid, signature=digest))
        unsigned = tuple(one for one in _draft(agreement, registry).unsigned_by if one != key.owner)
        return AgreementDraft(agreement, new, unsigned, ())

    try:
        return change_registry(hub, change)
    except Refusal as refusal:
        details = {"jws": b64url_encode(hashlib.sha256(jws.encode("utf-8", "surrogatepass")).digest())}
        actor, outcome = authority or OPERATOR, refusal.code.value
        hub.note_alone(AuditEntry(AuditEvent.AGREEMENT_SIGNED, now, actor, outcome=outcome, details=details))
        raise


def verify_signature(registry: Registry, agreement: Agreement, jws: str, now: datetime) -> KeyRecord:
    """Verify one signature over a version, and return the key that made it.

    Raises:
        Refusal: as for `add_signature`.
    """
    parsed = parse_detached(jws, agreement.canonical, SignatureType.AGREEMENT)
    key = _signing_key(registry, agreement, parsed, now)
    verify_es256(key.jwk, parsed.signing_input(), parsed.element.signature)
    return key


def _signing_key(registry: Registry, agreement: Agreement, parsed: CompactJws, now: datetime) -> KeyRecord:
    key = registry.keys.get(parsed.element.header.kid)
    if key is None or key.owner not in registry.parties:
        raise Refusal(RefusalCode.UNKNOWN_SENDER)
    if not agreement.operates(key.owner):
        raise Refusal(RefusalCode.SENDER_NOT_OPERATING, "only an operating authority of the agreement signs it")
    if key.use is not KeyUse.SIGNING or SignatureType.AGREEMENT not in key.signs:
        raise Refusal(RefusalCode.KEY_NOT_VALID, "this key is not registered for signing agreements")
    if not key.is_accepted(now):
        raise Refusal(RefusalCode.KEY_NOT_VALID, f"this key is {key.state.value}: only active and retiring count, in their time")
    return key


def _draft(agreement: Agreement, registry: Registry) -> AgreementDraft:
    record = registry.agreements.get(agreement.id)
    recorded = {one.version: one.digest for one in record.versions} if record else {}
    if recorded.get(agreement.version, agreement.digest) != agreement.digest:
        raise Refusal(RefusalCode.VERSION_IS_IMMUTABLE)
    if agreement.version not in recorded and agreement.version < max(recorded, default=0):
        raise Refusal(RefusalCode.INVALID_AGREEMENT, "agreement.version: must be higher than every version that is recorded")
    operators = [one.authority for one in agreement.operating_authorities]
    signed = record.signed_by.get(agreement.version, frozenset()) if record else frozenset()
    return AgreementDraft(
        agreement,
        new=agreement.version not in recorded,
        unsigned_by=tuple(one for one in operators if one not in signed),
        unknown_authorities=tuple(one for one in operators if one not in registry.parties),
    )


def _entry(event: AuditEvent, agreement: Agreement, now: datetime, actor: str, **details: object) -> AuditEntry:
    return AuditEntry(
        event,
        now,
        actor,
        agreement=agreement.id,
        agreement_version=agreement.version,
        details={"digest": agreement.digest, **details},
    )
