"""Reading the audit entries of one exchange, which is an event of its own."""

from __future__ import annotations

import json
from typing import Any

from hub.domain.audit import AuditEntry, AuditEvent
from hub.domain.refusals import Refusal, RefusalCode
from hub.services.change_registry import OPERATOR
from hub.services.hub import Hub
from hub.storage import audit


def read_audit(hub: Hub, exchange: str) -> list[dict[str, Any]]:
    """Every entry about an exchange, oldest first, each with its `index` in the log (None while it waits for one).

    Raises:
        Refusal: NOT_FOUND where there is no entry.
    """
    with hub.store.reading() as work:
        rows = audit.of_exchange(work, exchange)
    if not rows:
        raise Refusal(RefusalCode.NOT_FOUND, "there is no entry about such an exchange")
    hub.note_alone(
        AuditEntry(AuditEvent.EVIDENCE_READ, hub.clock.now(), OPERATOR, exchange=exchange, details={"entries": len(rows)})
    )
    return [{"index": row.tree_index, **json.loads(row.entry)} for row in rows]
