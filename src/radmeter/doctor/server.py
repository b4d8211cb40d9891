"""Checks of the server: settings that protect from a crash, replication slots, long transactions, disk."""

import shutil
from pathlib import Path

from radmeter.doctor import connections
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.doctor.tables import alter_system
from radmeter.units import counted, disk_size, duration

MANY_SESSIONS = 100_000
KEPT_WAL_BYTES = 1 << 30
LONG_SECONDS, TOO_LONG_SECONDS = 60, 3600


def settings(context: Context) -> Findings:
    """Check the connections, the settings that keep answered packets safe, and those for many open sessions."""
    tell = Teller("server")
    values: dict[str, str] = dict(
        context.rows(
            """SELECT name, CASE WHEN unit IS NULL THEN setting ELSE current_setting(name) END FROM pg_settings
               WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'max_wal_size', 'checkpoint_timeout',
                              'wal_compression')"""
        )
    )
    reasons = {
        "fsync": "a crash of the machine can destroy the database",
        "full_page_writes": "a crash can leave pages half written",
        "synchronous_commit": "a crash loses batches that the shipper has deleted from its journal",
    }
    faults = 0
    for finding in connections.faults(context):
        faults += 1
        yield finding
    for name, reason in reasons.items():
        if values[name] == "off":
            faults += 1
            yield tell.red(f"{name} is off: {reason}", alter_system(context, name, "on"))
    (sessions,) = (
        context.row(
            "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('public.radacct_open')"
        )
        if context.there("public.radacct_open")
        else (0,)
    )
    if sessions >= MANY_SESSIONS:
        # Nearly every packet is then the first on its page since the checkpoint, and writes it whole into the WAL.
        wal, seconds = context.row(
            """SELECT pg_size_bytes(current_setting('max_wal_size')),
                      extract(epoch FROM current_setting('checkpoint_timeout')::interval)::integer"""
        )
        for name, low, value in (
            ("max_wal_size", wal < 4 << 30, "'4GB'"),
            ("checkpoint_timeout", seconds < 900, "'30min'"),
        ):
            if low:
                faults += 1
                yield tell.yellow(
                    f"{name} is {values[name]} with {counted(sessions, 'open session')}: "
                    "each checkpoint makes the WAL swell",
                    alter_system(context, name, value),
                )
    if not faults:
        yield tell.green(
            f"fsync on, synchronous_commit {values['synchronous_commit']}, WAL {values['max_wal_size']}, "
            f"checkpoints {values['checkpoint_timeout']}",
            *(f"{name} = {value}" for name, value in sorted(values.items())),
        )


def replication(context: Context) -> Findings:
    """Find replication slots that nobody reads from. They keep the WAL until the disk is full."""
    tell = Teller("replication")
    slots = context.rows(
        """SELECT slot_name, active, wal_status,
                  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                                       ELSE pg_current_wal_lsn() END, restart_lsn)::bigint
           FROM pg_replication_slots WHERE NOT temporary ORDER BY 4 DESC NULLS LAST"""
    )
    faults = 0
    for name, active, status, kept in slots:
        drop = f"SELECT pg_catalog.pg_drop_replication_slot('{name}')"
        if status == "lost":
            faults += 1
            yield tell.yellow(
                f"slot {name} has lost its WAL: its standby must be made again", context.remedy.psql(drop)
            )
        elif not active:
            faults += 1
            said = f"slot {name}: nobody reads from it, it holds {disk_size(kept)} of WAL"
            command = context.remedy.psql(drop, user=None if context.facts.is_superuser else "postgres")
            yield tell.red(said, command) if (kept or 0) > KEPT_WAL_BYTES else tell.yellow(said, command)
        elif (kept or 0) > KEPT_WAL_BYTES:
            faults += 1
            yield tell.yellow(
                f"slot {name} is {disk_size(kept)} behind",
                context.remedy.psql("SELECT application_name, state, replay_lag FROM pg_stat_replication"),
            )
    if not faults:
        yield tell.green(f"{len(slots)} slots, none behind" if slots else "no slots")


def transactions(context: Context) -> Findings:
    """Find long transactions. They stop vacuum from removing rows that died since, and keep locks from migrations."""
    tell = Teller("transactions")
    rows = context.rows(
        """SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), state, query_id IS NULL,
                  extract(epoch FROM clock_timestamp() - xact_start)::bigint,
                  extract(epoch FROM clock_timestamp() - state_change)::bigint,
                  to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
           FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
             AND xact_start < clock_timestamp() - %s * interval '1 second'
           ORDER BY xact_start""",
        LONG_SECONDS,
    )
    faults = 0
    for pid, user, application, state, _, seconds, idle, since in rows:
        faults += 1
        who = f"process {pid} ({user}{', ' + application if application else ''})"
        waits = (state or "").startswith("idle in transaction")
        how = f"idle for {duration(idle)} in a transaction" if waits else "in a transaction"
        said = (
            f"{who} has been {how} for {duration(seconds)}, since {since}"
            if not waits
            else f"{who}: {how} {duration(seconds)} old, since {since}"
        )
        end = context.remedy.psql(
            f"SELECT pg_catalog.pg_terminate_backend({pid})",
            user=None if context.facts.is_superuser or user == context.facts.user else "postgres",
        )
        yield tell.red(said, end) if seconds > TOO_LONG_SECONDS else tell.yellow(said, end)
    for name, seconds in context.rows(
        """SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::bigint FROM pg_prepared_xacts
           WHERE database = current_database() AND prepared < clock_timestamp() - %s * interval '1 second'""",
        LONG_SECONDS,
    ):
        faults += 1
        yield tell.red(
            f"a prepared transaction {name!r} is {duration(seconds)} old and holds its locks",
            context.remedy.psql("ROLLBACK PREPARED '" + name.replace("'", "''") + "'"),
        )
    if not faults:
        hidden = (
            not context.facts.is_superuser
            and not context.row("SELECT pg_has_role('pg_read_all_stats', 'USAGE')")[0]
        )
        yield tell.green(
            f"none older than {duration(LONG_SECONDS)}" + (" among those this role may see" if hidden else "")
        )


def disk(context: Context) -> Findings:
    """Check the free space of the data directory, if it is on this machine."""
    tell = Teller("disk")
    size = disk_size(context.row("SELECT pg_database_size(current_database())")[0])
    if (
        not context.row("SELECT pg_has_role('pg_read_all_settings', 'USAGE')")[0]
        and not context.facts.is_superuser
    ):
        yield tell.unknown(
            f"database {size}; this role may not see where it is",
            note="Run doctor as a member of pg_read_all_settings, or as a superuser.",
        )
        return
    place = Path(context.row("SELECT current_setting('data_directory')")[0])
    try:
        usage = shutil.disk_usage(place) if context.facts.is_local else None
    except OSError:
        usage = None
    if usage is None:
        yield tell.unknown(
            f"database {size}; its disk is not on this machine, or not to be read here",
            note="Run doctor on the database's machine, as root or as PostgreSQL's user.",
        )
        return
    share = usage.free / usage.total
    said = f"database {size}, {disk_size(usage.free)} free ({share:.0%}) in {place}"
    if share >= 0.15 or usage.free > 200 << 30:
        yield tell.green(said)
        return
    month = _oldest_month(context)
    command = (
        context.remedy.radmeter(f"partitions archive --before {month} --to /mnt/archive")
        if month
        else f"sudo du -xh --max-depth=1 {place}"
    )
    yield tell.red(said, command) if share < 0.05 else tell.yellow(said, command)


def _oldest_month(context: Context) -> str | None:
    """Return the month before which `archive` finds one partition. None if no partition is past."""
    if not context.there("radmeter.partitions"):
        return None
    row = context.row(
        "SELECT to_char(min(to_at) AT TIME ZONE 'UTC', 'YYYY-MM') FROM radmeter.partitions WHERE to_at <= now()"
    )
    return row[0] if row[0] else None
