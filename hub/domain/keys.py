"""Keys as the registry knows them: whose, for what, in which state, and the public JWK fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hub.domain.signatures import SignatureType


class KeyUse(StrEnum):
    """What a key is for. One key has one use for ever."""

    SIGNING = "signing"
    SEALING = "sealing"
    ROLE = "role"  # opens sealed parts only, held by a role inside the organisation
    CLIENT_AUTH = "client_auth"  # signs client assertions at the token endpoint


class KeyState(StrEnum):
    """Where a key stands in its life: published, used, still accepted, dead."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    REVOKED = "revoked"


class Custody(StrEnum):
    """Who holds the private half."""

    OWN = "own"
    HUB = "hub"


@dataclass(frozen=True)
class KeyRecord:
    """One public key in the registry. `kid` is unique over all owners (shared wire rule A1.6).

    `jwk` holds exactly the public members (kty, crv, x, y; or kty, alg, pub). `role` names the role of a ROLE key, else "".
    `signs` is the set of signature types that a SIGNING key may make. Bounds: valid from `not_before`, until before `not_after`.
    """

    kid: str
    owner: str
    use: KeyUse
    jwk: Mapping[str, str]
    state: KeyState
    not_before: datetime
    not_after: datetime
    custody: Custody = Custody.OWN
    role: str = ""
    signs: frozenset[SignatureType] = frozenset()

    def is_accepted(self, now: datetime) -> bool:
        """Whether signatures by this key (or seals to it) are accepted at `now`."""
        in_state = self.state in (KeyState.ACTIVE, KeyState.RETIRING)
        return in_state and self.not_before <= now < self.not_after

    def is_current(self, now: datetime) -> bool:
        """Whether something new may be made with this key at `now`."""
        return self.state is KeyState.ACTIVE and self.not_before <= now < self.not_after
