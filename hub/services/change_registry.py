"""Changing the registry: decided on a picture of it, written only where that picture still stands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from hub.domain.refusals import HubFault
from hub.domain.registry import Registry
from hub.services.hub import Hub
from hub.storage.registry import RegistryMovedError, require_version
from hub.storage.store import Work

T = TypeVar("T")

OPERATOR = "operator"
"""The actor, in audit entries, of the hub's commands; which person ran them, the machine's own records say."""

_MAX_REGISTRY_MOVES = 5


def change_registry(hub: Hub, change: Callable[[Registry, Work], T]) -> T:
    """Change the registry in one transaction.

    Args:
        hub: the hub.
        change: looks at the registry, refuses what may not be, and writes. It is called again where the registry moved before
            its transaction, so it has no other effect.

    Raises:
        Refusal: whatever `change` refuses; nothing is kept then.
        HubFault: the registry kept moving.
    """
    for _ in range(_MAX_REGISTRY_MOVES):
        with hub.store.reading() as work:
            registry = hub.registry.at(work)
        try:
            return hub.store.write(partial(_change_if_unmoved, registry, change))
        except RegistryMovedError:
            continue
    raise HubFault("the registry kept moving")


def _change_if_unmoved(registry: Registry, change: Callable[[Registry, Work], T], work: Work) -> T:
    require_version(work, registry.version)
    return change(registry, work)
