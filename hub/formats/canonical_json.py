"""The one canonical form of JSON: RFC 8785 (JCS), restricted to what messages may hold, where orjson writes the same octets."""

from __future__ import annotations

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical_json(value: object) -> bytes:
    """Write a value as canonical JSON, UTF-8.

    Args:
        value: dict with ASCII names, list or tuple, str, int of at most 53 bits, bool or None, nested.

    Raises:
        ValueError: there is anything else in it, a float above all: outside this subset orjson and RFC 8785 differ.
    """
    _check(value)
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise ValueError("not in the canonical subset of JSON") from error


def _check(value: object) -> None:
    if value is None or isinstance(value, str | int):
        return
    if isinstance(value, dict):
        for name, member in value.items():
            if not (isinstance(name, str) and name.isascii()):
                raise ValueError("a member name is not ASCII")
            _check(member)
    elif isinstance(value, list | tuple):
        for element in value:
            _check(element)
    else:
        raise ValueError(f"{type(value).__name__} has no canonical form")
