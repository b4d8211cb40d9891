"""`radmeter partitions split`: the history of an adopted radacct becomes months, while packets are counted."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.adopted import make_legacy
from support.archives import terminated
from support.beside import Beside
from support.commands import radmeter
from support.servers import Connection, major_version

from radmeter.adoption.backfill import find_routers
from radmeter.database.pace import Pace, Pacer
from radmeter.errors import RadmeterError, StoreError
from radmeter.partitions import split as splitting
from radmeter.partitions import split_catalog, split_plan
from radmeter.partitions.archive import alone
from radmeter.progress import no_progress

NOW = datetime.now(UTC)
THIS_MONTH = datetime(NOW.year, NOW.month, 1, tzinfo=UTC)
MAY, JUNE = (THIS_MONTH - timedelta(days=days) for days in (100, 60))  # any two past months

HISTORY = """
INSERT INTO public.radacct_legacy (acctsessionid, acctuniqueid, username, nasipaddress, calledstationid, acctstarttime,
    acctupdatetime, acctstoptime, acctsessiontime, acctinputoctets, acctoutputoctets, adopted)
SELECT 's' || n, 'old-' || n, 'user' || n %% 7, '10.0.0.1', format('02-00-00-00-00-%%s:x', 10 + n %% 4),
       at - interval '1 hour', at, at, 3600, n, 2 * n, true
FROM (SELECT n, now() - n * %s * interval '1 day' AS at FROM generate_series(1, %s) AS n) AS sessions"""

# All that a reader sees, but the table and the router, which a split fills in.
CONTENT = """
SELECT (to_jsonb(session) - 'router_id')::text FROM public.radacct AS session
UNION ALL SELECT 'user ' || usage::text FROM public.user_quota_usage AS usage
UNION ALL SELECT 'router ' || usage::text FROM public.router_daily_usage AS usage ORDER BY 1"""


def make_history(
    connection: Connection, sessions: int = 60, days: float = 2, oldest: str = "-infinity"
) -> None:
    """Make an adopted radacct with one partition for all months, and two sessions of wrong clocks."""
    make_legacy(connection)
    connection.execute(HISTORY.encode(), (days, sessions))
    for number, stop in ((3, "1970-01-01 00:00:05Z"), (4, oldest)):
        connection.execute(
            "UPDATE public.radacct_legacy SET acctstoptime = %s, acctupdatetime = %s WHERE acctuniqueid = %s",
            (stop, stop, f"old-{number}"),
        )
    connection.execute("ANALYZE public.radacct_legacy")


def run(
    connection: Connection,
    *,
    first: str | None = None,
    stopping: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> splitting.Done | None:
    """Split radacct_legacy, or go on with it."""
    with alone(connection):
        running = splitting.Splitting(
            connection=connection,
            find_routers=lambda begin, end: find_routers(connection, begin, end),
            pacer=Pacer(connection.info.dsn, Pace(), stopping),
            progress=no_progress,
            say=say,
        )
        if split_catalog.under_way(connection) is None:
            (source,) = split_plan.sources(connection)
            running.begin(source, split_plan.spans(connection, source, first))
        return running.go_on()


def content(connection: Connection) -> list[Any]:
    return connection.execute(CONTENT.encode()).fetchall()


def misplaced(connection: Connection) -> int:
    """Return how many sessions are not in the partition of their stop, and how many are there twice."""
    row = connection.execute(
        """SELECT count(*) FROM public.radacct AS session
           JOIN radmeter.partitions AS part ON part.relid = session.tableoid
           WHERE part.from_at IS NOT NULL AND NOT (acctstoptime >= part.from_at AND acctstoptime < part.to_at)"""
    ).fetchone()
    twice = connection.execute("SELECT count(*) - count(DISTINCT radacctid) FROM public.radacct").fetchone()
    assert row is not None
    assert twice is not None
    return int(row[0]) + int(twice[0])


def leftovers(connection: Connection) -> list[Any]:
    """Return the objects that exist only while a split is unfinished."""
    return connection.execute(
        """SELECT relname FROM pg_class WHERE relnamespace = 'radmeter'::regnamespace AND relname ~ '^split_[0-9]'
           UNION ALL SELECT tgname FROM pg_trigger WHERE tgname ~ '^radmeter_(note_split|refuse_truncate)'
           UNION ALL SELECT conname FROM pg_constraint WHERE conname = 'radmeter_split_span'
           UNION ALL SELECT 'a change' FROM radmeter.split_change
           UNION ALL SELECT name FROM radmeter.split_month JOIN pg_class ON relname = name WHERE NOT relispartition"""
    ).fetchall()


def test_the_history_becomes_months_that_can_be_archived(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    make_history(connection, oldest="1969-12-31Z")  # a Parquet file cannot have an infinite time
    assert radmeter(database, "backfill", "--only", "counters", "--yes").exit_code == 0
    before, archive = (
        content(connection),
        ("partitions", "archive", "--before", f"{THIS_MONTH:%Y-%m}", "--to"),
    )

    said = radmeter(database, *archive, str(tmp_path), "--dry-run")
    assert "nothing to archive" in said.output
    assert "`radmeter partitions split radacct_legacy` makes months of it" in said.output

    planned = radmeter(database, "partitions", "split", "radacct_legacy", "--dry-run")
    assert planned.exit_code == 0
    assert "radacct_legacy has about 60 sessions" in planned.output
    assert "of the server's disk" in planned.output
    assert leftovers(connection) == []

    done = radmeter(database, "partitions", "split", "radacct_legacy", "--yes")
    assert done.exit_code == 0, done.errors
    assert "radacct_legacy: 60 sessions in" in done.output
    assert content(connection) == before
    assert misplaced(connection) == 0
    assert leftovers(connection) == []
    oldest = connection.execute(
        "SELECT name, (SELECT count(*) FROM radacct WHERE tableoid = relid) FROM radmeter.partitions LIMIT 1"
    ).fetchone()
    assert oldest is not None
    assert oldest[0].startswith("radacct_before_")
    assert oldest[1] == 2  # those of wrong clocks
    identities = "SELECT relreplident FROM radmeter.split_month JOIN pg_class ON relname = name"
    assert {row[0] for row in connection.execute(identities.encode())} in ({"i"}, {b"i"})
    # One pass: nothing is left for the backfill.
    assert connection.execute("SELECT count(*) FROM radacct WHERE router_id IS NULL").fetchone() == (0,)
    assert radmeter(database, "backfill", "--yes").exit_code == 0
    assert radmeter(database, "verify").exit_code == 0
    assert content(connection) == before
    found = radmeter(database, "doctor", "--verbose").output
    assert "radacct_2" not in "\n".join(line for line in found.splitlines() if "differ" in line)

    archived = radmeter(database, *archive, str(tmp_path), "--yes")
    assert archived.exit_code == 0, archived.errors
    assert len(list(tmp_path.glob("radacct_*.parquet"))) >= 4
    assert radmeter(database, "verify").exit_code == 0
    for file in tmp_path.glob("radacct_*.parquet"):
        assert radmeter(database, "partitions", "restore", str(file), "--yes").exit_code == 0
    assert content(connection) == before
    again = radmeter(database, "partitions", "split", "radacct_legacy")
    assert "radacct_legacy is no partition of radacct that covers more than a month" in again.errors


class Fragile(psycopg.Connection[Any]):
    """A connection that the server ends before one of its statements."""

    left: int | None = None

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """Execute a statement, if there is still a server for it."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                terminated(self.info.dsn, self.info.backend_pid)
        return super().execute(*arguments, **options)


class Reader:
    """A tool that reads radacct all the time: no session may be missing, and none may come twice."""

    def __init__(self, dsn: str, sessions: int) -> None:
        self._dsn, self._sessions, self._stop = dsn, sessions, threading.Event()
        self.faults: list[str] = []
        self.reads = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stop.is_set():
                row = connection.execute(
                    "SELECT count(*), count(DISTINCT radacctid) FROM radacct WHERE acctuniqueid LIKE 'old-%'"
                ).fetchone()
                self.reads += 1
                if row != (self._sessions, self._sessions):
                    self.faults.append(str(row))


def test_killed_at_any_statement_it_goes_on(database: str, connection: Connection) -> None:
    make_history(connection, 24, 5)
    ended = finished = 0
    with Reader(database, 24) as reader:
        # Each server has its share of the statements.
        for number in range(major_version(database) % 2, 400, 2):
            # What happens meanwhile: late packets, another stop in another month, a session that is opened again.
            connection.execute(
                """UPDATE radacct SET acctinputoctets = acctinputoctets + 1
                   WHERE acctuniqueid = 'old-' || 5 + %(number)s %% 19""",
                {"number": number},
            )
            connection.execute(
                """UPDATE radacct SET acctstoptime = acctstoptime - (1 + %(number)s %% 3) * interval '20 days'
                   WHERE acctuniqueid = 'old-' || 6 + %(number)s %% 17 AND acctstoptime > now() - interval '1 year'""",
                {"number": number},
            )
            connection.execute(
                """UPDATE radacct SET acctstoptime = CASE WHEN acctstoptime IS NULL THEN acctstarttime END
                   WHERE acctuniqueid = 'old-' || 7 + %(number)s %% 13""",
                {"number": number},
            )
            before = content(connection)
            with Fragile.connect(database, autocommit=True) as fragile:
                fragile.left = number
                try:
                    # First months of its own: stops that are moved to earlier months go into the first piece.
                    done = run(fragile, first=f"{THIS_MONTH - timedelta(days=70):%Y-%m}-01")
                except (psycopg.Error, RadmeterError):
                    assert fragile.left is None
                    ended += 1
                    done = None
            assert content(connection) == before
            if done is not None:
                finished += 1
                assert misplaced(connection) == 0
                assert leftovers(connection) == []
                break
    assert reader.faults == []
    assert reader.reads > 1
    assert ended > 20
    assert finished == 1


def test_what_happens_between_two_runs(database: str, connection: Connection) -> None:
    make_history(connection, 40, 3)
    assert radmeter(database, "backfill", "--only", "counters", "--yes").exit_code == 0
    asked = iter([False, True])
    # It is interrupted after the first batch: all is copied, nothing is swapped.
    assert run(connection, stopping=lambda: next(asked, True)) is None

    # The copies have this router. A merge moves it while they are not in radacct.
    old, new = connection.execute("SELECT min(id), max(id) FROM routers").fetchone() or (0, 0)
    doctor = radmeter(database, "doctor").output
    assert "the split of radacct_legacy into months was interrupted" in doctor
    merged = radmeter(database, "routers", "merge", f"#{old}", f"#{new}", "--yes")
    assert merged.exit_code == 0, merged.errors
    connection.execute("UPDATE radacct SET username = 'bob' WHERE acctuniqueid = 'old-10'")
    connection.execute("CREATE INDEX ON radacct (nasipaddress)")
    with pytest.raises(psycopg.errors.DatabaseError, match="is being split into months"):
        connection.execute("TRUNCATE radacct_legacy")
    erased = radmeter(database, "people", "erase", "user1", "--yes")
    assert "the copies of a split would keep the name: radacct_legacy is being split" in erased.errors
    before = content(connection)

    assert run(connection) is not None
    assert content(connection) == before
    assert misplaced(connection) == 0
    assert leftovers(connection) == []
    assert connection.execute("SELECT count(*) FROM radacct WHERE router_id = %s", (old,)).fetchone() == (0,)
    assert radmeter(database, "backfill", "--yes").exit_code == 0
    assert radmeter(database, "verify").exit_code == 0, radmeter(database, "verify").output
    assert radmeter(database, "people", "erase", "user1", "--yes").exit_code == 0


def test_a_transaction_that_does_not_see_the_copies_is_waited_for(
    database: str, connection: Connection
) -> None:
    """A report of one snapshot reads radacct late: it would find the months without their sessions."""
    make_history(connection, 20, 5)
    said: list[str] = []
    with psycopg.connect(database) as report:
        report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        report.execute("SELECT FROM routers")
        with Beside(database, lambda own: run(own, say=said.append)) as splitting_:
            deadline = time.monotonic() + 60
            while not any(f"process {report.info.backend_pid}" in line for line in said):
                assert time.monotonic() < deadline
                assert not splitting_.ended
                time.sleep(0.01)
            # Meanwhile a session changes, and is copied again.
            connection.execute("UPDATE radacct SET acctinputoctets = 9 WHERE acctuniqueid = 'old-7'")
            assert report.execute("SELECT count(*) FROM radacct").fetchone() == (20,)
            report.commit()
            assert splitting_.result() is not None
    assert "waiting for the end of older transactions, which would not see the copies" in said[0]
    assert misplaced(connection) == 0


def test_a_split_is_given_up(database: str, connection: Connection) -> None:
    make_history(connection, 20, 5)
    before = content(connection)
    tables = connection.execute("SELECT name FROM radmeter.partitions").fetchall()
    assert (
        "is not being split"
        in radmeter(database, "partitions", "split", "radacct_legacy", "--abandon").output
    )
    assert run(connection, stopping=lambda: True) is None
    connection.execute("ALTER TABLE radacct ADD COLUMN note text")
    with pytest.raises(StoreError, match="the columns of radacct have changed since the split began"):
        run(connection)
    connection.execute("ALTER TABLE radacct DROP COLUMN note")
    given_up = radmeter(database, "partitions", "split", "radacct_legacy", "--abandon", "--yes")
    assert given_up.exit_code == 0, given_up.errors
    assert content(connection) == before
    assert leftovers(connection) == []
    assert connection.execute("SELECT name FROM radmeter.partitions").fetchall() == tables
    assert run(connection) is not None
    assert content(connection) == before


def test_what_is_in_the_way_of_a_split(database: str, connection: Connection) -> None:
    make_history(connection, 5, 5)
    connection.execute(
        """CREATE VIEW public.old AS SELECT username FROM radacct_legacy;
           CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
           CREATE TRIGGER mine AFTER INSERT ON radacct_legacy EXECUTE FUNCTION public.nothing();
           DROP INDEX radacct_legacy_radacctid_idx"""
    )
    said = radmeter(database, "partitions", "split", "radacct_legacy", "--yes").errors
    assert "the view public.old reads it: DROP or redefine it" in said
    assert "its trigger mine would be lost" in said
    assert "it has no index on radacctid: CREATE INDEX CONCURRENTLY" in said
    assert leftovers(connection) == []
