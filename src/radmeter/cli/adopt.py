"""`radmeter adopt`: adopt FreeRADIUS's own radacct, and give it back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import psycopg

from radmeter import output
from radmeter.adoption import adopt as adoption
from radmeter.adoption import plan as adopt_plan
from radmeter.adoption import state
from radmeter.adoption import undo as adopt_undo
from radmeter.adoption.operation import Operation, Refused
from radmeter.adoption.states import MEANS
from radmeter.adoption.table import Table
from radmeter.cli.common import (
    confirm,
    emit,
    emit_one,
    existing_database,
    format_option,
    pace_options,
    with_settings,
    wrapped,
)
from radmeter.config import Settings
from radmeter.database.connection import explained_errors
from radmeter.database.identifiers import quoted
from radmeter.database.lock_retries import PATIENCE_SECONDS, bounded_waits
from radmeter.database.operator import connect_as_operator
from radmeter.database.pace import Pace, Pacer
from radmeter.progress import progress
from radmeter.units import counted, disk_size, duration

WIDTH_WITHOUT_TERMINAL = 110

EXAMPLES = """\b
Examples:
  radmeter adopt --from radacct --plan    what would happen, and how long
  radmeter adopt --from radacct           do it; again if it was interrupted
  radmeter adopt --from radacct --max-load 0.3 --max-lag 5
                                          with rests, and pauses while a
                                          standby is behind
  radmeter adopt --from radacct --postpone-swap    all but the swap
  radmeter adopt --swap                   the swap, once it suits
  radmeter adopt --status                 how far the adoption is
  radmeter adopt --undo                   give radacct back to FreeRADIUS

\b
Exit codes: 0 done, 1 refused or failed (standard error says why and what to
do; run the same command again and it goes on), 2 wrong options, or there is
no terminal to ask at and no --yes, 130 interrupted."""


@click.command(epilog=EXAMPLES)
@click.option("--from", "table", metavar="TABLE", help="The table to adopt: radacct.")
@click.option("--plan", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--postpone-swap", is_flag=True, help="Prepare all, and swap when --swap says so.")
@click.option("--swap", "swap_now", is_flag=True, help="Go on with an adoption whose swap is postponed.")
@click.option("--undo", is_flag=True, help="Make radacct FreeRADIUS's own table again, with all sessions.")
@click.option("--status", is_flag=True, help="Say how far the adoption is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--patience",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=PATIENCE_SECONDS,
    show_default=True,
    help="How long to try to get a lock that another transaction holds.",
)
@pace_options
@with_settings("state", "dsn")
@format_option
def adopt(
    settings: Settings,
    table: str | None,
    plan: bool,
    postpone_swap: bool,
    swap_now: bool,
    undo: bool,
    status: bool,
    yes: bool,
    patience: float,
    max_load: float,
    max_lag: float,
    output_format: str,
) -> None:
    """Adopt the radacct of a FreeRADIUS database: it becomes the oldest partition of radmeter's radacct.

    Closed sessions are not copied. Tools still read them under the name radacct. rlm_sql goes on writing until the
    swap, which takes less than 0.2 seconds. The adoption can be undone until radacct_legacy is split into
    months, or the first partition is archived or dropped.
    """
    if sum((table is not None, swap_now, undo, status)) != 1:
        raise click.UsageError("give one of --from radacct, --swap, --undo and --status")
    if (plan or postpone_swap) and table is None:
        raise click.UsageError("--plan and --postpone-swap go with --from")
    pace = Pace(max_load=max_load, max_lag_seconds=max_lag)
    with (
        existing_database(settings) as dsn,
        explained_errors("radmeter_owner"),
        connect_as_operator(dsn) as connection,
        bounded_waits(connection, patience, said=_say, what="radmeter adopt"),
    ):
        if status:
            _status(connection, output_format)
        elif undo:
            with _operation(dsn, connection, patience, pace) as operation:
                _undo(operation, yes)
        else:
            if table is not None and table.lower() not in ("radacct", "public.radacct"):
                raise click.UsageError(
                    f"--from {table}: only public.radacct can be adopted; "
                    f"move or rename the table first: ALTER TABLE {table} SET SCHEMA public, or RENAME TO radacct"
                )
            with _operation(dsn, connection, patience, pace) as operation:
                operation.postpone = True if postpone_swap else False if swap_now else None
                _adopt(operation, plan, yes, output_format)


def _adopt(operation: Operation, plan: bool, yes: bool, output_format: str) -> None:
    connection = operation.connection
    known = state.in_force(connection)
    if known is None and operation.postpone is False:
        raise Refused("no adoption is under way: `radmeter adopt --from radacct` begins one")
    if known is None:
        with progress("reading radacct", None, "rows"):
            table, boundary = adoption.survey(connection)
            steps = adopt_plan.steps(connection, table)
        if lack := adopt_plan.lacks_room(connection, table):
            raise Refused(lack)
        if plan or not yes:
            _print_plan(connection, table, boundary, steps, output_format)
    else:
        output.say(f"begun {known.began_at:%Y-%m-%d %H:%M} UTC: {MEANS[known.state]}", err=not plan)
    if plan or (known is not None and known.state == "done"):
        return
    confirm("Go on with the adoption?" if known else "Adopt radacct?", yes)
    done = adoption.adopt(operation)
    if done.state != "done":
        output.say(
            *wrapped(
                f"all is ready, and the swap is postponed since {done.swap_postponed_at:%Y-%m-%d %H:%M} UTC: rlm_sql "
                "goes on writing; next: `radmeter adopt --swap`"
            )
        )
        return
    swap_ms = (done.lock_seconds or 0.0) * 1000
    output.say(
        *wrapped(
            f"radacct is radmeter's; the swap kept others waiting for {swap_ms:.0f} ms{_longest(connection)}"
        )
    )
    output.say(
        *wrapped(
            "next: remove rlm_sql from FreeRADIUS's accounting section, start `radmeter ship`, `radmeter jobs run`, "
            "count the history: `radmeter backfill`"
        )
    )


def _print_plan(
    connection: psycopg.Connection[Any],
    table: Table,
    boundary: Any,
    steps: list[adopt_plan.PlanStep],
    output_format: str,
) -> None:
    rows = [{**step._asdict(), "time": "about " + duration(step.seconds)} for step in steps]
    if output_format != "table":
        emit(rows, output_format, columns=["step", "what", "waits", "seconds"])
        return
    output.say(
        f"radacct of {quoted(table.owner)}: about {counted(table.rows, 'session')}, {disk_size(table.heap_bytes)}, "
        f"indexes {disk_size(table.index_bytes)}",
        "",
    )
    emit(rows, "table", columns=["step", "what", "waits", "time"])
    for note in adopt_plan.notes(connection, table, boundary):
        output.say("", *wrapped(note, WIDTH_WITHOUT_TERMINAL))
    output.say()


def _undo(operation: Operation, yes: bool) -> None:
    connection = operation.connection
    known = state.in_force(connection)
    if known is None:
        raise adopt_undo.nothing_to_undo(connection)
    if not yes:
        output.say(f"begun {known.began_at:%Y-%m-%d %H:%M} UTC: {MEANS[known.state]}")
        output.say(
            *wrapped(
                "radacct becomes FreeRADIUS's own table again, with its indexes, its old sessions and all since. "
                "radmeter's counters are emptied. Packets in a journal that are not shipped stay there.",
                WIDTH_WITHOUT_TERMINAL,
            )
        )
    confirm("Give radacct back?", yes)
    renamed = adopt_undo.undo(operation)
    output.say(*wrapped(f"radacct is FreeRADIUS's own table again{_longest(connection)}"))
    output.say("next: put rlm_sql back into FreeRADIUS's accounting section")
    if renamed:
        output.say(f"{counted(len(renamed), 'session')} shared an id with a later one and got a new id:")
        for unique_id in renamed:
            output.say(f"  {unique_id}")


def _longest(connection: psycopg.Connection[Any]) -> str:
    """Return the end of a sentence: which step of the latest adoption kept others waiting longest."""
    found = state.longest_lock(connection)
    return "" if found is None else f", the longest of all steps for {found[1] * 1000:.0f} ms ({found[0]})"


def _status(connection: psycopg.Connection[Any], output_format: str) -> None:
    known = state.latest(connection)
    row = {
        "state": "none" if known is None else known.state,
        "meaning": "radacct was not adopted" if known is None else MEANS[known.state],
        "swap_postponed_at": known and known.swap_postponed_at,
        "boundary": known and known.boundary,
        "began_at": known and known.began_at,
        "swapped_at": known and known.swapped_at,
        "lock_seconds": known and known.lock_seconds and round(known.lock_seconds, 3),
        "undone_at": known and known.undone_at,
    }
    emit_one(row, output_format, columns=list(row))


@contextmanager
def _operation(
    dsn: str, connection: psycopg.Connection[Any], patience: float, pace: Pace
) -> Iterator[Operation]:
    pacer = Pacer(dsn, pace)
    with pacer.watched(_say):
        yield Operation(connection, said=_say, progress=progress, patience_seconds=patience, pacer=pacer)


def _say(text: str) -> None:
    output.say(text, err=True)
