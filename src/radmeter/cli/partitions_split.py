"""`radmeter partitions split`: a partition that covers more than a month is split into months."""

import datetime
import sys
import time

import click

from radmeter import output
from radmeter.adoption.backfill import find_routers
from radmeter.cli.common import confirm, existing_database, pace_options, with_settings
from radmeter.cli.months import MONTH
from radmeter.config import Settings
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection
from radmeter.database.pace import Pace, Pacer
from radmeter.errors import StoreError
from radmeter.interruption import Interruption
from radmeter.partitions.split_plan import Source, Span, obstacles, sources, spans
from radmeter.progress import progress
from radmeter.units import counted, disk_size, duration


@click.command(
    "split",
    epilog="""\b
Examples:
  radmeter partitions split radacct_legacy --dry-run
  radmeter partitions split radacct_legacy --yes
  radmeter partitions split radacct_legacy --max-load 0.3 --max-lag 5
  radmeter partitions split radacct_legacy --abandon

\b
Exit codes:
  0    done
  1    failed: the reason is on standard error; run it again and it goes on
  2    wrong options or settings, or not confirmed
  130  interrupted; run it again and it goes on
""",
)
@click.argument("name", metavar="PARTITION")
@click.option(
    "--from",
    "first",
    type=MONTH,
    metavar="MONTH",
    help="The first month, YYYY-MM. Earlier sessions stay together. "
    "Default: the first month that has sessions, apart from those of wrong clocks.",
)
@pace_options
@click.option("--abandon", is_flag=True, help="Give an unfinished split up, and drop the copies.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@with_settings("state", "dsn")
def split(
    settings: Settings,
    name: str,
    first: datetime.datetime | None,
    max_load: float,
    max_lag: float,
    abandon: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Split a partition that covers more than a month into months, such as the history of an adopted radacct.

    Its sessions are copied, in batches, into tables beside radacct. Sessions that change meanwhile are copied again. At
    the end, radacct is locked for a moment, and the months take the place of the partition. Until then readers see the
    partition, and packets count as always. No counter changes. If it is killed or interrupted, run it again and it goes
    on. Adopted sessions get their router_id, as `radmeter backfill` fills it in.

    It needs as much disk as the partition has, until the partition is dropped. After it, `radmeter adopt --undo` is no
    longer possible.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.partitions import split as splitting
    from radmeter.partitions.split_catalog import refusal, under_way

    with (
        existing_database(settings) as dsn,
        connect_as_operator(dsn) as connection,
        advisory_locks.held(connection, advisory_locks.ARCHIVE) as alone,
        Interruption() as interruption,
    ):
        if not alone:
            raise StoreError(
                "another `radmeter partitions archive`, `split` or `restore` is running: wait until it is done"
            )
        present = under_way(connection)
        if present is not None and present.name != name:
            raise StoreError(refusal(present))
        if abandon:
            if present is None:
                output.say(f"nothing to give up: {name} is not being split")
                return
            with interruption.may_break():
                confirm(f"Drop the copies of {counted(present.session_rows, 'session')}?", yes)
            splitting.abandon(connection, present, _say)
            output.say(f"{name} is not split; it is as before")
            return
        pacer = Pacer(
            dsn,
            Pace(max_load=max_load, max_lag_seconds=max_lag),
            stopping=lambda: interruption.count > 0,
        )
        run = splitting.Splitting(
            connection=connection,
            find_routers=lambda start, end: find_routers(connection, start, end),
            pacer=pacer,
            progress=progress,
            say=_say,
        )
        if present is None:
            source, spans = _split_plan(connection, name, first)
            if dry_run:
                return
            with interruption.may_break():
                confirm(f"Split {name}?", yes)
            run.begin(source, spans)
        elif dry_run:
            output.say(f"{name} is being split: {counted(present.session_rows, 'session')} copied so far")
            return
        began = time.monotonic()
        with pacer.watched(_say):
            done = run.go_on()
    if done is None:
        output.say(f"interrupted; `radmeter partitions split {name}` goes on where it was", err=True)
        sys.exit(130)
    output.say(
        f"{name}: {counted(done.sessions, 'session')} in {counted(done.months, 'partition')} now, in "
        f"{duration(time.monotonic() - began)}. radacct was locked for {done.lock_seconds * 1000:.0f} ms"
    )


def _split_plan(
    connection: Connection, name: str, first: datetime.datetime | None
) -> tuple[Source, list[Span]]:
    """Show what a split would do, and return it."""
    from radmeter.database.disk import free_bytes

    known = {each.name: each for each in sources(connection)}
    if name not in known:
        others = f": {', '.join(known)} can be split" if known else ", and none covers more than a month"
        raise StoreError(f"{name} is no partition of radacct that covers more than a month{others}")
    source = known[name]
    if hindered := obstacles(connection, source):
        raise StoreError(f"{name} cannot be split: " + "; ".join(hindered) + ". Then run this command again")
    found = spans(connection, source, first.isoformat() if first else None)
    output.say(
        f"{name} has about {counted(source.rows_estimate, 'session')}, {disk_size(source.bytes_total)}. It will be "
        f"split into {counted(len(found), 'partition')}: {found[0].name} to {found[-1].name}."
    )
    free = free_bytes(connection)
    output.say(
        f"The copies take about {disk_size(source.bytes_total)} of the server's disk"
        + ("" if free is None else f", of which {disk_size(free)} are free")
        + f". At the end {name} is dropped. `radmeter adopt --undo` is not possible after that."
    )
    if free is not None and free < source.bytes_total * 1.1:
        raise StoreError(f"the disk of the server has too little room to split {name}: nothing was changed")
    return source, found


def _say(text: str) -> None:
    output.say(text, err=True)
