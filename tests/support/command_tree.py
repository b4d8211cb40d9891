"""The commands of `radmeter`, by name, for tests that hold something for all of them."""

from collections.abc import Iterator

import click

from radmeter.cli.main import cli


def commands(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command and group with its name. The name of `radmeter` itself is empty."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


def leaves() -> dict[str, click.Command]:
    """Return every command that is no group, by name."""
    return {name: command for name, command in commands() if not isinstance(command, click.Group)}
