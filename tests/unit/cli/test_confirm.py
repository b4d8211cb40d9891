"""`radmeter.cli.common.confirm` where nobody can be asked; at a terminal the commands' own tests answer it."""

import io

import click
import pytest

from radmeter.cli.common import confirm


def test_without_a_terminal_yes_has_to_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(click.UsageError, match="no terminal to ask at: give --yes"):
        confirm("Go on?", yes=False)
    confirm("Go on?", yes=True)
