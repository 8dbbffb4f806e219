"""The console script `hub-partner`: the client's commands, and one for each connector."""

from __future__ import annotations

from connectors.file_drop.transport import drop_command
from connectors.hub_client import agreement_commands, enrol_commands, exchange_commands, offline_commands
from connectors.hub_client.command_line import partner

COMMAND_MODULES = (agreement_commands, enrol_commands, exchange_commands, offline_commands)
"""Importing them gives the group its commands."""

partner.add_command(drop_command)


def main() -> None:
    """Run `hub-partner`."""
    partner(prog_name="hub-partner")


if __name__ == "__main__":
    main()
