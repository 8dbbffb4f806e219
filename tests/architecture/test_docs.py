"""The pages say what is: their commands are calls of our programs, their links lead somewhere, and their lists are complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import connectors.__main__  # noqa: F401 - gives hub-partner its commands
from connectors.hub_client.command_line import partner
from hub.cli.commands import hub
from hub.domain.audit import AuditEvent
from hub.domain.verification import FlawCode
from hub.settings import SECTIONS, known_keys, load_settings
from tests.pages import TOP, Page, all_pages

PAGES = all_pages()
ALLOWED_BESIDE = {"node", "sqlite3", "mkdir", "sed"}
NOT_THERE_YET = re.compile(r"[A-Z*]|keys/passphrase|bench/results")
DECISION_PARTS = ["Question", "Options", "Choice", "Cost", "When to reconsider"]

on_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (TOP / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def words_of(command: str) -> list[str]:
    """The words of one call, up to where its output goes."""
    words = shlex.split(command, comments=True)
    end = next((place for place, word in enumerate(words) if word in {">", "|", "&&", ";"}), len(words))
    return words[:end]


def complaint(words: list[str], *, whole: bool) -> str:
    """What is wrong with a call, or ""; `whole` demands its arguments too, as a block must have them."""
    if words[0] == "make":
        unknown = [word for word in words[1:] if "=" not in word and word not in targets()]
        return f"no target {unknown}" if unknown else ""
    try:
        _parse({"hub": hub, "hub-partner": partner}[words[0]], words[1:], whole)
    except click.BadOptionUsage as error:  # an option that is only named, without its value
        return error.format_message() if whole else ""
    except click.UsageError as error:
        return error.format_message()
    return ""


def _parse(command: click.Command, words: list[str], whole: bool) -> None:
    context = click.Context(command)
    values, rest, _order = command.make_parser(context).parse_args(list(words))
    if isinstance(command, click.Group):
        if rest and rest[0] not in command.commands:
            raise click.UsageError(f"no command {rest[0]}")
        if rest:
            _parse(command.commands[rest[0]], rest[1:], whole)
        return
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if whole and parameter.required and not value:
            raise click.UsageError(f"{parameter.name} is missing")
        if isinstance(parameter.type, click.Choice) and isinstance(value, str) and value.islower():
            parameter.type.convert(value, parameter, context)


@on_each_page
def test_each_command_in_a_block_is_a_call_of_our_programs(page: Page) -> None:
    assert {line: what for line in page.commands() if (what := complaint(words_of(line), whole=True))} == {}


@on_each_page
def test_each_command_in_the_text_names_what_there_is(page: Page) -> None:
    spans = [span for span in page.spans() if re.match(r"(hub|hub-partner|make) [a-z-]", span)]
    assert {span: what for span in spans if (what := complaint(words_of(span), whole=False))} == {}


@on_each_page
def test_a_shell_block_holds_nothing_but_known_programs(page: Page) -> None:
    lines = [line for block in page.blocks() if block.language == "sh" for line in block.lines()]
    assert [line for line in lines if line.split()[0] not in {"hub", "hub-partner", "make", *ALLOWED_BESIDE}] == []


@on_each_page
def test_each_link_leads_somewhere(page: Page) -> None:
    broken = []
    for link in page.links():
        file, _, anchor = link.partition("#")
        target = Page((page.path.parent / file).resolve() if file else page.path)
        if re.match(r"https?:", link):
            continue
        if not target.path.exists() or (anchor and anchor not in target.anchors()):
            broken.append(link)
    assert broken == []


@on_each_page
def test_each_file_that_is_named_is_there(page: Page) -> None:
    named = [span for span in page.spans() if re.match(r"(hub|tests|docs|config|schemas|connectors|bench|keys)/[\w./-]+$", span)]
    assert [path for path in named if not NOT_THERE_YET.search(path) and not (TOP / path).exists()] == []


@on_each_page
def test_each_setting_that_is_named_is_one(page: Page) -> None:
    named = [found.groups() for span in page.spans() if (found := re.match(r"\[(\w+)\] (\w+)", span))]
    assert [one for one in named if one[0] not in SECTIONS or one[1] not in known_keys(one[0])] == []


def test_the_settings_that_an_operator_is_shown_can_be_loaded(tmp_path: Path) -> None:
    blocks = [block.text for block in Page(TOP / "docs/operators.md").blocks() if block.language == "toml"]
    file = tmp_path / "config" / "hub.toml"
    file.parent.mkdir()
    file.write_text("\n".join(blocks), encoding="utf-8")
    settings = load_settings(file)
    assert settings.database.url.startswith("postgresql+psycopg://")


def test_each_audit_event_is_explained_once_in_the_order_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", (TOP / "docs/audit-events.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(event.value for event in AuditEvent)


def test_each_flaw_that_an_auditor_is_told_of_exists() -> None:
    table = [line for line in Page(TOP / "docs/auditors.md").text.splitlines() if line.startswith("| ")]
    named = {code for line in table for code in re.findall(r"`([a-z]+_[a-z]+)`", line)}
    assert named
    assert named - {code.value for code in FlawCode} == set()


def test_each_module_on_the_map_is_in_its_layer() -> None:
    rows = [line.strip("| \n").split("|") for line in Page(TOP / "hub/README.md").text.splitlines() if line.startswith("| ")]
    header, *body = [[cell.strip() for cell in row] for row in rows]
    cells = [
        (layer, name)
        for row in body
        for layer, cell in zip(header[1:], row[1:], strict=True)
        for name in re.findall(r"`([^`]+)`", cell)
    ]
    missing = [
        (layer, name) for layer, name in cells if not (TOP / "hub" / ("" if layer == "doors" else layer) / f"{name}.py").exists()
    ]
    assert (missing, len(cells) > 50) == ([], True)


def test_each_key_of_the_measurements_is_written_by_them() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (TOP / "bench").glob("*.py"))
    table = [line.split("|")[1] for line in Page(TOP / "docs/speed.md").text.splitlines() if line.startswith("| `")]
    leaves = {key.rpartition(".")[2] for cell in table for key in re.findall(r"`([^`]+)`", cell)}
    written = {leaf for leaf in leaves if f'"{leaf}"' in sources or re.fullmatch(r"[cr][0-9]+", leaf)}
    assert leaves - written == set()


def test_what_the_front_page_shows_of_the_story_are_its_chapters() -> None:
    (shown,) = (block.text for block in Page(TOP / "README.md").blocks() if block.mark == "demo")
    story = (TOP / "hub/cli/demo.py").read_text(encoding="utf-8")
    chapters = re.findall(r"^[0-9]+\. (.+)$", shown, re.MULTILINE)
    assert chapters
    assert [chapter for chapter in chapters if chapter not in story] == []


def test_each_decision_is_listed_and_has_its_five_parts() -> None:
    folder = TOP / "docs/decisions"
    pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert [re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE) for page in pages] == [DECISION_PARTS] * len(
        pages
    )
    assert [Path(link).name for link in Page(folder / "README.md").links()] == [page.name for page in pages]


def test_a_wrong_command_is_seen() -> None:
    wrong = [
        "hub frobnicate",
        "hub key list --ownr x",
        "hub agreement sign tw-jp-police-2026",
        "make everything",
        "hub-partner sned x",
    ]
    assert [bool(complaint(words_of(one), whole=True)) for one in wrong] == [True] * len(wrong)
