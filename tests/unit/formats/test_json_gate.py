from typing import Any

import pytest

from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.json_gate import parse_object, parse_strict
from tests.vectors.files import ACCEPTED, read_cases

CASES = read_cases("wire/json-texts.json")


def octets_of(case: dict[str, Any]) -> bytes:
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "repeat" in case:
        text, times = case["repeat"]
        return str(text * times).encode()
    return str(case["text"]).encode()


def refusal_of(octets: bytes, **limits: int) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse_strict(octets, **limits)
    return caught.value


@pytest.mark.parametrize("case", [case for case in CASES if case["expect"] == ACCEPTED], ids=lambda case: case["name"])
def test_the_gate_lets_through(case: dict[str, Any]) -> None:
    parse_strict(octets_of(case))


@pytest.mark.parametrize("case", [case for case in CASES if case["expect"] != ACCEPTED], ids=lambda case: case["name"])
def test_the_gate_refuses(case: dict[str, Any]) -> None:
    assert refusal_of(octets_of(case)).code == case["expect"]


def test_what_passes_is_returned_as_it_was_written() -> None:
    value = parse_strict('{"a":[1,-2,"\\u0041😀",null,true],"b":{"c":9007199254740991}}'.encode())
    assert value == {"a": [1, -2, "A😀", None, True], "b": {"c": 9007199254740991}}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b'{"a":1,"a":2}', "a member name occurs twice"),
        (b'{"a":1.5}', "a number is not written as an integer"),
        (b'{"a":9007199254740992}', "a number is greater than 2^53 - 1"),
        ('{"é":1}'.encode(), "a member name is not printable ASCII"),
        (b"[" * 33 + b"]" * 33, "the JSON is nested too deep"),
        (b'{"secret-name":"secret-value"', "not one JSON text in UTF-8"),
    ],
)
def test_the_refusal_names_the_rule_and_quotes_nothing(text: bytes, rule: str) -> None:
    assert refusal_of(text).detail == rule


def test_many_small_members_are_refused_before_anything_is_built() -> None:
    assert refusal_of(b"[" + b"{}," * 200_000 + b"{}]").detail == "the JSON has too many members or elements"


def test_the_limits_can_be_narrower() -> None:
    assert refusal_of(b"[[1]]", max_depth=1).code is RefusalCode.MALFORMED_ENVELOPE
    assert refusal_of(b"[1,2]", max_structure=1).code is RefusalCode.MALFORMED_ENVELOPE
    assert parse_strict(b"[1]", max_depth=1, max_structure=1) == [1]


def test_an_array_is_not_an_object() -> None:
    with pytest.raises(Refusal) as caught:
        parse_object(b"[]")
    assert (caught.value.code, caught.value.detail) == (RefusalCode.MALFORMED_ENVELOPE, "not a JSON object")
