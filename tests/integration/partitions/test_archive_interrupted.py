"""Archive and restore that are ended anywhere, met by late packets, by each other, or by a lock of somebody else."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.archives import counters, everything, ours_left, sessions_of, terminated
from support.commands import Packets, radmeter
from support.power_cut import PowerCut
from support.servers import Connection, Server, major_version

from radmeter.database import advisory_locks
from radmeter.errors import RadmeterError
from radmeter.partitions import archive as archiving
from radmeter.partitions import restore as restoring
from radmeter.partitions.parquet_file import ArchiveError
from radmeter.progress import progress as lines

FILE = "radacct_2026_03.parquet"
# The connection is gone: as psycopg says it, or as radmeter does.
Gone = (psycopg.Error, RadmeterError)


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


class Watched(psycopg.Connection[Any]):
    """A connection that does something before the partition leaves radacct, and before it is dropped."""

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        """Execute a statement."""
        text = (
            query
            if isinstance(query, str)
            else query.decode()
            if isinstance(query, bytes)
            else query.as_string(self)
        )
        if "DETACH PARTITION" in text or "DROP TABLE" in text:
            self.before(text)
        return super().execute(query, *arguments, **options)

    def before(self, statement: str) -> None:
        """Do nothing."""


class Hook:
    """A progress that does something when a step begins."""

    def __init__(self, title: str, action: Callable[[], object]) -> None:
        self.titles: list[str] = []
        self._title, self._action = title, action

    @contextmanager
    def __call__(self, title: str, total: float | None = None, unit: str = "rows") -> Iterator[Any]:
        self.titles.append(title.split()[0])
        if title.startswith(self._title):
            self._action()
        with lines(title, total, unit) as bar:
            yield bar


def archive(connection: Connection, directory: Path, progress: Any = lines) -> None:
    with archiving.alone(connection):
        archiving.finish(connection, print, progress)
        for each in archiving.candidates(connection, date(2026, 4, 1)):
            archiving.archive(connection, each, directory, progress, print)


def restore(connection: Connection, file: Path) -> None:
    with archiving.alone(connection):
        record = restoring.record_of(connection, file)
        restoring.verify(file, record, lines)
        if record.state != "restored":
            restoring.restore(connection, file, record, lines, print)


def interrupted(database: str, number: int, work: Callable[..., None], path: Path) -> bool:
    """Do the work on a session that ends before its statement of this number; return whether there was one."""
    with Fragile.connect(database, autocommit=True) as fragile:
        fragile.left = number
        try:
            work(fragile, path)
        except Gone:
            assert fragile.left is None
            return True
    return False


def test_the_server_ends_the_session_at_any_statement_and_the_next_run_goes_on(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 12)
    before = everything(connection)
    # Each server has its share of the statements.
    for number in range(major_version(database) % 2, 200, 2):
        archiving_ended = interrupted(database, number, archive, tmp_path)
        assert counters(connection) == {"users": before["users"], "routers": before["routers"]}
        archive(connection, tmp_path)
        assert len(everything(connection)["sessions"]) == 3
        (file,) = tmp_path.iterdir()
        restoring_ended = interrupted(database, number, restore, file)
        assert counters(connection) == {"users": before["users"], "routers": before["routers"]}
        restore(connection, file)
        assert everything(connection) == before
        assert ours_left(connection) == []
        file.unlink()
        if not archiving_ended and not restoring_ended:
            break
    assert number > 30


def state(connection: Connection) -> str:
    row = connection.execute("SELECT state FROM radmeter.archives ORDER BY id DESC LIMIT 1").fetchone()
    return row[0] if row else ""


@pytest.mark.parametrize("moment", ["writing", "unpublished", "written", "detached", "loading"])
def test_killed_it_goes_on(database: str, connection: Connection, tmp_path: Path, moment: str) -> None:
    sessions_of(database, connection, "2026-03", 8)
    # Enough that there is time to see where it is.
    connection.execute(
        """INSERT INTO radacct_2026_03 (acctsessionid, acctuniqueid, nasipaddress, acctstarttime, acctstoptime)
           SELECT n, n, '10.0.0.1', '2026-03-01', '2026-03-02' FROM generate_series(1, 15000) AS n;
           INSERT INTO radmeter.session_slice
           SELECT radacctid, '2026-03-01', '2026-03-01', 0, 0 FROM radacct_2026_03 WHERE usage_date IS NULL"""
    )
    before = everything(connection)
    arrived: dict[str, Callable[[], bool]] = {
        "writing": lambda: state(connection) == "writing",
        "unpublished": lambda: any(path.stat().st_size > 10_000 for path in tmp_path.glob("*.part")),
        "written": lambda: state(connection) == "written",
        "detached": lambda: state(connection) == "detached",
        "loading": lambda: bool(
            connection.execute("SELECT FROM pg_stat_progress_copy WHERE command = 'COPY FROM'").fetchone()
        ),
    }
    command = ["archive", "--before", "2026-04", "--to", str(tmp_path), "--yes"]
    if moment == "loading":
        assert radmeter(database, "partitions", *command).exit_code == 0
        command = ["restore", str(tmp_path / FILE), "--yes"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))
    }
    with subprocess.Popen(
        [sys.executable, "-m", "radmeter", "partitions", *command],
        env={**environment, "RADMETER_DSN": database},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while not arrived[moment]() and process.poll() is None and time.monotonic() < deadline:
            pass
        process.send_signal(signal.SIGKILL)
    assert counters(connection) == {"users": before["users"], "routers": before["routers"]}
    # The server finds out when it next sends or reads; until then its session has the lock.
    while not advisory_locks.taken(connection, advisory_locks.ARCHIVE):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    connection.execute("SELECT pg_advisory_unlock_all()")
    done = radmeter(database, "partitions", *command)
    assert done.exit_code == 0, done.errors
    if moment != "loading":
        assert len(everything(connection)["sessions"]) == 3
        assert radmeter(database, "partitions", "restore", tmp_path / FILE, "--yes").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert everything(connection) == before
    assert ours_left(connection) == []


def test_the_file_survives_a_power_cut_from_before_the_partition_is_detached(
    database: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions_of(database, connection, "2026-03", 12)
    directory = tmp_path / "archive"
    directory.mkdir()
    cut = PowerCut(directory).watch(monkeypatch)
    left: list[tuple[str, dict[str, bytes]]] = []

    class CutOff(Watched):
        def before(self, statement: str) -> None:
            place = cut.leave(tmp_path / f"left-{len(left)}", names="synced")
            left.append((statement.split()[0], {path.name: path.read_bytes() for path in place.iterdir()}))

    with CutOff.connect(database, autocommit=True) as worker:
        archive(worker, directory)
    cut.close()
    file = (directory / FILE).read_bytes()
    assert [statement for statement, _ in left] == ["ALTER", "DROP"]
    for _, files in left:
        assert files == {FILE: file}


def test_a_name_left_by_a_power_cut_is_the_name_of_a_whole_file(
    database: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions_of(database, connection, "2026-03", 12)
    directory = tmp_path / "archive"
    directory.mkdir()
    left: list[dict[str, bytes]] = []

    def before_sync() -> None:
        place = cut.leave(tmp_path / f"left-{len(left)}", names="all")
        left.append({path.name: path.read_bytes() for path in place.iterdir() if path.name == FILE})

    cut = PowerCut(directory, before_sync).watch(monkeypatch)
    archive(connection, directory)
    cut.close()
    assert left == [{}, {FILE: (directory / FILE).read_bytes()}]


def test_a_session_that_changed_since_it_was_written_has_the_file_written_anew(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    changes = iter(
        [
            "UPDATE radacct SET connectinfo_stop = 'late'"
            " WHERE acctuniqueid = (SELECT min(acctuniqueid) FROM radacct_2026_03)",
            "DELETE FROM radacct WHERE acctuniqueid = (SELECT max(acctuniqueid) FROM radacct_2026_03)",
        ]
    )
    hook = Hook("checking", lambda: connection.execute(next(changes, "SELECT 1").encode()))
    with psycopg.connect(database, autocommit=True) as worker:
        archive(worker, tmp_path, hook)
    assert hook.titles.count("writing") == 3
    before = connection.execute("SELECT session_rows FROM radmeter.archives").fetchall()
    assert before == [(7,)]
    restore(connection, tmp_path / FILE)
    assert connection.execute(
        "SELECT count(*) FROM radacct_2026_03 WHERE connectinfo_stop = 'late'"
    ).fetchone() == (1,)
    assert ours_left(connection) == []


def test_a_partition_that_changes_all_the_time_is_left_as_it_is(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 4)
    before = len(everything(connection)["sessions"])
    hook = Hook(
        "checking",
        lambda: connection.execute("UPDATE radacct_2026_03 SET acctsessiontime = acctsessiontime + 1"),
    )
    with (
        psycopg.connect(database, autocommit=True) as worker,
        pytest.raises(ArchiveError, match="archive it later"),
    ):
        archive(worker, tmp_path, hook)
    assert len(everything(connection)["sessions"]) == before
    assert list(tmp_path.iterdir()) == []
    assert ours_left(connection) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_written_file_goes_on_also_in_a_restored_dump(
    database: str,
    connection: Connection,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    late: bool,
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    sessions_of(database, connection, "2026-03", 4)
    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_detach", killed)
        with pytest.raises(Killed):
            archive(connection, tmp_path)
    if late:
        connection.execute("UPDATE radacct_2026_03 SET acctinputoctets = acctinputoctets + 777")
    dump = tmp_path.with_suffix(".dump")
    with server.clone("template0") as restored:
        subprocess.run(
            [server.programs / "pg_dump", "--format=custom", f"--file={dump}", database], check=True
        )
        subprocess.run([server.programs / "pg_restore", f"--dbname={restored}", dump], check=True)
        with psycopg.connect(restored, autocommit=True) as worker:
            oid = "SELECT 'radacct_2026_03'::regclass::oid"
            assert worker.execute(oid).fetchone() != connection.execute(oid).fetchone()
            hook = Hook("never", lambda: None)
            archive(worker, tmp_path, hook)
            assert ("writing" in hook.titles) is late
            before = everything(connection)
            restore(worker, tmp_path / FILE)
            assert everything(worker)["sessions"] == before["sessions"]
            assert ours_left(worker) == []


def test_two_at_once_do_not_harm_each_other(database: str, connection: Connection, tmp_path: Path) -> None:
    sessions_of(database, connection, "2026-03", 4)
    with archiving.alone(connection):
        command = ("archive", "--before", "2026-04", "--to", tmp_path, "--yes")
        refused = radmeter(database, "partitions", *command)
        assert (refused.exit_code, "another `radmeter partitions archive`" in refused.errors) == (1, True)
    assert list(tmp_path.iterdir()) == []
    assert radmeter(database, "partitions", *command).exit_code == 0


def test_packets_come_in_while_it_waits_for_a_lock_that_another_holds(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    waits: list[float] = []
    stop = threading.Event()

    def ship() -> None:
        with Packets(database) as packets:
            octets = 0
            while not stop.is_set():
                octets += 1
                for number in range(10):
                    about: dict[str, Any] = {"User_Name": f"user{number}", "NAS_Identifier": "site0"}
                    packets.add("Interim-Update", f"live{number}", Acct_Input_Octets=octets, **about)
                    packets.add("Stop", f"short{octets}-{number}", Acct_Input_Octets=1, **about)
                began = time.monotonic()
                packets.ship()
                waits.append(time.monotonic() - began)

    shipping = threading.Thread(target=ship)
    with psycopg.connect(database) as reader:
        # As a report or pg_dump does: for as long as it runs no partition can be detached.
        reader.execute("SELECT count(*) FROM radacct")
        holder = threading.Timer(1.5, reader.rollback)
        shipping.start()
        holder.start()
        try:
            with psycopg.connect(database, autocommit=True) as worker:
                archive(worker, tmp_path)
                restore(worker, tmp_path / FILE)
        finally:
            holder.join()
            stop.set()
            shipping.join()
    assert len(waits) > 20
    # On a quiet machine it is 60 ms (docs/decisions.md); queued behind the reader it would be more than a second.
    assert max(waits) < 0.8
    assert radmeter(database, "verify").exit_code == 0
    assert ours_left(connection) == []
