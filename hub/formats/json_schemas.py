"""JSON Schema 2020-12 from the catalogue: for partners to validate with, and what the hub itself validates with."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from hub.domain.catalogue import Catalogue, CodeList, Condition, Field, FieldKind, Group, MessageType, Rule, shared_groups

JsonSchema = dict[str, object]

RULE_MARK = "rule:"
"""A `$comment` that starts so names the rule of the catalogue that the subschema stands for."""

_CONTROL = r"\u0000-\u001f\u007f\ufffe\uffff"
_CONTROL_BUT_BREAKS = r"\u0000-\u0008\u000b-\u001f\u007f\ufffe\uffff"
_BLANK = r" \u00a0\u3000"
_DAY = r"(0[1-9]|[12][0-9]|3[01])"
_MONTH = r"(0[1-9]|1[0-2])"
_B64U = "[A-Za-z0-9_-]"

PATTERNS: dict[FieldKind, str] = {
    FieldKind.TEXT: f"^[^{_BLANK}{_CONTROL}][^{_CONTROL}]*$",
    FieldKind.LONG_TEXT: rf"^[^{_BLANK}\n\t{_CONTROL}][^{_CONTROL_BUT_BREAKS}]*$",
    FieldKind.DECIMAL: r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$",
    FieldKind.DATE: f"^[0-9]{{4}}-{_MONTH}-{_DAY}$",
    FieldKind.PARTIAL_DATE: f"^[0-9]{{4}}(-{_MONTH}(-{_DAY})?)?$",
    FieldKind.TIME: rf"^[0-9]{{4}}-{_MONTH}-{_DAY}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\.[0-9]{{1,6}})?Z$",
    FieldKind.UUID: "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    FieldKind.AUTHORITY: r"^[a-z][a-z0-9-]*(\.[a-z0-9-]+)*$",
    FieldKind.BASE64: "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    FieldKind.SEALED: rf"^{_B64U}+(\.{_B64U}*){{4}}$",
}
"""What the text of each kind looks like. Text has no control characters, so that it can be written as XML too."""


def generate(catalogue: Catalogue) -> dict[str, bytes]:
    """Write the schema of the header and of each type's body.

    Returns:
        File name (`header.json`, `<type>.json`; an older version of a type: `<type>.<schema>.json`) to UTF-8 JSON.
    """
    schemas = {"header.json": header_schema(catalogue)}
    schemas |= {f"{stem}.json": body_schema(one) for stem, one in named_types(catalogue)}
    return {name: _as_json(schema) for name, schema in schemas.items()}


def named_types(catalogue: Catalogue) -> list[tuple[str, MessageType]]:
    """Each type with the stem of its generated files: the newest version has the plain name."""
    newest = dict(sorted(catalogue.types))
    return [(name if newest[name] == schema else f"{name}.{schema}", one) for (name, schema), one in catalogue.types.items()]


def header_schema(catalogue: Catalogue) -> JsonSchema:
    """The schema of the header."""
    return _document(
        "urn:accord:schema:header:1", "Message header", "The signed header that every message has.", catalogue.header
    )


def body_schema(one: MessageType) -> JsonSchema:
    """The schema of one type's body. Rules that look at the header are not in it."""
    return _document(f"urn:accord:schema:{one.name}:{one.schema}", one.titles["en"], one.purposes["en"], one.body)


def then_schema(rule: Rule) -> JsonSchema:
    """What a rule demands, as a schema of its own."""
    return _all_of(rule.then)


def _as_json(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _document(id_: str, title: str, description: str, root: Group) -> JsonSchema:
    groups = list(shared_groups(root))
    definitions: JsonSchema = {f"codes.{one.name}": _codes(one) for one in _code_lists([root, *groups])}
    definitions |= {one.name: _object(one) for one in groups}
    head: JsonSchema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": id_,
        "title": title,
        "description": description,
    }
    return head | _object(root) | ({"$defs": definitions} if definitions else {})


def _code_lists(groups: Iterable[Group]) -> list[CodeList]:
    found: dict[str, CodeList] = {}
    for group in groups:
        for one in group.fields:
            if one.codes is not None:
                found[one.codes.name] = one.codes
            if one.group is not None and not one.group.name:
                found |= {inner.name: inner for inner in _code_lists([one.group])}
    return list(found.values())


def _codes(codes: CodeList) -> JsonSchema:
    return {"title": codes.titles["en"], "description": f"{codes.source}, {codes.version}", "enum": list(codes.codes)}


def _object(group: Group) -> JsonSchema:
    schema: JsonSchema = {
        "type": "object",
        "properties": {one.name: _property(one) for one in group.fields},
        "required": [one.name for one in group.fields if one.required],
        "minProperties": 1,
        "additionalProperties": False,
    }
    rules = [_rule(rule) for rule in group.rules if not rule.when_header and not rule.order]
    return schema | ({"allOf": rules} if rules else {})


def _property(one: Field) -> JsonSchema:
    notes = [one.helps.get("en", ""), f"Data category: {one.category}." if one.category else ""]
    notes.append(f"After: {one.standard}." if one.standard else "")
    words: JsonSchema = {"title": one.labels["en"]}
    description = " ".join(note for note in notes if note)
    words |= {"description": description} if description else {}
    if not one.many:
        return words | _value(one)
    unique = {"uniqueItems": True} if one.kind in (FieldKind.CODE, FieldKind.AUTHORITY) else {}
    return words | {"type": "array", "minItems": max(one.at_least, 1), "maxItems": one.at_most, **unique, "items": _value(one)}


def _value(one: Field) -> JsonSchema:
    match one.kind:
        case FieldKind.GROUP:
            if one.group is None:
                raise ValueError(one.name)
            return {"$ref": f"#/$defs/{one.group.name}"} if one.group.name else _object(one.group)
        case FieldKind.CODE:
            if one.codes is None:
                raise ValueError(one.name)
            return {"$ref": f"#/$defs/codes.{one.codes.name}"}
        case FieldKind.BOOLEAN:
            return {"type": "boolean"}
        case FieldKind.INTEGER:
            return {"type": "integer", "minimum": one.minimum, "maximum": one.maximum}
        case _:
            pattern = one.pattern or PATTERNS[one.kind]
            return {"type": "string", "minLength": 1, "maxLength": one.max_length, "pattern": pattern}


def _rule(rule: Rule) -> JsonSchema:
    head: JsonSchema = {"$comment": f"{RULE_MARK}{rule.name}", "description": rule.texts["en"]}
    if rule.exactly_one:
        return head | {"oneOf": [{"required": [name]} for name in rule.exactly_one]}
    if not rule.when:
        return head | _all_of(rule.then)
    return head | {"if": _all_of(rule.when), "then": _all_of(rule.then)}


def _all_of(conditions: tuple[Condition, ...]) -> JsonSchema:
    schemas = [_condition(one) for one in conditions]
    return schemas[0] if len(schemas) == 1 else {"allOf": schemas}


def _condition(condition: Condition) -> JsonSchema:
    if not condition.present:
        return {"not": _nested(condition.path, {})}
    if condition.values is None:
        return _nested(condition.path, {})
    one_of: JsonSchema = {"enum": list(condition.values)}
    holds: JsonSchema = {"contains": one_of} if condition.many else one_of
    return _nested(condition.path, {"not": holds} if condition.negated else holds)


def _nested(path: tuple[str, ...], inside: JsonSchema) -> JsonSchema:
    name, *rest = path
    deeper = _nested(tuple(rest), inside) if rest else inside
    return {"required": [name]} | ({"properties": {name: deeper}} if deeper else {})
