"""The shipper against real PostgreSQL: exactly once, whatever dies; the others go on, whatever one record holds."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from support.servers import Server
from support.shipping import ship, shipping

from radmeter.errors import JournalLocked, StoreUnavailable
from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

DEADLINE_SECONDS = 100.0
SHIP_SECONDS = 30.0  # it takes a second or two

# Whatever hangs fails: a test here takes some seconds, on a busy machine some more.
pytestmark = pytest.mark.timeout(120, func_only=True)


def pairs(user: int, status: str, octets: int, **changes: str) -> str:
    """The attributes of a packet of a user, as the plugin writes them."""
    attributes = {
        "User-Name": f"user{user}",
        "Acct-Status-Type": status,
        "Acct-Session-Id": f"session{user}",
        "NAS-IP-Address": "192.0.2.1",
        "Called-Station-Id": "AA-BB-CC-DD-EE-FF:Lobby",
        "Acct-Input-Octets": str(octets),
        "Acct-Output-Octets": str(10 * octets),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return json.dumps(list(attributes.items()))


def fill(directory: Path, texts: list[str], **options: Any) -> None:
    """Append packets to the journal, as radiusd would."""
    journal = JournalWriter(directory, sync="interval", **options)
    for text in texts:
        journal.append(time.time_ns() // 1000, text)
    journal.close()


def totals(connection: psycopg.Connection[Any]) -> tuple[int, int, int]:
    """Users counted, bytes in, bytes out."""
    row = connection.execute(
        "SELECT count(*), sum(bytes_in), sum(bytes_out) FROM user_quota_usage"
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1] or 0), int(row[2] or 0)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        time.sleep(0.01)


@contextmanager
def ship_process(directory: Path, dsn: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A shipper of its own process, killed at the end if it still runs."""
    environment = {**os.environ, "RADMETER_DSN": dsn, "RADMETER_JOURNAL": str(directory)}
    process = subprocess.Popen(
        [sys.executable, "-m", "radmeter", "ship", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_what_is_in_the_journal_is_counted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(
        tmp_path,
        [pairs(n, status, octets) for n in range(50) for status, octets in (("Start", 0), ("Stop", 7))],
    )
    ship(tmp_path, database, batch_records=100)
    assert totals(connection) == (50, 350, 3500)
    assert connection.execute("SELECT get_user_total_usage('user1')").fetchone() == (77,)
    assert JournalReader(tmp_path).depth({}).records in (0, 100)  # the newest segment stays until the next


def test_shipped_segments_are_deleted_and_nothing_else(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(400)], segment_bytes=65536)
    assert JournalReader(tmp_path).depth({}).segments > 1
    ship(tmp_path, database, batch_records=100)
    assert JournalReader(tmp_path).depth({}).segments == 1
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(400, 500)])
    ship(tmp_path, database, batch_records=100)
    assert totals(connection) == (500, 3500, 35000)


@pytest.mark.timeout(SHIP_SECONDS, func_only=True)  # a batch that is sent in part is waited for without end
def test_batches_that_no_socket_takes_at_once_are_counted_while_the_next_is_read(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7, Called_Station_Id="x" * 250) for n in range(2500)])
    ship(tmp_path, database, batch_records=1000)
    assert totals(connection) == (2500, 17500, 175000)


def test_a_fault_while_the_next_batch_is_read_ahead_skips_none_of_it(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(100)])
    failing = iter([True, False, True, True])

    class Fails(Store):
        def ingest_copied(self, *arguments: Any, **named: Any) -> int:
            done = super().ingest_copied(*arguments, **named)
            if next(failing, False):
                raise StoreUnavailable("the answer was lost")
            return done

    ship(tmp_path, database, Fails, batch_records=10)
    assert totals(connection) == (100, 700, 7000)
    assert connection.execute("SELECT sum(records) FROM radmeter.nodes").fetchone() == (100,)


DIES_AFTER_COMMIT = """
import os, sys, threading
from radmeter.plugin.journal.reader import JournalReader
from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store

class Dies(Store):
    def ingest_copied(self, *arguments):
        super().ingest_copied(*arguments)
        os.kill(os.getpid(), 9)  # committed; nobody was told, nothing is cleaned up

reader = JournalReader(sys.argv[1])
Shipper(reader, lambda: Dies(sys.argv[2]), batch_records=30).run(threading.Event(), until_empty=True)
"""


def test_a_shipper_killed_between_commit_and_clean_up_counts_nothing_twice(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(100)], segment_bytes=65536)
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", DIES_AFTER_COMMIT, str(tmp_path), database], check=False)
        assert done.returncode == -signal.SIGKILL
    assert totals(connection)[0] == 90
    ship(tmp_path, database, batch_records=100)
    assert totals(connection) == (100, 700, 7000)


def test_a_shipper_killed_at_any_moment_counts_everything_once(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(3000)], segment_bytes=262144)
    for counted in (1, 700, 1500):
        with ship_process(tmp_path, database, "--batch-records", "50") as process:
            wait_until(lambda counted=counted: totals(connection)[0] >= counted, f"{counted} users")  # type: ignore[misc]
            process.kill()
    ship(tmp_path, database, batch_records=100)
    assert totals(connection) == (3000, 21000, 210000)


def test_a_restart_of_the_database_is_waited_for(tmp_path: Path, server: Server, database: str) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(200)])
    with ship_process(tmp_path, database, "--batch-records", "20") as process:
        for first, how in ((1000, signal.SIGINT), (2000, signal.SIGQUIT)):
            server.stop(how)
            fill(tmp_path, [pairs(n, "Interim-Update", 3) for n in range(first, first + 100)])
            server.start()
            # Starting took long enough for the shipper to have found it away only sometimes; the totals tell.
        with psycopg.connect(database, autocommit=True) as connection:
            wait_until(lambda: totals(connection)[0] == 400, "400 users")
            assert totals(connection) == (400, 200 * 7 + 200 * 3, 200 * 70 + 200 * 30)
        process.terminate()
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    # Each reason to wait is said, and an outage may have several: refused, then starting up.
    said = [what for what, _ in groupby(re.findall(r"shipping (waits|goes on)", output))]
    assert said == ["waits", "goes on"] * (len(said) // 2)
    assert "Traceback" not in output


def test_sigterm_ends_with_the_batch_in_hand_counted(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(2000)])
    with ship_process(tmp_path, database, "--batch-records", "100") as process:
        wait_until(lambda: totals(connection)[0] > 0, "the first batch")
        process.terminate()
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    assert "shipping ends" in output
    counted = totals(connection)[0]
    assert counted % 100 == 0
    ship(tmp_path, database, batch_records=100)
    assert totals(connection) == (2000, 14000, 140000)


def test_a_second_shipper_of_a_journal_says_so_and_exits(tmp_path: Path, database: str) -> None:
    fill(tmp_path, [pairs(1, "Stop", 7)])
    reader = JournalReader(tmp_path)
    with reader.lock():
        with pytest.raises(JournalLocked), JournalReader(tmp_path).lock():
            pass
        with ship_process(tmp_path, database) as process:
            output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert str(os.getpid()) in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "batch_records", [7, 100]
)  # 7: the next batch is read ahead; record 13 is a batch's last
def test_a_record_that_the_database_refuses_is_set_aside_and_the_others_count(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], batch_records: int
) -> None:
    texts = [pairs(n, "Stop", 7) for n in range(100)]
    texts[13] = pairs(13, "Stop", 7, NAS_IP_Address="not an address")
    texts[57] = pairs(57, "Stop", 7, User_Name="x" * 20000 + os.urandom(20000).hex())  # no index can hold it
    texts[58] = pairs(58, "Subsystem-On", 7)
    texts[59] = pairs(59, "Tunnel-Stop", 7)
    texts[99] = "no JSON"
    fill(tmp_path, texts)
    ship(tmp_path, database, batch_records=batch_records)
    assert totals(connection) == (95, 665, 6650)
    rows = connection.execute("SELECT reason FROM rejected_packet ORDER BY seq").fetchall()
    reasons = [row[0] for row in rows]
    assert "not an address" in reasons[0]
    assert reasons[1].startswith("the database refuses it: ")
    assert reasons[2] == "Acct-Status-Type Subsystem-On is not counted"
    assert reasons[3].startswith("not a list of attributes")
    kept = connection.execute("SELECT pairs FROM rejected_packet ORDER BY seq LIMIT 1").fetchone()
    assert kept is not None
    assert ["NAS-IP-Address", "not an address"] in kept[0]
    states = connection.execute("SELECT records, rejected, ignored FROM radmeter.nodes").fetchall()
    assert states == [(100, 4, 1)]


def test_a_fault_of_the_installation_empties_no_journal(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(10)])
    connection.execute("ALTER FUNCTION radmeter.insert_sessions(bigint[]) RENAME TO lost")
    with ship_process(tmp_path, database) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "shipping waits" in line)
        assert "insert_sessions" in line
        assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
        connection.execute("ALTER FUNCTION radmeter.lost(bigint[]) RENAME TO insert_sessions")
        wait_until(lambda: totals(connection)[0] == 10, "10 users")


SLOW_USERS = """
CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(CASE WHEN new.username = 'user20' THEN {one} ELSE {each} END);
    RETURN new;
END;
$$;
CREATE TRIGGER slow BEFORE INSERT ON public.user_quota_usage FOR EACH ROW EXECUTE FUNCTION public.slow()"""


class Hasty(Store):
    """A store whose statements may take a second, not a minute. It notes how many records were sent each time."""

    sent: ClassVar[list[int]] = []

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._connection.execute("SET statement_timeout = '1s'")

    def ingest_copied(
        self, segment_id: str, after: Progress, copied_rows: bytes, *rest: Any, **more: Any
    ) -> int:
        self.sent.append(copied_rows.count(b"\n"))
        return super().ingest_copied(segment_id, after, copied_rows, *rest, **more)


def test_a_batch_that_times_out_is_halved_until_it_is_taken(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    connection.execute(SLOW_USERS.format(one=0.03, each=0.03).encode())
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(100)])
    Hasty.sent.clear()
    ship(tmp_path, database, Hasty, batch_records=64)
    assert totals(connection) == (100, 700, 7000)
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
    assert Hasty.sent[:3] == [64, 64, 32]


def test_a_packet_that_times_out_alone_is_kept_and_tried_on(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    connection.execute(SLOW_USERS.format(one=3600, each=0).encode())
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(40)])
    Hasty.sent.clear()
    with shipping(tmp_path, database, Hasty, batch_records=8):
        wait_until(lambda: "alone: " in caplog.text, "the packet alone")
        # Those before it are counted, those after it wait.
        assert totals(connection) == (20, 140, 1400)
        assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
        connection.execute("DROP TRIGGER slow ON public.user_quota_usage")
        wait_until(lambda: totals(connection)[0] == 40, "40 users")
    assert totals(connection) == (40, 280, 2800)
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
    assert "find out what slows the database down" in caplog.text
    assert Hasty.sent[-1] > 1  # batches have grown again


def test_a_journal_made_anew_is_not_taken_for_the_old_one(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path / "first", [pairs(n, "Stop", 7) for n in range(10)])
    ship(tmp_path / "first", database, batch_records=100)
    fill(tmp_path / "second", [pairs(n, "Stop", 7) for n in range(10, 20)])
    ship(tmp_path / "second", database, batch_records=100)
    assert totals(connection)[0] == 20
    assert connection.execute("SELECT count(*) FROM radmeter.nodes").fetchone() == (2,)


def test_a_role_that_may_only_ingest_can_ship(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    fill(tmp_path, [pairs(n, "Stop", 7) for n in range(10)])
    separator = "&" if "?" in database else "?"
    as_ingest = f"{database}{separator}options=-c%20role%3Dradmeter_ingest"
    with psycopg.connect(as_ingest, autocommit=True) as limited:
        node = JournalReader(tmp_path).node()
        limited.execute("SELECT radmeter.open_segments(%s, '[]')", (node,))
        for forbidden in (
            "SELECT * FROM radacct",
            "SELECT * FROM user_quota_usage",
            "UPDATE user_quota_usage SET bytes_in = 0",
            "INSERT INTO routers (name) VALUES ('x')",
            "SELECT radmeter.close_stale('{1}')",
            "SELECT radmeter.update_open(0, 1)",
            "SELECT get_user_total_usage('x')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                limited.execute(forbidden)
