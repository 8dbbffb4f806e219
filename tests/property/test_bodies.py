"""Laws of the catalogue on generated bodies: what is generated from a field list is accepted but for the rules between fields,
another validator gives the same verdict, and what is left after taking fields out can be read."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hub.domain.catalogue import Field, FieldKind, Group
from hub.domain.refusals import Refusal
from hub.formats.bodies import remove_fields
from hub.formats.json_schemas import PATTERNS
from tests.message_examples import SCHEMAS, catalogue, example, reader

TYPES = sorted(name for name, _ in catalogue().types)
WORDS = st.text("abcXYZ 王小明ễ😀'\"&<", min_size=1, max_size=12).map(lambda text: f"w{text}")
PLAIN: dict[FieldKind, st.SearchStrategy[Any]] = {
    FieldKind.TEXT: WORDS,
    FieldKind.LONG_TEXT: WORDS.map(lambda text: f"{text}\n{text}"),
    FieldKind.BOOLEAN: st.booleans(),
    FieldKind.DECIMAL: st.sampled_from(["0", "-12.5", "120.000001"]),
    FieldKind.DATE: st.dates().map(str),
    FieldKind.PARTIAL_DATE: st.builds(lambda day, length: str(day)[:length], st.dates(), st.sampled_from([4, 7, 10])),
    FieldKind.TIME: st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat() + "Z"),
    FieldKind.UUID: st.just("01932a4e-6c00-7a31-9f02-5d1c8be04471"),
    FieldKind.AUTHORITY: st.sampled_from(["tw.nia", "jp.npa", "tw.shelter.garden"]),
    FieldKind.SEALED: st.just("a.b.c.d.e"),
}


def values_of(field: Field) -> st.SearchStrategy[Any]:
    if field.group is not None:
        value: st.SearchStrategy[Any] = bodies_of(field.group)
    elif field.codes is not None:
        value = st.sampled_from(list(field.codes.codes))
    elif field.kind is FieldKind.INTEGER:
        value = st.integers(field.minimum, field.maximum)
    elif field.pattern:
        value = st.from_regex(field.pattern, fullmatch=True).filter(lambda text: len(text) <= field.max_length and text.isascii())
    else:
        value = PLAIN[field.kind]
    if not field.many:
        return value
    unique = field.kind in (FieldKind.CODE, FieldKind.AUTHORITY)
    least = max(field.at_least, 1)
    return st.lists(value, min_size=least, max_size=max(least, min(field.at_most, 3)), unique=unique)


def bodies_of(group: Group) -> st.SearchStrategy[dict[str, Any]]:
    members: dict[bool, dict[str, st.SearchStrategy[Any]]] = {True: {}, False: {}}
    for field in group.fields:
        members[field.required][field.name] = values_of(field)
    return st.fixed_dictionaries(members[True], optional=members[False]).filter(bool)


@cache
def bodies(type_: str) -> st.SearchStrategy[dict[str, Any]]:
    return bodies_of(catalogue().get(type_, 1).body)


def rules_of(group: Group) -> set[str]:
    below = [rules_of(one.group) for one in group.fields if one.group]
    return {rule.name for rule in group.rules}.union(*below)


def verdict(type_: str, body: Any) -> set[str]:
    """The rules that a body breaks; empty where it is read."""
    header = reader().read_header(example(type_)[0])
    try:
        reader().read_body(header, body)
    except Refusal as refusal:
        return {dict(one.values)["rule"] for one in refusal.findings}
    return set()


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_a_generated_body_breaks_nothing_but_rules_between_fields(type_: str, data: st.DataObject) -> None:
    group = catalogue().get(type_, 1).body
    assert verdict(type_, data.draw(bodies(type_))) <= rules_of(group)


@pytest.mark.parametrize("type_", TYPES)
def test_without_any_one_required_field_an_example_is_refused(type_: str) -> None:
    group = catalogue().get(type_, 1).body
    count = len(required_places(group, example(type_)[1]))
    assert count > 10
    for at in range(count):
        body = example(type_)[1]
        holder, name = required_places(group, body)[at]
        del holder[name]
        assert verdict(type_, body) & {"required", "minProperties"}


def required_places(group: Group, body: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Where a required field is present: (the object that holds it, its name), at every depth."""
    found = [(body, one.name) for one in group.fields if one.required and one.name in body]
    for one in group.fields:
        held = body.get(one.name, [])
        inner = [required_places(one.group, each) for each in (held if one.many else [held] if held else [])] if one.group else []
        found += [place for below in inner for place in below]
    return found


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) within a JSON value."""
    if isinstance(value, dict | list):
        own = [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
        return own + [place for holder, key in own for place in places(holder[key])]
    return []


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_another_validator_gives_the_same_verdict_on_a_mutilated_example(type_: str, data: st.DataObject) -> None:
    body = example(type_)[1]
    for _ in range(data.draw(st.integers(0, 2))):
        holder, key = data.draw(st.sampled_from(places(body)))
        if data.draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = data.draw(st.sampled_from(["", "x", " ", 7, True, None, [], {}, "2026-11-22", "Other"]))
        assume(places(body))
    schema = json.loads((SCHEMAS / "json" / f"{type_}.json").read_text("utf-8"))
    ours = verdict(type_, body)
    with_python_only = {rule.name for rule in catalogue().get(type_, 1).body.rules if rule.when_header} | {"no_such_value"}
    theirs = jsonschema.Draft202012Validator(schema).is_valid(body)
    assert theirs == (not ours - with_python_only - orders_of(catalogue().get(type_, 1).body))


def orders_of(group: Group) -> set[str]:
    below = [orders_of(one.group) for one in group.fields if one.group]
    return {rule.name for rule in group.rules if rule.order}.union(*below)


@pytest.mark.parametrize("type_", TYPES)
@given(data=st.data())
def test_what_is_left_after_taking_fields_out_is_read_and_holds_none_of_them(type_: str, data: st.DataObject) -> None:
    header, body = example(type_)
    read = reader().read_header(header)
    fields = reader().read_body(read, body)
    gone = data.draw(st.sets(st.sampled_from([one.path for one in fields])))
    before = copy.deepcopy(body)
    rest = remove_fields(body, gone)
    left = reader().check_rendition(read, rest, gone)
    assert body == before
    assert len(left) == len(fields) - len(gone)
    assert leaves(rest) == [
        value for path, value in zip((one.path for one in fields), leaves(body), strict=True) if path not in gone
    ]


def patterns_of(group: Group) -> set[str]:
    below = [patterns_of(one.group) for one in group.fields if one.group]
    return {one.pattern or PATTERNS[one.kind] for one in group.fields if one.pattern or one.kind in PATTERNS}.union(*below)


ALL_PATTERNS = sorted(patterns_of(catalogue().header).union(*(patterns_of(one.body) for one in catalogue().types.values())))


@pytest.mark.parametrize("pattern", ALL_PATTERNS)
@given(data=st.data())
def test_no_pattern_lets_a_character_through_that_xml_cannot_hold(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(pattern, fullmatch=True))
    assert not {one for one in text if (one < " " and one not in "\t\n") or one in "\x7f\ufffe\uffff"}


def leaves(value: Any) -> list[Any]:
    """The values of the leaf fields in document order."""
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for one in value for leaf in leaves(one)]
    return [value]
