"""Laws of the codecs: what one side writes the other reads, and the fast gate judges as a slow, obvious one does."""

import base64
import json
import math
import re
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.refusals import Refusal
from hub.formats.canonical_json import canonical_json
from hub.formats.json_gate import parse_strict

NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | STRINGS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)
ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=2)
ANY_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
WILD = st.recursive(
    SCALARS | ANY_NUMBER,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_NAME, inner, max_size=3),
    max_leaves=12,
)
TOKENS = st.sampled_from(
    [*"{}[],: 1", "-0", "1.0", "1e1", "9007199254740992", "true", "null"]
    + [json.dumps(text) for text in ("a", "b", "é", "\ud800", "\\", '"', "x:{")]
    + ['"\\u0061"']
)


def slowly_judged(text: str) -> bool:
    """The rules of the gate, one at a time, on the standard library's parser."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names) or not all(0x20 <= ord(letter) <= 0x7E for name in names for letter in name):
            raise ValueError
        return dict(pairs)

    def integer(digits: str) -> int:
        if digits == "-0" or not -(2**53) < int(digits) < 2**53:
            raise ValueError
        return int(digits)

    def other(_text: str) -> float:
        raise ValueError

    try:
        value = json.loads(text, object_pairs_hook=members, parse_int=integer, parse_float=other, parse_constant=other)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def judged(octets: bytes) -> bool:
    try:
        parse_strict(octets)
    except Refusal:
        return False
    return True


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_a_message_may_hold_passes_the_gate_unchanged(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert parse_strict(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()) == value


@given(WILD, st.booleans())
def test_the_gate_judges_values_as_the_slow_one_does(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert judged(text.encode()) == slowly_judged(text)


@given(st.lists(TOKENS, max_size=12).map("".join))
def test_the_gate_judges_scrambled_texts_as_the_slow_one_does(text: str) -> None:
    assert judged(text.encode()) == slowly_judged(text)


@given(st.lists(st.tuples(NAMES, SCALARS), min_size=2, max_size=6), st.randoms())
def test_the_gate_sees_a_name_that_is_written_twice(pairs: list[tuple[str, Any]], random: Any) -> None:
    doubled = [*pairs, random.choice(pairs)]
    text = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in doubled) + "}"
    with pytest.raises(Refusal):
        parse_strict(text.encode())


@given(st.binary(max_size=60))
def test_the_gate_answers_any_octets_with_a_value_or_a_refusal(octets: bytes) -> None:
    judged(octets)


@given(VALUES)
def test_the_canonical_form_is_that_of_rfc_8785(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@given(VALUES)
def test_the_canonical_form_passes_the_gate_unchanged(value: Any) -> None:
    assert parse_strict(canonical_json(value)) == value


@given(WILD)
def test_the_canonical_form_is_that_of_rfc_8785_or_there_is_none(value: Any) -> None:
    try:
        octets = canonical_json(value)
    except ValueError:
        return
    assert octets == rfc8785.dumps(value)


@given(st.binary(max_size=64))
def test_base64url_reads_what_it_writes(octets: bytes) -> None:
    text = b64url_encode(octets)
    assert b64url_decode(text) == octets
    assert len(text) == math.ceil(len(octets) * 4 / 3)


@given(st.text("AQgw-_+/= \nBé", max_size=9))
def test_base64url_reads_canonical_text_only(text: str) -> None:
    looks_right = re.fullmatch(r"[A-Za-z0-9_-]*", text) and len(text) % 4 != 1
    octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if looks_right else b""
    if looks_right and b64url_encode(octets) == text:
        assert b64url_decode(text) == octets
    else:
        with pytest.raises(ValueError, match=r"base64|ascii"):
            b64url_decode(text)
