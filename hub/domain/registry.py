"""The registry as it stands at one version: parties, keys, agreements, and the questions that are asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from hub.domain.agreements import AgreementRecord
from hub.domain.keys import KeyRecord, KeyUse
from hub.domain.parties import Party


@dataclass(frozen=True)
class Registry:
    """An immutable picture of the registry. `version` grows with every change to any of it."""

    version: int
    parties: Mapping[str, Party]
    keys: Mapping[str, KeyRecord]
    agreements: Mapping[str, AgreementRecord]

    @cached_property
    def _keys_by_owner(self) -> dict[tuple[str, KeyUse], list[KeyRecord]]:
        grouped: dict[tuple[str, KeyUse], list[KeyRecord]] = {}
        for key in self.keys.values():
            grouped.setdefault((key.owner, key.use), []).append(key)
        return grouped

    def keys_of(self, owner: str, use: KeyUse) -> list[KeyRecord]:
        """Every key of an owner with this use, in whatever state."""
        return self._keys_by_owner.get((owner, use), [])

    def current_key(self, owner: str, use: KeyUse, now: datetime) -> KeyRecord | None:
        """The key with which something new is made or sealed at `now`: the active one that became valid last."""
        usable = [key for key in self.keys_of(owner, use) if key.is_current(now)]
        return max(usable, key=lambda key: (key.not_before, key.kid), default=None)

    def agreement_of(self, authority: str, agreement_id: str) -> AgreementRecord | None:
        """An agreement, if it ever named the authority: any other does not exist for it, and no answer tells of its terms."""
        record = self.agreements.get(agreement_id)
        return record if record is not None and record.concerns(authority) else None

    def owner_of(self, kid: str) -> str | None:
        """Who owns the key with this id."""
        key = self.keys.get(kid)
        return key.owner if key else None
