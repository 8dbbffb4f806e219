"""Parties, keys and agreements as versioned documents, and the one number that says whether a picture of them is current.

Rows are only ever added. Every change raises the registry's version in the same transaction, so that a writer can see, inside
its own transaction, whether what it decided from still stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Table, func, insert, select, tuple_, update

from hub.domain.agreements import Agreement
from hub.domain.refusals import Refusal, RefusalCode
from hub.storage.hot_statements import HotStatement
from hub.storage.store import Work
from hub.storage.tables import agreement_events, agreement_signatures, agreements, keys, parties, registry_state

_VERSION = select(registry_state.c.version).where(registry_state.c.id == 1)
_CURRENT = HotStatement(_VERSION)
_HELD_STILL = HotStatement(_VERSION.with_for_update(read=True))


class RegistryMovedError(Exception):
    """The registry changed between the decision and the commit; decide again."""


@dataclass(frozen=True)
class SignatureRow:
    """One operating authority's verified signature over one version of an agreement."""

    id: str
    version: int
    authority: str
    kid: str
    jws: str


@dataclass(frozen=True)
class EventRow:
    """A suspension, resumption or end of an agreement; `kind` is suspended, resumed or ended."""

    id: str
    kind: str
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True)
class RegistryRows:
    """Everything of the registry at one version, as documents."""

    version: int
    parties: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    agreements: tuple[bytes, ...]
    signatures: tuple[SignatureRow, ...]
    events: tuple[EventRow, ...]


def current_version(work: Work) -> int:
    """The registry's version in this transaction."""
    version: int = _CURRENT.first(work)[0]
    return version


def is_settled(work: Work) -> bool:
    """Whether what this work sees is committed: in a writing transaction it may be undone yet, and its version used again."""
    return not work.get_execution_options().get("writes", False)


def require_version(work: Work, version: int) -> None:
    """Hold the registry still until this transaction ends, and refuse to go on where it is not at `version`.

    Raises:
        RegistryMovedError: it changed since.
    """
    if _HELD_STILL.first(work)[0] != version:
        raise RegistryMovedError


def load(work: Work) -> RegistryRows:
    """Read the whole registry: the newest version of each party and key, every version of each agreement."""
    return RegistryRows(
        version=current_version(work),
        parties=_newest(work, parties, parties.c.authority),
        keys=_newest(work, keys, keys.c.kid),
        agreements=tuple(work.execute(select(agreements.c.canonical).order_by(agreements.c.id, agreements.c.version)).scalars()),
        signatures=tuple(
            SignatureRow(*row)
            for row in work.execute(
                select(*(agreement_signatures.c[name] for name in ("id", "version", "authority", "kid", "jws")))
            )
        ),
        events=tuple(
            EventRow(*row)
            for row in work.execute(
                select(*(agreement_events.c[name] for name in ("id", "kind", "at", "by", "reason"))).order_by(
                    agreement_events.c.serial
                )
            )
        ),
    )


def _newest(work: Work, table: Table, key: Column[str]) -> tuple[bytes, ...]:
    newest = select(key, func.max(table.c.version)).group_by(key)
    rows = select(table.c.document).where(tuple_(key, table.c.version).in_(newest)).order_by(key)
    return tuple(work.execute(rows).scalars())


def _raise_version(work: Work) -> None:
    work.execute(update(registry_state).where(registry_state.c.id == 1).values(version=registry_state.c.version + 1))


def record_party(work: Work, authority: str, document: bytes, now: datetime) -> bool:
    """Add a version of a party where its document differs from the newest; says whether it did."""
    return _record_document(work, parties, {"authority": authority}, document, {"recorded_at": now})


def record_key(work: Work, kid: str, owner: str, document: bytes, now: datetime) -> bool:
    """Add a version of a key where its document differs from the newest; says whether it did.

    Raises:
        Refusal: INVALID_KEY where the kid belongs to another owner: a kid is unique for ever.
    """
    owners = set(work.execute(select(keys.c.owner).where(keys.c.kid == kid)).scalars())
    if owners - {owner}:
        raise Refusal(RefusalCode.INVALID_KEY, "this key id belongs to another party")
    return _record_document(work, keys, {"kid": kid}, document, {"recorded_at": now, "owner": owner})


def _record_document(work: Work, table: Table, key: dict[str, str], document: bytes, values: dict[str, object]) -> bool:
    columns = table.c
    ((name, value),) = key.items()
    newest = work.execute(
        select(columns.version, columns.document).where(columns[name] == value).order_by(columns.version.desc()).limit(1)
    ).first()
    if newest is not None and newest.document == document:
        return False
    version = 1 if newest is None else newest.version + 1
    work.execute(insert(table).values(version=version, document=document, **key, **values))
    _raise_version(work)
    return True


def record_agreement(work: Work, agreement: Agreement, now: datetime) -> bool:
    """Record one version of an agreement; says whether it was new.

    Raises:
        Refusal: VERSION_IS_IMMUTABLE where this version is recorded with other content.
    """
    known = work.execute(
        select(agreements.c.digest).where(agreements.c.id == agreement.id, agreements.c.version == agreement.version)
    ).scalar_one_or_none()
    if known == agreement.digest:
        return False
    if known is not None:
        raise Refusal(RefusalCode.VERSION_IS_IMMUTABLE)
    work.execute(
        insert(agreements).values(
            id=agreement.id, version=agreement.version, canonical=agreement.canonical, digest=agreement.digest, recorded_at=now
        )
    )
    _raise_version(work)
    return True


def record_signature(work: Work, row: SignatureRow, now: datetime) -> bool:
    """Record a signature that was verified; the first one of an authority stands. Says whether it was new."""
    columns = agreement_signatures.c
    known = work.execute(
        select(columns.kid).where(columns.id == row.id, columns.version == row.version, columns.authority == row.authority)
    ).first()
    if known is not None:
        return False
    work.execute(
        insert(agreement_signatures).values(
            id=row.id, version=row.version, authority=row.authority, kid=row.kid, jws=row.jws, recorded_at=now
        )
    )
    _raise_version(work)
    return True


def record_event(work: Work, row: EventRow) -> None:
    """Record a suspension, resumption or end of an agreement."""
    work.execute(insert(agreement_events).values(id=row.id, kind=row.kind, at=row.at, by=row.by, reason=row.reason))
    _raise_version(work)
