"""Writes a man page for each command: man_pages.py DIRECTORY. The texts are those of --help.

click-man makes the form of a page. It knows neither click's mark for lines that are not wrapped, nor examples, nor
commands that are loaded when they are named: these are added here.
"""

import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click
from click_man.man import ManPage

from radmeter import __version__
from radmeter.cli.main import cli

UNWRAPPED = "\b"
COMMON = {"--help": "Show this text in short and exit."}


def roff(text: str) -> str:
    """Return text in which nothing is a command of roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace(UNWRAPPED, "")
    return re.sub(r"(?m)^(?=[.'])", r"\\&", escaped)


def paragraphs(text: str) -> str:
    """Return the paragraphs of a help text as roff. Those that begin with click's mark keep their lines."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", cleandoc(text)):
        if paragraph.startswith(UNWRAPPED):
            parts.append(f".nf\n{roff(paragraph.removeprefix(UNWRAPPED).strip(chr(10)))}\n.fi")
        else:
            parts.append(roff(" ".join(line.strip() for line in paragraph.splitlines())))
    return "\n.PP\n".join(parts)


def summary(command: click.Command) -> str:
    """Return the first sentence of a command's help, without its full stop."""
    first = re.split(r"\n\s*\n", cleandoc(command.help or ""))[0]
    sentence = re.split(r"(?<=[^.]\.)\s", " ".join(first.split()))[0]
    return sentence.rstrip(".")


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group that are not hidden."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            if each is not None and not each.hidden:
                yield name, each


def page(context: click.Context) -> str:
    """Return the man page of a command."""
    command = context.command
    made = ManPage(context.command_path.replace(" ", "-"))
    made.version = f"radmeter {__version__}"
    made.short_help = roff(summary(command))
    made.synopsis = " ".join(command.collect_usage_pieces(context))
    made.description = paragraphs(command.help or "")
    text = str(made).replace(f".B {made.command}\n", f".B {context.command_path}\n", 1)
    # In the middle of the header, between two times the page's name: a long one would overlap.
    text = text.replace(f'"{made.command} Manual"', '"radmeter"', 1)
    records = [each.get_help_record(context) for each in command.get_params(context)]
    options = [record for record in records if record is not None]
    if options:
        text += ".SH OPTIONS\n"
        for names, meaning in options:
            meaning = next((told for name, told in COMMON.items() if names.endswith(name)), meaning)
            text += f".TP\n\\fB{roff(names)}\\fP\n{roff(' '.join(meaning.split()))}\n"
    inner = list(commands(command, context))
    if inner:
        text += ".SH COMMANDS\n"
        for name, each in inner:
            reference = f"{context.command_path.replace(' ', '-')}-{name}"
            text += f".TP\n\\fB{roff(reference)}\\fP(1)\n{roff(summary(each))}.\n"
    if command.epilog:
        text += f".SH NOTES\n{paragraphs(command.epilog)}\n"
    if context.parent is not None:
        text += f".SH SEE ALSO\n.BR {roff(context.parent.command_path.replace(' ', '-'))} (1)\n"
    return text


def write(command: click.Command, name: str, parent: click.Context | None, directory: Path) -> None:
    """Write the page of a command and those of its commands."""
    context = click.Context(command, info_name=name, parent=parent)
    (directory / f"{context.command_path.replace(' ', '-')}.1").write_text(page(context), encoding="utf-8")
    for inner, each in commands(command, context):
        write(each, inner, context, directory)


if __name__ == "__main__":
    write(cli, "radmeter", None, Path(sys.argv[1]))
