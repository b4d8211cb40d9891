"""`radmeter top`: a live screen of who uses what."""

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from radmeter import output, waits
from radmeter.cli import times
from radmeter.cli.common import reading_database, utc_option, with_settings
from radmeter.cli.tables import lay_out
from radmeter.config import Settings
from radmeter.errors import StoreUnavailable
from radmeter.printable import printable
from radmeter.units import compact_volume, counted, duration, volume

if TYPE_CHECKING:
    from radmeter.usage.activity import Activity, Line

# Lines of the screen that are no user and no router.
AROUND = 8
LINES_WITHOUT_TERMINAL = 3


@click.command(epilog="Example: radmeter top --seconds 10 --window 15")
@click.option(
    "--seconds",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    help="How often the database is read.",
)
@click.option(
    "--window",
    metavar="MINUTES",
    type=click.FloatRange(0.1, 1440),
    default=5.0,
    show_default=True,
    help="Show what was counted in the last so many minutes, from the start of this command on.",
)
@click.option(
    "--count", type=click.IntRange(1), metavar="N", help="End after N readings.  [default: at Ctrl-C]"
)
@utc_option
@with_settings("state", "dsn", "read_dsn")
def top(settings: Settings, seconds: float, window: float, count: int | None) -> None:
    """Show live who uses what: users, routers, packets per second.

    Users and routers are ordered by what was counted for them lately. The counters themselves are shown beside it: of
    the quota period and of the day. Routers report every few minutes, so a user appears at the next report. Without a
    terminal, and with NO_COLOR or TERM=dumb, each reading is one line.

    It only reads, and may read from a standby. Each reading looks through the counters once.
    """
    from radmeter.database.views import reading
    from radmeter.usage.activity import Activities

    activities = Activities(datetime.timedelta(minutes=window))
    done = 0
    with reading_database(settings) as dsn, _screen() as show:
        try:
            while True:
                try:
                    with reading(dsn) as connection:
                        times.use_zone(connection)
                        while True:
                            show(_lines(activities.read(connection, _rows())))
                            connection.rollback()  # nothing is held while we wait
                            done += 1
                            if done == count:
                                return
                            time.sleep(seconds)
                except StoreUnavailable as error:
                    if done == 0:
                        raise
                    show([f"{_clock()}: the database does not answer: {printable(str(error))}"])
                    time.sleep(seconds)
        except KeyboardInterrupt:
            return


@contextmanager
def _screen() -> Iterator[Callable[[Sequence[str]], None]]:
    """Give a function that shows the lines of a screen; the first one alone if there is no terminal for more."""
    if not output.is_live():
        yield lambda lines: output.say(lines[0])
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=output.console(), screen=True, auto_refresh=False) as live, waits.covered():
        live.update(Text("waiting for the database"), refresh=True)
        yield lambda lines: live.update(Text("\n".join(lines), no_wrap=True), refresh=True)


def _rows() -> int:
    """Return how many users, and as many routers, the screen has room for."""
    return max(3, (output.height() - AROUND) // 2) if output.is_live() else LINES_WITHOUT_TERMINAL


def _clock() -> str:
    return f"{datetime.datetime.now(datetime.UTC).astimezone(times.zone()):%H:%M:%S}"


def _lines(now: "Activity") -> list[str]:
    parts = [f"{now.read_at.astimezone(times.zone()):%H:%M:%S}"]
    if now.packets_per_second is not None:
        parts.append(f"{now.packets_per_second:,.1f} packets/s")
    parts.append(counted(now.open_sessions, "open session"))
    if now.newest_seconds is not None:
        parts.append(f"newest packet {duration(now.newest_seconds)} ago")
    if not output.is_live():
        parts += [
            f"most: {printable(line.name)} {volume(line.lately_in + line.lately_out)}"
            for line in now.users[:1]
        ]
        return [", ".join(parts)]
    return [
        ", ".join(parts),
        f"Counted since {now.since.astimezone(times.zone()):%H:%M:%S} ({times.zone_name()}). Ctrl-C ends.",
        "",
        *_table("user", "in period", now.users),
        "",
        *_table("router", "today", now.routers),
    ]


def _table(what: str, whole: str, lines: Sequence["Line"]) -> list[str]:
    if not lines:
        return [f"No {what} has used anything yet: routers report every few minutes."]
    header, rows = lay_out(
        [what, "bytes in", "bytes out", whole],
        [
            [printable(line.name), *map(compact_volume, (line.lately_in, line.lately_out, line.bytes_total))]
            for line in lines
        ],
        right={1, 2, 3},
        rigid={1, 2, 3},
        width=output.width(),
    )
    return [*header, *rows]
