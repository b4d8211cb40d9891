"""Checks of what senders can make grow: rejected packets, anomalies, user names."""

from radmeter.doctor.commands import shell_quoted
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller, first_of
from radmeter.units import counted, disk_size

NEARLY_FULL = 0.8
# Rejected packets that the jobs will remove because of their age within so many days make doctor yellow.
WARNING_DAYS = 14


def rejected(context: Context) -> Findings:
    """Find rejected packets. They are counted only if an operator retries them."""
    tell = Teller("rejected")
    total, today = context.row(
        """SELECT count(*), count(*) FILTER (WHERE rejected_at > now() - interval '1 day')
           FROM (SELECT rejected_at FROM public.rejected_packet LIMIT 100000) AS packet"""
    )
    faults = list(_left_out(context, tell))
    faults += _size(context, tell, "public.rejected_packet", "rejected_keep_bytes", "rejected list")
    faults += _soon_removed(context, tell)
    if total:
        faults.append(
            tell.yellow(
                f"{counted(total, 'packet')} could not be counted, {today:,} of them in the last day",
                context.remedy.radmeter("rejected list"),
            )
        )
    yield from faults or [tell.green("no packets")]


def _soon_removed(context: Context, tell: Teller) -> Findings:
    """Find packets that will soon be older than the limit. Nobody has retried them, so their usage would be lost."""
    soon, days = context.row(
        """SELECT (SELECT count(*)
                   FROM (SELECT FROM public.rejected_packet
                         WHERE rejected_at < now() - greatest(least(value, 2000000) - %s, 0) * interval '1 day'
                         LIMIT 100000) AS old), value
           FROM radmeter.limits() WHERE name = 'rejected_keep_days'""",
        WARNING_DAYS,
    )
    if days is not None and soon:
        yield tell.yellow(
            f"{counted(soon, 'rejected packet')} will be removed within {WARNING_DAYS} days, because "
            f"rejected_keep_days is {days:,}. Their usage is not counted",
            context.remedy.radmeter("rejected retry --all"),
            note="To keep them for ever, switch the limit rejected_keep_days off.",
        )


def _left_out(context: Context, tell: Teller) -> Findings:
    rows = context.rows(
        """SELECT client, sum(left_out)::bigint FROM radmeter.left_out
           WHERE kind = 'rejected packet' AND hour > now() - interval '7 days' AND left_out > salvaged
           GROUP BY client ORDER BY 2 DESC, 1 LIMIT 100"""
    )
    if rows:
        yield tell.yellow(
            f"{sum(count for _, count in rows):,} rejected packets were left out in 7 days, because a client sent more "
            f"than rejected_per_client_hour or rejected_bytes_per_client_hour: {_first(rows)}",
            context.remedy.radmeter("rejected left-out"),
            *(f"{client}: {counted(count, 'packet')}" for client, count in rows),
            note="Then run `radmeter rejected salvage` where the journal is.",
        )


def anomalies(context: Context) -> Findings:
    """Find routers whose counters restart or wrap too often to keep a row of each time."""
    tell = Teller("anomalies")
    rows = context.rows(
        """SELECT coalesce(router.name, hourly.client), sum(left_out)::bigint
           FROM radmeter.left_out AS hourly LEFT JOIN public.routers AS router ON '#' || router.id = hourly.client
           WHERE kind = 'anomaly' AND hour > now() - interval '1 day'
           GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100"""
    )
    faults = _size(context, tell, "public.accounting_anomaly", "anomalies_keep_bytes", "limits list")
    if rows:
        faults.append(
            tell.yellow(
                "counters went back more often than anomalies_per_router_hour in the last day (all usage is counted): "
                + _first(rows),
                context.remedy.radmeter("rejected left-out"),
                *(f"{router}: {count:,} not kept" for router, count in rows),
            )
        )
    yield from faults or [tell.green("each in the last day was kept")]


def users(context: Context) -> Findings:
    """Find clients that bring more new user names than a site has people, and users whose counter is full."""
    tell = Teller("users")
    rows = context.rows(
        """SELECT client, max(users) FROM radmeter.new_users
           WHERE hour > now() - interval '1 day'
             AND users > (SELECT value FROM radmeter.limits() WHERE name = 'new_users_per_client_hour')
           GROUP BY client ORDER BY 2 DESC, 1 LIMIT 100"""
    )
    if rows:
        yield tell.yellow(
            f"more new user names within an hour than new_users_per_client_hour (all are counted): {_first(rows)}",
            context.remedy.radmeter("limits list"),
            *(f"{client}: {count:,} in an hour" for client, count in rows),
        )
    full = context.rows(
        """SELECT username, period_start::text FROM public.user_quota_usage
           WHERE greatest(bytes_in, bytes_out) = 9223372036854775807 ORDER BY 2 DESC, 1 LIMIT 100"""
    )
    if full:
        names = first_of([f"{name} ({period})" for name, period in full])
        yield tell.red(
            f"the counter is full, so a router reports octets that no link carries: {names}",
            f"{context.remedy.radmeter('sessions --user')} {shell_quoted(full[0][0])}",
            *(f"{name}: the period from {period}" for name, period in full),
        )
    if not rows and not full:
        yield tell.green("no client brings too many new names")


def _size(context: Context, tell: Teller, table: str, limit: str, command: str) -> list[Finding]:
    """Return a finding if a table takes nearly as much room as it may. The jobs then remove the oldest rows."""
    size, most = context.row(
        "SELECT pg_total_relation_size(%s), (SELECT value FROM radmeter.limits() WHERE name = %s)",
        table,
        limit,
    )
    if most is None or size < NEARLY_FULL * most:
        return []
    said = (
        f"{table} has {disk_size(size)}; beyond {limit}, {disk_size(most)}, the jobs remove the oldest rows"
    )
    return [tell.yellow(said, context.remedy.radmeter(command))]


def _first(rows: list[tuple[str, int]]) -> str:
    """Return the first clients or routers with their numbers."""
    return first_of([f"{name} {count:,}" for name, count in rows])
