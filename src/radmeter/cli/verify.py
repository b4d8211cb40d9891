"""`radmeter verify`: compare the counters with the sums of the sessions."""

import datetime
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import click
from rich.console import Console

from radmeter import output, waits
from radmeter.cli.common import (
    TEXT,
    can_answer,
    confirm,
    emit,
    existing_database,
    is_short,
    list_options,
    with_settings,
)
from radmeter.cli.months import DAY
from radmeter.config import Settings
from radmeter.database.connection import Connection, explained_errors
from radmeter.units import counted, verb
from radmeter.usage.verify import Difference, Scope

COLUMNS = (
    "finding",
    "name",
    "day",
    "counted_in",
    "recomputed_in",
    "counted_out",
    "recomputed_out",
    "state",
)
# Nobody reads more, and printing them takes longer than finding them.
TABLE_ROWS = 500
# What fits into 80 columns, if all that is shown are counters that differ.
SHORT = COLUMNS[1:-1]


@click.command(
    epilog="""\b
Examples:
  radmeter verify
  radmeter verify --days 7
  radmeter verify --user alice --format json
  radmeter verify --from 2026-10-01 --to 2026-10-31 --router lobby --repair
  radmeter verify --days 7 --repair --yes

\b
Exit codes:
  0  every counter is right, or was repaired
  1  a counter differs, or a guarantee of the schema is violated
  2  wrong options or settings; --repair without --yes and without a terminal
"""
)
@click.option("--from", "first_day", type=DAY, metavar="DAY", help="The first day.")
@click.option("--to", "last_day", type=DAY, metavar="DAY", help="The last day.")
@click.option("--days", type=click.IntRange(1, 100_000), help="So many days, today included.")
@click.option(
    "--user", "usernames", type=TEXT, multiple=True, metavar="NAME", help="Only this user's counters."
)
@click.option(
    "--router",
    "routers",
    type=TEXT,
    multiple=True,
    metavar="NAME|MAC|#ID",
    help="Only this router's counters.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Set differing counters to the sums of their sessions, with an entry in audit_log. It asks first.",
)
@click.option("--yes", is_flag=True, help="With --repair: do not ask.")
@list_options
@with_settings("state", "dsn")
def verify(
    settings: Settings,
    first_day: datetime.datetime | None,
    last_day: datetime.datetime | None,
    days: int | None,
    usernames: tuple[str, ...],
    routers: tuple[str, ...],
    repair: bool,
    yes: bool,
    output_format: str,
) -> None:
    """Recompute the counters from the sessions, list those that differ, and check the guarantees of the schema.

    The result is right while packets arrive, because everything is read from one state of the database. A span of days
    selects the routers' days in it, and the users' quota periods with any of these days. A counter that differs is not
    judged if sessions of its time were dropped (retention). The summary says how many these are.

    A counter above the sum of its sessions can also mean that sessions were deleted by hand. --repair would remove
    their usage, so check that first: it shows the counters and asks. audit_log keeps every repaired counter, before and
    after.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.partitions.months import ensure_partitions
    from radmeter.schema import guarantees
    from radmeter.usage import verify
    from radmeter.usage.counters import current_period

    if days is not None and (first_day or last_day):
        raise click.UsageError("--days and --from or --to exclude each other")
    if first_day and last_day and first_day > last_day:
        raise click.UsageError("--from is after --to")
    if repair:
        can_answer(yes)
    progress = output.console(stderr=True)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        first = first_day.date() if first_day else None
        if days is not None:
            first = verify.today(connection) - datetime.timedelta(days=days - 1)
        scope = Scope(
            first_day=first,
            last_day=last_day.date() if last_day else None,
            usernames=usernames or None,
            router_ids=_router_ids(dsn, routers) if routers else None,
        )
        with verify.snapshot(connection):
            for username in usernames:
                current_period(connection, username)  # an unknown user is an error, not a right counter
            complete_from = verify.complete_from(connection)
            with _step(progress, "adding up the users' sessions"):
                users, found = verify.user_differences(connection, scope)
            with _step(progress, "adding up the routers' sessions"):
                days_counted, different = verify.router_differences(connection, scope)
                found += different
        findings = [each for each in found if each.complete]
        names = _names(connection, findings) if output_format == "table" else {}
        left = findings
        asked = repair and bool(findings) and not yes
        if asked:
            if output_format == "table":
                _show([_row(each, "differs", names) for each in findings], output_format)
            sums = verb(len(findings), "the sum of its", "the sums of their")
            confirm(f"Set {counted(len(findings), 'counter')} to {sums} sessions?", yes)
        if repair and findings:
            with _step(progress, "repairing"):
                verify.repair(connection, findings)
                left = verify.still_different(connection, findings)
        with _step(progress, "checking the schema"):
            broken = guarantees.check(connection)
            if repair and any(each.name == guarantees.PARTITIONS for each in broken):
                ensure_partitions(connection)
                broken = guarantees.check(connection)

    unrepaired = {each.key for each in left}
    shown = asked and output_format == "table"
    rows = [
        _row(each, "differs" if each.key in unrepaired else "repaired", names)
        for each in findings
        if not shown or each.key in unrepaired
    ]
    rows += [
        {**dict.fromkeys(COLUMNS), "finding": "schema", "name": each.name, "state": each.fault}
        for each in broken
    ]
    _show(rows, output_format)
    summary = _summary(scope, users, days_counted)
    if complete_from is not None and len(found) > len(findings):
        summary += (
            f"; {len(found) - len(findings)} of them not judged: "
            f"sessions that stopped before {complete_from:%Y-%m-%d} were dropped or archived"
        )
    outcome = [f"{len(findings)} differ"] if findings else []
    outcome += [f"{len(findings) - len(left)} repaired"] if repair and findings else []
    outcome += [counted(len(broken), "guarantee") + " of the schema violated"] if broken else []
    output.say(f"{summary}: {', '.join(outcome) or 'all right'}", err=True)
    if left or broken:
        sys.exit(1)


def _show(rows: list[dict[str, object]], output_format: str) -> None:
    if output_format != "table":
        emit(rows, output_format, columns=COLUMNS)
    elif rows:
        # The counters come first. Violations of the schema are never left out.
        schema = [row for row in rows if row["finding"] == "schema"]
        shown = rows[: len(rows) - len(schema)][:TABLE_ROWS] + schema
        plain = not schema and all(row["state"] == "differs" for row in rows)
        if plain and is_short(output_format):
            shown = [{**row, "name": f"{row['finding']} {row['name']}"} for row in shown]
        emit(shown, output_format, columns=COLUMNS, short=SHORT if plain else None)
        if len(shown) < len(rows):
            output.say(f"{len(rows) - len(shown)} more are not shown: --format csv has all", err=True)


def _names(connection: Connection, findings: Sequence[Difference]) -> dict[int, str]:
    """Return the names that people know the routers by, by id."""
    from radmeter.routers.lookup import shown_names

    with explained_errors("radmeter_reader"):
        return shown_names(connection, {each.router_id for each in findings})


def _row(difference: Difference, state: str, names: Mapping[int, str]) -> dict[str, object]:
    row = {name: getattr(difference, name) for name in COLUMNS[1:-1]}
    if difference.username is not None or difference.router_id is None:
        return {"finding": "user", **row, "state": state}
    row["name"] = names.get(difference.router_id, difference.name)
    return {"finding": "router", **row, "state": state}


def _summary(scope: Scope, users: int, days: int) -> str:
    parts = []
    if scope.users:
        parts.append(counted(users, "counter") + " of users")
    if scope.routers:
        parts.append(counted(days, "day") + " of routers")
    return " and ".join(parts)


def _router_ids(dsn: str, routers: Sequence[str]) -> list[int]:
    from radmeter.database.views import reading
    from radmeter.routers.lookup import find_router

    with reading(dsn) as connection:
        return [find_router(connection, text).id for text in routers]


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    """Show what is being done, if there is a terminal."""
    if not console.is_terminal:
        yield
        return
    with waits.covered(), console.status(f"{what} ..", spinner="dots"):
        yield
