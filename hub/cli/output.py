"""How commands show what they found: columns for a person, JSON for a program."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len

from hub.domain.encoding import format_time

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program.")
"""The option of every command that a program would read."""

_GAP = 2


def show_json(value: object) -> None:
    """Print a value as JSON: dataclasses as objects, sets sorted, times in RFC 3339."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """Turn domain values into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(one) for one in value)
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return format_time(value)
    return str(value) if isinstance(value, Path) else value


def show_columns(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns as wide as they need, wide characters counted as two."""
    table = [headings, *([str(plain(cell)) for cell in row] for row in rows)]
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        cells = (cell + " " * (width - cell_len(cell) + _GAP) for cell, width in zip(row, widths, strict=True))
        click.echo("".join(cells).rstrip())
