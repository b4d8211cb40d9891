"""The output of `radmeter up`: a live table on a terminal, plain lines elsewhere, and the comparison at the end.

Without a terminal and without traffic of its own there is no line while all is well: the reader is a program.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from radmeter import output, waits
from radmeter.printable import printable
from radmeter.trial.totals import Comparison, Usage
from radmeter.units import counted, volume

REDRAW_SECONDS = 0.5
LINE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The figures at a moment. None: the database did not answer."""

    users: Sequence[Comparison] | None
    routers: Sequence[Comparison] | None
    packets: Mapping[str, int]
    waiting: int | None
    """Records in the journal that are not counted yet."""


class Display:
    """Shows snapshots, and messages between them."""

    def __init__(self, console: Console, *, bare: bool) -> None:
        self._console = console
        self._bare = bare
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._started = time.monotonic()
        self._next = 0.0
        self._packets = (self._started, 0)
        self._covered = waits.covered()
        self._answers = True

    def __enter__(self) -> Self:
        self._covered.__enter__()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        self._covered.__exit__(kind, error, trace)

    def say(self, *lines: str) -> None:
        """Print the lines of a message, above the table if there is one."""
        output.say_above(self._console, *lines)

    def print(self, table: Table) -> None:
        """Print a table once, below the earlier output."""
        self._console.print(table, "")

    @property
    def due(self) -> bool:
        """Whether it is time for another snapshot."""
        return time.monotonic() >= self._next

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        now = time.monotonic()
        self._next = now + (LINE_SECONDS if self._live is None else REDRAW_SECONDS)
        line = self._line(snapshot, now)
        if self._live is None and self._bare:
            answers = snapshot.users is not None
            if answers != self._answers:
                self.say("the database answers again" if answers else "the database does not answer")
            self._answers = answers
            return
        if self._live is None:
            self.say(line)
            return
        rows = max(3, self._console.height - 8)
        tables = [
            self._table("user", snapshot.users or (), rows),
            self._table("router", snapshot.routers or (), rows),
        ]
        self._live.update(Group(line, Columns(tables, padding=(0, 4))), refresh=True)

    def _line(self, snapshot: Snapshot, now: float) -> str:
        parts = [f"{now - self._started:4.0f} s"]
        if not self._bare:
            acknowledged = snapshot.packets.get("acknowledged", 0)
            since, before = self._packets
            self._packets = (now, acknowledged)
            rate = (acknowledged - before) / max(now - since, 0.001)
            again = snapshot.packets.get("retransmitted", 0)
            parts.append(f"{counted(acknowledged, 'packet')} acknowledged ({rate:.0f}/s, {again} sent again)")
            parts.append(f"sent {_total(snapshot.users, 'sent')}")
        if snapshot.users is None:
            parts.append("the database does not answer")
        else:
            parts.append(
                f"counted {_total(snapshot.users, 'counted')} for {counted(len(snapshot.users), 'user')}"
            )
        if snapshot.waiting is not None:
            parts.append(f"waiting in the journal: {counted(snapshot.waiting, 'record')}")
        return ", ".join(parts)

    def _table(self, what: str, rows: Sequence[Comparison], most: int) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(what)
        if not self._bare:
            table.add_column("sent", justify="right")
        table.add_column("counted in", justify="right")
        table.add_column("counted out", justify="right")
        shown = sorted(rows, key=lambda row: -sum(row.counted))[:most]
        for row in sorted(shown):
            sent = [] if self._bare else [volume(sum(row.sent))]
            table.add_row(printable(row.name), *sent, *map(volume, row.counted))
        if len(rows) > most:
            table.add_row(f"and {len(rows) - most} more")
        return table


def comparison(what: str, rows: Sequence[Comparison]) -> Table:
    """Return a table of bytes sent and bytes counted, side by side, as exact figures."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(what, no_wrap=True)
    for heading in ("in: sent", "counted", "out: sent", "counted"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for row in [*rows, _sum(rows)]:
        figures = (row.sent.bytes_in, row.counted.bytes_in, row.sent.bytes_out, row.counted.bytes_out)
        table.add_row(
            printable(row.name), *(f"{figure:,}" for figure in figures), "equal" if row.equal else "DIFFERENT"
        )
    return table


def _sum(rows: Sequence[Comparison]) -> Comparison:
    def add(usages: list[Usage]) -> Usage:
        return Usage(sum(usage.bytes_in for usage in usages), sum(usage.bytes_out for usage in usages))

    return Comparison("all", add([row.sent for row in rows]), add([row.counted for row in rows]))


def _total(rows: Sequence[Comparison] | None, side: str) -> str:
    return volume(sum(sum(getattr(row, side)) for row in rows or ()))
