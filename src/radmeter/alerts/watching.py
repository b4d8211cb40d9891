"""radmeter.router_watch: which routers are due, how they were heard, and what is known of them now. In sets."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from radmeter.alerts.silence import LATE_INTERIMS, Heard, Watch
from radmeter.database.connection import Connection, explained_errors

# Routers that are looked at in one look: those that may have become silent, those that are, and those that are reviewed
# by new rules. So a look takes less than a second, also if all fall silent at once. The silent ones take turns.
MOST_DUE = 2_000
MOST_SILENT = 2_000
MOST_REVIEWED = 1_000
# Routers that are new to the watch, in one look.
MOST_NEW = 5_000

_COLUMNS = """
SELECT watch.router_id, router.name, router.site, router.status, watch.phase, watch.since, watch.due_at, watch.expects,
       watch.interim, watch.arrived_at, watch.heard_at, watch.arrivals, watch.reaped_at"""
DUE = f"""
WITH due AS MATERIALIZED (
    (SELECT router_id FROM radmeter.router_watch WHERE phase IN ('idle', 'ok') AND due_at <= %(judged_at)s
     ORDER BY due_at LIMIT %(due)s)
    UNION ALL
    (SELECT router_id FROM radmeter.router_watch WHERE phase IN ('pending', 'firing', 'clearing') AND due_at <= %(at)s
     ORDER BY due_at LIMIT %(silent)s)
    UNION
    (SELECT router_id FROM radmeter.router_watch WHERE router_id > %(review_after)s ORDER BY router_id LIMIT %(review)s)
)
{_COLUMNS}
FROM due
-- OFFSET 0: by the indexes, row by row, whatever the planner thinks of how many are due.
CROSS JOIN LATERAL (SELECT * FROM radmeter.router_watch WHERE router_watch.router_id = due.router_id OFFSET 0) AS watch
CROSS JOIN LATERAL (SELECT * FROM public.routers WHERE routers.id = due.router_id OFFSET 0) AS router"""
OF_SITES = f"""{_COLUMNS}
FROM public.routers AS router JOIN radmeter.router_watch AS watch ON watch.router_id = router.id
WHERE router.site = ANY (%(sites)s)"""
HEARD = "SELECT router_id, open_sessions, arrived_at, interim FROM radmeter.routers_heard(%s)"
# The closed session that was heard last. Only of routers of which the jobs have closed stale sessions a moment ago.
CLOSED = """
SELECT asked.id, latest.arrived_at, latest.closed_by = 'reaper'
FROM unnest(%(ids)s::bigint[], %(from)s::timestamptz[]) AS asked (id, heard_at) CROSS JOIN LATERAL (
    SELECT session.arrived_at, session.closed_by FROM public.radacct AS session
    WHERE session.router_id = asked.id AND session.acctstoptime >= asked.heard_at - interval '1 day'
    ORDER BY session.arrived_at DESC NULLS LAST LIMIT 1) AS latest"""
KEPT = "phase", "since", "due_at", "expects", "interim", "arrived_at", "heard_at", "arrivals"
NOTE = """
UPDATE radmeter.router_watch AS watch SET
    phase = new.phase, since = new.since, due_at = new.due_at, expects = new.expects, interim = new.interim,
    arrived_at = new.arrived_at, heard_at = new.heard_at, arrivals = new.arrivals
FROM unnest(%(router_id)s::bigint[], %(phase)s::text[], %(since)s::timestamptz[], %(due_at)s::timestamptz[],
            %(expects)s::text[], %(interim)s::integer[], %(arrived_at)s::timestamptz[], %(heard_at)s::timestamptz[],
            %(arrivals)s::smallint[])
    AS new (router_id, phase, since, due_at, expects, interim, arrived_at, heard_at, arrivals)
WHERE watch.router_id = new.router_id"""
ADD_LATER = """
INSERT INTO radmeter.router_watch (router_id, since, due_at)
SELECT id, %(at)s, %(at)s FROM public.routers
WHERE id > coalesce((SELECT max(router_id) FROM radmeter.router_watch), 0) AND merged_into IS NULL
ORDER BY id LIMIT %(most)s
ON CONFLICT DO NOTHING"""
ADD_MISSING = """
INSERT INTO radmeter.router_watch (router_id, since, due_at)
SELECT router.id, %(at)s, %(at)s FROM public.routers AS router LEFT JOIN radmeter.router_watch AS watch
    ON watch.router_id = router.id
WHERE watch.router_id IS NULL AND router.merged_into IS NULL
ORDER BY router.id LIMIT %(most)s
ON CONFLICT DO NOTHING"""
# Merged routers have no sessions of their own. A clock that was set back leaves looks far ahead.
DROP_MERGED = """
DELETE FROM radmeter.router_watch WHERE router_id IN (SELECT id FROM public.routers WHERE merged_into IS NOT NULL)
RETURNING router_id"""
TOO_FAR = """
UPDATE radmeter.router_watch SET due_at = %(at)s WHERE since > %(at)s + interval '1 minute' AND due_at > %(at)s"""
# Claimed, moved to another site, used again. In whole minutes: two sweeps see it.
CHANGED = """
UPDATE radmeter.router_watch AS watch SET due_at = %(at)s FROM public.routers AS router
WHERE router.id = watch.router_id AND router.updated_at > %(at)s - interval '1 minute' AND router.updated_at <= %(at)s
  AND watch.due_at > %(at)s AND watch.phase IN ('idle', 'ok')"""
REVIEWED = """
SELECT max(router_id) FROM (SELECT router_id FROM radmeter.router_watch WHERE router_id > %(after)s
                            ORDER BY router_id LIMIT %(review)s) AS reviewed HAVING count(*) = %(review)s"""
# By then a router that is well has sent its next interim. Also one that no rule watches: its phase is idle.
ANY_OVERDUE = f"""
SELECT EXISTS (SELECT FROM radmeter.router_watch
               WHERE (expects = 'sessions' OR expects = 'reaped' AND phase <> 'idle')
                 AND interim * {LATE_INTERIMS} <= %(seconds)s)"""


def add(connection: Connection, at: datetime, *, all_: bool) -> bool:
    """Watch routers that are new, a bounded number: those with the latest ids, or `all_` that are missing.

    Return whether there may be more of them.
    """
    with explained_errors("radmeter_owner"):
        query = ADD_MISSING if all_ else ADD_LATER
        return connection.execute(query.encode(), {"at": at, "most": MOST_NEW}).rowcount >= MOST_NEW


def sweep(connection: Connection, at: datetime) -> list[int]:
    """Forget merged routers, and look again at those that have changed or that were looked at in the future.

    Return the merged ones.
    """
    with explained_errors("radmeter_owner"):
        connection.execute(CHANGED.encode(), {"at": at})
        connection.execute(TOO_FAR.encode(), {"at": at})
        return [row[0] for row in connection.execute(DROP_MERGED.encode())]


def reviewed(connection: Connection, after: int) -> int | None:
    """Return the last router that `due` gives for review after another one. None: there are no more after those."""
    with explained_errors("radmeter_owner"):
        row = connection.execute(REVIEWED.encode(), {"after": after, "review": MOST_REVIEWED}).fetchone()
    return row[0] if row else None


def any_overdue(connection: Connection, seconds: float) -> bool:
    """Tell whether any router should have sent a packet in the last seconds."""
    with explained_errors("radmeter_owner"):
        return connection.execute(ANY_OVERDUE.encode(), {"seconds": seconds}).fetchone() == (True,)


def due(
    connection: Connection, at: datetime, judged_at: datetime, *, review_after: int | None
) -> list[Watch]:
    """Return the routers that are due, and those to be reviewed after one of them; a bounded number of each."""
    with explained_errors("radmeter_owner"):
        rows = connection.execute(
            DUE.encode(),
            {
                "at": at,
                "judged_at": judged_at,
                "due": MOST_DUE,
                "silent": MOST_SILENT,
                "review_after": review_after,
                "review": MOST_REVIEWED,
            },
        )
        return [_watch(row) for row in rows]


def of_sites(connection: Connection, sites: Collection[str]) -> list[Watch]:
    """Return the routers of some sites."""
    if not sites:
        return []
    with explained_errors("radmeter_owner"):
        return [_watch(row) for row in connection.execute(OF_SITES.encode(), {"sites": list(sites)})]


def heard(connection: Connection, watches: Sequence[Watch]) -> dict[int, Heard]:
    """Return what the open sessions of some routers say, by the id of the router."""
    if not watches:
        return {}
    with explained_errors("radmeter_owner"):
        rows = connection.execute(HEARD, ([each.router_id for each in watches],))
        return {
            router_id: Heard(open_sessions=sessions, arrived_at=arrived_at, interim=interim)
            for router_id, sessions, arrived_at, interim in rows
        }


def closed(connection: Connection, watches: Sequence[Watch]) -> dict[int, Heard]:
    """Return how the sessions of some routers without open ones ended, by the id of the router."""
    if not watches:
        return {}
    with explained_errors("radmeter_owner"):
        rows = connection.execute(
            CLOSED.encode(),
            {
                "ids": [each.router_id for each in watches],
                "from": [each.heard_at or each.since for each in watches],
            },
        )
        return {router_id: Heard(arrived_at=at, reaped=bool(reaped)) for router_id, at, reaped in rows}


def note(connection: Connection, watches: Iterable[Watch]) -> None:
    """Write what is known of some routers."""
    rows = list(watches)
    if not rows:
        return
    values: dict[str, Any] = {name: [getattr(each, name) for each in rows] for name in ("router_id", *KEPT)}
    with explained_errors("radmeter_owner"):
        connection.execute(NOTE.encode(), values)


def _watch(row: Sequence[Any]) -> Watch:
    names = (
        "router_id",
        "name",
        "site",
        "status",
        "phase",
        "since",
        "due_at",
        "expects",
        "interim",
        "arrived_at",
        "heard_at",
        "arrivals",
        "reaped_at",
    )
    return Watch(**dict(zip(names, row, strict=True)))
