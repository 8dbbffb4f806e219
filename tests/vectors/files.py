"""Reads a file of vectors."""

import json
from pathlib import Path
from typing import Any

from hub.domain.refusals import RefusalCode

FOLDER = Path(__file__).parent
ACCEPTED = "accepted"
EXPECTATIONS = frozenset({ACCEPTED, *RefusalCode})


def read_json(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def read_cases(name: str) -> list[dict[str, Any]]:
    """Cases with `name` and `expect`; an expectation outside the closed list is an error of the file."""
    cases: list[dict[str, Any]] = read_json(name)
    unknown = {case["expect"] for case in cases} - EXPECTATIONS
    if unknown:
        raise ValueError(f"{name} expects what no refusal is called: {sorted(unknown)}")
    return cases
