"""`radmeter backfill`: count the history of an adopted radacct into the counters."""

import datetime
import sys

import click

from radmeter import output
from radmeter.adoption import backfill as history
from radmeter.adoption.backfill import COUNTERS, ROUTERS, Progress
from radmeter.adoption.backfill_runner import Runner
from radmeter.adoption.history_ready import refuse_unready
from radmeter.cli.common import (
    Row,
    confirm,
    emit,
    emit_one,
    existing_database,
    format_option,
    pace_options,
    with_settings,
)
from radmeter.cli.months import DAY
from radmeter.config import Settings
from radmeter.database.connection import connect
from radmeter.database.pace import Pace
from radmeter.errors import StoreError
from radmeter.interruption import Interruption
from radmeter.progress import progress
from radmeter.units import amount, counted, duration

EXIT_NOT_DONE = 3
EXIT_INTERRUPTED = 130
SET_ASIDE = history.SetAside._fields
STATUS = (
    "state",
    "counters_percent",
    "sessions_counted",
    "routers_percent",
    "sessions_given_their_router",
    "waiting_for_the_counters",
    "sessions_set_aside",
    "sessions_a_second",
    "seconds_left",
    "began_at",
    "changed_at",
)


@click.command(
    epilog="""\b
Examples:
  radmeter backfill
  radmeter backfill --only counters --jobs 2
  radmeter backfill --max-load 0.3 --max-lag 5
  radmeter backfill --status
  radmeter backfill --rejected
  radmeter backfill --correct 4711 --octets 120000 3500000
  radmeter backfill --leave 4712 --leave 4713        # or --leave all
  radmeter backfill --redo --from 2026-03-01 --to 2026-03-31

\b
Exit codes:
  0    done
  1    failed (the reason is on standard error); run it again and it goes on
  2    wrong options or settings, or not confirmed
  3    --status: not done yet
  130  interrupted; run it again and it goes on
"""
)
@click.option("--only", type=click.Choice(history.PASSES), help="Run only one of the two passes.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="How many connections to use at once.",
)
@pace_options
@click.option("--status", "show_status", is_flag=True, help="Show how far it is, and change nothing.")
@click.option(
    "--redo", is_flag=True, help="Recompute the counters of --from .. --to, and correct those that differ."
)
@click.option("--from", "first_day", type=DAY, metavar="DAY", help="With --redo: the first day.")
@click.option("--to", "last_day", type=DAY, metavar="DAY", help="With --redo: the last day.")
@click.option(
    "--rejected",
    "show_rejected",
    is_flag=True,
    help="List the sessions that were set aside: no router can have reported their values.",
)
@click.option(
    "--correct",
    "corrected",
    type=int,
    metavar="RADACCTID",
    help="Count a session that was set aside, with --octets.",
)
@click.option(
    "--octets",
    nargs=2,
    type=click.IntRange(min=0),
    metavar="IN OUT",
    help="With --correct: what the session had when it was adopted.",
)
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]),
    metavar="TIME",
    help="With --correct: the time (UTC) that it counts for. Default: its last update.",
)
@click.option(
    "--leave",
    "left_out",
    multiple=True,
    metavar="RADACCTID",
    help="Leave a session that was set aside uncounted, `all` for all of them. May be repeated.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
@with_settings("state", "dsn")
def backfill(
    settings: Settings,
    only: str | None,
    jobs: int,
    max_load: float,
    max_lag: float,
    show_status: bool,
    redo: bool,
    first_day: datetime.datetime | None,
    last_day: datetime.datetime | None,
    show_rejected: bool,
    corrected: int | None,
    octets: tuple[int, int] | None,
    at: datetime.datetime | None,
    left_out: tuple[str, ...],
    yes: bool,
    output_format: str,
) -> None:
    """Count the history of an adopted radacct.

    It makes two passes over the sessions that were there before radmeter. The first pass adds their octets to the
    counters of users and routers. The second gives each session its router_id. Both work in short ranges while packets
    arrive. Each session is counted exactly once: if the command is killed or interrupted, run it again and it goes on
    from there. A session counts on the day of its last update, because the history has no other date.

    Sessions with values that no router can have reported (negative octets, more than 2^52, an infinite time) are set
    aside. --rejected lists them, --correct counts one, --leave says that it stays uncounted.

    The second pass rewrites every row, so radacct_legacy can grow to twice its size. The counters do not need it.
    `radmeter partitions split radacct_legacy` does the same while it makes months, without that growth: run `radmeter
    backfill --only counters`, then the split, then `radmeter backfill`, which does what is left.
    """
    if (first_day or last_day) and not redo:
        raise click.UsageError("--from and --to go with --redo")
    if first_day and last_day and first_day > last_day:
        raise click.UsageError("--from is after --to")
    if redo and (show_status or only):
        raise click.UsageError("--redo goes with neither --status nor --only")
    if (corrected is None) != (octets is None) or (at and corrected is None):
        raise click.UsageError("--correct RADACCTID goes with --octets IN OUT; --at goes with both")
    if at and at.replace(tzinfo=datetime.UTC) > datetime.datetime.now(datetime.UTC):
        raise click.UsageError("--at is in the future")
    if sum((show_status, redo, show_rejected, corrected is not None, bool(left_out))) > 1:
        raise click.UsageError("give one of --status, --redo, --rejected, --correct and --leave")
    with existing_database(settings) as dsn:
        with connect(dsn) as connection:
            refuse_unready(connection)
        if show_rejected:
            _rejected(dsn, output_format)
            return
        if left_out:
            _leave(dsn, left_out, yes)
            return
        if show_status:
            sys.exit(_status(dsn, output_format))
        pace = Pace(jobs=jobs, max_load=max_load, max_lag_seconds=max_lag)
        with Interruption() as interruption:
            if corrected is not None and octets is not None:
                _correct(dsn, pace, interruption, corrected, octets, at)
            elif redo:
                _redo(dsn, pace, interruption, first_day, last_day, yes)
            else:
                _run(dsn, pace, interruption, history.PASSES if only is None else (only,), yes)
        if interruption:
            output.say("interrupted; `radmeter backfill` goes on where it was", err=True)
            sys.exit(EXIT_INTERRUPTED)


def _run(dsn: str, pace: Pace, interruption: Interruption, passes: tuple[str, ...], yes: bool) -> None:
    from radmeter.database.operator import connect_as_operator

    with connect_as_operator(dsn) as connection:
        if history.progress(connection) is None and history.adopted(connection):
            with interruption.may_break():
                confirm(
                    "This counts every session that was in radacct before radmeter"
                    + (
                        ", and gives each its router_id (which rewrites the row)."
                        if ROUTERS in passes
                        else "."
                    )
                    + " Packets are counted meanwhile. It can be interrupted. Begin?",
                    yes,
                )
        history.lock(connection)
        history.begin(connection)
        with Runner(dsn, pace, interruption) as runner:
            for work in passes:
                if interruption:
                    break
                spans = history.begin_pass(connection, work)
                at = history.progress(connection)
                assert at is not None
                title = "counting sessions" if work == COUNTERS else "filling in router_id"
                with progress(title, at.ids, unit="ids") as bar:
                    bar.completed = at.done_ids(work)
                    if work == COUNTERS:
                        runner.count(spans, bar)
                    else:
                        runner.fill(connection, bar)
                if work == COUNTERS and interruption.count < 2:
                    _move(runner)
        at = history.progress(connection)
        assert at is not None
        aside = history.undecided(connection)
    output.say(_summary(at, passes), err=True)
    if aside:
        output.say(
            f"{counted(aside, 'session')} set aside: no router can have reported their values "
            "(`radmeter backfill --rejected`)",
            err=True,
        )


def _redo(
    dsn: str,
    pace: Pace,
    interruption: Interruption,
    first_day: datetime.datetime | None,
    last_day: datetime.datetime | None,
    yes: bool,
) -> None:
    from radmeter.database.operator import connect_as_operator

    with interruption.may_break():
        confirm("This sets the counters of these days to the sums of their sessions. Go on?", yes)
    with connect_as_operator(dsn) as connection, Runner(dsn, pace, interruption) as runner:
        history.lock(connection)
        with interruption.may_break(), progress("adding up the sessions", unit="steps") as bar:
            users, routers = history.redo(
                connection, first_day.date() if first_day else None, last_day.date() if last_day else None
            )
            bar.advance()
        _move(runner)
    output.say(
        f"corrected: {counted(users, 'counter')} of users and {counted(routers, 'day')} of routers", err=True
    )


def _rejected(dsn: str, output_format: str) -> None:
    with connect(dsn) as connection:
        found = [each._asdict() for each in history.set_aside(connection)]
    emit(found, output_format, columns=SET_ASIDE)


def _leave(dsn: str, given: tuple[str, ...], yes: bool) -> None:
    from radmeter.database.operator import connect_as_operator

    if given != ("all",) and not all(each.isdecimal() for each in given):
        raise click.UsageError("--leave takes a radacctid, or `all` alone")
    ids = None if given == ("all",) else [int(each) for each in given]
    with connect_as_operator(dsn) as connection:
        if ids is None:
            number = history.undecided(connection)
            if number:
                confirm(
                    f"This leaves {counted(number, 'session')} out of the counters, until --correct counts one. Go on?",
                    yes,
                )
        elif unknown := sorted(set(ids) - {each.radacctid for each in history.set_aside(connection)}):
            raise StoreError(
                f"not set aside: {', '.join(map(str, unknown))}. Nothing was changed; --rejected lists those that are"
            )
        done = history.leave(connection, ids)
    output.say(f"{counted(done, 'session')} left out of the counters", err=True)


def _correct(
    dsn: str,
    pace: Pace,
    interruption: Interruption,
    radacctid: int,
    octets: tuple[int, int],
    at: datetime.datetime | None,
) -> None:
    from radmeter.database.operator import connect_as_operator

    with connect_as_operator(dsn) as connection, Runner(dsn, pace, interruption) as runner:
        history.lock(connection)
        history.correct(connection, radacctid, *octets, at.replace(tzinfo=datetime.UTC) if at else None)
        _move(runner)
    output.say(f"session {radacctid} is counted", err=True)


def _move(runner: Runner) -> None:
    with progress("adding to the counters", history.BUCKETS, unit="parts") as bar:
        runner.move(bar)


def _summary(at: Progress, passes: tuple[str, ...]) -> str:
    parts = []
    if COUNTERS in passes:
        parts.append(f"{counted(at.counted_sessions, 'session')} counted")
    if ROUTERS in passes:
        parts.append(f"{amount(at.filled_sessions)} given their router_id")
    left = [
        f"{amount(at.ids - at.done_ids(work))} ids to go" for work in passes if at.done_ids(work) < at.ids
    ]
    if at.waiting:
        left.append(f"{amount(at.waiting)} sums not yet in the counters")
    return ", ".join(parts) + (f"; {', '.join(left)}" if left else ": done")


def _status(dsn: str, output_format: str) -> int:
    with connect(dsn) as connection:
        at = history.progress(connection)
        aside = history.undecided(connection)
        if at is None and not history.adopted(connection):
            raise StoreError(
                "radacct has no session that was there before radmeter: there is no history to count"
            )
    row = _status_row(at, aside)
    if output_format == "table":
        shown = {**row, "time_left": None}
        if row["seconds_left"] is not None:
            shown["time_left"] = duration(float(row["seconds_left"]))
        names = [name if name != "seconds_left" else "time_left" for name in STATUS]
        emit_one(shown, output_format, columns=names)
    elif output_format == "json":
        emit_one(row, output_format, columns=STATUS)
    else:
        emit([row], output_format, columns=STATUS)
    return 0 if at is not None and at.complete else EXIT_NOT_DONE


def _status_row(at: Progress | None, aside: int) -> Row:
    if at is None:
        return {**dict.fromkeys(STATUS), "state": "not begun"}
    rate, left = at.sessions_a_second, at.seconds_left
    return {
        "state": _state(at),
        "counters_percent": _percent(at.counted_ids, at.ids),
        "sessions_counted": at.counted_sessions,
        "routers_percent": _percent(at.filled_ids, at.ids),
        "sessions_given_their_router": at.filled_sessions,
        "waiting_for_the_counters": at.waiting,
        "sessions_set_aside": aside,
        "sessions_a_second": None if rate is None else round(rate),
        "seconds_left": None if left is None else round(left),
        "began_at": at.began_at,
        "changed_at": at.changed_at,
    }


def _state(at: Progress) -> str:
    if at.running:
        return f"running: {at.last_pass}"
    if at.complete:
        return "done"
    of_pass = at.last_pass is not None and at.done_ids(at.last_pass) >= at.ids and not at.waiting
    return f"done: {at.last_pass}" if of_pass else "stopped"


def _percent(done: int, total: int) -> str:
    """Round down: 100 means all."""
    return f"{done * 1000 // total / 10:.1f}" if total else "100.0"
