"""`--log-format json`: all that a command writes to standard error is JSON, an event a line, without secrets."""

import json
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from support.commands import radmeter
from support.every_command import RUNS, prepared
from support.json_log import events
from support.processes import Jobs, Shipper, until
from support.servers import Connection
from support.shipping import append

from radmeter.plugin.journal.writer import JournalWriter

SECRET = "geheim-7f3a"


def with_secret(dsn: str) -> str:
    """Return a connection string with a password. The server trusts everybody."""
    return psycopg.conninfo.make_conninfo(dsn, password=SECRET)


def test_every_command_logs_events(database: str, connection: Connection, tmp_path: Path) -> None:
    settings = prepared(database, connection, tmp_path)
    settings |= {"RADMETER_LOG_FORMAT": "json", "RADIUS_SECRET": SECRET}
    said = 0
    for name, arguments in RUNS.items():
        given = (each.format(directory=tmp_path) for each in arguments)
        done = radmeter(with_secret(database), *name.split(), *given, **settings)
        found = events(done.errors)
        said += bool(found)
        assert SECRET not in done.errors, name
        assert "exception" not in {key for event in found for key in event}, (name, done.errors)
    assert said >= 5  # else this test would see nothing


def test_the_shipper_logs_events(database: str, connection: Connection, tmp_path: Path) -> None:
    """Also of what goes wrong: a packet that is rejected, and a database that goes away."""
    journal, log = tmp_path / "journal", tmp_path / "ship.log"
    settings = {"RADMETER_LOG_FORMAT": "json", "RADMETER_CONFIG": "/dev/null"}
    with closing(JournalWriter(journal, sync="interval")) as writer:
        append(writer, range(20))
        writer.append(1, json.dumps([["User-Name", SECRET], ["Acct-Status-Type", "Nonsense"]]))
        with Shipper(log, journal, with_secret(database), **settings).start() as shipper:
            until("the packets are counted", lambda: shipped(connection) >= 21)
            connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
            append(writer, range(20, 30))
            until("the rest is counted", lambda: shipped(connection) >= 31)
            assert shipper.stop() == 0
    found = events(log.read_text())
    assert SECRET not in log.read_text()
    assert found[0]["message"].startswith("settings from the environment alone (")
    assert found[-1]["message"] == "shipping ends"
    assert "warning" in {event["level"] for event in found}
    assert {event["logger"] for event in found} >= {"radmeter.cli.ship"}


def shipped(connection: Connection) -> int:
    row = connection.execute("SELECT coalesce(sum(records), 0) FROM radmeter.nodes").fetchone()
    assert row is not None
    return int(row[0])


def test_the_jobs_log_events(database: str, connection: Connection, tmp_path: Path) -> None:
    """Those of a month that they archive, too: a program of its own writes lines, and they become events."""
    log, archive = tmp_path / "jobs.log", tmp_path / "none" / "archive"
    (tmp_path / "radmeter.toml").write_text('log_format = "json"\n')
    assert radmeter(database, "partitions", "ensure", "2025-10", "2025-10").exit_code == 0
    settings = {
        "RADMETER_CONFIG": str(tmp_path / "radmeter.toml"),
        "RADMETER_JOBS_SECONDS": "1",
        "RADMETER_ARCHIVE_AFTER_MONTHS": "1",
        "RADMETER_ARCHIVE_DIRECTORY": str(archive),
        "RADMETER_STATE": str(tmp_path / "state"),
    }

    def failed() -> bool:
        row = connection.execute(
            "SELECT count(*) FROM radmeter.job_result WHERE job = 'archive' AND failed_at IS NOT NULL"
        ).fetchone()
        return row == (1,)

    with Jobs(log, with_secret(database), **settings).start() as jobs:
        until("the jobs have tried to archive", failed)
        assert jobs.stop() == 0
    found = events(log.read_text())
    assert SECRET not in log.read_text()
    (warning,) = [
        event for event in found if event["level"] == "warning" and "archive by age" in event["message"]
    ]
    assert warning["logger"] == "radmeter.jobs.archiving"
    assert str(archive) in warning["message"]
    row = connection.execute("SELECT error FROM radmeter.job_result WHERE job = 'archive'").fetchone()
    assert row is not None
    assert not row[0].startswith("{")  # what that program said, in words


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (("--log-format", "json", "usage", "user", "nobody"), {}, True),
        (("usage", "user", "nobody", "--log-format", "json"), {}, True),
        (("usage", "user", "nobody"), {"RADMETER_LOG_FORMAT": "json"}, True),
        (("--log-format", "text", "usage", "user", "nobody"), {"RADMETER_LOG_FORMAT": "json"}, False),
        (("--log-format", "json", "usage", "user", "nobody", "--log-format", "text"), {}, False),
        (("usage", "user", "nobody"), {}, False),
        (("usage",), {"RADMETER_LOG_FORMAT": "json"}, True),
        (("usage", "user", "nobody", "--nonsense"), {"RADMETER_LOG_FORMAT": "json"}, True),
    ],
)
def test_the_nearest_one_counts(
    database: str, arguments: tuple[str, ...], environment: dict[str, str], expected: bool
) -> None:
    done = radmeter(database, *arguments, **environment)
    assert done.exit_code != 0
    assert done.errors.startswith("{") == expected
    if expected:
        assert {event["level"] for event in events(done.errors)} <= {"error", "info"}


def test_the_file_counts(database: str, tmp_path: Path) -> None:
    (tmp_path / "radmeter.toml").write_text('log_format = "json"\n')
    done = radmeter(database, "usage", "user", "nobody", RADMETER_CONFIG=str(tmp_path / "radmeter.toml"))
    assert [event["level"] for event in events(done.errors)] == ["error"]


def test_another_format_is_refused(database: str) -> None:
    done = radmeter(database, "status", RADMETER_LOG_FORMAT="xml")
    assert done.exit_code == 2
    assert "RADMETER_LOG_FORMAT 'xml': allowed is text or json" in done.errors
