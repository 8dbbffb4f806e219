"""Drafts as people and programs write them: a JSON file with `header` and `body`, and files to go with it."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

from connectors.contract import Draft, DraftAttachment
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object

_UNKNOWN_MEDIA_TYPE = "application/octet-stream"


def read_draft(octets: bytes, attachments: tuple[DraftAttachment, ...] = ()) -> Draft:
    """Read `{"header": {...}, "body": {...}}`.

    Raises:
        Refusal: MALFORMED_ENVELOPE, not JSON as messages may hold it; SCHEMA_VIOLATION, other members.
    """
    members: dict[str, Any] = parse_object(octets)
    if members.keys() != {"header", "body"} or not all(isinstance(one, dict) for one in members.values()):
        raise Refusal(RefusalCode.SCHEMA_VIOLATION, "a draft has exactly the members header and body, both objects")
    return Draft(members["header"], members["body"], attachments)


def read_attachment(text: str) -> DraftAttachment:
    """Read the file that `CATEGORY=PATH` names.

    Raises:
        Refusal: INVALID_REQUEST, the text has another form.
        OSError: the file cannot be read.
    """
    category, equals, name = text.partition("=")
    if not equals or not category or not name:
        raise Refusal(RefusalCode.INVALID_REQUEST, "an attachment is given as CATEGORY=FILE, for instance document=passport.pdf")
    path = Path(name)
    return make_attachment(path.name, category, path.read_bytes())


def make_attachment(name: str, category: str, octets: bytes) -> DraftAttachment:
    """An attachment whose media type is told from its name."""
    return DraftAttachment(name, mimetypes.guess_type(name)[0] or _UNKNOWN_MEDIA_TYPE, category, octets)
