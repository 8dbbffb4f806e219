"""Read the catalogue from TOML: `codes/` (code lists), `groups/` (shared groups), `catalogue/` (the header and each type).

The grammar, by example, stands in `schemas/README.md`. An unknown key, and anything that contradicts itself, is an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from hub.domain.agreements import Deadline
from hub.domain.catalogue import (
    ANY_NUMBER,
    LANGUAGES,
    MAX_LENGTHS,
    Answer,
    Catalogue,
    Code,
    CodeList,
    Condition,
    Field,
    FieldKind,
    Group,
    MessageType,
    Route,
    Rule,
)
from hub.domain.messages import DataCategory, Urgency
from hub.domain.parties import PartyKind

T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_TYPE_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")
_CARDINALITY = re.compile(r"(?P<least>\d+)\.\.(?P<most>\d+|n)\Z")
_DURATION = re.compile(r"(?P<count>[1-9]\d*)(?P<unit>min|h|d)\Z")
_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_ORDERED = frozenset({FieldKind.DATE, FieldKind.TIME})
_RESERVED = frozenset({"header"})
"""A path that starts with /header/ leads into the header, so no body has a field of that name."""


class CatalogueError(ValueError):
    """The catalogue is incomplete or contradicts itself. The text names the file and the place."""


class _Table:
    """A TOML table whose keys are taken one by one; what is left at the end is unknown."""

    def __init__(self, where: str, values: object) -> None:
        if not isinstance(values, dict):
            raise CatalogueError(f"{where}: a table is expected")
        self.where = where
        self._values: dict[str, object] = dict(values)

    def take(self, key: str, kind: type[T]) -> T:
        """Take a value that must be there."""
        if key not in self._values:
            raise CatalogueError(f"{self.where}: {key} is missing")
        value = self._values.pop(key)
        if type(value) is not kind:
            raise CatalogueError(f"{self.where}: {key} must be {kind.__name__}")
        return value

    def take_or(self, key: str, default: T) -> T:
        """Take a value that may be absent, of the same kind as the default."""
        return self.take(key, type(default)) if key in self._values else default

    def texts(self) -> dict[str, str]:
        """Take one text for each of the portal's languages."""
        return {language: self.take(language, str) for language in LANGUAGES}

    def texts_at(self, key: str) -> dict[str, str]:
        """Take a table of one text for each language; empty where it is absent."""
        if key not in self._values:
            return {}
        inner = _Table(f"{self.where}: {key}", self._values.pop(key))
        texts = inner.texts()
        inner.close()
        return texts

    def string_lists(self, key: str) -> dict[str, tuple[str, ...]]:
        """Take a table of arrays of strings; empty where it is absent."""
        inner = _Table(f"{self.where}: {key}", self._values.pop(key, {}))
        return {name: inner.strings(name) for name in list(inner._values)}

    def tables(self, key: str) -> list[_Table]:
        """Take an array of tables, empty where it is absent."""
        return [_Table(f"{self.where}: {key}[{at}]", one) for at, one in enumerate(self.take_or(key, list[object]()))]

    def named(self, key: str) -> list[tuple[str, _Table]]:
        """Take a table of tables in the order of the file, empty where it is absent."""
        return [
            (name, _Table(f"{self.where}: {key}.{name}", one)) for name, one in self.take_or(key, dict[str, object]()).items()
        ]

    def strings(self, key: str) -> tuple[str, ...]:
        """Take an array of strings, empty where it is absent."""
        values = self.take_or(key, list[object]())
        if not all(isinstance(one, str) for one in values):
            raise CatalogueError(f"{self.where}: {key} holds something else than text")
        return tuple(str(one) for one in values)

    def close(self) -> None:
        """Refuse what was not taken."""
        if self._values:
            raise CatalogueError(f"{self.where}: unknown key {', '.join(self._values)}")


def load_catalogue(folder: Path) -> Catalogue:
    """Read the whole catalogue from a `schemas` folder.

    Raises:
        CatalogueError: a file is not TOML, a key is unknown or missing, or something contradicts itself.
    """
    code_lists = {path.stem: _read_code_list(path) for path in sorted((folder / "codes").glob("*.toml"))}
    groups = _Groups(folder / "groups", code_lists)
    header_file = _open(folder / "catalogue" / "header.toml")
    header = groups.read("", header_file)
    header_file.close()
    types: dict[tuple[str, int], MessageType] = {}
    for path in sorted((folder / "catalogue").glob("*.toml")):
        if path.stem == "header":
            continue
        one = _read_type(path, groups, code_lists, header)
        if (one.name, one.schema) in types:
            raise CatalogueError(f"{path.name}: {one.name} {one.schema} stands in two files")
        types[one.name, one.schema] = one
    return Catalogue(header, types, code_lists)


def _open(path: Path) -> _Table:
    try:
        return _Table(path.name, tomllib.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{path.name}: {error}") from error


def _read_code_list(path: Path) -> CodeList:
    table = _open(path)
    codes: dict[str, Code] = {}
    for name, one in table.named("codes"):
        code = Code(one.texts(), one.take_or("local", False), one.take_or("maps_to", ""))
        one.close()
        if bool(code.maps_to) and not code.local:
            raise CatalogueError(f"{one.where}: only a local code maps to another")
        codes[name] = code
    dangling = [name for name, code in codes.items() if code.maps_to and code.maps_to not in codes]
    if dangling or not codes:
        raise CatalogueError(f"{path.name}: no codes, or a code maps to none of them: {', '.join(dangling)}")
    read = CodeList(path.stem, table.texts_at("title"), table.take("source", str), table.take("version", str), codes)
    table.close()
    if not read.titles:
        raise CatalogueError(f"{path.name}: title is missing")
    return read


class _Groups:
    """Reads groups of fields; each shared group is read once."""

    def __init__(self, folder: Path, code_lists: Mapping[str, CodeList]) -> None:
        self._folder = folder
        self._code_lists = code_lists
        self._shared: dict[str, Group] = {}
        self._open: list[str] = []

    def shared(self, name: str) -> Group:
        """The shared group of this name."""
        if name in self._open:
            raise CatalogueError(f"groups/{name}.toml: contains itself")
        if name not in self._shared:
            self._open.append(name)
            table = _open(self._folder / f"{name}.toml")
            self._shared[name] = self.read(name, table)
            table.close()
            self._open.pop()
        return self._shared[name]

    def read(self, name: str, table: _Table) -> Group:
        """Take `fields` and `rules` of a table."""
        fields = tuple(self._field(field_name, one) for field_name, one in table.named("fields"))
        if not fields:
            raise CatalogueError(f"{table.where}: no fields")
        group = Group(name, fields)
        rules = tuple(self._rule(one, group) for one in table.tables("rules"))
        if len({rule.name for rule in rules}) < len(rules):
            raise CatalogueError(f"{table.where}: two rules of one name")
        return Group(name, fields, rules)

    def _field(self, name: str, table: _Table) -> Field:
        if not _NAME.match(name) or name in _RESERVED:
            raise CatalogueError(f"{table.where}: a field's name is ASCII snake_case, and not a reserved word")
        kind = _member(FieldKind, table.take("type", str), table)
        at_least, at_most, many = _cardinality(table)
        category = table.take_or("category", "")
        one = Field(
            name=name,
            kind=kind,
            labels=table.texts(),
            at_least=at_least,
            at_most=at_most,
            many=many,
            helps=table.texts_at("help"),
            category=_member(DataCategory, category, table) if category else None,
            codes=self._codes(table.take("codes", str), table) if kind is FieldKind.CODE else None,
            group=self._group_of(table) if kind is FieldKind.GROUP else None,
            max_length=table.take_or("max_length", MAX_LENGTHS[kind]) if kind in MAX_LENGTHS else 0,
            pattern=table.take_or("pattern", "") if kind is FieldKind.TEXT else "",
            minimum=table.take_or("minimum", 0) if kind is FieldKind.INTEGER else 0,
            maximum=table.take("maximum", int) if kind is FieldKind.INTEGER else 0,
            standard=table.take_or("standard", ""),
        )
        table.close()
        if one.pattern and not (one.pattern.startswith("^") and one.pattern.endswith("$")):
            raise CatalogueError(f"{table.where}: a pattern is anchored at both ends")
        if one.group is not None and any(rule.when_header for rule in one.group.rules):
            raise CatalogueError(f"{table.where}: a rule that looks at the header stands with the type")
        return one

    def _group_of(self, table: _Table) -> Group:
        name = table.take_or("group", "")
        return self.shared(name) if name else self.read("", table)

    def _codes(self, name: str, table: _Table) -> CodeList:
        if name not in self._code_lists:
            raise CatalogueError(f"{table.where}: no code list {name}")
        return self._code_lists[name]

    def _rule(self, table: _Table, group: Group) -> Rule:
        rule = Rule(
            name=table.take("name", str),
            texts=table.texts(),
            when=self._conditions("when", table, group),
            then=self._conditions("then", table, group),
            when_header=table.string_lists("when_header"),
            exactly_one=table.strings("exactly_one"),
            order=tuple(tuple(path.split("/")) for path in table.strings("order")),
            standard=table.take_or("standard", ""),
        )
        table.close()
        demands = [bool(rule.then), bool(rule.exactly_one), bool(rule.order)]
        if demands.count(True) != 1 or len(rule.order) not in (0, 2) or len(rule.exactly_one) == 1:
            raise CatalogueError(f"{table.where}: a rule has one demand: then, exactly_one (two or more) or order (two)")
        if (rule.when or rule.when_header) and not rule.then:
            raise CatalogueError(f"{table.where}: when needs then")
        if any(_follow(group, path, table).kind not in _ORDERED for path in rule.order):
            raise CatalogueError(f"{table.where}: order is between dates or times")
        for path in rule.paths:
            _follow(group, path, table)
        return rule

    def _conditions(self, key: str, table: _Table, group: Group) -> tuple[Condition, ...]:
        wanted = table.take_or(key, dict[str, object]())
        return tuple(self._condition(tuple(path.split("/")), value, group, table) for path, value in wanted.items())

    def _condition(self, path: tuple[str, ...], wanted: object, group: Group, table: _Table) -> Condition:
        """true, false, [values], { not = [values] }, or the name of a code list."""
        found = _follow(group, path, table)
        if isinstance(wanted, bool):
            return Condition(path, present=wanted)
        if isinstance(wanted, str):
            return Condition(path, values=tuple(self._codes(wanted, table).codes), many=found.many)
        negated = isinstance(wanted, dict)
        values = wanted.get("not") if isinstance(wanted, dict) and len(wanted) == 1 else wanted
        if not isinstance(values, list) or not values or not all(isinstance(one, str | bool) for one in values):
            raise CatalogueError(f"{table.where}: {'/'.join(path)} is compared with nothing known")
        strange = [str(one) for one in values if found.codes and one not in found.codes.codes]
        if strange:
            raise CatalogueError(f"{table.where}: {', '.join(strange)} is not a code of {'/'.join(path)}")
        return Condition(path, values=tuple(values), negated=negated, many=found.many)


def _cardinality(table: _Table) -> tuple[int, int, bool]:
    text = table.take_or("cardinality", "0..1")
    if text in ("1", "0..1"):
        return (1 if text == "1" else 0), 1, False
    match = _CARDINALITY.match(text)
    least, most = (int(match["least"]), ANY_NUMBER if match["most"] == "n" else int(match["most"])) if match else (1, 0)
    if least > most or most < 1:
        raise CatalogueError(f"{table.where}: cardinality is 1, 0..1, 0..n, 1..n or two numbers")
    return least, most, True


def _follow(group: Group, path: tuple[str, ...], table: _Table) -> Field:
    """The field that a rule's path leads to; only its last step may have many values."""
    inside: Group | None = group
    found: Field | None = None
    for at, name in enumerate(path):
        found = inside.member(name) if inside is not None else None
        if found is None or (found.many and at < len(path) - 1):
            raise CatalogueError(f"{table.where}: {'/'.join(path)} leads to no single field of this group")
        inside = found.group
    if found is None:
        raise CatalogueError(f"{table.where}: an empty path")
    return found


def _member(kind: type[T], value: str, table: _Table) -> T:
    try:
        return kind(value)  # type: ignore[call-arg]  # an enum's constructor takes the value
    except ValueError as error:
        raise CatalogueError(f"{table.where}: {value} is not a {kind.__name__}") from error


def _read_type(path: Path, groups: _Groups, code_lists: Mapping[str, CodeList], header: Group) -> MessageType:
    table = _open(path)
    name, schema = table.take("type", str), table.take("schema", int)
    if not _TYPE_NAME.match(name) or path.stem not in (name, f"{name}.{schema}"):
        raise CatalogueError(f"{path.name}: the file is called {name}.toml or {name}.{schema}.toml")
    example = _Table(f"{path.name}: example", table.take("example", dict))
    body = groups.read("", table)
    read = MessageType(
        name=name,
        schema=schema,
        titles=table.texts_at("title"),
        purposes=table.texts_at("purpose"),
        body=body,
        standard=table.take_or("standard", ""),
        is_reply=table.take_or("is_reply", False),
        routes=tuple(_route(one) for one in table.tables("routes")),
        answers=tuple(_answer(one, code_lists) for one in table.tables("answers")),
        deadlines={_member(Urgency, key, one): _deadline(one) for key, one in table.named("deadlines")},
        example_header=example.take("header", dict),
        example_body=example.take("body", dict),
    )
    example.close()
    table.close()
    if not (read.titles and read.purposes):
        raise CatalogueError(f"{path.name}: title or purpose is missing")
    unknown = [key for rule in body.rules for key in rule.when_header if header.member(key) is None]
    if unknown:
        raise CatalogueError(f"{path.name}: the header has no {', '.join(unknown)}")
    return read


def _route(table: _Table) -> Route:
    sides = [frozenset(_member(PartyKind, kind, table) for kind in table.strings(key)) for key in ("from", "to")]
    table.close()
    return Route(*sides)


def _answer(table: _Table, code_lists: Mapping[str, CodeList]) -> Answer:
    type_, outcomes = table.take("type", str), table.take_or("outcomes", "")
    table.close()
    if outcomes and outcomes not in code_lists:
        raise CatalogueError(f"{table.where}: no code list {outcomes}")
    return Answer(type_, code_lists.get(outcomes))


def _deadline(table: _Table) -> Deadline:
    deadline = Deadline(*(_duration(table.take(key, str), table) for key in ("reply", "acknowledge")))
    table.close()
    return deadline


def _duration(text: str, table: _Table) -> timedelta:
    match = _DURATION.match(text)
    if match is None:
        raise CatalogueError(f"{table.where}: a duration is a number with min, h or d")
    return int(match["count"]) * _UNITS[match["unit"]]
