"""Every command explains itself: what it does, each of its options, and an example that is one of its own calls."""

import shlex
from collections.abc import Iterator

import click
import pytest

from hub.cli.commands import hub

READ_BY_PROGRAMS = {"list", "verify", "doctor", "identity", "init", "import"}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = list(commands(hub))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
class TestCommand:
    """What holds for each command."""

    def test_it_says_what_it_does(self, path: tuple[str, ...], command: click.Command) -> None:
        assert len((command.help or "").split()) >= 3, path

    def test_its_first_line_fits_into_the_list_of_commands(self, path: tuple[str, ...], command: click.Command) -> None:
        assert not command.get_short_help_str(limit=100).endswith("..."), path

    def test_each_of_its_options_is_explained(self, path: tuple[str, ...], command: click.Command) -> None:
        options = [one for one in command.params if isinstance(one, click.Option)]
        assert [one.name for one in options if not one.help and not isinstance(one.type, click.Choice | click.IntRange)] == [], (
            path
        )

    def test_its_example_is_a_call_of_it(self, path: tuple[str, ...], command: click.Command) -> None:
        words = shlex.split((command.epilog or "").removeprefix("Example: "))
        assert tuple(words[: len(path) + 1]) == ("hub", *path)
        call = words[len(path) + 1 :]
        call = call[: call.index(">")] if ">" in call else call
        known = {name for one in command.params for name in one.opts}
        assert [word for word in call if word.startswith("--") and word not in known] == []
        needed = sum(isinstance(one, click.Argument) and one.required for one in command.params)
        assert len([word for word in call if not word.startswith("--")]) >= needed

    def test_a_program_can_read_what_it_finds(self, path: tuple[str, ...], command: click.Command) -> None:
        if path[-1] in READ_BY_PROGRAMS:
            assert "--json" in {name for one in command.params for name in one.opts}
