"""A hub installed in a folder of its own, as `hub init` leaves it; made once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

from hub.bootstrap import Installation
from hub.services.initialise_hub import register_hub_keys

CONFIG = """
[hub]
name = "hub.test/accord"
issuer = "http://127.0.0.1:18440"

[log]
level = "error"
"""


def install(folder: Path) -> Installation:
    """Make a new hub under `folder`."""
    file = folder / "config" / "hub.toml"
    file.parent.mkdir(parents=True)
    file.write_text(CONFIG, encoding="utf-8")
    installation = Installation(file)
    installation.initialise()
    with installation.open_hub() as hub:
        register_hub_keys(hub)
    return installation


def copy_of(folder: Path, target: Path) -> Installation:
    """The same hub in another folder."""
    shutil.copytree(folder, target)
    return Installation(target / "config" / "hub.toml")
