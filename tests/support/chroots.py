"""A small Debian in which a test may change everything: an overlay over a cached chroot (scripts/chroot)."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Certificates of the network's own authority, if there is one.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SHARED = "/mnt/shared"

# The first process of the chroot's own process ids. bash takes over orphans and reaps them. What it mounts is gone when
# it ends, and so are all processes that were started in there.
FIRST = """
set -euo pipefail
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mkdir -p "$2/root$4"
mount --bind "$3" "$2/root$4"
mount -t proc proc "$2/root/proc"
mount --rbind /dev "$2/root/dev"
mount -t tmpfs tmpfs "$2/root/dev/shm" && chmod 1777 "$2/root/dev/shm"
mount -t tmpfs tmpfs "$2/root/run"
mkdir -p "$2/root/run/lock" && chmod 1777 "$2/root/run/lock"
ip link set lo up
echo ready
trap : TERM
while :; do sleep 3600 & wait $! || true; done
"""


class Chroot:
    """The running overlay. Its network is a loopback of its own, or that of this machine.

    `name` is a release, or a release and a use, as scripts/chroot takes it. `shared` is the directory of this machine
    that is /mnt/shared in there.
    """

    def __init__(self, name: str, base: Path, *packages: str, network: bool = False) -> None:
        made = subprocess.run(
            [ROOT / "scripts" / "chroot", name, *packages], stdout=subprocess.PIPE, text=True, check=True
        )
        self.lower = Path(made.stdout.strip())
        self.base = base
        self.shared = base / "shared"
        self.network = network
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        place = self.base / "overlay"
        place.mkdir()
        self.shared.mkdir()
        self._unshare = subprocess.Popen(
            [
                # However this process ends, all that is in there ends with it.
                *("setpriv", "--pdeathsig", "KILL"),
                *("unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child"),
                *(() if self.network else ("--net",)),
                *("bash", "-c", FIRST, "first", self.lower, place, self.shared, SHARED),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._unshare.stdout is not None
        if self._unshare.stdout.readline() != "ready\n":
            self._unshare.wait()
            raise AssertionError(f"the chroot {self.lower} does not start")
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        self._root = place / "root"
        self._enter = ["nsenter", "--target", children[0], "--mount", "--ipc", "--pid"]
        if not self.network:
            self._enter.append("--net")
        if self.network:
            shutil.copy(CERTIFICATES, self.shared / "certificates.crt")
            self.run("cat > /etc/resolv.conf", text=Path("/etc/resolv.conf").read_text())
        return self

    def __exit__(self, *_: object) -> None:
        self._unshare.kill()  # and with it, by --kill-child, everything in there
        self._unshare.wait()
        for started in self._started:
            started.wait()
        assert self._unshare.stdout is not None
        self._unshare.stdout.close()

    def bind(self, directory: Path, place: str) -> None:
        """Let a directory of this machine be at a place in there."""
        subprocess.run([*self._enter, "mount", "--bind", directory, f"{self._root}{place}"], check=True)

    def command(self, script: str, user: str = "root", groups: str = "") -> list[str | Path]:
        """Return the command of this machine that runs a script in there as a user, with further groups."""
        become: list[str] = []
        if user != "root":
            more = ["--init-groups"] if not groups else ["--groups", groups]
            become = ["setpriv", "--reuid", user, "--regid", user, *more, "--"]
        return [*self._enter, "chroot", self._root, *become, "bash", "-euo", "pipefail", "-c", script]

    def run(
        self,
        script: str,
        *,
        user: str = "root",
        text: str = "",
        fails: bool = False,
        seconds: float = 300,
        **environment: str,
    ) -> str:
        """Run a script in there and return what it prints, errors included. It must succeed, or with `fails` fail."""
        done = subprocess.run(
            self.command(script, user),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
            env={**self.environment(), **environment},
        )
        assert (done.returncode != 0) == fails, f"{script}\nends with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def start(
        self, script: str, log: Path, user: str, groups: str, environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        """Start a script in there, with its output in a file. It ends with the chroot at the latest."""
        with log.open("ab") as output:
            started = subprocess.Popen(
                self.command(script, user, groups),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**self.environment(), **environment},
            )
        self._started.append(started)
        return started

    def environment(self) -> dict[str, str]:
        """Return the variables of every program in there."""
        variables = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}
        if self.network:
            variables["PIP_CERT"] = f"{SHARED}/certificates.crt"
            variables |= {
                name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")
            }
        return variables
