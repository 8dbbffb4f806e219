"""The console script `hub`: hands the wiring to the commands."""

from __future__ import annotations

from hub.bootstrap import Installation
from hub.cli.commands import hub


def main() -> None:
    """Run one command."""
    hub(obj=Installation, prog_name="hub")


if __name__ == "__main__":
    main()
