"""The registry for a transaction: read again only when its version says that it changed."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

from hub.domain.agreements import Agreement, AgreementRecord, Suspension
from hub.domain.keys import KeyRecord
from hub.domain.parties import Party
from hub.domain.registry import Registry
from hub.formats.agreements import read_canonical
from hub.formats.parties import read_key_document, read_party_document
from hub.storage import registry as rows
from hub.storage.store import Work

T = TypeVar("T")


class RegistryReader:
    """Gives each transaction the registry as it stands in that transaction.

    The version is read in the transaction that uses the picture, so a revocation or a suspension holds on every node at once;
    documents that did not change are not parsed again.
    """

    def __init__(self) -> None:
        self._picture: Registry | None = None
        self._parsed: dict[bytes, object] = {}
        self._lock = threading.Lock()

    def at(self, work: Work) -> Registry:
        """The registry in this transaction."""
        version = rows.current_version(work)
        picture = self._picture
        if picture is not None and picture.version == version:
            return picture
        with self._lock:
            return self._load(work)

    def _load(self, work: Work) -> Registry:
        loaded = rows.load(work)
        fresh: dict[bytes, object] = {}
        parties: list[Party] = self._parse_all(loaded.parties, read_party_document, fresh)
        keys: list[KeyRecord] = self._parse_all(loaded.keys, read_key_document, fresh)
        agreements: list[Agreement] = self._parse_all(loaded.agreements, read_canonical, fresh)
        picture = Registry(
            version=loaded.version,
            parties={party.authority: party for party in parties},
            keys={key.kid: key for key in keys},
            agreements=_agreement_records(agreements, loaded),
        )
        if rows.is_settled(work):
            self._parsed, self._picture = fresh, picture
        return picture

    def _parse_all(self, documents: Iterable[bytes], parse: Callable[[bytes], T], fresh: dict[bytes, object]) -> list[T]:
        parsed: list[T] = []
        for document in documents:
            value = self._parsed.get(document) or parse(document)
            fresh[document] = value
            parsed.append(value)  # type: ignore[arg-type]  # what is kept under a document was parsed from it
        return parsed


def _agreement_records(versions: Iterable[Agreement], loaded: rows.RegistryRows) -> dict[str, AgreementRecord]:
    by_id: dict[str, list[Agreement]] = defaultdict(list)
    for version in versions:
        by_id[version.id].append(version)
    signed: dict[str, dict[int, frozenset[str]]] = defaultdict(dict)
    for row in loaded.signatures:
        signed[row.id][row.version] = signed[row.id].get(row.version, frozenset()) | {row.authority}
    events: dict[str, list[rows.EventRow]] = defaultdict(list)
    for event in loaded.events:
        events[event.id].append(event)
    return {
        agreement_id: AgreementRecord(
            id=agreement_id,
            versions=tuple(sorted(found, key=lambda one: one.version)),
            signed_by=signed[agreement_id],
            suspensions=suspensions_from(events[agreement_id]),
            ended_at=min((event.at for event in events[agreement_id] if event.kind == "ended"), default=None),
        )
        for agreement_id, found in by_id.items()
    }


def suspensions_from(events: Iterable[rows.EventRow]) -> tuple[Suspension, ...]:
    """Turn suspended and resumed events, in the order they were recorded, into periods."""
    periods: list[Suspension] = []
    for event in events:
        open_one = periods[-1] if periods and periods[-1].end is None else None
        if event.kind == "suspended" and open_one is None:
            periods.append(Suspension(event.at, None, event.reason))
        elif event.kind == "resumed" and open_one is not None:
            periods[-1] = Suspension(open_one.start, event.at, open_one.reason)
    return tuple(periods)
