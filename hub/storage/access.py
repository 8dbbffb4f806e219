"""What access control must remember: token ids that were used, and who holds which lease."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, text

from hub.storage.store import Work
from hub.storage.tables import Instant, insert_new, used_tokens

_BURN = insert_new(used_tokens)
_TAKE_LEASE = text(
    "INSERT INTO leases (name, holder, until, fence) VALUES (:name, :holder, :until, 1) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until, fence = leases.fence + 1 "
    "WHERE leases.holder = excluded.holder OR leases.until <= :now RETURNING fence"
).bindparams(bindparam("until", type_=Instant), bindparam("now", type_=Instant))


class AlreadyUsedError(Exception):
    """This token id was used before."""


def burn(work: Work, issuer: str, jti: str, until: datetime) -> None:
    """Note that a token id is used; it need not be remembered past `until`.

    Raises:
        AlreadyUsedError: it was used before.
    """
    if work.execute(_BURN, {"issuer": issuer, "jti": jti, "until": until}).first() is None:
        raise AlreadyUsedError


def forget_expired(work: Work, now: datetime) -> int:
    """Drop token ids that cannot be used again anyway; says how many."""
    return work.execute(delete(used_tokens).where(used_tokens.c.until < now)).rowcount


def take_lease(work: Work, name: str, holder: str, now: datetime, until: datetime) -> int | None:
    """Take or renew a named lease: its fence where `holder` now has it, None where somebody else does."""
    row = work.execute(_TAKE_LEASE, {"name": name, "holder": holder, "now": now, "until": until}).first()
    return row.fence if row else None
