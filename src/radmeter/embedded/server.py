"""The embedded PostgreSQL, for those who have no server. It starts for its first user and stops after its last."""

import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from radmeter import waits
from radmeter.config import Settings
from radmeter.database.connection import connect
from radmeter.database.dsn import of_connection
from radmeter.embedded import programs as postgresql
from radmeter.embedded.changes import NOTHING_NOTED, Changes, of_state
from radmeter.embedded.keeper import FAST_SHUTDOWN_SECONDS, try_lock
from radmeter.embedded.service_user import let_read, let_through, service_user
from radmeter.errors import StoreError, StoreUnavailable
from radmeter.os_errors import refused
from radmeter.printable import one_line
from radmeter.supervisor import last_lines

READY_SECONDS = 300.0  # after a crash it first replays WAL, up to max_wal_size
STOPPED_SECONDS = FAST_SHUTDOWN_SECONDS + 15.0
DATABASE = "radmeter"


@dataclass(frozen=True)
class Database:
    """A database that can be used. `embedded` is its server if that is the embedded one."""

    dsn: str
    embedded: "EmbeddedPostgresql | None" = None

    def complete_dsn(self) -> str:
        """Return a connection string that means the same for another user with other files and variables."""
        if self.embedded is not None:
            return self.dsn
        with connect(self.dsn) as connection:
            return of_connection(connection)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Give the database of the settings: the operator's own, or the embedded one. Start that if it does not run.

    Raises
    ------
    StoreError
        The embedded PostgreSQL cannot be started. The message ends with the last lines of its log.
    """
    if settings.dsn is not None:
        yield Database(settings.dsn)
        return
    log, changes = settings.logs / "postgresql.log", of_state(settings.state)
    with EmbeddedPostgresql(settings.postgresql, log=log, changes=changes) as server:
        yield Database(server.dsn(), server)


class EmbeddedPostgresql:
    """One user of the PostgreSQL in a directory. The server runs while it has a user, in any process."""

    def __init__(self, base: Path, log: Path | None = None, changes: Changes | None = None) -> None:
        self.base = base.absolute()
        self._changes = changes or NOTHING_NOTED
        self.log = self.base / "postgresql.log" if log is None else log
        self._users: int | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def dsn(self, database: str = DATABASE) -> str:
        """Return the connection string of one of its databases."""
        sockets = quote(str(postgresql.socket_directory(self.base)), safe="")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={sockets}&port=5432"

    def open(self) -> None:
        """Become a user of the server, and start it if it does not run."""
        try:
            self.base.mkdir(parents=True, exist_ok=True)
            self.base = self.base.resolve()
            self.log.parent.mkdir(parents=True, exist_ok=True)
            for name in ("users", "start", "keeper"):
                os.close(os.open(self.base / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600))
            if os.geteuid() == 0:
                _make_ready_for_root(self.base, self._changes)
            self._users = os.open(self.base / "users.lock", os.O_RDWR)
            with waits.waiting_for(
                "the end of the embedded PostgreSQL, which is stopping, to start it again"
            ):
                fcntl.flock(self._users, fcntl.LOCK_SH)
        except OSError as error:
            raise StoreError(f"the embedded PostgreSQL cannot be used: {refused(error)}") from error
        try:
            self.ensure_running()
        except BaseException:
            self.close()
            raise

    def ensure_running(self) -> None:
        """Start the server if it does not run, and wait until it answers."""
        start = os.open(self.base / "start.lock", os.O_RDWR)
        try:
            with waits.waiting_for("another command, which is starting the embedded PostgreSQL"):
                fcntl.flock(start, fcntl.LOCK_EX)
            with waits.waiting_for(self._what_starts()):
                self._start()
            with connect(self.dsn("postgres")) as connection:
                if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except (psycopg.Error, StoreUnavailable) as error:
            raise StoreUnavailable(
                f"the embedded PostgreSQL: {one_line(str(error))}", *last_lines(self.log)
            ) from error
        finally:
            os.close(start)

    def _start(self) -> None:
        started, deadline = False, time.monotonic() + READY_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise StoreUnavailable("the embedded PostgreSQL does not answer", *last_lines(self.log))
            if not self.kept():
                if started:
                    raise StoreError("the embedded PostgreSQL cannot be started", *last_lines(self.log))
                self._start_keeper()
                started = True
            time.sleep(0.02)

    def _what_starts(self) -> str:
        if (self.base / "data" / "PG_VERSION").exists():
            return f"the embedded PostgreSQL in {self.base} to start"
        return f"initdb, which makes the embedded PostgreSQL's files in {self.base}"

    def server_pid(self) -> int | None:
        """Return the server's process id, None if it does not run. A restart changes the id."""
        if not self.kept():
            return None
        pid = (self.base / "keeper.lock").read_text()
        return int(pid) if pid else None

    def close(self) -> None:
        """Stop using the server. If there is no other user, wait until it has stopped. May be called again."""
        if self._users is None:
            return
        os.close(self._users)
        self._users = None
        deadline = time.monotonic() + STOPPED_SECONDS
        with waits.waiting_for("the embedded PostgreSQL to stop"):
            while self.kept() and time.monotonic() < deadline:
                if not self._may_lock("users", fcntl.LOCK_EX) and self._may_lock("users", fcntl.LOCK_SH):
                    break  # others use the server, so it runs on
                time.sleep(0.02)

    def kept(self) -> bool:
        """Tell whether the server has a keeper, which starts the server again if it dies."""
        return not self._may_lock("keeper", fcntl.LOCK_SH)

    def _may_lock(self, name: str, how: int) -> bool:
        lock = os.open(self.base / f"{name}.lock", os.O_RDWR)
        try:
            return try_lock(lock, how)
        finally:
            os.close(lock)

    def _answers(self) -> bool:
        # A server whose keeper was killed still answers for a moment while it shuts down. It does not count.
        if self.server_pid() is None:
            return False
        try:
            connect(self.dsn("postgres"), connect_timeout=5).close()
        except StoreUnavailable:
            return False
        return True

    def _start_keeper(self) -> None:
        # The keeper inherits our lock, so from its start on everyone can see that there is a keeper.
        mark = os.open(self.base / "keeper.lock", os.O_RDWR)
        try:
            fcntl.flock(mark, fcntl.LOCK_EX)  # waits for processes that only check the lock (`kept`)
            os.truncate(mark, 0)
            with self.log.open("ab") as log:
                subprocess.run(
                    # -P: import no module from the working directory.
                    [sys.executable, "-P", "-m", "radmeter.embedded.keeper", self.base, self.log, str(mark)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[mark],
                    start_new_session=True,
                    check=True,
                )
        except (OSError, subprocess.CalledProcessError) as error:
            raise StoreError(f"the embedded PostgreSQL cannot be started: {error}") from error
        finally:
            os.close(mark)


def _make_ready_for_root(base: Path, changes: Changes = NOTHING_NOTED) -> None:
    """Give PostgreSQL, which refuses to run as root, a user of its own and access to its programs and data."""
    user = service_user(changes)
    assert user is not None
    programs = postgresql.binaries().resolve()
    let_through(user, [base, programs], changes)
    if not (programs / "postgres").stat().st_mode & stat.S_IXOTH:  # installed with a strict umask
        let_read(user, programs.parent, changes)
