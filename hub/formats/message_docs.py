"""Documentation pages in Markdown from the catalogue: one for the header, one for each message type, one for the code lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

import orjson

from hub.domain.catalogue import ANY_NUMBER, MAX_LENGTHS, Catalogue, CodeList, Field, FieldKind, Group, MessageType, shared_groups
from hub.domain.messages import DataCategory
from hub.formats.json_schemas import named_types

_GENERATED = "<!-- generated from schemas/; change it there, then run `hub catalogue generate` -->"
_HOURS_A_DAY = 24
_HEADINGS = "| field | meaning | 中文 | type | times | category | after |\n|---|---|---|---|---|---|---|"


def generate(catalogue: Catalogue) -> dict[str, bytes]:
    """Write all pages: file name to UTF-8 Markdown."""
    pages = {"README.md": _index(catalogue), "header.md": _header_page(catalogue), "codes.md": _codes_page(catalogue)}
    pages |= {f"{stem}.md": _type_page(stem, one) for stem, one in named_types(catalogue)}
    return {name: "\n".join([_GENERATED, "", *lines]).encode() + b"\n" for name, lines in pages.items()}


def _index(catalogue: Catalogue) -> list[str]:
    rows = [f"| [{one.name}]({stem}.md) | {one.titles['en']} | {one.titles['zh-Hant']} |" for stem, one in named_types(catalogue)]
    return [
        "# Message types",
        "",
        'A message is signed as `{"header": ..., "body": ...}`. All have one [header](header.md); the body is one of these.',
        "",
        "| type | what it does | 中文 |",
        "|---|---|---|",
        *rows,
        "",
        "The JSON Schemas are in `schemas/json/`, complete examples in `schemas/examples/`, and here are [all codes](codes.md).",
    ]


def _header_page(catalogue: Catalogue) -> list[str]:
    return ["# Message header (訊息標頭)", "", "Signed by the sender, the same for every type.", "", *_fields(catalogue.header)]


def _type_page(stem: str, one: MessageType) -> list[str]:
    after = [f"After: {one.standard}.", ""] if one.standard else []
    return [
        f"# {one.name}: {one.titles['en']} ({one.titles['zh-Hant']})",
        "",
        one.purposes["en"],
        "",
        one.purposes["zh-Hant"],
        "",
        f"Schema version {one.schema}. JSON Schema: `schemas/json/{stem}.json`.",
        "",
        *after,
        *_traffic(one),
        "## Fields",
        "",
        *_fields(one.body),
        "## Example",
        "",
        "```json",
        orjson.dumps({"header": one.example_header, "body": one.example_body}, option=orjson.OPT_INDENT_2).decode(),
        "```",
    ]


def _traffic(one: MessageType) -> Iterator[str]:
    for route in one.routes:
        yield f"- Sent by: {_words(route.senders)}. Made for: {_words(route.recipients)}. The agreement decides who may."
    for answer in one.answers:
        outcomes = f", with an outcome of [{answer.outcomes.name}](codes.md#{answer.outcomes.name})" if answer.outcomes else ""
        yield f"- Answered by: `{answer.type}`{outcomes}."
    if one.is_reply:
        yield "- It is an answer: its header names `case` and `in_reply_to`."
    yield ""
    if one.deadlines:
        yield from ("| urgency | reply due | receipt due |", "|---|---|---|")
        for urgency, deadline in one.deadlines.items():
            yield f"| {urgency} | {_duration(deadline.reply)} | {_duration(deadline.acknowledge)} |"
        yield from ("", "From the hub's acceptance; an agreement may set others.", "")


def _words(kinds: Iterable[str]) -> str:
    return ", ".join(sorted(kind.replace("_", " ") for kind in kinds))


def _duration(time: timedelta) -> str:
    hours = int(time.total_seconds() // 3600)
    return f"{hours} h" if hours <= _HOURS_A_DAY or hours % _HOURS_A_DAY else f"{hours // _HOURS_A_DAY} days"


def _fields(root: Group) -> Iterator[str]:
    yield from _table(root)
    for group in shared_groups(root):
        yield from (f"### {group.name}", "", *_table(group))


def _table(group: Group) -> Iterator[str]:
    yield _HEADINGS
    yield from _rows(group, "", None)
    yield ""
    rules = [
        f"- {prefix}{rule.texts['en']} {rule.texts['zh-Hant']} (`{rule.name}`)"
        for prefix, one in _places(group)
        for rule in one.rules
    ]
    if rules:
        yield from ("Rules:", "", *rules, "")


def _places(group: Group, path: str = "") -> Iterator[tuple[str, Group]]:
    """A group and those written in place within it, each with the words that say where it stands."""
    yield (f"`{path}`: " if path else ""), group
    for one in group.fields:
        if one.group is not None and not one.group.name:
            yield from _places(one.group, f"{path}/{one.name}".lstrip("/"))


def _rows(group: Group, path: str, around: DataCategory | None) -> Iterator[str]:
    for one in group.fields:
        category = one.category or around
        help_ = f". {one.helps['en']}" if one.helps else ""
        cells = [f"`{path}{one.name}`", one.labels["en"] + help_, one.labels["zh-Hant"], _kind(one), one.cardinality]
        cells += [category or "", one.standard]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        if one.group is not None and not one.group.name:
            yield from _rows(one.group, f"{path}{one.name}/", category)


def _kind(one: Field) -> str:
    if one.codes is not None:
        return f"[{one.codes.name}](codes.md#{one.codes.name})"
    if one.group is not None:
        return f"[{one.group.name}](#{one.group.name})" if one.group.name else "group"
    if one.kind is FieldKind.INTEGER:
        return f"integer {one.minimum} to {one.maximum}"
    limit = f", at most {one.max_length}" if one.max_length not in (0, MAX_LENGTHS.get(one.kind, 0)) else ""
    return f"{one.kind}{limit}".replace("_", " ")


def _codes_page(catalogue: Catalogue) -> list[str]:
    lengths = ", ".join(f"{kind.replace('_', ' ')} {MAX_LENGTHS[kind]:,}" for kind in (FieldKind.TEXT, FieldKind.LONG_TEXT))
    return [
        "# Code lists",
        "",
        f'Longest values in characters unless a field says otherwise: {lengths}. "n" in a cardinality is {ANY_NUMBER}.',
        "",
        *(line for one in catalogue.code_lists.values() for line in _code_list(one)),
    ]


def _code_list(codes: CodeList) -> Iterator[str]:
    yield from (
        f"## {codes.name}",
        "",
        f"{codes.titles['en']} ({codes.titles['zh-Hant']}). Source: {codes.source}, {codes.version}.",
        "",
    )
    yield from ("| code | meaning | 中文 |", "|---|---|---|")
    for name, code in codes.codes.items():
        local = f" (local{f'; stands for `{code.maps_to}`' if code.maps_to else ''})" if code.local else ""
        yield f"| `{name}` | {code.labels['en']}{local} | {code.labels['zh-Hant']} |"
    yield ""
