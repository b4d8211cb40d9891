"""Checks of what is running: jobs, ingest from each node, clocks, stale sessions."""

import datetime
import time
from collections.abc import Sequence

from radmeter.database import advisory_locks
from radmeter.doctor import service_trial
from radmeter.doctor.adoption import reason_to_wait
from radmeter.doctor.commands import main_process
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.printable import printable
from radmeter.units import counted, duration

LATE_SECONDS, TOO_LATE_SECONDS = 60, 900
SILENT_SECONDS, GONE_SECONDS = 3600, 30 * 86400
SKEW_SECONDS, GREAT_SKEW_SECONDS = 2.0, 60.0
STALE_SESSIONS = 20
HELD_SECONDS = 5


def jobs(context: Context) -> Findings:
    """Check that the jobs run. The process that has the lease runs them."""
    tell = Teller("jobs")
    lease = (
        context.rows(
            """SELECT program, process, expires_at > clock_timestamp(),
                      extract(epoch FROM clock_timestamp() - renewed_at)::bigint
               FROM radmeter.lease WHERE name = 'jobs'"""
        )
        if context.there("radmeter.lease")
        else []
    )
    if lease and lease[0][2]:
        yield tell.green(f"running on {lease[0][0]} (server process {lease[0][1]})")
    elif reason := reason_to_wait(context):
        yield tell.green(reason)
    else:
        last = f"; {lease[0][0]} did so until {duration(lease[0][3])} ago" if lease else ""
        said, note = _why_not(context)
        yield tell.red(
            f"nobody runs them: stale sessions stay open, partitions are not made{last}{said}",
            context.remedy.service("jobs run", owner=True),
            note=note,
        )


def _why_not(context: Context) -> tuple[str, str]:
    """Return why a service that runs does not run the jobs, and what to do, in words."""
    pid = main_process("radmeter-jobs")
    if pid is None:
        return "", ""
    tried = service_trial.trial(pid, "jobs", context.settings.file)
    if tried is not None and tried.fault:
        said, note = service_trial.said(tried, "jobs run")
        return f"; the service (process {pid}) waits: {said}", note
    return (
        f"; the service (process {pid}) waits",
        "Its log says what it waits for: `journalctl -u radmeter-jobs`.",
    )


def ingest(context: Context) -> Findings:
    """Check how late the latest batch of each node was, and how long ago it came."""
    tell = Teller("ingest")
    # A detail file sends nothing more after its replay.
    rows = context.rows(
        """SELECT node, extract(epoch FROM updated_at - last_received_at)::bigint,
                  extract(epoch FROM clock_timestamp() - updated_at)::bigint, records
           FROM radmeter.nodes
           WHERE updated_at > clock_timestamp() - %s * interval '1 second'
             AND NOT starts_with(node, 'detail:') ORDER BY node""",
        GONE_SECONDS,
    )
    faults = 0
    for finding in _held(context, tell):
        faults += 1
        yield finding
    status = context.remedy.radmeter("status --sample 5")
    for node, late, silent, _ in rows:
        if late is not None and late > LATE_SECONDS:
            faults += 1
            said = f"{node}: its latest batch was {duration(late)} old when it came, {duration(silent)} ago"
            yield tell.red(said, status) if late > TOO_LATE_SECONDS else tell.yellow(said, status)
        elif silent > SILENT_SECONDS:
            faults += 1
            yield tell.yellow(
                f"{node}: nothing for {duration(silent)}: is its shipper running?",
                context.remedy.service("ship"),
                note=f"Run it on {printable(node.rpartition('-')[0] or node)}.",
            )
    if not faults:
        latest = min((silent for _, _, silent, _ in rows), default=None)
        yield tell.green(
            f"{counted(len(rows), 'node')}, the latest batch {duration(latest)} ago"
            if latest is not None
            else "nothing was ingested yet",
            *(
                f"{node}: {counted(records, 'record')}, {late} s late, {silent} s ago"
                for node, late, silent, records in rows
            ),
        )


# One lock: one transaction of one process. Others see neither its state nor its age, so doctor looks for a while.
INGEST_LOCK = """
SELECT activity.pid, coalesce(usename, '')::text, coalesce(application_name, ''), coalesce(state, ''),
       virtualtransaction, extract(epoch FROM clock_timestamp() - xact_start)::bigint
FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0)"""


def _held(context: Context, tell: Teller) -> Findings:
    """Find a session that has held the lock of ingest for long: meanwhile nothing is ingested."""
    began = time.monotonic()
    first = context.rows(INGEST_LOCK, advisory_locks.INGEST)
    held = first
    while held and held[0][4] == first[0][4] and (held[0][5] or 0) < HELD_SECONDS:
        if time.monotonic() - began >= HELD_SECONDS:
            break
        time.sleep(0.2)
        held = context.rows(INGEST_LOCK, advisory_locks.INGEST)
    if not held or held[0][4] != first[0][4]:
        return
    pid, user, application, state, _, seconds = held[0]
    idle = ", idle in its transaction" if state.startswith("idle in transaction") else ""
    level = tell.red if idle or (seconds or 0) > LATE_SECONDS else tell.yellow
    yield level(
        f"process {pid} ({user}{', ' + application if application else ''}{idle}) has held the lock of ingest for "
        f"{duration(seconds or HELD_SECONDS)}: nothing is ingested meanwhile",
        context.remedy.psql(
            f"SELECT pg_catalog.pg_terminate_backend({pid})",
            user=None if context.facts.is_superuser or user == context.facts.user else "postgres",
        ),
    )


def clocks(context: Context) -> Findings:
    """Compare this machine's clock with the database's, and find routers whose clocks cannot be right."""
    tell = Teller("clocks")
    began = time.time()
    (theirs,) = context.row("SELECT clock_timestamp()")
    ended = time.time()
    # The time between question and answer may look like a difference of the clocks.
    skew = theirs.astimezone(datetime.UTC).timestamp() - (began + ended) / 2
    apart = max(0.0, abs(skew) - (ended - began) / 2)
    faults = 0
    if apart > SKEW_SECONDS:
        faults += 1
        said = (
            f"the database's clock is {duration(apart)} {'ahead of' if skew > 0 else 'behind'} this machine's"
        )
        command = "sudo timedatectl set-ntp true && timedatectl timesync-status"
        yield tell.red(said, command) if apart > GREAT_SKEW_SECONDS else tell.yellow(said, command)
    rows = context.rows(
        """SELECT router_id, coalesce(name, mac::text, 'a router'), count(*)
           FROM public.radacct LEFT JOIN public.routers ON routers.id = router_id
           WHERE acctstoptime IS NULL AND clock_skew_seconds NOT BETWEEN -604800 AND 300
           GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 100"""
    )
    if rows:
        faults += 1
        names = ", ".join(str(name) for _, name, _ in rows[:3]) + (
            f" and {len(rows) - 3} more" if rows[3:] else ""
        )
        yield tell.yellow(
            f"unbelievable clocks, so the time of arrival counts: {names}",
            context.remedy.radmeter(f"routers show '#{rows[0][0]}'")
            if rows[0][0] is not None
            else context.remedy.radmeter("routers list"),
            *(f"{name}: {counted(count, 'open session')}" for _, name, count in rows),
        )
    for node, records, ahead, ago in _wrong_servers(context):
        faults += 1
        yield tell.red(
            f"{node}: {counted(records, 'packet')} came at a time that its server's clock had wrong by "
            f"{duration(abs(ahead))} "
            f"({'ahead' if ahead > 0 else 'behind'}), {duration(ago)} ago. They count at the time of the database",
            "timedatectl timesync-status",
            note=f"Run it on {printable(node.rpartition('-')[0] or node)} and on the database's server.",
        )
    if not faults:
        yield tell.green(f"the database's is {apart:.1f} s off this one; no router's is wrong")


def _wrong_servers(context: Context) -> Sequence[tuple[str, int, int, int]]:
    """Return the nodes with impossible arrivals in the last day: packets; seconds ahead, seconds ago of the latest."""
    return context.rows(
        """SELECT source, sum(records)::bigint, (array_agg(ahead_seconds ORDER BY id DESC))[1],
                  extract(epoch FROM clock_timestamp() - max(event_time))::bigint
           FROM public.accounting_anomaly
           WHERE kind = 'server clock' AND detected_at > clock_timestamp() - interval '25 hours'
             AND event_time > clock_timestamp() - interval '1 day'
           GROUP BY source ORDER BY source"""
    )


def sessions(context: Context) -> Findings:
    """Find open sessions that the jobs should have closed long ago."""
    tell = Teller("sessions")
    if reason := reason_to_wait(context):
        yield tell.unknown(f"not judged: {reason}")
        return
    (minutes,) = context.row(
        "SELECT coalesce((SELECT value::integer FROM radmeter.setting WHERE name = 'stale_minutes'), 10)"
    )
    # While a shipper works through a backlog, the interims of silent sessions may be in its journal.
    lagging = context.rows("SELECT node, received_at FROM radmeter.lagging_nodes()")
    total, stale = context.row(
        """SELECT count(*), count(*) FILTER (
               WHERE greatest(coalesce(arrived_at, acctupdatetime), acctupdatetime, acctstarttime)
                     < coalesce(%s, now()) - 3 * greatest(%s, coalesce(3 * session.interim_interval / 60, 0),
                                            coalesce(3 * router.interim_interval / 60, 0)) * interval '1 minute')
           FROM public.radacct AS session LEFT JOIN public.routers AS router ON router.id = router_id
           WHERE acctstoptime IS NULL""",
        lagging[0][1] if lagging else None,
        minutes,
    )
    if stale > STALE_SESSIONS:
        said = f"{stale:,} of {total:,} open sessions were silent three times as long as a stale session is"
        command = context.remedy.radmeter("jobs close-stale", owner=True)
        yield tell.red(said, command) if stale > total / 2 else tell.yellow(said, command)
    else:
        yield tell.green(
            f"{total:,} open"
            + (f", {stale} of them long silent" if stale else ", none long silent")
            + (
                f" as of {lagging[0][1]:%Y-%m-%d %H:%M:%S}, which {lagging[0][0]} has reached"
                if lagging
                else ""
            )
        )
