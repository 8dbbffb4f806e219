"""The catalogue: what each message type holds. Read from `schemas/`; everything about a field stands in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hub.domain.agreements import Deadline
from hub.domain.messages import DataCategory, Urgency
from hub.domain.parties import PartyKind
from hub.domain.refusals import Refusal, RefusalCode

LANGUAGES: tuple[str, ...] = ("en", "zh-Hant")
"""The portal's languages: every label, help text and rule text has each of them."""

ANY_NUMBER = 100
"""How many items "n" stands for in a cardinality, unless the field says another number."""


class FieldKind(StrEnum):
    """What a field's value is. Each is a JSON string but for integer, boolean and group."""

    TEXT = "text"  # one line
    LONG_TEXT = "long_text"  # may have line breaks
    CODE = "code"  # a code of the field's list
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"  # written out, as there are no floats on the wire
    DATE = "date"  # YYYY-MM-DD
    PARTIAL_DATE = "partial_date"  # YYYY, YYYY-MM or YYYY-MM-DD; kept as given
    TIME = "time"  # RFC 3339 in UTC
    UUID = "uuid"  # UUIDv7
    AUTHORITY = "authority"  # an authority id of the registry
    BASE64 = "base64"  # octets
    SEALED = "sealed"  # a compact JWE to role keys; the hub has no key for it
    GROUP = "group"


MAX_LENGTHS: dict[FieldKind, int] = {
    FieldKind.TEXT: 4_000,
    FieldKind.LONG_TEXT: 20_000,
    FieldKind.CODE: 100,
    FieldKind.DECIMAL: 20,
    FieldKind.DATE: 10,
    FieldKind.PARTIAL_DATE: 10,
    FieldKind.TIME: 27,
    FieldKind.UUID: 36,
    FieldKind.AUTHORITY: 64,
    FieldKind.BASE64: 1_398_104,  # 1 MiB once decoded
    FieldKind.SEALED: 40_000,
}
"""The longest value of each string kind in characters, unless the field says another number."""


@dataclass(frozen=True)
class Code:
    """One code. A `local` code is not in the list's source; `maps_to` is the code that stands for it there."""

    labels: Mapping[str, str]
    local: bool = False
    maps_to: str = ""


@dataclass(frozen=True)
class CodeList:
    """A closed list of codes in the order of its source, which `source` and `version` name."""

    name: str
    titles: Mapping[str, str]
    source: str
    version: str
    codes: Mapping[str, Code]


@dataclass(frozen=True)
class Condition:
    """What must hold of one field: `path` leads to it from the group whose rule this is.

    `values` None asks only whether the field is `present`. Else the field is present and its value is one of `values`, or none of
    them where `negated`; for a field with `many` values: at least one of its values, or not one.
    """

    path: tuple[str, ...]
    present: bool = True
    values: tuple[str | bool, ...] | None = None
    negated: bool = False
    many: bool = False


@dataclass(frozen=True)
class Rule:
    """A rule between fields of one group: where all of `when_header` and `when` hold, all of `then` must hold as well.

    `exactly_one` names members of which exactly one is present; `order` two times or dates of which the second is not before
    the first. `when_header` holds header members and the values for which the rule applies.
    """

    name: str
    texts: Mapping[str, str]
    when: tuple[Condition, ...] = ()
    then: tuple[Condition, ...] = ()
    when_header: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exactly_one: tuple[str, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    standard: str = ""

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """Every field that the rule looks at, from the group whose rule this is."""
        conditions = tuple(one.path for one in self.when + self.then)
        return conditions + tuple((name,) for name in self.exactly_one) + self.order


@dataclass(frozen=True)
class Group:
    """Fields in the order in which they are shown and written, and the rules between them. `name` is "" unless it is shared."""

    name: str
    fields: tuple[Field, ...]
    rules: tuple[Rule, ...] = ()

    def member(self, name: str) -> Field | None:
        """The field with this name."""
        return next((one for one in self.fields if one.name == name), None)


@dataclass(frozen=True)
class Field:
    """One field. `at_least` and `at_most` count its values; `many` says whether it is an array on the wire.

    `category` is its own; None means that of the nearest group around it that has one. `max_length` counts characters.
    `minimum` and `maximum` bound an integer. `codes` is set for the kind code, `group` for the kind group. `standard` names
    its origin.
    """

    name: str
    kind: FieldKind
    labels: Mapping[str, str]
    at_least: int = 0
    at_most: int = 1
    many: bool = False
    helps: Mapping[str, str] = field(default_factory=dict)
    category: DataCategory | None = None
    codes: CodeList | None = None
    group: Group | None = None
    max_length: int = 0
    pattern: str = ""
    minimum: int = 0
    maximum: int = 0
    standard: str = ""

    @property
    def required(self) -> bool:
        """Whether the field must be present where its group is."""
        return self.at_least > 0

    @property
    def cardinality(self) -> str:
        """`1`, `0..1`, `1..n`, `0..32`: as in the catalogue."""
        if self.at_least == self.at_most == 1 and not self.many:
            return "1"
        return f"{self.at_least}..{'n' if self.at_most == ANY_NUMBER else self.at_most}"


@dataclass(frozen=True)
class Route:
    """Kinds of party that send a type, and kinds that it is made for. An agreement decides who may; this says who would."""

    senders: frozenset[PartyKind]
    recipients: frozenset[PartyKind]


@dataclass(frozen=True)
class Answer:
    """A type that answers another, and the list of its possible outcomes (None where it has no list)."""

    type: str
    outcomes: CodeList | None = None


@dataclass(frozen=True)
class MessageType:
    """One version of one message type. `is_reply` says that it needs `in_reply_to` and `case` in its header.

    `deadlines` are the defaults, which an agreement overrides. The examples are JSON values.
    """

    name: str
    schema: int
    titles: Mapping[str, str]
    purposes: Mapping[str, str]
    body: Group
    standard: str = ""
    is_reply: bool = False
    routes: tuple[Route, ...] = ()
    answers: tuple[Answer, ...] = ()
    deadlines: Mapping[Urgency, Deadline] = field(default_factory=dict)
    example_header: Mapping[str, object] = field(default_factory=dict)
    example_body: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalogue:
    """Every message type by name and schema version, the header that they share, and every code list by name."""

    header: Group
    types: Mapping[tuple[str, int], MessageType]
    code_lists: Mapping[str, CodeList]

    def get(self, type_: str, schema: int) -> MessageType:
        """Find one version of a type.

        Raises:
            Refusal: UNKNOWN_TYPE, there is no such type or version.
        """
        found = self.types.get((type_, schema))
        if found is None:
            raise Refusal(RefusalCode.UNKNOWN_TYPE)
        return found


def shared_groups(group: Group) -> Iterator[Group]:
    """Every shared group within a group, each once, those that others use first."""
    seen: dict[str, Group] = {}
    _collect_shared(group, seen)
    yield from seen.values()


def _collect_shared(group: Group, seen: dict[str, Group]) -> None:
    for one in group.fields:
        if one.group is not None and one.group.name not in seen:
            _collect_shared(one.group, seen)
            if one.group.name:
                seen[one.group.name] = one.group
