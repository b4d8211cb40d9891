"""Counts the history of an adopted radacct: the calls of the database, each a short part of the work.

The result is exact while packets arrive. An adopted session's adoption baseline is the same in every snapshot: it is
in the session's row, or in ``radmeter.adoption_baseline`` once packets have changed the row. A range of ids is read
in one snapshot, and marked as counted in the transaction that keeps its sums. The triggers count what packets add.
"""

import datetime
import json
from collections.abc import Sequence
from typing import NamedTuple

from radmeter.database import advisory_locks
from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError
from radmeter.packet.router_key import leading_mac
from radmeter.units import counted

COUNTERS, ROUTERS = PASSES = ("counters", "routers")
OWNER = "radmeter_owner"
# The sums are kept in this many parts. One part is added to the counters at a time.
BUCKETS = 128
# Routers that are matched or discovered in one call. Ingest waits meanwhile.
PAIRS_AT_ONCE = 200


class Progress(NamedTuple):
    """How far the history is counted: the columns of `radmeter.backfill_progress`."""

    running: bool
    began_at: datetime.datetime
    last_pass: str | None
    ids: int
    counted_ids: int
    counted_sessions: int
    filled_ids: int
    filled_sessions: int
    waiting: int
    run_began_at: datetime.datetime | None
    changed_at: datetime.datetime
    run_sessions: int
    run_ids: int

    def done_ids(self, work: str) -> int:
        """Return how many ids a pass has done."""
        return self.counted_ids if work == COUNTERS else self.filled_ids

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.counted_ids >= self.ids and self.filled_ids >= self.ids and not self.waiting

    @property
    def seconds_left(self) -> float | None:
        """How many seconds the latest pass still takes at its rate, None if unknown."""
        if self.run_began_at is None or self.last_pass is None or not self.run_ids:
            return None
        if self.done_ids(self.last_pass) >= self.ids and not self.complete:
            return None  # what is left is the other pass, which has another rate, or sums that wait
        seconds = (self.changed_at - self.run_began_at).total_seconds()
        return (self.ids - self.done_ids(self.last_pass)) * seconds / self.run_ids

    @property
    def sessions_a_second(self) -> float | None:
        """The rate of the latest pass, None if unknown."""
        seconds = (self.changed_at - self.run_began_at).total_seconds() if self.run_began_at else 0.0
        return self.run_sessions / seconds if seconds > 0 else None


def progress(connection: Connection) -> Progress | None:
    """Return how far the backfill is, None if it has not begun."""
    with explained_errors(OWNER):
        row = connection.execute("SELECT * FROM radmeter.backfill_progress()").fetchone()
    return Progress(*row) if row else None


def adopted(connection: Connection) -> bool:
    """Return whether there is a history to count."""
    with explained_errors(OWNER):
        row = connection.execute("SELECT EXISTS (SELECT FROM public.radacct WHERE adopted)").fetchone()
    return row == (True,)


def lock(connection: Connection) -> None:
    """Keep other backfills of this database away until the connection ends.

    Raises
    ------
    StoreError
        Another backfill is running.
    """
    with explained_errors(OWNER):
        alone = advisory_locks.taken(connection, advisory_locks.BACKFILL)
    if not alone:
        raise StoreError(
            "another backfill of this database is running: `radmeter backfill --status` shows how far it is"
        )


def begin(connection: Connection) -> None:
    """Begin the backfill, or go on with it.

    Raises
    ------
    StoreError
        There is no adopted session.
    """
    with explained_errors(OWNER):
        row = connection.execute("SELECT radmeter.backfill_begin()").fetchone()
    if row != (True,):
        raise StoreError(
            "radacct has no session that was there before radmeter: there is no history to count "
            "(`radmeter adopt` adopts a FreeRADIUS table)"
        )


def begin_pass(connection: Connection, work: str) -> list[tuple[int, int]]:
    """Write down that a pass begins. Return the spans of ids that it has to do, each without its end."""
    with explained_errors(OWNER):
        connection.execute(
            """UPDATE radmeter.backfill SET pass = %s, run_began_at = clock_timestamp(),
               changed_at = clock_timestamp(), run_rows = 0, run_ids = 0""",
            (work,),
        )
        return left(connection, work)


def left(connection: Connection, work: str) -> list[tuple[int, int]]:
    """Return the spans of ids that a pass still has to do, each without its end."""
    with explained_errors(OWNER):
        return connection.execute(
            """SELECT lower(span), upper(span) FROM radmeter.backfill, unnest(
                   int8multirange(int8range(first_id, last_id, '[]'))
                   - CASE WHEN %s THEN counted ELSE filled END) AS span ORDER BY 1""",
            (work == COUNTERS,),
        ).fetchall()


def count(connection: Connection, first: int, end: int) -> int:
    """Count the adopted sessions with ids from `first` to before `end`. Return how many there are."""
    return _with_routers(connection, "SELECT * FROM radmeter.backfill_range(%s, %s)", first, end)


def fill(connection: Connection, first: int, end: int) -> int:
    """Give the adopted sessions with ids from `first` to before `end` their router_id. Return how many were locked."""
    return _with_routers(
        connection, "SELECT left_over, unknown FROM radmeter.backfill_fill(%s, %s)", first, end
    )


def move(connection: Connection, bucket: int) -> int:
    """Add the sums of one bucket to the counters. Return how many counters were changed."""
    (moved,) = _call(connection, "SELECT radmeter.backfill_move(%s)", bucket)
    return moved


def settle(connection: Connection) -> int:
    """Make changes of user or router that waited for their session's count. Return how many, 0 when none is left."""
    (settled,) = _call(connection, "SELECT radmeter.backfill_settle()")
    return settled


def redo(
    connection: Connection, first_day: datetime.date | None, last_day: datetime.date | None
) -> tuple[int, int]:
    """Find what is missing in the counters of a span of days. `move` adds it.

    Return how many counters of users and how many days of routers differed.
    """
    users, routers = _call(
        connection, "SELECT * FROM radmeter.backfill_redo(%s::date, %s::date)", first_day, last_day
    )
    return users, routers


class SetAside(NamedTuple):
    """A session that was not counted, since no router can have reported its values: `radmeter.backfill_set_aside`."""

    radacctid: int
    acctuniqueid: str | None
    username: str | None
    octets_in: int | None
    octets_out: int | None
    at: datetime.datetime | None
    reason: str
    rejected_at: datetime.datetime
    left_at: datetime.datetime | None
    replaced_at: datetime.datetime | None


# Impossible times are shown in the reason as the server writes them: Python has no value for most of them.
_SET_ASIDE = """
SELECT radacctid, acctuniqueid, username, octets_in, octets_out, at,
       CASE WHEN radmeter.history_fault(1, 1, at) IS NULL THEN reason
            WHEN reason = radmeter.history_fault(1, 1, at) THEN concat(reason, ': ', at)
            ELSE concat(reason, '; ', radmeter.history_fault(1, 1, at), ': ', at) END,
       rejected_at, left_at, replaced_at
FROM radmeter.backfill_set_aside() ORDER BY radacctid"""


def set_aside(connection: Connection) -> list[SetAside]:
    """Return the sessions that were set aside, also those that an operator left out for good."""
    with explained_errors(OWNER):
        return [SetAside(*row) for row in connection.execute(_SET_ASIDE)]


def undecided(connection: Connection) -> int:
    """Return how many sessions are set aside, without those left out for good and those that packets count."""
    with explained_errors(OWNER):
        row = connection.execute(
            "SELECT count(*) FROM radmeter.backfill_rejected WHERE left_at IS NULL AND replaced_at IS NULL"
        ).fetchone()
    assert row is not None
    return int(row[0])


def correct(
    connection: Connection, radacctid: int, octets_in: int, octets_out: int, at: datetime.datetime | None
) -> None:
    """Count a session that was set aside, with these octets. `at`: the time they count for, None for its own.

    `move` adds them to the counters.

    Raises
    ------
    StoreError
        No such session is set aside, or no router can have reported these values.
    """
    with explained_errors(OWNER):
        connection.execute(
            "SELECT radmeter.backfill_correct(%s, %s, %s, %s)", (radacctid, octets_in, octets_out, at)
        )


def leave(connection: Connection, radacctids: Sequence[int] | None) -> int:
    """Leave sessions that were set aside out for good, None for all of them. Return how many."""
    (left_out,) = _call(
        connection,
        "SELECT radmeter.backfill_leave(%s::bigint[])",
        None if radacctids is None else list(radacctids),
    )
    return left_out


def find_routers(connection: Connection, first: int, end: int) -> None:
    """Find the routers, not known yet, of the sessions with ids from `first` to before `end`."""
    with explained_errors(OWNER):
        pairs = connection.execute(
            "SELECT calledstationid, nasipaddress::text FROM radmeter.backfill_unknown_routers(%s, %s)",
            (first, end),
        ).fetchall()
    resolve_routers(connection, pairs)


def resolve_routers(connection: Connection, pairs: Sequence[tuple[str, str]]) -> None:
    """Find the routers for pairs of Called-Station-Id ("" if none) and NAS-IP-Address, and keep them."""
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        found = [
            {"calledstationid": station_id, "nasipaddress": address, "mac": leading_mac(station_id)}
            for station_id, address in pairs[start : start + PAIRS_AT_ONCE]
        ]
        _call(connection, "SELECT radmeter.backfill_routers(%s::json)", json.dumps(found))


def _with_routers(connection: Connection, query: str, first: int, end: int) -> int:
    """Do a range. If its sessions have unknown routers, find these and do the range again."""
    for _ in range(5):  # other jobs may look for the same routers
        done, unknown = _call(connection, query, first, end)
        if not unknown:
            return done
        find_routers(connection, first, end)
    raise StoreError(
        f"the routers of {counted(unknown, 'session')} from {first} to {end - 1} cannot be found"
    )


def _call(connection: Connection, query: str, *arguments: object) -> tuple[int, ...]:
    with explained_errors(OWNER):
        row = connection.execute(query.encode(), arguments).fetchone()
    if row is None:
        raise StoreError(f"{query} returned nothing")
    return row
