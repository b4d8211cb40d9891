"""Each command's --help: it has examples, which are not wrapped, and a text for each option."""

import re

import click
import pytest
from support.command_tree import commands
from support.commands import radmeter

from radmeter.cli.groups import WHOLE
from radmeter.cli.main import COMMANDS as SUMMARIES

COMMANDS = {name: command for name, command in commands() if name}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_examples_that_are_not_wrapped(name: str) -> None:
    command = COMMANDS[name]
    assert "Example" in (command.epilog or ""), "it has no example"
    written = [
        line.removeprefix("Example:").strip()
        for line in (command.epilog or "").splitlines()
        if re.match(r"(Example:)?\s+radmeter |Example: ", line)
    ]
    assert written
    shown = radmeter(None, *name.split(), "--help", COLUMNS="80").output
    assert [line for line in written if line not in shown.splitlines() and not _in(line, shown)] == []


def _in(line: str, shown: str) -> bool:
    return any(each.strip().removeprefix("Example:").strip() == line for each in shown.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_80_columns(name: str) -> None:
    shown = radmeter(None, *name.split(), "--help", COLUMNS="80").output
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_summary_of_a_command_is_the_first_sentence_of_its_help(name: str) -> None:
    """`radmeter --help` loads no command, so the summaries are written down."""
    assert COMMANDS[name].get_short_help_str(WHOLE).removesuffix(".") == SUMMARIES[name][1].removesuffix(".")


@pytest.mark.parametrize(
    "group", ["", *(name for name, each in COMMANDS.items() if isinstance(each, click.Group))]
)
def test_the_help_of_a_group_has_every_command_with_its_whole_summary(group: str) -> None:
    shown = radmeter(None, *group.split(), "--help", COLUMNS="80").output
    assert max(map(len, shown.splitlines())) <= 80
    text = " ".join(shown.split())
    below = [name for name in COMMANDS if name.rpartition(" ")[0] == group]
    assert below
    for name in below:
        summary = " ".join(COMMANDS[name].get_short_help_str(WHOLE).removesuffix(".").split())
        assert f"{name.rpartition(' ')[2]} {summary}" in text
        assert "..." not in summary


@pytest.mark.parametrize("group", ["", "journal"])
def test_a_group_without_a_command_says_its_help(group: str) -> None:
    shown = radmeter(None, *group.split())
    assert (shown.exit_code, shown.output) == (2, "")
    assert shown.errors == radmeter(None, *group.split(), "--help").output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_a_text(name: str) -> None:
    options = [each for each in COMMANDS[name].params if isinstance(each, click.Option)]
    assert [each.opts for each in options if not each.help] == []


def test_every_command_takes_the_configuration_file() -> None:
    without = [
        name
        for name, command in COMMANDS.items()
        if not isinstance(command, click.Group)
        and not any("--config" in each.opts for each in command.params)
    ]
    assert without == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("usage", "user", "x", "--periods", "abc"), "'abc' is not a whole number from 1 to 10,000"),
        (("usage", "user", "x", "--periods", "0"), "0 is not a whole number from 1 to 10,000"),
        (("backfill", "--max-lag", "0"), "0.0 is not a number above 0"),
        (("verify", "--from", "2026-13"), "'2026-13' is not a date: write YYYY-MM-DD"),
        (("partitions", "ensure", "2026"), "'2026' is not a month: write YYYY-MM, such as 2026-03"),
        (("partitions", "ensure", "2026-03..2026-01"), "'2026-03..2026-01' ends before it begins"),
        (("limits", "set", "personal_keep_days", "many"), "neither a whole number nor"),
        (("nonsense",), "No such command 'nonsense'."),
        (("usgae",), "No such command 'usgae'. Did you mean `radmeter usage` or `radmeter users`?"),
        (("parti",), "Did you mean `radmeter partitions`?"),
        (("usage", "usr"), "Did you mean `radmeter usage user` or `radmeter usage users`?"),
        (("routers", "lst"), "Did you mean `radmeter routers list`"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(arguments: tuple[str, ...], told: str) -> None:
    done = radmeter("host=db.invalid", *arguments)
    assert done.exit_code == 2
    last = done.errors.splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last
