"""The catalogue, its examples, and a way to change one place of them: what the tests of several layers start from."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

from hub.domain.catalogue import Catalogue
from hub.formats.bodies import BodyReader
from hub.formats.catalogue import load_catalogue

TOP = Path(__file__).parent.parent
SCHEMAS = TOP / "schemas"
GONE = object()
"""The value that takes a member out."""


@cache
def catalogue() -> Catalogue:
    return load_catalogue(SCHEMAS)


@cache
def reader() -> BodyReader:
    return BodyReader(catalogue())


def example(type_: str) -> tuple[Any, Any]:
    """A header and a body that a test may change."""
    found = catalogue().get(type_, 1)
    return copy.deepcopy(found.example_header), copy.deepcopy(found.example_body)


def change(value: Any, pointer: str, new: object) -> None:
    """Set, append (`-`) or take out what a JSON Pointer leads to; groups on the way are made."""
    *way, last = pointer.split("/")[1:]
    for step in way:
        value = value[int(step)] if isinstance(value, list) else value.setdefault(step, {})
    if isinstance(value, list) and last == "-":
        value.append(new)
    elif isinstance(value, list):
        value[int(last)] = new
    elif new is GONE:
        del value[last]
    else:
        value[last] = new
