"""Registrations: the file in which an agency hands its public keys to the hub's operator, outside the hub.

JSON: `{"authority": "jp.npa", "keys": [{kid, use, role?, signs?, not_before, not_after, jwk}, ...]}`. In which state a key enters
the registry is the operator's decision and does not stand in the file.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from hub.domain.keys import KeyRecord, KeyState
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object
from hub.formats.parties import key_document, read_key_document
from hub.formats.strict_tables import to_canonical

_INVALID = RefusalCode.INVALID_KEY
_OPERATORS = ("owner", "state", "custody")
_MAX_KEYS = 32


def write_registration(authority: str, keys: Iterable[KeyRecord]) -> bytes:
    """Write public keys as a registration, indented for a person to read."""
    rows = [{name: value for name, value in orjson.loads(key_document(key)).items() if name not in _OPERATORS} for key in keys]
    return orjson.dumps({"authority": authority, "keys": rows}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_registration(octets: bytes) -> tuple[str, tuple[KeyRecord, ...]]:
    """Read a registration: the authority, and its keys in state NEXT. That each key is sound is for the crypto layer to check.

    Raises:
        Refusal: INVALID_KEY: not of the form above, a key twice, or no key at all.
    """
    try:
        document = parse_object(octets)
    except Refusal as refusal:
        raise Refusal(_INVALID, refusal.detail) from None
    if document.keys() != {"authority", "keys"}:
        raise Refusal(_INVALID, "a registration has exactly the members authority and keys")
    authority, rows = document["authority"], document["keys"]
    if not isinstance(rows, list) or not 0 < len(rows) <= _MAX_KEYS:
        raise Refusal(_INVALID, f"keys: must be a list of 1 to {_MAX_KEYS}")
    keys = tuple(_read_row(row, authority) for row in rows)
    if len({key.kid for key in keys}) != len(keys):
        raise Refusal(_INVALID, "keys: a kid occurs twice")
    return keys[0].owner, keys


def _read_row(row: object, authority: object) -> KeyRecord:
    if not isinstance(row, dict) or row.keys() & set(_OPERATORS):
        raise Refusal(_INVALID, f"keys: each is an object without {', '.join(_OPERATORS)}")
    return read_key_document(to_canonical({**row, "owner": authority, "state": KeyState.NEXT.value}, _INVALID))
