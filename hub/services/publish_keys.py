"""The public keys of the hub and of the parties, in every state: an old receipt is verified with an old key."""

from __future__ import annotations

from dataclasses import dataclass

from hub.domain.keys import KeyRecord
from hub.domain.parties import HUB_PARTY, Party
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.hub import Hub


@dataclass(frozen=True)
class PublishedKeys:
    """The keys of one authority, by kid. `party` is None for the hub itself."""

    authority: str
    party: Party | None
    keys: tuple[KeyRecord, ...]


def publish_keys(hub: Hub, authority: str = HUB_PARTY) -> PublishedKeys:
    """The public keys registered for one authority.

    They are open to everybody who can name the authority; the list of authorities is not.

    Raises:
        Refusal: NOT_FOUND.
    """
    with hub.store.reading() as work:
        registry = hub.registry.at(work)
    party = registry.parties.get(authority)
    keys = tuple(sorted((key for key in registry.keys.values() if key.owner == authority), key=lambda key: key.kid))
    if party is None and not keys:
        raise Refusal(RefusalCode.NOT_FOUND)
    return PublishedKeys(authority, party, keys)
