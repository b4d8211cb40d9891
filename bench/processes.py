"""Starts and ends the programs under test, and reads from the kernel what they use."""

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
    """A process that ends when the benchmark ends, in whatever way that ends."""

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
        to_log: dict[str, Any] = {"stdout": output, "stderr": output} if output else {}
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                preexec_fn=lambda: end_with_parent(signal.SIGKILL),
                start_new_session=True,  # Ctrl-C is for the benchmark, which then ends its children in order
                **to_log,
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

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def output(self) -> bytes:
        """Wait for the end and return the standard output."""
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.returncode}")
        return output

    def first_line(self) -> bytes:
        """Wait for the first line of the standard output and return it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def await_line(self, text: str, seconds: float = 30.0) -> None:
        """Wait until the log has a line with this text."""
        assert self.log is not None
        deadline = time.monotonic() + seconds
        while text not in (said := self.log.read_text(errors="replace")):
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"{self._process.args!r} does not get ready:\n{said}")
            time.sleep(0.02)

    def stop(self, seconds: float = 30.0) -> None:
        """End it as an operator would; kill it after `seconds`."""
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
    """Return a free UDP port of the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def on_one_core(pids: Iterable[int]) -> Iterator[None]:
    """Keep these processes and this one on one core for the block, if that is permitted."""
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
    """What a process and all its descendants have used so far, including those that have ended."""

    cpu_seconds: float
    written_bytes: int
    """Bytes passed to write(2), for files and pipes. Bytes sent through sockets are not included."""

    def __sub__(self, before: "Use") -> "Use":
        return Use(self.cpu_seconds - before.cpu_seconds, self.written_bytes - before.written_bytes)

    def __add__(self, other: "Use") -> "Use":
        return Use(self.cpu_seconds + other.cpu_seconds, self.written_bytes + other.written_bytes)


def use(pid: int) -> Use:
    """Return what the process `pid` and its descendants have used: proc(5), /proc/PID/stat and /proc/PID/io."""
    total = Use(0.0, 0)
    for one in _tree(pid):
        try:
            stat = _stat(one)
            io = Path(f"/proc/{one}/io").read_text()
        except OSError:
            continue  # it has ended, and its parent's figures include it
        # utime, stime, and those of children that have ended
        ticks = sum(int(field) for field in stat[11:15])
        # Not write_bytes: it counts a whole folio, up to megabytes, at the first write into it (Linux 6).
        total += Use(ticks / _TICKS, int(io.split("wchar: ")[1].split("\n")[0]))
    return total


def cpu_seconds(pid: int) -> float:
    """Return the processor time of one process so far; 0 if it has ended (/proc/PID/stat, utime and stime)."""
    try:
        return sum(int(field) for field in _stat(pid)[11:13]) / _TICKS
    except OSError:
        return 0.0


def device_written_bytes(directory: Path) -> int | None:
    """Return the bytes that a directory's device has written so far, for all programs; None if it has no figures."""
    device = directory.stat().st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except OSError:
        return None
    return int(fields[6]) * 512  # the kernel's sectors have 512 bytes on every device


def resident_bytes(pid: int) -> int:
    """Return the resident set of one process (/proc/PID/status, VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has ended")


def anonymous_bytes(pid: int) -> int:
    """Return the memory of a process and its descendants that is no file's and not shared (/proc/PID/smaps_rollup)."""
    total = 0
    for one in _tree(pid):
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue  # it has ended
        total += int(text.partition("\nAnonymous:")[2].split()[0]) * 1024
    return total


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on. The second may contain any text."""
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
