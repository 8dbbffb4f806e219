"""Everything that is generated from the catalogue, in one list."""

from __future__ import annotations

from pathlib import Path

import orjson

from hub.domain.catalogue import Catalogue
from hub.formats import json_schemas, message_docs


def generated_files(catalogue: Catalogue) -> dict[Path, bytes]:
    """Make each generated file: its path from the repository's top to its octets."""
    files = {Path("schemas/json") / name: octets for name, octets in json_schemas.generate(catalogue).items()}
    files |= {Path("schemas/examples") / name: octets for name, octets in _examples(catalogue).items()}
    files |= {Path("docs/messages") / name: octets for name, octets in message_docs.generate(catalogue).items()}
    return files


def differences(catalogue: Catalogue, top: Path) -> list[str]:
    """Say, a line for each file, what is missing, out of date, or left over below `top`."""
    wanted = generated_files(catalogue)
    found = {path.relative_to(top) for folder in {path.parent for path in wanted} for path in (top / folder).glob("*")}
    lines = [f"{path}: left over" for path in sorted(found - wanted.keys())]
    for path, octets in sorted(wanted.items()):
        if path not in found:
            lines.append(f"{path}: missing")
        elif (top / path).read_bytes() != octets:
            lines.append(f"{path}: out of date")
    return lines


def _examples(catalogue: Catalogue) -> dict[str, bytes]:
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {
        f"{stem}.json": orjson.dumps({"header": one.example_header, "body": one.example_body}, option=option)
        for stem, one in json_schemas.named_types(catalogue)
    }
