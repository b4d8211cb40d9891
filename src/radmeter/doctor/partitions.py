"""Checks of radacct's partitions: made ahead, without gaps, none half detached, no archive unfinished."""

import datetime
import itertools
import shlex
from pathlib import Path

import psycopg
from psycopg import errors

from radmeter.database import advisory_locks
from radmeter.doctor.commands import identifier
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller, first_of
from radmeter.partitions.months import MONTHS_AHEAD, missing_months
from radmeter.printable import one_line
from radmeter.units import counted

tell = Teller("partitions")


def check(context: Context) -> Findings:
    """Check that months have partitions: this one and the next, without a gap, and the one after them could be made."""
    ensure = context.remedy.radmeter("partitions ensure", owner=True)
    spans = context.rows(
        """SELECT name, CASE WHEN isfinite(from_at) THEN from_at END, to_at FROM radmeter.partitions
           WHERE to_at IS NOT NULL ORDER BY from_at"""
    )
    faults = 0
    if not context.row(OPEN_IS_ATTACHED)[0]:
        faults += 1
        yield tell.red("radacct_open is no partition of radacct: no packet can be counted", ensure)
    uncovered = [month.name for month in missing_months(context.database)]
    near = [month.name for month in missing_months(context.database, 1)]
    if near:
        faults += 1
        yield tell.red(
            f"none for {', '.join(near)}: a session that stops then cannot be kept (does `radmeter jobs run` run?)",
            ensure,
        )
    elif uncovered:
        faults += 1
        yield tell.yellow(f"none for {', '.join(uncovered)} (does `radmeter jobs run` run?)", ensure)
    for before, after in itertools.pairwise(spans):
        if after[1] is not None and before[2] is not None and before[2] < after[1]:
            faults += 1
            yield tell.yellow(
                f"a gap between {before[0]} and {after[0]}: {before[2]:%Y-%m-%d} to {after[1]:%Y-%m-%d}",
                context.remedy.radmeter(f"partitions ensure {_span(before[2], after[1])}", owner=True),
            )
    for (name,) in context.rows(
        """SELECT inhrelid::regclass::text FROM pg_inherits
           WHERE inhparent = to_regclass('public.radacct') AND inhdetachpending"""
    ):
        faults += 1
        yield tell.red(
            f"{name} is half detached: its sessions are not found",
            context.remedy.psql(f"ALTER TABLE public.radacct DETACH PARTITION {name} FINALIZE"),
        )
    for finding in (
        *_taken(context),
        *_archiving(context),
        *_next_month(context),
        *_by_age(context),
        *_detached(context),
    ):
        faults += 1
        yield finding
    if not faults:
        yield tell.green(
            f"{counted(len(spans), 'month')}, {MONTHS_AHEAD} ahead" if spans else "none",
            *(f"{name} to {to}" for name, _, to in spans),
        )
    for at in _succeeded(context):
        yield tell.green(f"months are archived by age, last at {at:%Y-%m-%d %H:%M} UTC")


def _detached(context: Context) -> Findings:
    """Find tables that may be months to be attached again. Rows of dropped months stay because of them."""
    (may_ask,) = context.row(
        """SELECT coalesce(bool_and(has_function_privilege(to_regprocedure('radmeter.' || name), 'EXECUTE')), false)
           FROM unnest(ARRAY['detached_tables()', 'dropped_months()']) AS name"""
    )
    if not may_ask:
        return
    names = [
        name
        for (name,) in context.rows(
            """SELECT name FROM radmeter.detached_tables()
               WHERE EXISTS (SELECT FROM radmeter.dropped_months()) AND NOT starts_with(name, 'radmeter.')"""
        )
    ]
    if names:
        yield tell.yellow(
            f"{first_of(names)} may be a month to be attached again: until then the jobs keep slices and baselines of "
            "dropped months",
            "",
            *names,
            note="Attach it to radacct again, or drop it, or drop a column of it that radacct has.",
        )


OPEN_IS_ATTACHED = """
SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = to_regclass('public.radacct')
                 AND inhrelid = to_regclass('public.radacct_open'))"""

# A table has a type of the same name. Only the table is named then.
TAKEN = """
SELECT kind, name, pg_get_userbyid(owner) FROM (
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                        WHEN 'i' THEN 'INDEX' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE'
                        ELSE 'TABLE' END AS kind,
           relname AS name, relowner AS owner
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, typname, typowner FROM pg_type
    WHERE typnamespace = 'public'::regnamespace AND typrelid = 0 AND typelem = 0) AS thing
WHERE name ~ '^radacct_[0-9]{4}_[0-9]{2}$'
  AND name >= to_char(now() AT TIME ZONE 'UTC', '"radacct_"YYYY_MM')
  AND owner <> (SELECT relowner FROM pg_class WHERE oid = to_regclass('public.radacct'))
ORDER BY name"""


def _taken(context: Context) -> Findings:
    """Find names of months to come that an object of another role has. The partition then gets another name."""
    for kind, name, owner in context.rows(TAKEN):
        if name in {row[0] for row in context.rows("SELECT name FROM radmeter.partitions")}:
            continue
        yield tell.red(
            f"{owner} has made {kind.lower()} public.{name}: that is the name of a month's partition",
            context.remedy.psql(
                f"ALTER {kind} public.{identifier(name)} RENAME TO {identifier('of_' + owner + '_' + name)}",
                user=context.remedy.superuser,
            ),
        )


def _next_month(context: Context) -> Findings:
    """Try to make the month after the last one, and roll that back. What somebody did to radacct may prevent it."""
    # Behind a pooler a transaction has begun to read before it could be told that it may write.
    pooled = getattr(context.database, "behind_pooler", False)
    if context.facts.is_standby or not context.facts.is_owner or pooled:
        return
    (at,) = context.row(
        "SELECT greatest(max(to_at), date_trunc('month', now(), 'UTC')) FROM radmeter.partitions WHERE isfinite(to_at)"
    )
    try:
        with context.database.transaction(force_rollback=True):
            context.database.execute("SET TRANSACTION READ WRITE")
            context.database.execute("SELECT radmeter.ensure_partition(%s)", (at,))
    except (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected):
        return  # somebody reads: that is no fault of the partitions
    except errors.ReadOnlySqlTransaction:
        return  # the check of the connection says so
    except psycopg.Error as error:
        said = one_line(error.diag.message_primary or str(error))
        yield tell.red(
            f"the partition of {at.astimezone(datetime.UTC):%Y-%m} could not be made: {said}",
            context.remedy.psql(
                "GRANT CREATE ON SCHEMA public TO radmeter_owner", user=context.remedy.superuser
            )
            if isinstance(error, errors.InsufficientPrivilege)
            else context.remedy.psql("\\d+ public.radacct"),
        )


def _archiving(context: Context) -> Findings:
    """Find an archive, restore or split that was interrupted, and name the command that goes on with it."""
    if not context.there("radmeter.archives"):
        return
    if advisory_locks.holder(context.database, advisory_locks.ARCHIVE):
        return
    for name, state, file, month in context.rows(
        """SELECT name, state, file, to_char(to_at AT TIME ZONE 'UTC', 'YYYY-MM') FROM radmeter.archives
           WHERE state IN ('writing', 'written', 'detached', 'loaded') ORDER BY from_at"""
    ):
        command = (
            f"partitions restore {shlex.quote(file)}"
            if state == "loaded"
            else f"partitions archive --before {month} --to {shlex.quote(str(Path(file).parent))}"
        )
        said = f"the archive of {name} was interrupted ({state}); the same command goes on with it"
        yield tell.yellow(said, context.remedy.radmeter(command, owner=True))
    if not context.there("radmeter.partition_split"):
        return
    for (name,) in context.rows("SELECT name FROM radmeter.partition_split WHERE state <> 'done'"):
        yield tell.yellow(
            f"the split of {name} into months was interrupted; the same command goes on with it",
            context.remedy.radmeter(f"partitions split {shlex.quote(name)}", owner=True),
        )


JOB_RESULT = """
SELECT succeeded_at AT TIME ZONE 'UTC', failed_at AT TIME ZONE 'UTC', error,
       coalesce(succeeded_at, began_at) < now() - interval '1 day', command
FROM radmeter.job_result WHERE job = 'archive'"""


def _by_age(context: Context) -> Findings:
    """Find out whether the job that archives months by age succeeds (RADMETER_ARCHIVE_AFTER_MONTHS)."""
    if not context.there("radmeter.job_result"):
        return
    for succeeded, failed, error, late, command in context.rows(JOB_RESULT):
        last = f"{succeeded:%Y-%m-%d %H:%M} UTC" if succeeded else "never"
        if error is not None:
            yield tell.yellow(
                f"months could not be archived by age at {failed:%Y-%m-%d %H:%M} UTC (last success: {last})",
                context.remedy.radmeter(command, owner=True),
                error,
            )
        elif late:
            yield tell.yellow(
                f"months were not archived by age for a day (last success: {last}): do the jobs run?",
                context.remedy.service("jobs run", owner=True),
            )


def _succeeded(context: Context) -> list[datetime.datetime]:
    """Return when months were archived by age last, unless that has failed since or is late."""
    if not context.there("radmeter.job_result"):
        return []
    return [
        at for at, _, error, late, _ in context.rows(JOB_RESULT) if at is not None and not (error or late)
    ]


def _span(first: datetime.datetime, end: datetime.datetime) -> str:
    """Return the months from `first` to before `end`, as `partitions ensure` takes them."""
    last = end - datetime.timedelta(microseconds=1)
    months = [f"{each.astimezone(datetime.UTC):%Y-%m}" for each in (first, last)]
    return months[0] if months[0] == months[1] else "..".join(months)
