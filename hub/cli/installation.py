"""What the commands are given to work with. `hub/bootstrap.py` puts it together; the commands know this much of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from hub.services.hub import Hub
from hub.services.manage_keys import KeyFolder


@dataclass(frozen=True)
class Initialised:
    """What `hub init` made; what was there already it left alone."""

    passphrase: bool
    keys: bool


class Installation(Protocol):
    """One hub as its settings file describes it."""

    def open_hub(self) -> AbstractContextManager[Hub]:
        """A hub for the time of one command."""

    def key_folder(self) -> KeyFolder:
        """The folder of the private keys that the hub keeps."""

    def initialise(self) -> Initialised:
        """Make the folders, the passphrase and the keys that are missing, and bring the database to this release's form."""

    def serve(self) -> None:
        """Run the server and the worker, until a signal asks for the end."""

    def work(self, roles: frozenset[str]) -> None:
        """Run the loops of these roles, until a signal asks for the end."""
