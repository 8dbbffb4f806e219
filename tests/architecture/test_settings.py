"""config/hub.toml shows every setting there is, with the default that the code has, and says what it does."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from hub.settings import SECTIONS, Settings, known_keys, load_settings

CONFIG = Path(__file__).parents[2] / "config" / "hub.toml"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_of_a_section_is_shown(section: str) -> None:
    shown = tomllib.loads(CONFIG.read_text(encoding="utf-8"))[section]
    assert sorted(shown) == sorted(known_keys(section))


def test_what_is_shown_are_the_defaults(tmp_path: Path) -> None:
    least = tmp_path / "config" / "hub.toml"
    least.parent.mkdir()
    hub = CONFIG.read_text(encoding="utf-8").split("[database]")[0]
    least.write_text(hub, encoding="utf-8")
    copy = tmp_path / "config" / "shown.toml"
    copy.write_bytes(CONFIG.read_bytes())
    assert comparable(load_settings(copy)) == comparable(load_settings(least))


def comparable(settings: Settings) -> dict[str, object]:
    return {one.name: getattr(settings, one.name) for one in dataclasses.fields(settings) if one.name not in ("file", "digest")}


def test_every_group_of_settings_is_explained() -> None:
    blocks = CONFIG.read_text(encoding="utf-8").replace("]\n", "]\n\n").split("\n\n")
    settings = [line for block in blocks for line in unexplained(block.splitlines())]
    assert settings == []


def unexplained(lines: list[str]) -> list[str]:
    first = next((number for number, line in enumerate(lines) if line and not line.startswith(("#", "["))), None)
    return [] if first is None or (first > 0 and lines[first - 1].startswith("#")) else [lines[first]]
