"""Applies the patches of the wire's refusal vectors to a worked example."""

import copy
import json
from typing import Any

from hub.domain.encoding import b64url_decode, b64url_encode


def patched(example: dict[str, Any], case: dict[str, Any]) -> bytes:
    """The example as a JSON text, after the changes of the case; `protected` values are objects while they are patched."""
    document = _with_protected(copy.deepcopy(example), _decode)
    for pointer, value in case.get("set", {}).items():
        parent, name = _place(document, pointer)
        parent[name] = value
    for pointer in case.get("remove", []):
        parent, name = _place(document, pointer)
        del parent[name]
    document = _with_protected(document, _encode)
    for pointer, text in case.get("set_text", {}).items():
        parent, name = _place(document, pointer)
        parent[name] = text
    return json.dumps(document).encode()


def _place(document: Any, pointer: str) -> tuple[Any, Any]:
    *path, last = [int(step) if step.isdigit() else step for step in pointer.split("/")[1:]]
    for step in path:
        document = document[step]
    return document, last


def _with_protected(document: dict[str, Any], change: Any) -> dict[str, Any]:
    signatures = document.get("signatures", [])
    for holder in (document, *(one for one in signatures if isinstance(one, dict))):
        if "protected" in holder:
            holder["protected"] = change(holder["protected"])
    return document


def _decode(text: str) -> Any:
    return json.loads(b64url_decode(text))


def _encode(header: Any) -> str:
    return b64url_encode(json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode())
