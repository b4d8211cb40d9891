"""Checks of what is kept about people: erasures that have not ended, personal attributes that are kept too long."""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.units import counted, duration

# The jobs clear once a day. An erasure takes minutes, or hours if it is done again after a session has stopped.
LATE_SECONDS = 2 * 86400


def check(context: Context) -> Findings:
    """Check that erasures have ended, and that the jobs clear old sessions if they are to."""
    tell = Teller("people")
    faults = 0
    unfinished, oldest = context.row(
        "SELECT count(*), extract(epoch FROM now() - min(began_at))::bigint FROM radmeter.erasures()"
    )
    if unfinished and oldest > LATE_SECONDS / 2:
        faults += 1
        yield tell.yellow(
            f"{counted(unfinished, 'erasure')} not ended, the oldest began {duration(oldest)} ago",
            "",
            note="Run `radmeter people erase` again, with the same user as then.",
        )
    (days,) = context.row("SELECT value FROM radmeter.limits() WHERE name = 'personal_keep_days'")
    last, sessions = context.row(
        """SELECT extract(epoch FROM now() - max(cleared_at))::bigint, coalesce(sum(sessions), 0)::bigint
           FROM radmeter.cleared_partition"""
    )
    if days is None:
        if not faults:
            yield tell.green("no erasure is unfinished; personal_keep_days is off")
        return
    (late,) = context.row(
        """SELECT count(*)
           FROM radmeter.partitions AS part LEFT JOIN radmeter.cleared_partition AS cleared ON partition = relid
           WHERE from_at < now() - least(%s::bigint, 2000000) * interval '1 day' - %s * interval '1 second'
             AND (cleared.partition IS NULL OR cleared_to < least(to_at, now()
                  - least(%s::bigint, 2000000) * interval '1 day' - %s * interval '1 second'))""",
        days,
        LATE_SECONDS,
        days,
        LATE_SECONDS,
    )
    if late:
        yield tell.yellow(
            f"{counted(late, 'partition')} with personal attributes older than {counted(days, 'day')} "
            "(does `radmeter jobs run` run?)",
            context.remedy.radmeter("jobs clear-personal", owner=True),
        )
    elif not faults:
        ago = "not yet" if last is None else f"the last time {duration(last)} ago"
        yield tell.green(
            f"sessions are cleared after {counted(days, 'day')}, {ago}: {counted(sessions, 'session')} so far"
        )
