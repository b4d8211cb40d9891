"""Temporary PostgreSQL servers for tests: the embedded 18, and those that are installed on the machine."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

from radmeter.embedded import server
from radmeter.embedded.programs import binaries, server_user
from radmeter.schema import upgrade
from radmeter.supervisor import end_with_parent

Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST_SUPPORTED = 15
TEMPLATE = "radmeter_template"
START_SECONDS = 60.0

# The tests make and drop hundreds of databases. In memory that takes a sixth of the time, if there is room.
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30

# Nothing here is needed after the tests, so nothing has to reach the disk.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # names the socket only
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "autovacuum": "off",  # so that plans are the same in every run, and nobody uses the template when it is cloned
    # Debian's has it, the embedded one has not. With the estimates of tables that were never analysed it compiles
    # statements that take a millisecond, which took more than half of the servers' processor time.
    "jit": "off",
    "deadlock_timeout": "200ms",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


def machines_own() -> dict[int, Path]:
    """Return the directories of programs that the machine has, by the major version, the oldest first."""
    found = {
        int(programs.parent.name): programs
        for programs in Path("/usr/lib/postgresql").glob("*/bin")
        if programs.parent.name.isdigit() and (programs / "initdb").exists()
    }
    return {major: found[major] for major in sorted(found) if major >= OLDEST_SUPPORTED}


def programs_of_the_release() -> Path:
    """Return the directory of the programs that the release of Debian has; of the oldest, if there are more."""
    # If there is none, the tests fail at this path and not while they are collected.
    return next(iter(machines_own().values()), Path(f"/usr/lib/postgresql/{OLDEST_SUPPORTED}/bin"))


def installed() -> dict[str, Path]:
    """Return the directories of programs: ``postgresql-18`` (embedded) first, then the machine's own."""
    own = {f"postgresql-{major}": programs for major, programs in machines_own().items()}
    return {"postgresql-18": binaries()} | {name: own[name] for name in own if name != "postgresql-18"}


class Server:
    """A PostgreSQL server in a temporary directory. It ends when this process ends, in whatever way."""

    def __init__(self, programs: Path, **settings: str) -> None:
        self.programs = programs
        self._settings = {**SERVER_SETTINGS, **settings}
        self.base = temporary_directory()
        self.log = self.base / "postgresql.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.identity = unprivileged(self.base)
        self.environment: dict[str, str] = {}  # for the server and the commands that it runs

    def __enter__(self) -> Self:
        try:
            self._run(
                "initdb",
                f"--pgdata={self.base / 'data'}",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth-local=trust",
                "--auth-host=reject",
                "--no-sync",
            )
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def dsn(self, database: str = "postgres") -> str:
        """Return the connection string of a database."""
        place = f"host={quote(str(self.base), safe='')}&port={self._settings['port']}"
        return f"postgresql://postgres@/{quote(database)}?{place}"

    def start(self) -> None:
        """Start the server, also again after `stop`, and wait until it answers."""
        settings = {**self._settings, "unix_socket_directories": str(self.base)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.base / "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for pytest, which then stops the server
                preexec_fn=lambda: end_with_parent(signal.SIGQUIT),
                **self.identity,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"PostgreSQL does not start: {error}\n{self.log.read_text()}"
                    ) from error
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server. SIGINT ends its connections in order; SIGQUIT is like a crash."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
            raise

    def base_backup(self) -> Path:
        """Take a base backup of the running server. Return its directory."""
        backup = self.base / f"backup-{secrets.token_hex(4)}"
        self._run(
            "pg_basebackup", f"--dbname={self.dsn()}", f"--pgdata={backup}", "--checkpoint=fast", "--no-sync"
        )
        return backup

    def cold_copy(self) -> Path:
        """Stop the server, copy its data directory, and start it again. Return the copy."""
        self.stop()
        copy = self.base / f"backup-{secrets.token_hex(4)}"
        subprocess.run(["cp", "-a", self.base / "data", copy], check=True)
        self.start()
        return copy

    def restore(self, backup: Path) -> None:
        """Put a backup in the place of the server's data, as if its disk had died. The backup stays."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.base / "data")
        subprocess.run(["cp", "-a", backup, self.base / "data"], check=True)
        self.start()

    def close(self) -> None:
        """Stop the server and delete its directory."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.base, ignore_errors=True)

    def make_template(self) -> None:
        """Make the database that `clone` copies, with the newest schema."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        upgrade.upgrade(self.dsn(TEMPLATE))

    @contextmanager
    def clone(self, template: str = TEMPLATE) -> Iterator[str]:
        """Make a copy of a database for the block; yield its connection string. It is dropped even if it is in use."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            # Copied by the file: half of the processor time of writing each page to the log, and the first connection
            # finds a cache of the catalogs.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
            if template == TEMPLATE:
                # The privileges of a database are not copied. These are sql/roles.sql's.
                connection.execute(
                    f"""REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC;
                        GRANT TEMPORARY ON DATABASE {name} TO radmeter_owner"""
                )
        try:
            yield self.dsn(name)
        finally:
            if self._process is None:
                self.start()  # the test has stopped the server
            with psycopg.connect(self.dsn(), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def small_disk(self, megabytes: int) -> Iterator[Path]:
        """Mount a small file system for the block; yield a directory on it that the server's user owns.

        Raises
        ------
        PermissionError
            It cannot be mounted. Only root can do so, and not everywhere.
        """
        disk = self.base / f"disk-{secrets.token_hex(4)}"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "radmeter-test", str(disk)]
        mounted = subprocess.run(command, capture_output=True, check=False)
        if mounted.returncode:
            raise PermissionError(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
        try:
            place = disk / "tables"
            place.mkdir(mode=0o700)
            if self.identity:
                os.chown(place, self.identity["user"], self.identity["group"])
            yield place
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=self._environment(),
            check=False,
            **self.identity,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout.decode(errors='replace')}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **self.environment}


def temporary_directory() -> Path:
    """Make a directory for servers, in memory if there is room."""
    return Path(tempfile.mkdtemp(prefix="radmeter-test-", dir=_roomy_directory()))


def unprivileged(base: Path) -> dict[str, Any]:
    """Give a directory to the user that PostgreSQL runs as; return the arguments of `subprocess.Popen` for that user.

    They are empty unless we are root: PostgreSQL refuses to run as root.
    """
    if os.geteuid() != 0:
        return {}
    server._make_ready_for_root(base)
    user = server_user()
    assert user is not None
    os.chown(base, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def major_version(dsn: str) -> int:
    """Return the major version of the server behind a connection string."""
    with psycopg.connect(dsn) as connection:
        match = re.match(r"\d+", connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]
    assert match is not None
    return int(match[0])


def _roomy_directory() -> Path | None:
    """Return the memory file system if it has room; None: the default directory for temporary files."""
    try:
        roomy = shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    except OSError:
        roomy = False
    return MEMORY if roomy and os.access(MEMORY, os.W_OK) else None
