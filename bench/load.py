"""Runs the load generator: `load.c`, compiled at the start, or `load_python.py` if there is no compiler."""

import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.processes import Child

NO_LIMIT = 1 << 62
ANY_NUMBER = 4096  # in flight: as many as the identifiers allow
SOURCE = Path(__file__).with_name("load.c")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one load. Latencies are in seconds."""

    sent: int
    acknowledged: int
    sent_again: int
    refused: int
    counted: int
    counted_seconds: float
    cpu_seconds: float
    real_time: bool
    """Whether the generator had real-time priority, for which it asks at a fixed rate."""
    latency_seconds: dict[str, float]
    each_second: list[int]

    @property
    def rate(self) -> float:
        """Acknowledged packets a second, after the warm-up."""
        return self.counted / self.counted_seconds if self.counted_seconds > 0 else 0.0


class Generator:
    """The load generator, ready to be started."""

    def __init__(self, directory: Path) -> None:
        self.command = [sys.executable, "-m", "bench.load_python"]
        self.language = "Python"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler:
            program = directory / "load"
            subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
            self.command, self.language = [str(program)], "C"

    @contextmanager
    def echo(self) -> Iterator[int]:
        """Run a program that only answers packets, for the block; yield its port."""
        child = Child([*self.command, "echo"], stdout=subprocess.PIPE)
        try:
            yield int(child.first_line())
        finally:
            child.kill()

    def start(
        self,
        packets: Iterable[bytes],
        port: int,
        *,
        in_flight: int = ANY_NUMBER,
        rate: float = 0.0,
        seconds: float,
        warm_up: float = 0.0,
        guard: int = NO_LIMIT,
        sources: int = 1,
        allowed: int = NO_LIMIT,
    ) -> "Load":
        """Begin to send. The parameters are those of load.c."""
        options = [str(value) for value in (port, in_flight, rate, seconds, warm_up, guard, sources)]
        return Load(self.command, packets, options, allowed)


class Load:
    """A load that is running."""

    def __init__(
        self, command: list[str], packets: Iterable[bytes], options: list[str], allowed: int
    ) -> None:
        # In memory, because the disk is part of what is measured.
        self._packets = os.memfd_create("packets")
        self._control_file = os.memfd_create("control")
        with open(self._packets, "wb", closefd=False) as file:  # a descriptor
            for part in packets:
                file.write(part)
        os.ftruncate(self._control_file, mmap.PAGESIZE)
        self._control = mmap.mmap(self._control_file, mmap.PAGESIZE)
        self.allow(allowed)
        self._child = Child(
            [*command, str(self._packets), str(self._control_file), *options],
            stdout=subprocess.PIPE,
            pass_fds=(self._packets, self._control_file),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()
        self._control.close()
        os.close(self._packets)
        os.close(self._control_file)

    def allow(self, count: int) -> None:
        """Let the generator send up to `count` packets, counted from its start."""
        struct.pack_into("q", self._control, 0, count)

    def stop(self) -> None:
        """Send no new packets."""
        struct.pack_into("q", self._control, 8, 1)

    @property
    def sent(self) -> int:
        return int(struct.unpack_from("q", self._control, 16)[0])

    @property
    def acknowledged(self) -> int:
        return int(struct.unpack_from("q", self._control, 24)[0])

    @property
    def running(self) -> bool:
        return self._child.running

    def finish(self) -> Outcome:
        """Wait for the end and return the result. Raises RuntimeError if a packet was never answered."""
        output = self._child.output()
        found: dict[str, Any] = json.loads(output)
        outcome = Outcome(**found)
        if outcome.acknowledged != outcome.sent:
            raise RuntimeError(f"{outcome.sent - outcome.acknowledged} of {outcome.sent} were never answered")
        return outcome
