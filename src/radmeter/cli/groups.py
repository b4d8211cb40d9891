"""Groups of commands: whole summaries in --help, and a suggestion for a misspelt command."""

from collections.abc import Callable
from typing import Any

import click

# How alike a word must be to a command's name, from 0 to 1.
ALIKE = 0.6
# A summary is one sentence. click would cut it at 45 characters.
WHOLE = 10_000


class Group(click.Group):
    """A group of commands. Groups in it are of this kind as well."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their whole summaries, under the headings of `sections`."""
        for heading, names in self.sections(ctx):
            with formatter.section(heading):
                formatter.write_dl([(name, self.summary(ctx, name)) for name in names])

    def sections(self, ctx: click.Context) -> list[tuple[str, list[str]]]:
        """Return the headings of --help, and the commands under each."""
        return [("Commands", self.list_commands(ctx))]

    def summary(self, ctx: click.Context, name: str) -> str:
        """Return the first sentence of a command's help."""
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(WHOLE).removesuffix(".")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named. For a misspelt one, the error names those that are alike."""
        name = str(args[0])
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise NoSuchCommand(self, ctx, name)
        return super().resolve_command(ctx, args)


class NoSuchCommand(click.UsageError):
    """There is no such command. The message names those that are alike."""

    def __init__(self, group: click.Group, ctx: click.Context, name: str) -> None:
        # Imported here because most commands are spelt right.
        import difflib

        known = group.list_commands(ctx)
        alike = difflib.get_close_matches(name, known, n=3, cutoff=ALIKE)
        # What begins alike is meant, however much is missing.
        alike += [each for each in known if each.startswith(name) and each not in alike]
        path = ctx.command_path
        meant = " or ".join(f"`{path} {each}`" for each in alike)
        super().__init__(f"No such command {name!r}." + (f" Did you mean {meant}?" if alike else ""), ctx)


def group(**options: Any) -> Callable[[Callable[..., Any]], Group]:
    """Make a group, as click.group does."""
    return click.group(cls=Group, **options)
