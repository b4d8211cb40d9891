"""`radmeter migrate`: shows what an upgrade of the database would do, does it, and shows what was done."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from typing import Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    Figure,
    Row,
    confirm,
    emit,
    emit_json,
    existing_database,
    format_option,
    list_options,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.config import Settings
from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, connect, explained_errors
from radmeter.database.deadline import patient
from radmeter.database.lock_retries import PATIENCE_SECONDS, bounded_waits
from radmeter.embedded.server import open_database
from radmeter.progress import Listener, progress
from radmeter.schema import decimal_columns, upgrade
from radmeter.schema import plan as migration_plan
from radmeter.schema import script as migration_script
from radmeter.schema.decimal_columns import Change
from radmeter.schema.known_revisions import all_revisions, current_revision, pending_revisions
from radmeter.schema.login_roles import Login, make_login_roles
from radmeter.schema.plan import Plan
from radmeter.schema.sql_files import changed_files, current_files
from radmeter.secret_files import read_password
from radmeter.units import counted, duration

PENDING = 3
REAPPLY = click.option(
    "--reapply",
    is_flag=True,
    help="Apply all SQL files (functions, triggers, views, grants) again, changed or not.",
)
SHOWN_CHANGES = 20
# More revisions or files than these are shown as a number.
SHOWN_PENDING = 5
VERBOSE = click.option(
    "--verbose", is_flag=True, help="Show every revision and file, also of a new database."
)
DECIMALS = ("table", "column", "key", "shown", "decimal")
STEPS = ("kind", "name", "what", "seconds", "locks")
HISTORY = ("at", "kind", "name", "seconds", "who", "operator", "version")
BRIEF = ("at", "kind", "name", "seconds", "version")

EPILOG = """\b
Examples:
  radmeter migrate plan
  radmeter migrate up

\b
Exit codes:
  0    done, or there is nothing to do
  1    it cannot be done, or failed; finished steps stay, and the same
       command goes on from there
  2    wrong options or settings; `up` without --yes and without a terminal
  3    `status`: something is pending
  130  interrupted, or the question was answered with no
"""


@group(epilog=EPILOG)
def migrate() -> None:
    """Create or upgrade radmeter's tables, functions, triggers and roles, while packets come in.

    No step keeps ingest waiting for more than a fraction of a second. Every command can be interrupted or killed at any
    point and run again.
    """


def _decimals(changes: Sequence[Change]) -> list[Row]:
    return [
        {"table": table, "column": column, "key": key, "shown": Figure(shown), "decimal": Figure(value)}
        for table, column, key, shown, value in changes
    ]


def _say_changes(changes: Sequence[Change], verb: str, where: str) -> None:
    if not changes:
        return
    output.say("values whose decimal differs from what was shown:")
    for change in changes[:SHOWN_CHANGES]:
        name = f"{change.table}.{change.column}"
        output.say(f"  {name}, {change.key}: was shown as {change.shown}, {verb} {change.value}")
    if len(changes) > SHOWN_CHANGES:
        output.say(f"  and {len(changes) - SHOWN_CHANGES} more: {where}")


def _say_new(plan: Plan) -> None:
    """Say what is made in an empty database. Nothing there is locked, so no step has locks to name."""
    kinds = [step.kind for step in plan.steps]
    for number, kind in enumerate(dict.fromkeys(kinds), 1):
        steps = [step for step in plan.steps if step.kind == kind]
        first, last = steps[0].name, steps[-1].name
        if kind == "revision":
            what = f"{counted(len(steps), 'revision')} to apply ({first} to {last}) to an empty database"
        elif kind == "partitions":
            what = f"make {counted(len(steps), 'partition')}, for sessions that stop in {first} to {last}"
        elif kind == "files":
            what = steps[0].what.partition(", of which")[0]
        else:
            what = "; ".join(step.what for step in steps)
        output.say(f"{number:>3}. {what} ({duration(sum(step.seconds for step in steps))})")
    output.say("", f"about {duration(plan.seconds)} in all. Each step: --verbose")


def _say_plan(plan: Plan, verbose: bool) -> None:
    if not plan.steps:
        output.say(
            f"nothing to do: the database is at revision {plan.current}, the newest, and its SQL files are too"
        )
        return
    at = f"revision {plan.current}" if plan.current else "no revision: radmeter's tables are made"
    output.say(f"the database is at {at}; the newest is {plan.newest}", "")
    if plan.current is None and not verbose and not any(step.locks for step in plan.steps):
        _say_new(plan)
        return
    for number, step in enumerate(plan.steps, 1):
        label = f"revision {step.name}: " if step.kind == "revision" else ""
        output.say(f"{number:>3}. {label}{step.what} ({duration(step.seconds)})")
        if not step.locks:
            output.say("       locks nothing that is in use")
        for lock in step.locks[:4]:
            output.say(f"       {lock}")
        if len(step.locks) > 4:
            output.say(f"       and {len(step.locks) - 4} more such locks, one at a time")
    output.say(
        "",
        f"about {duration(plan.seconds)} in all, waiting for locks not included. {migration_plan.advice()}",
    )
    _say_changes(plan.changes, "becomes", "radmeter migrate plan --decimals")


@migrate.command(
    epilog="""\b
Examples:
  radmeter migrate plan
  radmeter migrate plan --format json
  radmeter migrate plan --reapply
  radmeter migrate plan --decimals --format csv > becomes.csv

\b
Exit codes: 0 shown (also when there is nothing to do), 1 it cannot be done
(standard error says why), 2 wrong options
"""
)
@with_settings("state", "dsn")
@format_option
@REAPPLY
@VERBOSE
@click.option(
    "--decimals", "only_decimals", is_flag=True, help="Show only the values whose decimal form will differ."
)
def plan(settings: Settings, output_format: str, reapply: bool, verbose: bool, only_decimals: bool) -> None:
    """Say what `up` would do: each step, what it locks and for how long. It changes nothing.

    The steps of a new database are summed up. --verbose shows each.
    """
    with (
        existing_database(settings) as dsn,
        connect(dsn, deadline=patient()) as connection,
        explained_errors("radmeter_owner"),
    ):
        upgrade.refuse_stock_table(connection)
        found = migration_plan.plan(connection, reapply=reapply)
    changes = _decimals(found.changes)
    steps: list[Row] = [
        {**step._asdict(), "seconds": round(step.seconds, 3), "locks": "; ".join(map(str, step.locks))}
        for step in found.steps
    ]
    if only_decimals:
        emit(changes, output_format, columns=DECIMALS)
    elif output_format == "json":
        objects: dict[str, Any] = {
            "current": found.current,
            "newest": found.newest,
            "seconds": round(found.seconds, 3),
            "steps": [
                {
                    "kind": step.kind,
                    "name": step.name,
                    "what": step.what,
                    "seconds": round(step.seconds, 3),
                    "locks": [
                        {"relation": lock.relation, "mode": lock.mode, "seconds": round(lock.seconds, 3)}
                        for lock in step.locks
                    ],
                }
                for step in found.steps
            ],
            "decimals": changes,
        }
        emit_json(objects)
    elif output_format == "csv":
        emit(steps, output_format, columns=STEPS)
    else:
        _say_plan(found, verbose)


@migrate.command(
    epilog="""\b
Examples:
  radmeter migrate up
  radmeter migrate up --reapply        # after somebody changed a function
  RADMETER_DSN=postgresql://owner@db/radius radmeter migrate up --yes

\b
Exit codes:
  0    the schema is up to date
  1    it cannot be done, or could not get a lock within --patience; finished
       steps stay, and the same command goes on from there
  2    wrong options or settings, or no terminal to ask at and no --yes
  130  interrupted, or the question was answered with no
"""
)
@with_settings("state", "dsn", "timezone")
@REAPPLY
@VERBOSE
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--patience",
    default=PATIENCE_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to try to get a lock that another transaction holds.",
)
def up(settings: Settings, reapply: bool, verbose: bool, yes: bool, patience: float) -> None:
    """Bring the database to the newest schema. Show the plan and ask first.

    It is safe to run it twice, from two places at once, and after it was killed. Ingest goes on.
    """
    with open_database(settings) as database, explained_errors("radmeter_owner"):
        with _bounded(database.dsn, patience) as connection:
            # If another upgrade is running, wait for it, so that the plan has only what is left to do.
            advisory_locks.take_upgrade_lock(connection, lambda text: output.say(text, err=True))
            upgrade.refuse_stock_table(connection)
            found = migration_plan.plan(connection, reapply=reapply)
            before = decimal_columns.last_change(connection)
        _say_plan(found, verbose)
        if found.steps:
            confirm("Do this?", yes)
        explicit = settings.source("timezone") != "default"
        with _steps(found) as bar:
            upgrade.upgrade(
                database.dsn,
                timezone=settings.timezone if explicit else None,
                listener=bar,
                patience_seconds=patience,
                options=f"-c radmeter.operator={_operator()}",
                reapply=reapply,
            )
        with _bounded(database.dsn, patience) as connection:
            changes = decimal_columns.kept_changes(connection, before)
    _say_changes(changes, "is", "radmeter migrate history --decimals")
    if found.steps:
        output.say("the schema is up to date")


@contextmanager
def _bounded(dsn: str, patience: float) -> Iterator[Connection]:
    """Connect. No statement waits for a lock for longer than `patience` seconds."""
    with (
        connect(dsn, deadline=patient()) as connection,
        bounded_waits(connection, patience, said=lambda text: output.say(text, err=True)),
    ):
        yield connection


def _operator() -> str:
    """Return the login name on this machine, in a form that a connection option can hold."""
    try:
        name = getuser()
    except (KeyError, OSError):
        return ""
    return "".join(char for char in name if char.isalnum() or char in "-_.@")


@contextmanager
def _steps(found: Plan) -> Iterator[Listener]:
    total = upgrade.steps(len([step for step in found.steps if step.kind in ("revision", "decimals")]))
    with progress("migrating", total if found.steps else None, "steps") as bar:
        yield bar


@migrate.command(
    epilog="""\b
Examples:
  radmeter migrate status
  radmeter migrate status --format json

\b
Exit codes: 0 up to date, 1 the database cannot be asked, 2 wrong options,
3 something is pending
"""
)
@with_settings("state", "dsn")
@VERBOSE
@format_option
@click.pass_context
def status(ctx: click.Context, settings: Settings, output_format: str, verbose: bool) -> None:
    """Show the database's revision, the newest one, and what is pending.

    If much is pending, a number says how much. --verbose, json and csv have each name.
    """
    with (
        existing_database(settings) as dsn,
        connect(dsn, deadline=patient()) as connection,
        explained_errors("radmeter_owner"),
    ):
        current = current_revision(connection)
        pending = [script.revision for script in pending_revisions(connection)]
        files = changed_files(connection)
        columns = [column.name for column in decimal_columns.find(connection)]
    row = {
        "current": current,
        "newest": all_revisions()[-1].revision,
        "pending": pending,
        "changed_files": files,
        "doubles": columns,
    }
    if output_format == "json":
        emit_json(row)
    elif output_format == "csv":
        emit([{name: _joined(value) for name, value in row.items()}], output_format, columns=list(row))
    else:
        shown: dict[str, Any] = dict(row)
        if not verbose and len(pending) > SHOWN_PENDING:
            shown["pending"] = f"{counted(len(pending), 'revision')} ({pending[0]} to {pending[-1]})"
        if not verbose and len(files) > SHOWN_PENDING:
            known = len(current_files())
            shown["changed_files"] = f"all {known}" if len(files) == known else f"{len(files)} of {known}"
        width = max(map(len, row)) + 2
        for name, value in shown.items():
            output.say(f"{name.replace('_', ' '):<{width}}{_joined(value) or '-'}")
    if pending or files or columns:
        if output_format == "table":
            output.say("run `radmeter migrate up`", err=True)
        ctx.exit(PENDING)


def _joined(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "")


@migrate.command(
    epilog="""\b
Examples:
  radmeter migrate history
  radmeter migrate history --decimals --format csv

\b
Exit codes: 0 shown, 1 the database cannot be asked, 2 wrong options
"""
)
@with_settings("state", "dsn")
@list_options
@click.option(
    "--decimals",
    "only_decimals",
    is_flag=True,
    help="Show the values that were shown differently before conversion.",
)
def history(settings: Settings, output_format: str, only_decimals: bool) -> None:
    """Show what was applied: when, by whom, how long it took, and by which version of radmeter."""
    with (
        existing_database(settings) as dsn,
        connect(dsn, deadline=patient()) as connection,
        explained_errors("radmeter_reader"),
    ):
        if only_decimals:
            emit(_decimals(decimal_columns.kept_changes(connection)), output_format, columns=DECIMALS)
            return
        current = current_revision(connection)
        cursor = connection.execute(
            "SELECT at, kind, name, seconds, who, operator, version FROM radmeter.migration_log ORDER BY id"
        )
        rows: list[Row] = [dict(zip(HISTORY, row, strict=True)) for row in cursor]
        times.use_zone(connection, if_permitted=True)
    logged = {row["name"] for row in rows if row["kind"] == "revision"}
    earlier = []
    for script in all_revisions():
        if current is not None and script.revision <= current and script.revision not in logged:
            earlier.append({**dict.fromkeys(HISTORY), "kind": "revision", "name": script.revision})
    emit([*earlier, *rows], output_format, columns=HISTORY, short=BRIEF)


@migrate.command(
    "sql",
    epilog="""\b
Examples:
  radmeter migrate sql > upgrade.sql; psql -X -f upgrade.sql "$RADMETER_DSN"
  radmeter migrate sql --from base     # for a new database; it reads none
  radmeter migrate sql --from 0003

\b
Exit codes: 0 printed, 1 the database cannot be asked or upgraded as it is,
2 wrong options
""",
)
@with_settings("state", "dsn")
@click.option(
    "--from", "begin", metavar="REVISION", help="Begin at this revision, or at `base`. No database is asked."
)
def sql(settings: Settings, begin: str | None) -> None:
    """Print what `up` would do as one script for a DBA to run with psql.

    The script ends in the same state as `up`. It converts doubles under one lock, however large the table is. With
    --from it does not look for doubles or existing tables: run `radmeter migrate status` afterwards.
    """
    if begin is not None:
        output.document(migration_script.script_from(begin))
        return
    with (
        existing_database(settings) as dsn,
        connect(dsn, deadline=patient()) as connection,
        explained_errors("radmeter_owner"),
    ):
        upgrade.refuse_stock_table(connection)
        output.document(migration_script.script(connection))


@migrate.command(
    epilog="""\b
Examples:
  radmeter migrate roles --login radmeter_shipper=radmeter_ingest \\
      --passwords /run/secrets
  radmeter migrate roles --login deploy=radmeter_owner    # by `peer`

\b
Exit codes: 0 done, 1 it cannot be done, 2 wrong options or settings
"""
)
@with_settings("state", "dsn")
@click.option(
    "--login",
    "logins",
    multiple=True,
    metavar="ROLE=GROUP",
    help="Make ROLE, which may log in, a member of GROUP and of no other group. May be repeated.",
)
@click.option(
    "--passwords",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Give each role the password in the file of its name there.",
)
def roles(settings: Settings, logins: Sequence[str], passwords: Path | None) -> None:
    """Make radmeter's group roles, and a role that logs in for each service. Run it as a superuser.

    Nothing else needs a superuser: `migrate up` runs as a member of radmeter_owner. It may be run again, for instance
    after a password was changed.
    """
    wanted = [_login(each, passwords) for each in logins]
    with existing_database(settings) as dsn, connect(dsn, deadline=patient()) as connection:
        for line in make_login_roles(connection, wanted):
            output.say(line)


def _login(text: str, passwords: Path | None) -> Login:
    name, _, group = text.partition("=")
    if not name or not group:
        raise click.UsageError(
            f"--login {text!r}: write ROLE=GROUP, such as radmeter_shipper=radmeter_ingest"
        )
    if passwords is None:
        return Login(name, group)
    return Login(name, group, read_password(passwords / name, f"the password of {name} in {passwords}"))
