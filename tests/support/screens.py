"""Runs `radmeter` on a terminal: reads what it shows, and types."""

import codecs
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

import pexpect

from support.commands import radmeter_into

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")


class Screen:
    """A program on a pseudo terminal."""

    def __init__(self, child: Any) -> None:
        self.child = child
        self._seen = ""

    def expect(self, words: str, seconds: float = 120) -> str:
        """Wait for a regular expression; return the new text up to its end, as a person sees it."""
        try:
            self.child.expect(words, timeout=seconds)
        except (pexpect.EOF, pexpect.TIMEOUT) as error:
            raise AssertionError(
                f"{words!r} was not shown, but: {self.text + plain(self.child.before or '')}"
            ) from error
        new = plain(self.child.before + self.child.after)
        self._seen += new
        return new

    def type(self, line: str) -> None:
        """Type a line and Return."""
        self.child.sendline(line)

    def end(self, seconds: float = 120) -> int:
        """Wait for the program to end; return its exit code."""
        self.child.expect(pexpect.EOF, timeout=seconds)
        self._seen += plain(self.child.before)
        self.child.close()
        return int(
            self.child.exitstatus if self.child.exitstatus is not None else 128 + self.child.signalstatus
        )

    @property
    def text(self) -> str:
        """All text that was shown so far, without colours and cursor movements."""
        return self._seen


def plain(text: str) -> str:
    """Return a terminal's input as plain text. A line that was drawn over another one comes after it."""
    return CONTROL.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def screen(
    dsn: str | None, *arguments: str | Path, columns: int = 120, **environment: str
) -> Iterator[Screen]:
    """Run `radmeter` on a terminal for the block, with only the given settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))}
    # COLUMNS and LINES would override the size of the terminal, NO_COLOR its colors.
    kept = {name: value for name, value in kept.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    kept |= {
        "RADMETER_JOURNAL": "/nonexistent/journal",
        "RADMETER_STATE": "/nonexistent/state",
        "TERM": "xterm-256color",
    }
    if dsn is not None:
        kept["RADMETER_DSN"] = dsn
    child = pexpect.spawn(
        sys.executable,
        ["-m", "radmeter", *map(str, arguments)],
        env=kept | environment,
        dimensions=(40, columns),
        encoding="utf-8",
        codec_errors="replace",
        timeout=30,
    )
    try:
        yield Screen(child)
    finally:
        child.close(force=True)


@contextmanager
def terminal() -> Iterator[tuple[TextIO, list[str]]]:
    """Open a terminal for the block. After it, the list has all that was written there, with escape sequences."""
    master, slave = os.openpty()
    parts: list[str] = []

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                parts.append(decoder.decode(os.read(master, 65_536)))
            except OSError:  # EIO: the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with os.fdopen(slave, "w", encoding="utf-8") as screen:
            yield screen, parts
    finally:
        reader.join(timeout=60)
        os.close(master)


def written(dsn: str | None, *arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Run `radmeter` on a terminal, within this process; return the exit code and all that it wrote there.

    Nothing is typed. The terminal is so long that no list is paged.
    """
    size = {"COLUMNS": "120", "LINES": "10000"}
    with terminal() as (screen, parts):
        keys = os.fdopen(os.dup(screen.fileno()), encoding="utf-8")
        with keys, patch("sys.stdin", keys):
            code = radmeter_into(screen, screen, dsn, *arguments, **{**size, **environment})
    return code, "".join(parts)
