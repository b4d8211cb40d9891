"""What the command groups share: settings, the database to use, and output as table, JSON or CSV."""

import csv
import datetime
import io
import json
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from radmeter import output, resources
from radmeter.cli import config_option, times
from radmeter.cli.tables import lay_out
from radmeter.config import ALL, Settings
from radmeter.database import deadline
from radmeter.errors import MissingExtra, RadmeterError, StoreError
from radmeter.os_errors import explained
from radmeter.printable import escaped, escaped_json, printable
from radmeter.secret_files import close_memory
from radmeter.spreadsheets import harmless
from radmeter.units import compact_disk_size, compact_volume, disk_size, volume

if TYPE_CHECKING:
    from radmeter.database.connection import Connection

Row = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])


# A standby that is less far behind is not worth a word.
BEHIND_SECONDS = 1.0

LOG_FORMAT = "log_format"

# The key of `--raw` in click's context.
RAW = "radmeter.raw"

# CSV is written in parts of about this many characters, so that a long list needs no memory.
CSV_PART = 65_536


def wrapped(text: str, without_terminal: int | None = None) -> list[str]:
    """Return a text as lines that fit the terminal, or `without_terminal`. None: there it is one line."""
    if without_terminal is None and not sys.stdout.isatty():
        return [text]
    return click.wrap_text(printable(text), output.console(width=without_terminal).width).split("\n")


def pace_options(function: F) -> F:
    """Add the options --max-load and --max-lag of a command that works beside ingest for long."""
    for option in (
        click.option(
            "--max-lag",
            type=click.FloatRange(0, min_open=True),
            default=10.0,
            show_default=True,
            metavar="SECONDS",
            help="Pause while a standby or ingest is further behind than this.",
        ),
        click.option(
            "--max-load",
            type=click.FloatRange(0, 1, min_open=True),
            default=1.0,
            show_default=True,
            help="The share of its time that each job works. It sleeps the rest.",
        ),
    ):
        function = option(function)
    return function


def format_option(function: F) -> F:
    """Add the options --format and --raw. The command gets `output_format`; `emit_csv` looks after --raw."""

    @wraps(function)
    def wrapper(*args: Any, raw: bool, **kwargs: Any) -> Any:
        if raw and kwargs["output_format"] != "csv":
            raise click.UsageError("--raw goes with --format csv")
        click.get_current_context().meta[RAW] = raw
        return function(*args, **kwargs)

    command: Any = wrapper
    for option in (
        click.option(
            "--raw",
            is_flag=True,
            help="With csv: no apostrophe before text that a spreadsheet would run, such as =1+1. For programs.",
        ),
        click.option(
            "--format",
            "output_format",
            type=click.Choice(["table", "json", "csv"]),
            default="table",
            show_default=True,
            help="table for people (human sizes); json and csv for programs (exact bytes).",
        ),
    ):
        command = option(command)
    return cast(F, command)


def list_options(function: F) -> F:
    """Add the options of a list: --format and --raw, --columns, --wide and --utc. `emit` looks after them."""
    command: Any = format_option(function)
    for option in (
        utc_option,
        wide_option,
        click.option(
            "--columns",
            metavar="NAME,..",
            expose_value=False,
            callback=_remembered(CHOSEN),
            help="Only these columns, in this order. The names are those of --format csv.",
        ),
    ):
        command = option(command)
    return cast(F, command)


def _remembered(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that notes an option's value in click's context."""

    def note(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        context.meta[key] = value
        return value

    return note


# The key of `--columns` and `--wide` in click's context.
CHOSEN = "radmeter.columns"
WIDE = "radmeter.wide"

wide_option = click.option(
    "--wide",
    is_flag=True,
    expose_value=False,
    callback=_remembered(WIDE),
    help="All columns, times to the second, lines as long as they are.",
)
utc_option = click.option(
    "--utc",
    is_flag=True,
    expose_value=False,
    callback=_remembered(times.UTC),
    help="Show times in UTC. Otherwise they are in the installation's time zone. In json and csv each has its offset.",
)


class Figure(str):
    """A number that is kept as text because every digit matters. In CSV it is a number."""


# Values that are never text of others.
NUMBERS = (bool, int, float, Decimal, datetime.date, datetime.time, datetime.timedelta, Figure)


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
            f"there is no database in {settings.postgresql} yet: name yours as dsn in the configuration file, or as "
            "RADMETER_DSN. To try radmeter out, `radmeter up` makes one"
        )
    if settings.dsn is not None:
        yield settings.dsn
        return
    # Imported here because it loads slowly, and an operator's own server does not need it.
    from radmeter.embedded.server import open_database

    with open_database(settings) as database:
        yield database.dsn


@contextmanager
def reading_database(settings: Settings) -> Iterator[str]:
    """Yield the connection string for a command that only reads: of a standby if one is set, else of the database.

    If the standby is behind, a note on standard error says so. An option wins: with --dsn and without --read-dsn the
    command reads from that database.

    Raises
    ------
    StoreError
        The standby cannot be reached, or there is no database yet.
    """
    chosen = settings.source("dsn") == "--dsn" and settings.source("read_dsn") != "--read-dsn"
    if settings.read_dsn is None or chosen:
        with existing_database(settings) as dsn:
            yield dsn
        return
    # Imported here because psycopg loads slowly.
    from radmeter.database.connection import connect
    from radmeter.database.standby import standby

    try:
        with connect(settings.read_dsn, any_pooler=True) as connection:
            found = standby(connection)
    except StoreError as error:
        raise StoreError(f"the standby to read from ({settings.source('read_dsn')}): {error}") from error
    if found is not None and (found.behind_seconds is None or found.behind_seconds >= BEHIND_SECONDS):
        output.say(f"note: read from a standby, {found}", err=True)
    yield settings.read_dsn


def require_directory(file: Path) -> None:
    """Check that the directory of a file that is to be written is there.

    Raises
    ------
    RadmeterError
        It is not.
    """
    if not file.parent.exists():
        raise RadmeterError(
            f"there is no directory {str(file.parent)!r}: make it with `mkdir -p {shlex.quote(str(file.parent))}`"
        )


def require_extra(package: str, extra: str) -> None:
    """Check that a package which one of radmeter's extras installs is there.

    Raises
    ------
    MissingExtra
        It is not installed. The message names the extra.
    """
    if find_spec(package) is None:
        raise MissingExtra(f"{package} is not installed: {resources.how_to_add(extra)}")


class ServiceCommand(click.Command):
    """A command that runs as a service. It closes its memory before it reads a password."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        close_memory()
        return super().invoke(ctx)


def with_settings(*names: str, trial: bool = False) -> Callable[[F], F]:
    """Pass the `Settings` in force to the command as its first argument, with an option for each setting in `names`.

    An option wins over its environment variable, and that over the configuration file. Without names the command takes
    no option but --config and --log-format.

    `trial`: the command does not read the file of an installation unless the file is named.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def wrapper(*args: Any, config_file: str | None, **kwargs: Any) -> Any:
            overrides = {name: kwargs.pop(name) for name in (*names, LOG_FORMAT) if name in kwargs}
            context = click.get_current_context()
            if overrides.get(LOG_FORMAT) is None:
                overrides[LOG_FORMAT] = config_option.log_format(context)
            settings = Settings.load(
                config=config_option.named(context, config_file, trial=trial),
                uses=names,
                **config_option.command(context),
                **overrides,
            )
            deadline.use(settings.answer_seconds)
            output.log_as(settings.log_format)
            try:
                return function(settings, *args, **kwargs)
            except BrokenPipeError:
                raise
            except OSError as error:
                message = explained(error, {"--journal": settings.journal, "--state": settings.state})
                if message is None:
                    raise
                raise message from error

        command: Any = config_option.config_option(wrapper)
        for setting in reversed(ALL):
            # Each command takes it. Those that log as services show it.
            if setting.name in names or setting.name == LOG_FORMAT:
                command = click.option(
                    setting.option,
                    setting.name,
                    envvar=None,
                    metavar=setting.name.upper(),
                    hidden=setting.name not in names,
                    help=f"{_sentence(setting.meaning)}.  [env: {setting.variable}]",
                )(command)
        return cast(F, command)

    return decorate


def _sentence(meaning: str) -> str:
    """Return a setting's meaning with a capital letter, unless it begins with a value, such as ``packet:``."""
    if meaning.split()[0].endswith(":"):
        return meaning
    return meaning[0].upper() + meaning[1:]


def confirm(question: str, yes: bool) -> None:
    """Ask on standard error whether to go on, unless `yes` is true. The answer no ends the command.

    Raises
    ------
    click.UsageError
        There is no terminal to ask at.
    """
    if yes:
        return
    can_answer(yes)
    click.confirm(printable(question), abort=True, err=True)


def can_answer(yes: bool) -> None:
    """Check that `confirm` will get an answer. A command that works for long before it asks checks that at its start.

    Raises
    ------
    click.UsageError
        There is no terminal to ask at.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at: give --yes to go on without a question")


def emit(
    rows: Sequence[Row],
    output_format: str,
    *,
    columns: Sequence[str],
    short: Sequence[str] | None = None,
    title: str | Sequence[str] = (),
) -> None:
    """Print rows. A column whose name has the word ``bytes``, such as ``quota_bytes_in``, is a byte count.

    Parameters
    ----------
    rows
        One dictionary a row; each has all of `columns`.
    output_format
        ``table``, ``json`` (an array of objects) or ``csv`` (with a header line).
    columns
        The columns that there are, in order.
    short
        Those that a table for people has. It fits 80 columns, unless a name is very long. None: all.
    title
        A line above a table, or several. On a terminal they are wrapped.

    Raises
    ------
    click.UsageError
        --columns names one that there is not.
    """
    chosen = _chosen(columns)
    wide = _given(WIDE)
    if output_format == "json":
        emit_json([{name: plain(row[name]) for name in chosen or columns} for row in rows])
    elif output_format == "csv":
        emit_csv(([row[name] for name in chosen or columns] for row in rows), columns=chosen or columns)
    else:
        _print_table(rows, chosen or (columns if wide or short is None else short), title, wide=bool(wide))


def on_disk(rows: Sequence[Row], column: str, output_format: str) -> list[Row]:
    """Return rows whose `column` is, in a table, what lies on a disk. Other columns of bytes are what users carried."""
    if output_format != "table":
        return list(rows)
    size = compact_disk_size if is_short(output_format) else disk_size
    return [{**row, column: Figure(size(row[column]))} for row in rows]


def is_short(output_format: str) -> bool:
    """Return whether a list is shown as a table in its short form."""
    return output_format == "table" and not _given(WIDE) and not _given(CHOSEN)


def named_routers(connection: "Connection", rows: Sequence[Row], output_format: str) -> list[Row]:
    """Return rows whose `router` is, in a table, the name that people know a router by (`Router.shown`)."""
    if output_format != "table":
        return list(rows)
    from radmeter.routers.lookup import shown_names

    names = shown_names(connection, {row["router_id"] for row in rows})
    return [{**row, "router": names.get(row["router_id"], row["router"])} for row in rows]


def _given(key: str) -> Any:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(key)


def _chosen(columns: Sequence[str]) -> list[str] | None:
    """Return the columns of --columns; None if it was not given."""
    given = _given(CHOSEN)
    if given is None:
        return None
    names = [each.strip() for each in given.split(",")]
    for name in names:
        if name not in columns:
            raise click.UsageError(f"there is no column {name!r}: there are {', '.join(columns)}")
    return names


def emit_one(
    row: Row, output_format: str, *, columns: Sequence[str], labels: Mapping[str, str] | None = None
) -> None:
    """Print one row: one line per column, a JSON object, or CSV with one row. `labels` are for people, by column."""
    if output_format == "json":
        emit_json({name: plain(row[name]) for name in columns})
    elif output_format == "csv":
        emit([row], output_format, columns=columns)
    else:
        shown = {name: (labels or {}).get(name, name.replace("_", " ")) for name in columns}
        width = max(map(len, shown.values())) + 2
        for name in columns:
            output.say(f"{shown[name]:<{width}}{cell(name, row[name])}")


def emit_json(value: Any) -> None:
    """Print a value as JSON. Control characters in it are written as JSON escapes, so they decode to themselves."""
    document = json.dumps(value, indent=2, ensure_ascii=False, default=plain)
    output.document(escaped_json(document) + "\n")


def emit_csv(rows: Iterable[Sequence[Any]], *, columns: Sequence[str]) -> None:
    """Print rows as CSV with a header line.

    Control characters are written out. Text that a spreadsheet would run as a formula gets an apostrophe before it,
    unless --raw was given.
    """
    context = click.get_current_context(silent=True)
    raw = context is not None and context.meta.get(RAW, False)
    part = io.StringIO()
    writer = csv.writer(part, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(value, raw) for value in row])
        if part.tell() > CSV_PART:
            output.document(part.getvalue())
            part.seek(0)
            part.truncate()
    output.document(part.getvalue())


def _csv_cell(value: Any, raw: bool) -> Any:
    if value is None or isinstance(value, NUMBERS):
        return plain(value)
    text = _words(value)
    return escaped(text) if raw else harmless(text)


def _print_table(
    rows: Sequence[Row], columns: Sequence[str], title: str | Sequence[str], *, wide: bool
) -> None:
    # A name in it must not begin a line.
    above = [printable(line) for line in ([title] if isinstance(title, str) else title)]
    values = [[row[name] for name in columns] for row in rows]
    numbers, moments = set(), set()
    for each, name in enumerate(columns):
        kinds = [row[each] for row in values]
        if _is_size(name) or any(
            isinstance(value, int | float | Decimal | Figure) and not isinstance(value, bool)
            for value in kinds
        ):
            numbers.add(each)
        elif any(isinstance(value, datetime.date) for value in kinds):
            moments.add(each)
    as_text = cell if wide else _short_cell
    if any(isinstance(value, datetime.datetime) for row in values for value in row):
        *before, last = above or [""]
        above = [*before, f"{last}{'. ' if last else ''}Times in {times.zone_name()}"]
    header, lines = lay_out(
        [name.replace("_", " ") for name in columns],
        [[as_text(name, value) for name, value in zip(columns, row, strict=True)] for row in values],
        right=numbers,
        rigid=numbers | moments,
        width=None if wide else output.width(),
    )
    output.page(header, lines, above=_wrapped(above), chop=wide)


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Return lines of prose. On a terminal they are broken between words, and go on indented."""
    width = output.width()
    if width is None:
        return list(lines)
    wrapper = textwrap.TextWrapper(
        width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in wrapper.wrap(line)]


def _is_size(name: str) -> bool:
    return "bytes" in name.split("_")


def _short_cell(name: str, value: Any) -> str:
    if _is_size(name) and not isinstance(value, Figure):
        return compact_volume(value)
    if isinstance(value, datetime.datetime):
        return times.to_the_minute(value)
    return cell(name, value)


def cell(name: str, value: Any) -> str:
    """Return a value for people. In a table, the heading says the time zone."""
    if _is_size(name) and not isinstance(value, Figure):
        return volume(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.datetime):
        return times.to_the_second(value) if _given(WIDE) else times.shown(value)
    return printable(_words(value))


def _words(value: Any) -> str:
    """Return a value as text: what is in a list by commas."""
    # A named tuple, such as a rate, has its own form.
    return ", ".join(map(_words, value)) if type(value) in (list, tuple) else str(value)


def plain(value: Any) -> Any:
    """Return the value for JSON and CSV: whole numbers as numbers, times in ISO 8601, the rest as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if type(value) in (list, tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return str(value)
