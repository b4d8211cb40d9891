"""A journal in a process whose system calls fail, one after the other: what does it acknowledge, and what is kept?

Run as a program with failing_calls.c preloaded: it prints what it found as JSON.
"""

import ctypes
import errno
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from radmeter.errors import JournalError
from radmeter.plugin.journal import writer
from radmeter.plugin.journal.reader import JournalReader

CALLS = ("fdatasync", "fsync", "pwrite", "rename", "ftruncate")
# 0: the write is cut short.
ERRORS = {"pwrite": (errno.EIO, errno.ENOSPC, 0)}
FOR_EVER = 1 << 30
# Syncs take no time there.
MEMORY = Path("/dev/shm")
SEGMENT_BYTES = 4096
PACKETS = 14


@dataclass(frozen=True)
class Case:
    """A call that fails from its number `first` to its number `last`, with an error; what came of it."""

    call: str
    first: int
    last: int
    error: int
    acknowledged: int = 0
    refused: int = 0
    fault: str = ""


def cases(library: Path) -> list[Case]:
    """Run all cases in a process with the library preloaded. Return them with what came of each."""
    done = subprocess.run(
        [sys.executable, "-m", "support.failing_calls"],
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Case(**case) for case in json.loads(done.stdout)]


def compiled(directory: Path) -> Path:
    """Compile the library; return its path."""
    library = directory / "failing_calls.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def _text(number: int) -> str:
    return json.dumps([["Number", str(number)], ["Padding", "x" * 700]])


def _write(directory: Path) -> tuple[list[int], int]:
    """Append packets over two starts of radiusd. Return those that were acknowledged, and how many were refused."""
    acknowledged, refused = [], 0
    for start in range(2):
        journal = writer.JournalWriter(directory, sync="packet", segment_bytes=SEGMENT_BYTES)
        for number in range(start * PACKETS, (start + 1) * PACKETS):
            try:
                journal.append(number, _text(number))
                acknowledged.append(number)
            except JournalError:
                refused += 1
        with suppress(JournalError):
            journal.close()
    return acknowledged, refused


def _kept(directory: Path) -> list[int]:
    """Return the numbers of the packets in the journal."""
    reader = JournalReader(directory)
    found, last = [], 0
    try:
        for segment in reader.segments():
            after = 0
            while entries := reader.read(segment, after, 1000):
                for entry in entries:
                    assert entry.seq > last, f"number {entry.seq} follows {last}"
                    last = entry.seq
                    found.append(int(json.loads(entry.pairs)[0][1]))
                after = last
        unreadable = reader.unreadable()
        assert not unreadable, unreadable
    finally:
        reader.close()
    return found


def _run(library: ctypes.CDLL, case: Case) -> tuple[Case, int]:
    with TemporaryDirectory(prefix="radmeter-test-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        directory = Path(name) / "journal"
        library.fail_calls(case.call.encode(), case.first, case.last, case.error)
        acknowledged, refused = _write(directory)
        calls = library.calls_made()
        library.fail_calls(b"", 0, 0, 0)
        fault = ""
        try:
            found = _kept(directory)
            if len(set(found)) < len(found):
                fault = f"kept twice: {found}"
            elif lost := sorted(set(acknowledged) - set(found)):
                fault = f"acknowledged and not kept: {lost}"
        except (AssertionError, JournalError) as error:
            # A journal that could not be made at all has nothing to lose.
            fault = f"{type(error).__name__}: {error}" if acknowledged else ""
    said = {**asdict(case), "acknowledged": len(acknowledged), "refused": refused, "fault": fault}
    return Case(**said), calls


def main() -> None:
    """Let each call fail: each one once, and all from each one on."""
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    writer.RETRY_SECONDS = 0.0
    done = []
    for call in CALLS:
        whole, calls = _run(library, Case(call, 0, 0, 0))
        done.append(whole)
        for error in ERRORS.get(call, (errno.EIO,)):
            for first in range(1, calls + 1):
                for last in (first, FOR_EVER):
                    done.append(_run(library, Case(call, first, last, error))[0])
    print(json.dumps([asdict(case) for case in done]))


if __name__ == "__main__":
    main()
