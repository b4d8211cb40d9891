"""`radmeter doctor` and `status` tell a shipper that runs and gets nowhere from one that works."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from support.commands import radmeter
from support.doctoring import Line, ask, one
from support.ledger import believe_old_arrivals
from support.logins import as_role, login_role
from support.processes import Database, Shipper, eventually
from support.servers import Connection
from support.shipping import append, fill, ship, shipping

from radmeter.doctor.service_trial import trial
from radmeter.plugin.journal.locks import READER, lock_path
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter

UNIT = "radmeter-ship"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    fill(tmp_path / "journal", range(3))
    return tmp_path / "journal"


class Configured(Shipper):
    """`radmeter ship` with a configuration file whose table [ship] names a database."""

    def __init__(self, directory: Path, journal: Path, dsn: str, of_ship: str, more: str = "") -> None:
        super().__init__(directory / "ship.log", journal, "")
        self.file = directory / "radmeter.toml"
        self.write(journal, dsn, of_ship, more)
        self._environment = {"RADMETER_CONFIG": str(self.file)}

    def write(self, journal: Path, dsn: str, of_ship: str, more: str = "") -> None:
        self.file.write_text(
            f'journal = "{journal}"\ndsn = "{dsn}"\n[ship]\ndsn = "{of_ship}"\n{more}', encoding="utf-8"
        )

    def found(self) -> Line:
        """Return what doctor says of it."""
        only = "--only=shipper", "--config", self.file
        return one(ask(None, *only, RADMETER_JOURNAL=""), "shipper")


@contextmanager
def held_for(journal: Path, seconds: float) -> Iterator[None]:
    """Be the journal's shipper, for so long already."""
    with closing(JournalReader(journal)) as reader, reader.lock():
        begun(journal, seconds)
        yield


def begun(journal: Path, seconds: float) -> None:
    """Let the journal's shipper have begun so long ago."""
    then = time.time() - seconds
    os.utime(lock_path(journal, READER), (then, then))


def found(dsn: str, journal: Path) -> Line:
    return one(ask(dsn, "--only=shipper", RADMETER_JOURNAL=str(journal)), "shipper")


def test_a_shipper_that_cannot_log_in_is_red_at_once_and_the_setting_is_named(
    database: str, connection: Connection, journal: Path, tmp_path: Path
) -> None:
    with Configured(tmp_path, journal, database, make_conninfo(database, dbname="radmetr")) as shipper:
        shipper.start()
        eventually(lambda: bool(shipper.lines("shipping waits")), True)
        line = shipper.found()
        assert line.level == "red"
        assert f"running (process {shipper.pid}), but it cannot ship: " in line.said
        assert f"Is `dsn` in {shipper.file} [ship] right (dbname radmetr)?" in line.said
        assert "correct them first, then restart it" in line.note
        # It reads the file at its start only; here the next one does.
        shipper.stop()
        shipper.write(journal, database, database)
        shipper.start()
        eventually(lambda: Database(database).records(), 3)
        assert shipper.found().level == "green"


def test_a_role_that_is_refused_is_named(
    database: str, connection: Connection, journal: Path, tmp_path: Path
) -> None:
    with login_role(connection) as nothing, login_role(connection, "radmeter_ingest") as another:
        with Configured(tmp_path, journal, database, as_role(database, nothing)) as shipper:
            shipper.start()
            eventually(lambda: bool(shipper.lines("shipping waits")), True)
            assert "grant radmeter_ingest" in shipper.found().said
        ship(journal, as_role(database, another))  # the journal is its own now
        with login_role(connection, "radmeter_ingest") as stranger:
            with closing(JournalWriter(journal)) as writer:
                append(writer, range(3, 5))
                connection.execute("UPDATE radmeter.journal_segment SET seen_at = now() - interval '1 hour'")
                with Configured(tmp_path, journal, database, as_role(database, stranger)) as shipper:
                    shipper.start()
                    eventually(lambda: bool(shipper.lines(another)), True)
                    said = shipper.found().said
            assert f"the journal belongs to the role '{another}', and '{stranger}' is no member of it" in said
        connection.execute("DELETE FROM radmeter.journal_segment")


def test_a_shipper_that_the_database_does_not_hear_of_is_stuck(database: str, journal: Path) -> None:
    with held_for(journal, 100):
        assert found(database, journal).level == "green"
        begun(journal, 300)
        line = found(database, journal)
        assert line.level == "red"
        assert "the database has not heard of it for 5 min" in line.said
        assert "journalctl -u radmeter-ship" in line.note
        done = radmeter(database, "status", "--sample=0", RADMETER_JOURNAL=str(journal))
        (shown,) = [each for each in done.output.splitlines() if each.startswith("  shipper ")]
        assert f"process {os.getpid()}, has got nowhere for 5 min" in shown


def test_a_shipper_that_has_nothing_to_do_is_not_stuck_until_the_database_hears_no_more_of_it(
    database: str, connection: Connection, journal: Path
) -> None:
    believe_old_arrivals(connection)
    with shipping(journal, database):
        eventually(lambda: Database(database).records(), 3)
        begun(journal, 86400)
        assert found(database, journal).level == "green"
        connection.execute("UPDATE radmeter.journal_segment SET updated_at = now() - interval '1 hour'")
        assert found(database, journal).level == "green"
    with closing(JournalWriter(journal)) as writer, held_for(journal, 86400):
        # It registers its segments again and again, and a packet waits.
        append(writer, range(3, 4), time.time() - 600)
        line = found(database, journal)
        assert line.level == "red"
        assert "it has shipped nothing for 10 min" in line.said
        connection.execute("UPDATE radmeter.journal_segment SET seen_at = now() - interval '20 minutes'")
        assert "the database has not heard of it for 20 min" in found(database, journal).said


def test_a_service_that_runs_is_restarted_and_one_that_does_not_is_started(
    database: str, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = tmp_path / "systemctl"
    (tmp_path / f"{UNIT}.service").touch()
    monkeypatch.setattr("radmeter.doctor.commands.UNIT_DIRECTORIES", (tmp_path,))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for pid, verb in ((0, "start"), (os.getpid(), "restart")):
        systemctl.write_text(f"#!/bin/sh\necho {pid}\n")
        systemctl.chmod(0o755)
        assert found(database, journal).remedy == f"sudo systemctl {verb} {UNIT}"
    with held_for(journal, 300):
        assert found(database, journal).remedy == f"sudo systemctl restart {UNIT}"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_root_tries_the_settings_as_the_services_user(database: str, journal: Path) -> None:
    # Not pytest's own directory, through which nobody else may pass.
    with TemporaryDirectory(prefix="radmeter-test-") as directory:
        Path(directory).chmod(0o755)
        secret = Path(directory) / "secret"
        secret.write_text("word\n")
        secret.chmod(0o600)
        shipper = Configured(Path(directory), journal, database, database, f'password_file = "{secret}"\n')

        def tried(**who: Any) -> str | None:
            with subprocess.Popen(["sleep", "600"], env={"PATH": os.defpath}, **who) as process:
                try:
                    done = trial(process.pid, "ship", shipper.file)
                    return None if done is None else done.fault
                finally:
                    process.kill()

        assert tried() == ""
        found = tried(user=65534, group=65534, extra_groups=[])
        # None: nobody may not enter the directory of this Python.
        assert found is None or f"the password in {secret} cannot be read: Permission denied" in found
