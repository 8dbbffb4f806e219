"""Parties: the authorities that exchange through the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hub.domain.keys import Custody

HUB_PARTY = "hub"
"""The authority id under which the hub's own keys stand in the registry."""


class PartyKind(StrEnum):
    """What sort of organisation a party is."""

    HUB = "hub"
    DOMESTIC_AGENCY = "domestic_agency"
    LIAISON_POST = "liaison_post"
    FOREIGN_PARTNER = "foreign_partner"
    LOCAL_GOVERNMENT = "local_government"
    NGO = "ngo"


class Standing(StrEnum):
    """Whether a party may take part in exchanges."""

    GOOD = "good"
    SUSPENDED = "suspended"


class SealingProfile(StrEnum):
    """How content keys are wrapped for a party (wire profiles A4 and A5). Each party has exactly one."""

    PQ_1 = "pq-1"
    CLASSIC_1 = "classic-1"


class DeliveryMode(StrEnum):
    """How a party gets its messages."""

    PULL = "pull"
    PUSH = "push"


@dataclass(frozen=True)
class ContactPoint:
    """A unit that can be reached. `hours` is "24/7" or text like "Mon-Fri 09:00-18:00 Asia/Tokyo"."""

    unit: str
    hours: str
    email: str = ""
    phone: str = ""


@dataclass(frozen=True)
class Party:
    """One authority. `names` maps a language tag to the name; "en" is always there. `country` is ISO 3166-1 alpha-2.

    `parent` is the authority that a post belongs to, else "". `push_address` is an HTTPS address where delivery is push, else "".
    `custody` says who makes and keeps its private keys; what holds for one key stands in that key's own record.
    """

    authority: str
    names: Mapping[str, str]
    country: str
    kind: PartyKind
    profile: SealingProfile
    delivery: DeliveryMode = DeliveryMode.PULL
    push_address: str = ""
    standing: Standing = Standing.GOOD
    parent: str = ""
    custody: Custody = Custody.OWN
    contact_points: tuple[ContactPoint, ...] = ()
