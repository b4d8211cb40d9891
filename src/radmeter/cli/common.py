"""What the command groups share: settings, the database to use, and output as table, JSON or CSV."""

import csv
import datetime
import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar, cast

import click
from rich.console import Console
from rich.table import Table

from radmeter.config import ALL, Settings

Row = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="table for people (human sizes); json and csv for programs (exact bytes).",
)


def with_settings(*names: str) -> Callable[[F], F]:
    """Give the command the `Settings` in force as its first argument, and an option for each setting in `names`.

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


def human_bytes(count: int | Decimal | None) -> str:
    """Return a byte count for people, in binary units: ``1.5 GiB``; a dash where it is unknown."""
    if count is None:
        return "-"
    size = float(count)
    for unit in UNITS:
        if abs(size) < 1024 or unit == UNITS[-1]:
            break
        size /= 1024
    return f"{int(size)} B" if unit == "B" else f"{size:.2f} {unit}"


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
        plain = [{name: _plain(row[name]) for name in columns} for row in rows]
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    elif output_format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_plain(row[name]) for name in columns] for row in rows)
    else:
        _print_table(rows, columns, title)


def _print_table(rows: Sequence[Row], columns: Sequence[str], title: str) -> None:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        numeric = name.startswith("bytes_") or any(isinstance(row[name], int | Decimal) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(
            *(human_bytes(row[name]) if name.startswith("bytes_") else _cell(row[name]) for name in columns)
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table, markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime.datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    return str(value)


def _plain(value: Any) -> Any:
    """Return the value as JSON and CSV have it: whole numbers as numbers, times in ISO 8601, the rest as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return str(value)
