"""File drop's mapping: a JSON file of the agency to a draft, an incoming message to a JSON file. Pure: octets in, octets out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connectors.contract import Collected, Draft, Prepared, RefusedByHub
from connectors.hub_client.drafts import make_attachment
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object

_ATTACHMENT_MEMBERS = {"file", "category"}


def attachment_names(octets: bytes) -> list[str]:
    """The files that an outgoing file asks for, in its `attachments` (`[{"file", "category"}]`).

    Raises:
        Refusal: MALFORMED_ENVELOPE, SCHEMA_VIOLATION.
    """
    return [str(one["file"]) for one in _read_rows(parse_object(octets))]


def to_draft(octets: bytes, files: Mapping[str, bytes]) -> Draft:
    """Read an outgoing file: `{"header", "body", "attachments"?}`.

    Args:
        octets: the file.
        files: the octets of each file that `attachment_names` names.

    Raises:
        Refusal: MALFORMED_ENVELOPE, not JSON as messages may hold it; SCHEMA_VIOLATION, other members.
    """
    members = parse_object(octets)
    rows = _read_rows(members)
    header, body = members.get("header"), members.get("body")
    if not members.keys() <= {"header", "body", "attachments"} or not isinstance(header, dict) or not isinstance(body, dict):
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, "an outgoing file has header, body and perhaps attachments")
    attachments = tuple(make_attachment(one["file"], one["category"], files[one["file"]]) for one in rows)
    return Draft(header, body, attachments)


def accepted_record(sent: Prepared) -> bytes:
    """What is put beside a file that was accepted: ids, and the hub's receipt."""
    return _as_json(
        {"outcome": "accepted", "id": sent.id, "exchange": sent.exchange, "digest": sent.digest, "receipt": sent.receipt}
    )


def refused_record(refusal: Refusal) -> bytes:
    """What is put beside a file that was refused: the reason, and the signed problem document where the hub refused."""
    findings = [
        {"rule": one.rule, "code": one.code, "article": one.article, "recipient": one.recipient, "values": dict(one.values)}
        for one in refusal.findings
    ]
    record: dict[str, Any] = {"outcome": "refused", "code": refusal.code, "detail": refusal.detail, "findings": findings}
    if isinstance(refusal, RefusedByHub):
        record |= {"problem": refusal.problem.decode("utf-8"), "signature": refusal.signature}
    return _as_json(record)


def rejected_record(item: Collected, refusal: Refusal) -> bytes:
    """What is put among the incoming for an item that could not be taken."""
    record = {"outcome": "withheld" if isinstance(refusal, RefusedByHub) else "rejected", "delivery": item.delivery}
    return _as_json({**record, "sender": item.sender, "type": item.type, "code": refusal.code, "detail": refusal.detail})


def _read_rows(members: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = members.get("attachments", [])
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, "attachments is a list of {file, category}, each file named once")
    if len({row["file"] for row in rows}) != len(rows):
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, "attachments names a file twice")
    return rows


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and row.keys() == _ATTACHMENT_MEMBERS and all(isinstance(one, str) for one in row.values())


def _as_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
