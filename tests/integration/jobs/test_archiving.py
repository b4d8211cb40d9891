"""Months are archived by their age, by the runner of the jobs, if an operator turns it on."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.archives import sessions_of
from support.commands import radmeter
from support.functions import value
from support.looking import pause_after
from support.servers import Connection

from radmeter.jobs import runner
from radmeter.jobs.archiving import ArchivingByAge, _reason

DEADLINE_SECONDS = 120.0


@contextmanager
def jobs(
    dsn: str, after_months: int, directory: Path | None, config: Path | None = None
) -> Iterator[ArchivingByAge]:
    stop = threading.Event()
    archiving = ArchivingByAge(dsn, after_months, directory, config=config, every_seconds=0.2)
    thread = threading.Thread(
        target=runner.run, args=(dsn, stop), kwargs={"interval_seconds": 0.05, "archiving": archiving}
    )
    thread.start()
    try:
        yield archiving
    finally:
        stop.set()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (began := time.monotonic()) and not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        pause_after(began)


def result(connection: Connection) -> tuple[object, ...] | None:
    return connection.execute(
        "SELECT succeeded_at IS NOT NULL, error FROM radmeter.job_result WHERE job = 'archive'"
    ).fetchone()


def test_months_are_archived_by_age_and_the_last_success_is_said(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    months = [
        row[0]
        for row in connection.execute(
            """SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') - age * interval '1 month', 'YYYY-MM')
               FROM unnest(ARRAY[4, 3, 2]) AS age"""
        )
    ]
    for month in months:
        sessions_of(database, connection, month, 4)
    gone = tmp_path / "archive"
    with jobs(database, 2, gone):
        # The directory does not exist yet.
        wait_until(lambda: (result(connection) or (0, None))[1] is not None, "the failure is noted")
        assert "does not exist" in str(result(connection))
        screen = radmeter(database, "doctor")
        assert "months could not be archived by age" in screen.output
        assert "does not exist" in radmeter(database, "status", "--sample", "0").output
        gone.mkdir()
        wait_until(lambda: result(connection) == (True, None), "the success is noted")
    # A month that ended two months ago is archived; one that ended a month ago is not.
    names = [f"radacct_{month.replace('-', '_')}.parquet" for month in months]
    assert sorted(path.name for path in gone.iterdir()) == names[:2]
    status = json.loads(radmeter(database, "status", "--sample", "0", "--format", "json").output)
    assert status["archive_by_age"]["succeeded_at"] is not None
    assert "months are archived by age, last at" in radmeter(database, "doctor").output
    connection.execute("UPDATE radmeter.job_result SET succeeded_at = now() - interval '2 days'")
    assert "were not archived by age for a day" in radmeter(database, "doctor").output
    with jobs(database, 0, None):
        wait_until(lambda: result(connection) is None, "a job that is off has no result")
    assert "archived by age" not in radmeter(database, "status", "--sample", "0").output


def test_a_failure_is_told_without_the_months_that_succeeded_before_it() -> None:
    said = ["radacct_2026_01: 5 sessions, in a.parquet", "error: radacct_2026_02: no", "  look there"]
    assert _reason(said) == "radacct_2026_02: no   look there"
    assert _reason(["killed"]) == "killed"
    assert _reason([]) == ""


def test_the_runner_ends_what_it_began(database: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute("SELECT radmeter.ensure_partition('2025-03-10Z')")
    with connection.transaction():
        connection.execute("LOCK TABLE radmeter.archived_partition IN ACCESS EXCLUSIVE MODE")
        with jobs(database, 2, tmp_path) as archiving:
            wait_until(
                lambda: value(connection, "count(*) FROM pg_locks WHERE NOT granted") == 1, "it archives"
            )
            assert archiving._process is not None
            pid = archiving._process.pid
            assert Path(f"/proc/{pid}").exists()
        assert not Path(f"/proc/{pid}").exists()


def test_a_directory_is_needed(database: str) -> None:
    refused = radmeter(database, "jobs", "run", "--archive-after-months", "3")
    assert refused.exit_code == 2
    assert "--archive-after-months: to which directory? Set RADMETER_ARCHIVE_DIRECTORY" in refused.errors


@pytest.mark.parametrize("months", ["-1", "x"])
def test_months_are_a_number(database: str, months: str) -> None:
    assert radmeter(database, "jobs", "run", "--archive-after-months", months).exit_code == 2


def test_the_process_that_archives_reads_the_configuration_file_of_the_jobs(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    file = tmp_path / "radmeter.toml"
    with jobs(database, 2, tmp_path, config=file):
        wait_until(lambda: (result(connection) or (0, None))[1] is not None, "the failure is noted")
        assert f"RADMETER_CONFIG: {file} cannot be read" in str(result(connection))
        file.write_text("[partitions]\nanswer_seconds = 30\n")
        wait_until(lambda: result(connection) == (True, None), "the success is noted")
