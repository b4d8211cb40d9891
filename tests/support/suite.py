"""Runs the whole suite in a chroot of another release of Debian, with that release's programs.

`scripts/test --release RELEASE` runs it, with the standard library only: a run needs no installation outside the
chroot. The chroot has the network while it is set up. The tests have a loopback of their own, and nothing else.
"""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support.chroots import ROOT, SHARED, Chroot
from support.packages import cache, checkout

# What the suite needs of the release, without what scripts/setup would install in each run anew.
PACKAGES = (
    *("ca-certificates", "git", "iproute2", "locales", "openssl", "procps", "sudo"),
    *("python3", "python3-venv", "gcc", "libc6-dev"),
    *("freeradius", "freeradius-python3", "freeradius-postgresql", "freeradius-utils"),
    *("postgresql", "pgbouncer", "haproxy", "pgbackrest", "patroni", "python3-etcd"),
    *("etcd-server", "etcd-client"),
    *("systemd", "logrotate", "prometheus"),
)
PLACE = f"{SHARED}/radmeter"
INTERRUPTED = 128 + signal.SIGINT


def interruptible(
    command: Sequence[str | Path], environment: Mapping[str, str], leader: Callable[[int], int | None]
) -> int:
    """Run a command and return its exit status. Ctrl-C and SIGTERM go to the process group of its `leader` as SIGINT.

    `leader` returns that process for the command's own, or None while there is none: the command itself is ended then.
    The command is waited for, so that what it has started is stopped in order.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # or a terminal's Ctrl-C would end nsenter before the tests
    )
    interrupted = False

    def pass_on(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        inner = leader(process.pid)
        if inner is None:
            process.terminate()
        else:
            os.killpg(inner, signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return INTERRUPTED if interrupted else status if status >= 0 else 128 - status


def session_leader(nsenter: int) -> int | None:
    """Return the process that nsenter waits for, once it has a session of its own."""
    try:
        children = Path(f"/proc/{nsenter}/task/{nsenter}/children").read_text().split()
        return next((int(child) for child in children if os.getsid(int(child)) == int(child)), None)
    except OSError:
        return None


def copy_tree(to: Path) -> None:
    """Copy the checkout as it is, with what is not committed, and its history."""
    checkout(to)
    clone = to.with_name("clone")
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, clone], check=True)
    (clone / ".git").rename(to / ".git")
    subprocess.run(["git", "-C", to, "reset", "--quiet"], check=True)


def in_chroot(chroot: Chroot, script: str) -> int:
    """Run a script in the checkout of the chroot, with its output on this terminal. Return its exit status."""
    script = f"cd {PLACE} && {script}"
    command = chroot.command(f"exec setsid bash -euo pipefail -c {shlex.quote(script)}")
    return interruptible(command, chroot.environment(), session_leader)


def run(release: str, arguments: Sequence[str]) -> int:
    """Set up a chroot of a release and run scripts/test there. Return the exit status of the first that fails."""
    base = cache() / "suite" / release
    base.parent.mkdir(parents=True, exist_ok=True)
    with base.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"error: another run uses {base}: wait until it has ended", file=sys.stderr)
            return 2
        shutil.rmtree(base, ignore_errors=True)  # of a run that was killed
        base.mkdir()
        # What pip has fetched outlives the run.
        wheels = cache() / "suite" / "pip"
        wheels.mkdir(exist_ok=True)
        try:
            print(f"a chroot of {release}: making or completing it takes minutes the first time", flush=True)
            with Chroot(f"{release}-suite", base, *PACKAGES, network=True) as chroot:
                copy_tree(chroot.shared / "radmeter")
                # On the disk, as on other machines. The rest of what changes in there is in memory.
                temporary = chroot.shared / "tmp"
                temporary.mkdir()
                temporary.chmod(0o1777)
                chroot.bind(temporary, "/tmp")
                (chroot.shared / "pip").mkdir()
                chroot.bind(wheels, f"{SHARED}/pip")
                setup = f"PIP_CACHE_DIR={SHARED}/pip ./scripts/setup dev && ./scripts/setup ha"
                tests = f"ip link set lo up && exec ./scripts/test {shlex.join(arguments)}"
                return in_chroot(chroot, setup) or in_chroot(
                    chroot, f"exec unshare --net bash -euo pipefail -c {shlex.quote(tests)}"
                )
        finally:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(run(sys.argv[1], sys.argv[2:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except subprocess.CalledProcessError as failed:
        # The program has said why.
        sys.exit(failed.returncode)
