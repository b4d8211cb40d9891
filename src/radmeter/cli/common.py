"""What the command groups share: settings, the database to use, and output as table, JSON or CSV."""

import csv
import datetime
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import wraps
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import click
from rich.console import Console
from rich.table import Table

from radmeter.config import ALL, Settings
from radmeter.embedded.server import open_database
from radmeter.errors import ConfigurationError, StoreError
from radmeter.units import human_bytes

Row = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="table for people (human sizes); json and csv for programs (exact bytes).",
)


class Text(click.types.StringParamType):
    """A name that the database can hold. An argument of a process can be bytes that are not UTF-8."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the argument, or end with a usage error if it is not UTF-8."""
        try:
            str(value).encode()
        except UnicodeEncodeError:
            self.fail(f"{value!a} is not UTF-8", param, ctx)
        return str(value)


TEXT = Text()


@contextmanager
def existing_database(settings: Settings) -> Iterator[str]:
    """Yield the connection string of the database. The embedded one is started, but not made.

    Raises
    ------
    StoreError
        There is no database yet, or the embedded PostgreSQL cannot be started.
    """
    if settings.dsn is None and not (settings.postgresql / "data").exists():
        raise StoreError(
            f"there is no database in {settings.postgresql} yet: `radmeter up` makes one, or set RADMETER_DSN to yours"
        )
    with open_database(settings) as database:
        yield database.dsn


def require_extra(package: str, extra: str) -> None:
    """Check that a package which one of radmeter's extras installs is there.

    Raises
    ------
    ConfigurationError
        It is not installed. The message names the extra.
    """
    if find_spec(package) is None:
        raise ConfigurationError(f"{package} is not installed: pip install 'radmeter[{extra}]'")


def with_settings(*names: str) -> Callable[[F], F]:
    """Pass the `Settings` in force to the command as its first argument, with an option for each setting in `names`.

    An option wins over its environment variable. Without names the command takes no setting options.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            overrides = {name: kwargs.pop(name) for name in names}
            return function(Settings.load(**overrides), *args, **kwargs)

        command: Any = wrapper
        for setting in reversed(ALL):
            if setting.name in names:
                command = click.option(
                    setting.option,
                    setting.name,
                    envvar=None,
                    metavar=setting.name.upper(),
                    help=f"{setting.meaning[0].upper()}{setting.meaning[1:]}.  [env: {setting.variable}]",
                )(command)
        return cast(F, command)

    return decorate


def confirm(question: str, yes: bool) -> None:
    """Ask on standard error whether to go on, unless `yes` is true. The answer no ends the command.

    Raises
    ------
    click.UsageError
        There is no terminal to ask at.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at: give --yes to go on without a question")
    click.confirm(question, abort=True, err=True)


def emit(rows: Sequence[Row], output_format: str, *, columns: Sequence[str], title: str = "") -> None:
    """Print rows. A column whose name begins with ``bytes_`` is a byte count.

    Parameters
    ----------
    rows
        One dictionary a row; each has all of `columns`.
    output_format
        ``table``, ``json`` (an array of objects) or ``csv`` (with a header line).
    columns
        The columns to show, in order.
    """
    if output_format == "json":
        objects = [{name: plain(row[name]) for name in columns} for row in rows]
        click.echo(json.dumps(objects, indent=2, ensure_ascii=False))
    elif output_format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([plain(row[name]) for name in columns] for row in rows)
    else:
        _print_table(rows, columns, title)


def emit_one(row: Row, output_format: str, *, columns: Sequence[str]) -> None:
    """Print one row: one line per column, a JSON object, or CSV with one row."""
    if output_format == "json":
        click.echo(json.dumps({name: plain(row[name]) for name in columns}, indent=2, ensure_ascii=False))
    elif output_format == "csv":
        emit([row], output_format, columns=columns)
    else:
        width = max(map(len, columns)) + 2
        for name in columns:
            click.echo(f"{name.replace('_', ' '):<{width}}{cell(name, row[name])}")


def _print_table(rows: Sequence[Row], columns: Sequence[str], title: str) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        numeric = name.startswith("bytes_") or any(isinstance(row[name], int | Decimal) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(name, row[name]) for name in columns))
    if title:
        click.echo(title)
    Console(width=None if sys.stdout.isatty() else 200).print(table, markup=False)


def cell(name: str, value: Any) -> str:
    if name.startswith("bytes_"):
        return human_bytes(value)
    if value is None:
        return "-"
    if isinstance(value, datetime.datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return printable(str(value))


def printable(text: str) -> str:
    """Return text that is safe on a terminal. Names come from packets and can contain control sequences."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def plain(value: Any) -> Any:
    """Return the value for JSON and CSV: whole numbers as numbers, times in ISO 8601, the rest as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return str(value)
