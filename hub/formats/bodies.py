"""Read a message's header and body against the catalogue, list what is present by data category, and take fields out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice

import jsonschema_rs

from hub.domain.catalogue import Catalogue, Field, FieldKind, Group, MessageType, Rule
from hub.domain.encoding import b64url_encode, parse_time
from hub.domain.messages import Attachment, DataCategory, Handling, Header, PresentField, Tlp, Urgency
from hub.domain.refusals import Finding, HubFault, Refusal, RefusalCode
from hub.formats.json_schemas import RULE_MARK, JsonSchema, body_schema, header_schema, then_schema

MAX_FINDINGS = 20
"""How many violations one refusal lists; a person mends them together."""

MAX_INLINE_BYTES = 1_048_576
"""Decoded octets of all inline attachments of a message together."""

_ATTACHMENTS = "/header/attachments/"
_NO_SALT = "A" * 22
"""Stands in for the salt while a rendition's header is validated: renditions have none."""


@dataclass(frozen=True)
class _Violation:
    """Where (a JSON Pointer into the message) and which rule. `looks_at` holds the fields that a rule between fields reads."""

    pointer: str
    rule: str
    looks_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Member:
    """A field as the walk needs it. `fixed` is there for a leaf outside every array, whose path never changes."""

    suffix: str
    category: DataCategory | None
    sealed: bool
    many: bool
    check: Callable[[object], None] | None
    inside: _Members | None
    fixed: PresentField | None


@dataclass(frozen=True, slots=True)
class _Members:
    """The fields of one group at one place, and the rules of order between them."""

    by_name: Mapping[str, _Member]
    orders: tuple[Rule, ...]


@dataclass(frozen=True)
class _Reader:
    """What one type was compiled to. `with_header` pairs each rule that looks at the header with the validator of its demand."""

    validator: jsonschema_rs.Draft202012Validator
    schema: JsonSchema
    root: Group
    members: _Members
    with_header: tuple[tuple[Rule, jsonschema_rs.Draft202012Validator], ...]


class BodyReader:
    """Validates headers and bodies. Compiled once; then safe to use from many threads."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._header = _compile(catalogue.header, header_schema(catalogue))
        self._bodies = {key: _compile(one.body, body_schema(one)) for key, one in catalogue.types.items()}

    def read_header(self, value: object) -> Header:
        """Validate the header of an original message.

        Args:
            value: a JSON value from the strict parser.

        Raises:
            Refusal: SCHEMA_VIOLATION, with a finding for each violation (path and rule, never the value).
        """
        violations = _violations(self._header, value, "/header", [])
        _refuse(violations)
        header = _as_header(value)
        _refuse(_attachment_violations(header))
        return header

    def read_rendition_header(self, value: object) -> Header:
        """Validate the header of a rendition: as of an original, but without the salt.

        Raises:
            Refusal: SCHEMA_VIOLATION.
        """
        if not isinstance(value, dict) or "salt" in value:
            _refuse([_Violation("/header/salt", "no_salt_in_rendition")])
            raise HubFault("a violation that did not refuse")
        header = self.read_header({**value, "salt": _NO_SALT})
        return _without_salt(header)

    def read_body(self, header: Header, value: object) -> tuple[PresentField, ...]:
        """Validate the body and list each leaf field that is present, in document order, attachments of the header last.

        A field with many plain values is one leaf. Paths are JSON Pointers from the body; an attachment's is
        `/header/attachments/0`.

        Raises:
            Refusal: UNKNOWN_TYPE; SCHEMA_VIOLATION, with a finding for each violation (path and rule, never the value).
        """
        return self._read(header, value, None)

    def check_rendition(self, header: Header, value: object, minimised_paths: Collection[str]) -> tuple[PresentField, ...]:
        """Validate a minimised body: as `read_body`, but what was taken out may be missing, and rules that look at it rest.

        Args:
            header: the rendition's header.
            value: the rendition's body.
            minimised_paths: as the rendition lists them. Array positions are those of the original, so they are not compared.

        Raises:
            Refusal: UNKNOWN_TYPE, SCHEMA_VIOLATION.
        """
        return self._read(header, value, frozenset(_any_position(path) for path in minimised_paths))

    def _read(self, header: Header, value: object, removed: frozenset[str] | None) -> tuple[PresentField, ...]:
        type_ = self._catalogue.get(header.type, header.schema)
        reader = self._bodies[header.type, header.schema]
        found: list[PresentField] = []
        violations = _header_rule_violations(reader, type_, header, value)
        if removed is None:
            _refuse(_violations(reader, value, "/body", found) + violations)
        else:
            violations += [_below("/body", one) for one in _schema_violations(reader, value, limit=None)]
            _refuse([one for one in violations if not _excused(one, removed)])
            walked: list[_Violation] = []
            _walk(reader.members, value, "", found, walked)
            _refuse([_below("/body", one) for one in walked])
        found += [PresentField(f"{_ATTACHMENTS}{at}", one.category) for at, one in enumerate(header.attachments)]
        return tuple(found)


def remove_fields(body: object, paths: Collection[str]) -> object:
    """Copy a body without some of its fields. A group or array that becomes empty goes too; the rest keeps its order.

    Args:
        body: a body that was read; it is not changed, and what is untouched is shared with the copy.
        paths: JSON Pointers as `read_body` gives them; those of attachments are left aside.

    Raises:
        HubFault: a path leads to nothing.
    """
    cut = _cut_tree(path for path in paths if not path.startswith(_ATTACHMENTS))
    rest = _without(body, cut)
    return {} if rest is _GONE else rest


def remove_attachments(header: Mapping[str, object], paths: Collection[str]) -> dict[str, object]:
    """Copy a header value without the attachments that `paths` name; other paths are left aside.

    Raises:
        HubFault: there is no such attachment.
    """
    cut = _cut_tree(path.removeprefix("/header") for path in paths if path.startswith(_ATTACHMENTS))
    rest = _without(dict(header), cut)
    if not isinstance(rest, dict):
        raise HubFault("a header of attachments alone")
    return rest


# compiling


def _compile(root: Group, schema: JsonSchema) -> _Reader:
    with_header = tuple((rule, jsonschema_rs.Draft202012Validator(then_schema(rule))) for rule in root.rules if rule.when_header)
    return _Reader(jsonschema_rs.Draft202012Validator(schema), schema, root, _members(root, None, ""), with_header)


def _members(group: Group, category: DataCategory | None, path: str | None) -> _Members:
    """Compile a group. `path` is where it stands, or None inside an array."""
    by_name = {one.name: _member(one, one.category or category, path) for one in group.fields}
    return _Members(by_name, tuple(rule for rule in group.rules if rule.order))


def _member(one: Field, category: DataCategory | None, path: str | None) -> _Member:
    here = None if path is None else f"{path}/{one.name}"
    sealed = one.kind is FieldKind.SEALED
    return _Member(
        suffix=f"/{one.name}",
        category=category,
        sealed=sealed,
        many=one.many,
        check=_CHECKS.get(one.kind),
        inside=_members(one.group, category, None if one.many else here) if one.group else None,
        fixed=PresentField(here, category, sealed) if here is not None and one.group is None else None,
    )


# what a schema cannot say


def _check_date(value: object) -> None:
    date.fromisoformat(str(value))


def _check_partial_date(value: object) -> None:
    date.fromisoformat(str(value) + "-01-01"[len(str(value)) - 4 :])


def _check_time(value: object) -> None:
    parse_time(str(value))


def _check_integer(value: object) -> None:
    if type(value) is not int:
        raise ValueError("1.0 is an integer for JSON Schema")


_CHECKS: dict[FieldKind, Callable[[object], None]] = {
    FieldKind.DATE: _check_date,
    FieldKind.PARTIAL_DATE: _check_partial_date,
    FieldKind.TIME: _check_time,
    FieldKind.INTEGER: _check_integer,
}


def _attachment_violations(header: Header) -> list[_Violation]:
    violations: list[_Violation] = []
    total = 0
    for at, one in enumerate(header.attachments):
        octets = base64.b64decode(one.content, validate=True)
        total += len(octets)
        if base64.b64encode(octets).decode("ascii") != one.content:
            violations.append(_Violation(f"{_ATTACHMENTS}{at}/content", "canonical_base64"))
        if len(octets) != one.size:
            violations.append(_Violation(f"{_ATTACHMENTS}{at}/size", "size_of_content"))
        if b64url_encode(hashlib.sha256(octets).digest()) != one.sha256:
            violations.append(_Violation(f"{_ATTACHMENTS}{at}/sha256", "digest_of_content"))
    if total > MAX_INLINE_BYTES:
        violations.append(_Violation("/header/attachments", "max_inline_bytes"))
    return violations


def _header_rule_violations(reader: _Reader, type_: MessageType, header: Header, value: object) -> list[_Violation]:
    missing = [name for name in ("case", "in_reply_to") if type_.is_reply and not getattr(header, name)]
    violations = [_Violation(f"/header/{name}", "reply_names_its_question") for name in missing]
    for rule, demand in reader.with_header:
        applies = all(str(getattr(header, name)) in values for name, values in rule.when_header.items())
        if applies and not demand.is_valid(value):
            violations.append(_Violation("/body", rule.name, _pointers(rule, "")))
    return violations


# walking


def _violations(reader: _Reader, value: object, prefix: str, found: list[PresentField]) -> list[_Violation]:
    """Validate, and where that succeeds walk: fill `found`, and check what a schema cannot say."""
    violations: list[_Violation] = []
    if reader.validator.is_valid(value):
        _walk(reader.members, value, "", found, violations)
    else:
        violations += _schema_violations(reader, value, limit=MAX_FINDINGS)
    return [_below(prefix, one) for one in violations]


def _below(prefix: str, violation: _Violation) -> _Violation:
    return _Violation(prefix + violation.pointer, violation.rule, violation.looks_at)


def _walk(members: _Members, value: object, path: str, found: list[PresentField], violations: list[_Violation]) -> None:
    if not isinstance(value, dict):
        raise HubFault("walking a body that was not validated")
    for name, held in value.items():
        member = members.by_name[name]
        if member.inside is None:
            found.append(member.fixed or PresentField(path + member.suffix, member.category, member.sealed))
            if member.check is not None:
                _check(member, held, path, violations)
        elif member.many:
            for at, one in enumerate(held):
                _walk(member.inside, one, f"{path}{member.suffix}/{at}", found, violations)
        else:
            _walk(member.inside, held, path + member.suffix, found, violations)
    for rule in members.orders:
        first, second = (_reach(value, way) for way in rule.order)
        if first is not None and second is not None and _instant(first) > _instant(second):
            violations.append(_Violation(path, rule.name, _pointers(rule, path)))


def _check(member: _Member, held: object, path: str, violations: list[_Violation]) -> None:
    for one in held if isinstance(held, list) else [held]:
        try:
            if member.check is not None:
                member.check(one)
        except ValueError:
            violations.append(_Violation(path + member.suffix, "no_such_value"))


def _reach(value: object, way: tuple[str, ...]) -> str | None:
    for name in way:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _instant(text: str) -> str:
    """A text that sorts like the date or time: fractions of a second have six digits in it."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<6}"


# explaining


def _schema_violations(reader: _Reader, value: object, limit: int | None) -> list[_Violation]:
    errors = islice(reader.validator.iter_errors(value), limit)
    return list(dict.fromkeys(_explain(reader, error) for error in errors))


def _explain(reader: _Reader, error: jsonschema_rs.ValidationError) -> _Violation:
    at, where = list(error.instance_path), list(error.schema_path)
    named = _rule_in(reader.schema, where)
    if named is not None:
        name, inner = named
        scope = _pointer(at[: len(at) - _depth(inner)])
        rule = _find_rule(reader.root, at[: len(at) - _depth(inner)], name)
        return _Violation(scope, name, _pointers(rule, scope))
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        return _Violation(_pointer([*at, kind.property]), "required")
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        return _Violation(_pointer(at), "unknown_field")
    return _Violation(_pointer(at), str(where[-1]) if where else "schema")


def _rule_in(schema: object, where: list[str | int]) -> tuple[str, list[str | int]] | None:
    """The rule that an error lies in, and the way from there to the error."""
    for at, step in enumerate(where):
        schema = schema[step] if isinstance(schema, dict | list) else None  # type: ignore[index]  # a path of the schema
        mark = str(schema.get("$comment", "")) if isinstance(schema, dict) else ""
        if mark.startswith(RULE_MARK):
            return mark.removeprefix(RULE_MARK), where[at + 1 :]
    return None


def _depth(steps: list[str | int]) -> int:
    """How far below the rule's group the error lies: one member for each `properties`."""
    depth, at = 0, 0
    while at < len(steps):
        is_member = steps[at] == "properties"
        depth, at = (depth + 1, at + 2) if is_member else (depth, at + 1)
    return depth


def _find_rule(group: Group, way: list[str | int], name: str) -> Rule:
    for step in way:
        inside = group.member(step) if isinstance(step, str) else None
        group = inside.group if inside is not None and inside.group is not None else group
    return next(rule for rule in group.rules if rule.name == name)


def _pointers(rule: Rule, scope: str) -> tuple[str, ...]:
    return tuple(f"{scope}/{'/'.join(path)}" for path in rule.paths)


def _pointer(steps: list[str | int]) -> str:
    return "".join(f"/{step}" for step in steps)


def _refuse(violations: list[_Violation]) -> None:
    if not violations:
        return
    findings = tuple(
        Finding("schema", RefusalCode.SCHEMA_VIOLATION, values=(("path", one.pointer), ("rule", one.rule)))
        for one in violations[:MAX_FINDINGS]
    )
    raise Refusal(
        RefusalCode.SCHEMA_VIOLATION, "; ".join(f"{one.pointer}: {one.rule}" for one in violations[:MAX_FINDINGS]), findings
    )


# renditions


def _any_position(path: str) -> str:
    """A path with `*` for each array position; a field's name never starts with a digit."""
    return "/".join("*" if step.isdigit() else step for step in path.split("/"))


def _excused(violation: _Violation, removed: frozenset[str]) -> bool:
    """Whether a violation is no more than the trace of what was taken out."""
    if violation.looks_at:
        return any(_touches(_any_position(path), removed) for path in violation.looks_at)
    if violation.rule not in ("required", "minItems", "minProperties"):
        return False
    return _touches(_any_position(violation.pointer.removeprefix("/body")), removed)


def _touches(path: str, removed: frozenset[str]) -> bool:
    return any(one == path or one.startswith(f"{path}/") or path.startswith(f"{one}/") for one in removed)


class _Gone:
    """What is left of a group whose last field was taken out."""


_GONE = _Gone()
_Cut = dict[str, "_Cut"]
"""Names and positions on the way to what is taken out; an empty one is taken out whole."""


def _cut_tree(paths: Iterator[str]) -> _Cut:
    tree: _Cut = {}
    for path in sorted(paths, reverse=True):  # the shorter path of two comes last, and takes out all below it
        *way, last = path.split("/")[1:] or [""]
        node = tree
        for step in way:
            node = node.setdefault(step, {})
        node[last] = {}
    return tree


def _without(value: object, cut: _Cut) -> object:
    if isinstance(value, dict):
        members: list[tuple[str, object]] = [(str(name), one) for name, one in value.items()]
    elif isinstance(value, list):
        members = [(str(at), one) for at, one in enumerate(value)]
    else:
        members = []
    if cut.keys() - {name for name, _ in members}:
        raise HubFault("a path leads to nothing in the message")
    kept: list[tuple[str, object]] = []
    for name, one in members:
        inside = cut.get(name)
        rest = one if inside is None else _without(one, inside) if inside else _GONE
        if rest is not _GONE:
            kept.append((name, rest))
    if not kept:
        return _GONE
    return dict(kept) if isinstance(value, dict) else [one for _, one in kept]


# the header


def _as_header(value: object) -> Header:
    """Build the header from a value that was validated."""
    if not isinstance(value, dict):
        raise HubFault("a header that was not validated")
    fields = dict(value)
    fields["recipients"] = tuple(fields["recipients"])
    fields["issued"], fields["expires"] = parse_time(fields["issued"]), parse_time(fields["expires"])
    fields["urgency"], fields["tlp"] = Urgency(fields["urgency"]), Tlp(fields["tlp"])
    fields["handling"] = frozenset(Handling(one) for one in fields.get("handling", ()))
    fields["attachments"] = tuple(
        Attachment(**{**one, "category": DataCategory(one["category"])}) for one in fields.get("attachments", ())
    )
    return Header(**fields)


def _without_salt(header: Header) -> Header:
    return Header(**{**vars(header), "salt": ""})
