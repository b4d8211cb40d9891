"""Writes lines to standard output and standard error. No other module does, so that every text is made harmless."""

import io
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING

import click

from radmeter.errors import OutputError, os_reason
from radmeter.json_events import JsonFormatter, level_of
from radmeter.printable import escaped_json, printable

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS_WITHOUT_TERMINAL = 200
# The name of what commands say on standard error, in a log of JSON.
LOGGER = "radmeter"

_json = False
_handler: logging.Handler | None = None


def say(*lines: str, err: bool = False) -> None:
    """Print lines to standard output, or to standard error. A line break within a line is written out.

    Without lines, print an empty one. In a log of JSON (`log_as`), what goes to standard error is one event.
    """
    if err and _json:
        _event("\n".join(lines))
        return
    for line in lines or ("",):
        _write(printable(line) + "\n", err=err)


def document(text: str) -> None:
    """Write a part of a document for programs (JSON, CSV, SQL) to standard output. Its line breaks stay.

    The caller writes out control characters, in the way of the document. Those that are left are written out here.
    """
    _write(escaped_json(text))


def binary(content: bytes) -> None:
    """Write a part of a file to standard output. On a terminal, control characters in it are written out."""
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None or is_terminal():
        document(content.decode(errors="backslashreplace"))
        return
    with _writing(err=False):
        stream.write(content)


def flush() -> None:
    """Have standard output taken, so that an error of it is ours."""
    with _writing(err=False):
        sys.stdout.flush()


def say_styled(*parts: str | tuple[str, str | None]) -> None:
    """Print one line. A part with a color, (text, color), is bold and in that color if the terminal shows it."""
    _write(
        "".join(
            printable(part)
            if isinstance(part, str)
            else click.style(printable(part[0]), fg=part[1], bold=True)
            if is_live()
            else printable(part[0])
            for part in parts
        )
        + "\n"
    )


def _write(text: str, *, err: bool = False) -> None:
    with _writing(err):
        click.echo(text, nl=False, err=err)


@contextmanager
def _writing(err: bool) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise refused(error, err=err) from error


def refused(error: OSError, *, err: bool = False) -> OutputError:
    """Return an error that says why standard output, or standard error, cannot be written."""
    return OutputError(f"standard {'error' if err else 'output'} cannot be written: {os_reason(error)}")


def settle() -> None:
    """Throw away what standard output does not take. Else Python tries again at its end, and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # it is no file
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


def is_live(*, err: bool = False) -> bool:
    """Return whether standard output, or standard error, may get more than plain lines: colors, bars, a pager.

    It must be a terminal that can show them, the user must not have set NO_COLOR, and standard error must not be a log
    of JSON.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") in ("dumb", "unknown")
    return is_terminal(err=err) and not plain and not (err and _json)


def is_terminal(*, err: bool = False) -> bool:
    """Return whether a person reads standard output, or standard error, as it is written."""
    return (sys.stderr if err else sys.stdout).isatty()


def height() -> int:
    """Return how many lines the terminal has."""
    from shutil import get_terminal_size

    return get_terminal_size().lines


def width() -> int | None:
    """Return how many columns the terminal has. None: there is none, so a line may have any length."""
    from shutil import get_terminal_size

    return get_terminal_size().columns if sys.stdout.isatty() or "COLUMNS" in os.environ else None


def page(
    header: Sequence[str], lines: Sequence[str], *, above: Sequence[str] = (), chop: bool = False
) -> None:
    """Print a table. On a terminal it is shown in a pager if it is longer than the screen.

    Parameters
    ----------
    above
        Lines above the header.
    chop
        The pager cuts long lines, and moves sideways.
    """
    bold = [click.style(printable(line), bold=True) if is_live() else printable(line) for line in header]
    text = "".join(f"{line}\n" for line in (*map(printable, above), *bold, *map(printable, lines)))
    if not _is_paged(text.count("\n")) or not _shown_in_pager(text, chop):
        _write(text)


def _is_paged(lines: int) -> bool:
    return is_live() and sys.stdin.isatty() and lines >= height()


def _shown_in_pager(text: str, chop: bool) -> bool:
    """Show text in $PAGER, else in less. Return whether there is one."""
    # Imported here because they load slowly, and few commands need a pager.
    import shlex
    import subprocess

    try:
        command = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:  # a quote that does not end
        return False
    if not command or command == ["cat"]:
        return False
    # R: bold text; F, X: what fits the screen stays there. Somebody who sets LESS wants it otherwise.
    less = {"LESS": "FRX" + ("S" if chop else ""), **os.environ}
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=less)
    except OSError:
        return False
    try:
        pager.communicate(text.encode(errors="backslashreplace"))
    except KeyboardInterrupt:
        pass  # the pager has it as well, and decides
    finally:
        # The terminal is the pager's until it ends.
        while pager.poll() is None:
            with suppress(KeyboardInterrupt):
                pager.wait()
    return True


def say_above(console: "Console", *lines: str) -> None:
    """Print lines above what a console shows live. In a log of JSON, those of standard error are events."""
    if _json and console.stderr:
        say(*lines, err=True)
        return
    for line in lines:
        with _writing(console.stderr):
            console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


def console(*, stderr: bool = False, width: int | None = COLUMNS_WITHOUT_TERMINAL) -> "Console":
    """Return a console of rich's that takes text as it is. `width` holds where there is no terminal.

    It calls itself a terminal only if it may write more than plain lines (`is_live`).

    rich would take ``:cd:`` in a MAC address for the name of an emoji, and ``[x]`` for markup.
    """
    # Imported here because rich loads slowly, and most commands print plain lines.
    from shutil import get_terminal_size

    from rich.console import Console

    live = is_live(err=stderr)
    if live:
        width = None  # rich asks the terminal
    elif (sys.stderr if stderr else sys.stdout).isatty():
        width = get_terminal_size().columns
    return Console(
        stderr=stderr, force_terminal=live, width=width, markup=False, emoji=False, highlight=False
    )


def prepare() -> None:
    """Set up the streams, the log and the report of a program's own fault."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The caller has closed it (`>&-`). The next file that is opened would get its number.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 cannot show every name. Better an escape than a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    global _handler
    _handler = logging.StreamHandler(sys.stderr)
    logging.basicConfig(handlers=[_handler], level=logging.INFO)
    # Errors in settings come before the settings are known.
    log_as("json" if os.environ.get("RADMETER_LOG_FORMAT") == "json" else "text")
    sys.excepthook = _report


def log_as(log_format: str) -> None:
    """Write the log, and all that goes to standard error, as ``text`` for people or as ``json``, an object a line."""
    global _json
    _json = log_format == "json"
    if _handler is not None:
        _handler.setFormatter(
            JsonFormatter() if _json else LogFormatter("%(asctime)s %(levelname)s %(message)s")
        )
    logging.captureWarnings(_json)


def _event(text: str, level: int | None = None, error: BaseException | None = None) -> None:
    if not text:
        return
    first = next((line for line in text.split("\n") if line.startswith("error: ")), text)
    record = logging.LogRecord(
        LOGGER,
        level_of(first) if level is None else level,
        __file__,
        0,
        text.removeprefix("error: ").removeprefix("problem: "),
        None,
        None if error is None else (type(error), error, error.__traceback__),
    )
    _write(JsonFormatter().format(record) + "\n", err=True)


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if _json:
        _event(f"{kind.__name__}: {error}", logging.CRITICAL, error)
        return
    text = "".join(traceback.format_exception(kind, error, trace))
    say(*text.rstrip("\n").split("\n"), err=True)


class LogFormatter(logging.Formatter):
    """Formats a log record as one harmless line. A traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # the name that logging calls
        """Return the record's line."""
        return printable(super().formatMessage(record))

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return the traceback."""
        return "\n".join(map(printable, super().formatException(ei).split("\n")))
