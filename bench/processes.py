"""Programs under test: started with an end in sight, and what the kernel knows of what they use."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radmeter.supervisor import end_with_parent

_TICKS = os.sysconf("SC_CLK_TCK")


class Child:
    """A process that ends with us, however we end."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        **options: Any,
    ) -> None:
        self.log = log
        output = log.open("ab") if log else None
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                preexec_fn=lambda: end_with_parent(signal.SIGKILL),
                start_new_session=True,  # Ctrl-C is for the benchmark, which then ends its children in order
                **({"stdout": output, "stderr": output} if output else {}),
                **options,
            )
        finally:
            if output:
                output.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> bytes:
        """Wait for the end and return the standard output."""
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"{self._process.args} ended with status {self._process.returncode}")
        return output

    def first_line(self) -> bytes:
        """Wait for the first line of the standard output and return it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def await_line(self, text: str, seconds: float = 30.0) -> None:
        """Wait until the log has a line with some text."""
        assert self.log is not None
        deadline = time.monotonic() + seconds
        while text not in (said := self.log.read_text(errors="replace")):
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"{self._process.args} does not get ready:\n{said}")
            time.sleep(0.02)

    def stop(self, seconds: float = 30.0) -> None:
        """End it as an operator would; kill it if it takes longer than it may."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self.running:
            self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


def free_port() -> int:
    """Return a UDP port of the loopback that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def on_one_core(pids: Iterable[int]) -> Iterator[None]:
    """Keep these processes and ourselves on one core for a while, where that is allowed."""
    everywhere = os.sched_getaffinity(0)
    kept = []
    try:
        with suppress(PermissionError):
            for pid in [os.getpid(), *pids]:
                os.sched_setaffinity(pid, {max(everywhere)})
                kept.append(pid)
        yield
    finally:
        for pid in kept:
            with suppress(OSError):  # ended meanwhile
                os.sched_setaffinity(pid, everywhere)


@dataclass(frozen=True)
class Use:
    """What a process and all its descendants have used so far, those included that have ended."""

    cpu_seconds: float
    written_bytes: int
    """Handed to write(2), of files and pipes; what is sent through sockets is not in it."""

    def __sub__(self, before: "Use") -> "Use":
        return Use(self.cpu_seconds - before.cpu_seconds, self.written_bytes - before.written_bytes)

    def __add__(self, other: "Use") -> "Use":
        return Use(self.cpu_seconds + other.cpu_seconds, self.written_bytes + other.written_bytes)


def use(pid: int) -> Use:
    """Read what the tree of processes under `pid` has used: proc(5), /proc/PID/stat and /proc/PID/io."""
    total = Use(0.0, 0)
    for one in _tree(pid):
        try:
            stat = _stat(one)
            io = Path(f"/proc/{one}/io").read_text()
        except OSError:
            continue  # ended meanwhile; its parent has its figures
        # utime, stime, and those of the children that were waited for
        ticks = sum(int(field) for field in stat[11:15])
        # Not write_bytes: it counts a whole folio, up to megabytes, for each first write into one (Linux 6).
        total += Use(ticks / _TICKS, int(io.split("wchar: ")[1].split("\n")[0]))
    return total


def device_written_bytes(directory: Path) -> int | None:
    """Return what the device of a directory has written so far, for everyone; None where it has no figures."""
    device = directory.stat().st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except OSError:
        return None
    return int(fields[6]) * 512  # sectors, of 512 bytes whatever the device has


def resident_bytes(pid: int) -> int:
    """Return the resident set of one process (/proc/PID/status, VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has ended")


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on; the second may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _tree(pid: int) -> Iterable[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
        except OSError:
            continue
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found
