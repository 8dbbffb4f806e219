"""`hub catalogue`: keep what is generated from the catalogue in step with it."""

from __future__ import annotations

from pathlib import Path

import click

from hub.domain.catalogue import Catalogue
from hub.formats.catalogue import CatalogueError, load_catalogue
from hub.formats.generated_files import differences, generated_files

_TOP = click.option(
    "--top",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    show_default="here",
    help="The repository's top folder.",
)


@click.group()
def catalogue() -> None:
    """Generate schemas and pages from `schemas/`, or check them."""


@catalogue.command(epilog="Example: hub catalogue generate")
@_TOP
def generate(top: Path) -> None:
    """Write the JSON Schemas, the examples and the documentation pages."""
    files = generated_files(_load(top))
    for path, octets in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(octets)
    click.echo(f"{len(files)} files written")


@catalogue.command(epilog="Example: hub catalogue check")
@_TOP
def check(top: Path) -> None:
    """Exit with 1, and say which, where a generated file is not what the catalogue gives."""
    lines = differences(_load(top), top)
    if lines:
        raise click.ClickException("\n".join([*lines, "run: hub catalogue generate"]))
    click.echo("generated files are up to date")


def _load(top: Path) -> Catalogue:
    try:
        return load_catalogue(top / "schemas")
    except CatalogueError as error:
        raise click.ClickException(str(error)) from error
