"""What a decision was made from, and the decision itself, as JSON: kept in the clear, so it holds no value.

From the facts any decision can be made again years later without decrypting the message. Free text, the salt and the names of
attachments are left out: none of them bears on a decision.
"""

from __future__ import annotations

from typing import Any

import orjson

from hub.domain.decisions import Decision
from hub.domain.encoding import format_time, parse_time
from hub.domain.messages import DataCategory, Handling, Header, MessageFacts, PresentField, Tlp, Urgency
from hub.domain.refusals import Finding

_PLAIN = (
    "v", "id", "type", "schema", "sender", "agreement", "purpose", "classification", "language",
    "crime_area", "case", "in_reply_to", "urgency_ground", "retain_until",
)  # fmt: skip


def write_facts(facts: MessageFacts) -> bytes:
    """The facts as JSON; `fields` are [path, category or null, sealed]."""
    header = facts.header
    members: dict[str, object] = {name: getattr(header, name) for name in _PLAIN if getattr(header, name) != ""}
    members.update(
        recipients=list(header.recipients),
        issued=format_time(header.issued),
        expires=format_time(header.expires),
        urgency=header.urgency.value,
        tlp=header.tlp.value,
        handling=sorted(header.handling),
    )
    fields = [(one.path, one.category, one.sealed) for one in facts.fields]
    return orjson.dumps({"header": members, "fields": fields})


def read_facts(octets: bytes) -> MessageFacts:
    """Read what `write_facts` wrote."""
    document = orjson.loads(octets)
    members: dict[str, Any] = document["header"]
    header = Header(
        **{name: members[name] for name in _PLAIN if name in members},
        recipients=tuple(members["recipients"]),
        issued=parse_time(members["issued"]),
        expires=parse_time(members["expires"]),
        urgency=Urgency(members["urgency"]),
        tlp=Tlp(members["tlp"]),
        handling=frozenset(Handling(code) for code in members["handling"]),
    )
    fields = tuple(
        PresentField(path, DataCategory(category) if category else None, sealed) for path, category, sealed in document["fields"]
    )
    return MessageFacts(header, fields)


def decision_members(decision: Decision) -> list[dict[str, object]]:
    """For each recipient the outcome and what is removed under which article, as JSON values."""
    return [
        {
            "recipient": one.recipient,
            "outcome": one.outcome.value,
            "removed": [{"path": gone.path, "category": gone.category.value, "article": gone.article} for gone in one.removals],
        }
        for one in decision.recipients
    ]


def finding_members(findings: tuple[Finding, ...]) -> list[dict[str, object]]:
    """Findings as JSON values, for problem documents, previews and audit entries."""
    return [
        {
            "rule": one.rule,
            "code": one.code.value if one.code else None,
            "article": one.article,
            "recipient": one.recipient,
            "values": dict(one.values),
        }
        for one in findings
    ]
