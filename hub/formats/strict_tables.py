"""Reading and writing the documents that people keep as TOML and machines as canonical JSON: agreements, parties, keys.

Both forms hold the same values. Where the TOML has a table with free keys, the JSON has an array; where the TOML has a time,
the JSON has RFC 3339 in UTC. A document is read from its JSON form only, so there is one reader and nothing to disagree.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from enum import StrEnum
from typing import TypeVar

from hub.domain.encoding import format_time, parse_time
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.canonical_json import canonical_json
from hub.formats.json_gate import parse_object

MAX_DOCUMENT_BYTES = 1 << 20
"""A party or an agreement is a few KiB; nothing larger is parsed."""

MAX_TEXT = 4096
"""Characters in one text value."""

MAX_ROWS = 500
"""Elements of one list, and tables of one array."""

LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?\Z")
AUTHORITY = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9-]*(\.[a-z0-9-]+)*\Z")

_TOML_WIDTH = 100  # characters; a longer array is written one element a line
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_Code = TypeVar("_Code", bound=StrEnum)


class Table:
    """One table of a document, read key by key; `end` then refuses whatever was not asked for.

    Every refusal carries the code given here and names the place (`flows[1].types`) and the rule, never a name of a person.
    """

    def __init__(self, value: object, place: str, code: RefusalCode) -> None:
        self.place = place
        self.code = code
        if not isinstance(value, dict):
            raise self.refuse("", "must be a table")
        self._members: dict[str, object] = dict(value)

    def refuse(self, key: str, rule: str) -> Refusal:
        """The refusal for a key of this table ("" for the table itself)."""
        place = ".".join(part for part in (self.place, key) if part)
        return Refusal(self.code, f"{place or 'the document'}: {rule}")

    def has(self, key: str) -> bool:
        """Whether the key is there and has not been read."""
        return key in self._members

    def _take(self, key: str) -> object:
        if key not in self._members:
            raise self.refuse(key, "is missing")
        return self._members.pop(key)

    def text(self, key: str, form: re.Pattern[str] | None = None, default: str | None = None) -> str:
        """A text of 1 to `MAX_TEXT` characters that matches `form`; `default` where the key is absent."""
        if default is not None and not self.has(key):
            return default
        value = self._take(key)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
            raise self.refuse(key, f"must be a text of 1 to {MAX_TEXT} characters")
        if form is not None and not form.match(value):
            raise self.refuse(key, "does not have the form of this field")
        return value

    def whole(self, key: str) -> int:
        """A whole number, 1 or more."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refuse(key, "must be a whole number, 1 or more")
        return value

    def code_of(self, key: str, codes: type[_Code], default: _Code | None = None) -> _Code:
        """A code of a closed list; `default` where the key is absent."""
        if default is not None and not self.has(key):
            return default
        return self._known(key, self.text(key), codes)

    def _known(self, key: str, value: str, codes: type[_Code]) -> _Code:
        try:
            return codes(value)
        except ValueError:
            raise self.refuse(key, f"is none of {', '.join(codes)}") from None

    def moment(self, key: str) -> datetime:
        """An instant with a time zone."""
        try:
            return parse_time(self.text(key))
        except ValueError:
            raise self.refuse(key, "must be a date and time with a time zone") from None

    def moment_if_any(self, key: str) -> datetime | None:
        """An instant with a time zone, or None where the key is absent."""
        return self.moment(key) if self.has(key) else None

    def texts(self, key: str, form: re.Pattern[str], *, at_least: int = 1) -> tuple[str, ...]:
        """A list of different texts of one form, in the document's order."""
        value = self._take(key)
        if not isinstance(value, list) or not at_least <= len(value) <= MAX_ROWS:
            raise self.refuse(key, f"must be a list of {at_least} to {MAX_ROWS}")
        if not all(isinstance(one, str) and form.match(one) for one in value):
            raise self.refuse(key, "holds something that does not have the form of this field")
        if len(set(value)) != len(value):
            raise self.refuse(key, "names something twice")
        return tuple(value)

    def codes_of(self, key: str, codes: type[_Code]) -> frozenset[_Code]:
        """A set of codes of a closed list; an empty one means none."""
        return frozenset(self._known(key, one, codes) for one in self.texts(key, re.compile(""), at_least=0))

    def table(self, key: str) -> Table:
        """A table in this one."""
        return Table(self._take(key), f"{self.place}.{key}" if self.place else key, self.code)

    def tables(self, key: str, *, at_least: int = 0) -> list[Table]:
        """An array of tables; where none are needed the key may be absent."""
        value = self._take(key) if at_least or self.has(key) else []
        if not isinstance(value, list) or not at_least <= len(value) <= MAX_ROWS:
            raise self.refuse(key, f"must be a list of {at_least} to {MAX_ROWS} tables")
        place = f"{self.place}.{key}" if self.place else key
        return [Table(one, f"{place}[{index}]", self.code) for index, one in enumerate(value)]

    def names(self, key: str) -> dict[str, str]:
        """A text in several languages, the language tag (BCP 47) first; English is always there."""
        names: dict[str, str] = {}
        for one in self.tables(key, at_least=1):
            language = one.text("language", LANGUAGE)
            if language in names:
                raise one.refuse("language", "occurs twice")
            names[language] = one.text("text")
            one.end()
        if "en" not in names:
            raise self.refuse(key, "must have an English text (en)")
        return names

    def end(self) -> None:
        """Refuse every key that was not read: an unknown key is an error."""
        if self._members:
            raise self.refuse(next(iter(self._members)), "is not a key that is known here")


def load_toml(octets: bytes, code: RefusalCode) -> dict[str, object]:
    """Parse TOML with every time written as RFC 3339 in UTC.

    Raises:
        Refusal: `code`: not TOML, larger than `MAX_DOCUMENT_BYTES`, or a time without a zone.
    """
    if len(octets) > MAX_DOCUMENT_BYTES:
        raise Refusal(code, f"the document is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return {key: _plain(value, key, code) for key, value in tomllib.loads(octets.decode("utf-8")).items()}
    except UnicodeDecodeError:
        raise Refusal(code, "the document is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Refusal(code, f"the document is not TOML: {error}") from None
    except RecursionError:
        raise Refusal(code, "the document is nested too deep") from None


def _plain(value: object, place: str, code: RefusalCode) -> object:
    if isinstance(value, dict):
        return {key: _plain(one, f"{place}.{key}", code) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, place, code) for one in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return format_time(value)
    if isinstance(value, date | time):
        raise Refusal(code, f"{place}: must be a date and time with a time zone")
    return value


def to_canonical(document: object, code: RefusalCode) -> bytes:
    """Write a document in its canonical JSON form.

    Raises:
        Refusal: `code`: it holds a value that has no canonical form, such as a decimal number.
    """
    try:
        return canonical_json(document)
    except ValueError as error:
        raise Refusal(code, f"the document holds a value that cannot be written canonically: {error}") from None


def from_canonical(octets: bytes, code: RefusalCode) -> dict[str, object]:
    """Read the canonical JSON form of a document.

    Raises:
        Refusal: `code`: not JSON, or not octet for octet its canonical form.
    """
    if len(octets) > MAX_DOCUMENT_BYTES:
        raise Refusal(code, f"the document is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = parse_object(octets)
    except Refusal as refusal:
        raise Refusal(code, refusal.detail) from None
    if to_canonical(document, code) != octets:
        raise Refusal(code, "the document is not in canonical form")
    return document


def spread(table: object, key: str, name: str, value: str | None) -> None:
    """Turn the free-keyed table at `key` into an array, in place: `{en = "A"}` becomes `[{name: "en", value: "A"}]`.

    With `value` None the members are tables, and `name` is added to each. Anything else is left for the reader to refuse.
    """
    if not isinstance(table, dict) or not isinstance(table.get(key), dict):
        return
    members = table[key].items()
    table[key] = [{name: one, value: member} if value else _named(name, one, member) for one, member in members]


def _named(name: str, text: str, member: object) -> object:
    return {**member, name: text} if isinstance(member, dict) and name not in member else None


def gather(table: dict[str, object], key: str, name: str, value: str | None) -> None:
    """Undo `spread` in a document that was read and found correct."""
    rows = table.get(key)
    if isinstance(rows, list):
        table[key] = {row[name]: row[value] if value else {one: row[one] for one in row if one != name} for row in rows}


def write_toml(document: Mapping[str, object], order: Sequence[str]) -> str:
    """Write a document as TOML: first its top-level tables in `order`, then whatever else there is.

    Args:
        document: tables, arrays of tables, and in them texts, whole numbers, times in RFC 3339, arrays and tables.
        order: names of top-level members; one that is absent is passed over.
    """
    names = [name for name in order if name in document] + [name for name in document if name not in order]
    blocks = []
    for name in names:
        member = document[name]
        rows = member if isinstance(member, list) else [member]
        heading = f"[[{_key(name)}]]" if isinstance(member, list) else f"[{_key(name)}]"
        blocks += ["\n".join([heading, *_lines(row)]) for row in rows]
    return "\n\n".join(blocks) + "\n"


def _lines(table: object, prefix: str = "") -> list[str]:
    lines: list[str] = []
    if not isinstance(table, Mapping):
        raise TypeError("a document holds tables and arrays of tables only")
    for key, value in sorted(table.items(), key=lambda item: item[0] != "article"):  # a rule begins with its article
        if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()) and not prefix:
            lines += _lines(value, f"{_key(key)}.")
        else:
            lines.append(f"{prefix}{_key(key)} = {_value(value)}")
    return lines


def _key(text: str) -> str:
    return text if _BARE_KEY.match(text) else _quoted(text)


def _value(value: object) -> str:
    writers: dict[type, Callable[..., str]] = {
        str: _text_or_time,
        int: str,
        list: lambda rows: _array([_value(row) for row in rows]),
        dict: lambda table: "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in table.items()) + " }",
    }
    return writers[type(value)](value)


def _array(items: list[str]) -> str:
    line = "[" + ", ".join(items) + "]"
    return line if len(line) < _TOML_WIDTH else "[\n  " + ",\n  ".join(items) + ",\n]"


def _text_or_time(text: str) -> str:
    try:
        return text if format_time(parse_time(text)) == text else _quoted(text)
    except ValueError:
        return _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
