"""The one gate through which JSON from outside enters: strict, bounded, and the same for messages and for JOSE headers.

Beyond RFC 8259 it refuses (wire rule A1.2): a byte order mark, invalid UTF-8, duplicate member names, lone surrogates (raw or
escaped), member names outside printable ASCII, and numbers other than integers up to 2^53 - 1 written without `.`, `e` or `-0`.

orjson judges the grammar, UTF-8 and surrogates. Once the text is known to be JSON, what stands outside its strings is exact, and
tells the rest: one colon for each member, the digits of every number, the brackets.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from hub.domain.refusals import Refusal, RefusalCode

MAX_DEPTH = 32
"""Nesting of arrays and objects; the deepest message type of the catalogue needs less than half of it."""

MAX_STRUCTURE = 200_000
"""Commas and opening brackets in one text, those inside strings counted too: a bound on memory before anything is built."""

MAX_INTEGER = 2**53 - 1
_MAX_INTEGER_DIGITS = 16

_LONG_INTEGER = re.compile(rb"\d{16,}")
_SIXTEEN_DIGITS = b"9" * _MAX_INTEGER_DIGITS
_DIGITS_TO_9 = bytes.maketrans(b"012345678.E", b"999999999ee")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def malformed(detail: str) -> Refusal:
    """The refusal for bytes that are not of the exact form; `detail` names the rule and never quotes the bytes."""
    return Refusal(RefusalCode.MALFORMED_ENVELOPE, detail)


def parse_strict(octets: bytes, *, max_depth: int = MAX_DEPTH, max_structure: int = MAX_STRUCTURE) -> object:
    """Read one JSON text.

    Args:
        octets: UTF-8, without a byte order mark. The caller bounds its length.
        max_depth: how deep arrays and objects may be nested; a scalar has depth 0.
        max_structure: how many commas and opening brackets there may be.

    Returns:
        dict, list, str, int, bool or None.

    Raises:
        Refusal: MALFORMED_ENVELOPE.
    """
    if octets.count(b"{") + octets.count(b"[") + octets.count(b",") > max_structure:
        raise malformed("the JSON has too many members or elements")
    try:
        value: object = orjson.loads(octets)
    except orjson.JSONDecodeError:
        raise malformed("not one JSON text in UTF-8") from None
    skeleton = _outside_strings(octets)
    _check_depth(skeleton, max_depth)
    _check_numbers(skeleton)
    _check_names(value, skeleton.count(b":"))
    return value


def parse_object(octets: bytes, *, max_depth: int = MAX_DEPTH, max_structure: int = MAX_STRUCTURE) -> dict[str, Any]:
    """Read one JSON text that is an object. As `parse_strict` otherwise."""
    value = parse_strict(octets, max_depth=max_depth, max_structure=max_structure)
    if not isinstance(value, dict):
        raise malformed("not a JSON object")
    return value


def _outside_strings(octets: bytes) -> bytes:
    """What is left of a valid JSON text without its strings; runs of backslashes start inside them, always at an escape."""
    if b"\\" in octets:
        octets = octets.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(octets.split(b'"')[::2])


def _check_depth(skeleton: bytes, max_depth: int) -> None:
    brackets = skeleton.translate(None, _NOT_BRACKETS)
    for _ in range(max_depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise malformed("the JSON is nested too deep")


def _check_numbers(skeleton: bytes) -> None:
    uniform = skeleton.translate(_DIGITS_TO_9)
    if b"9e" in uniform or b"-0" in skeleton:
        raise malformed("a number is not written as an integer")
    if _SIXTEEN_DIGITS in uniform:
        for digits in _LONG_INTEGER.findall(skeleton):
            if len(digits) > _MAX_INTEGER_DIGITS or int(digits) > MAX_INTEGER:
                raise malformed("a number is greater than 2^53 - 1")


def _check_names(value: object, members_written: int) -> None:
    members_kept, names, pending = 0, set[str](), [value]
    while pending:
        node = pending.pop()
        if type(node) is dict:
            members_kept += len(node)
            names.update(node)
            pending.extend(node.values())
        elif type(node) is list:
            pending.extend(node)
    if members_kept != members_written:
        raise malformed("a member name occurs twice")
    joined = "".join(names)
    if not (joined.isascii() and joined.isprintable()):
        raise malformed("a member name is not printable ASCII")
