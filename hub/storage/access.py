"""What access control must remember: token ids that were used, and who holds which lease."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from hub.storage.store import Work
from hub.storage.tables import leases, used_tokens


class AlreadyUsedError(Exception):
    """This token id was used before."""


def burn(work: Work, issuer: str, jti: str, until: datetime) -> None:
    """Note that a token id is used; it need not be remembered past `until`.

    Raises:
        AlreadyUsedError: it was used before.
    """
    try:
        work.execute(insert(used_tokens).values(issuer=issuer, jti=jti, until=until))
    except IntegrityError as error:
        raise AlreadyUsedError from error


def forget_expired(work: Work, now: datetime) -> int:
    """Drop token ids that cannot be used again anyway; says how many."""
    return work.execute(delete(used_tokens).where(used_tokens.c.until < now)).rowcount


def take_lease(work: Work, name: str, holder: str, now: datetime, until: datetime) -> int | None:
    """Take or renew a named lease: its fence where `holder` now has it, None where somebody else does."""
    columns = leases.c
    taken = work.execute(
        update(leases)
        .where(columns.name == name, or_(columns.holder == holder, columns.until <= now))
        .values(holder=holder, until=until, fence=columns.fence + 1)
    )
    if taken.rowcount == 0:
        if work.execute(select(columns.name).where(columns.name == name)).first() is not None:
            return None
        work.execute(insert(leases).values(name=name, holder=holder, until=until, fence=1))
    return work.execute(select(columns.fence).where(columns.name == name)).scalar_one()
