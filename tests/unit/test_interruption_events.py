"""The event with which `ship` and `jobs run` are told to end."""

import signal
import subprocess
import sys

import pytest

# A handler runs between two steps of the main thread: here while it has the lock that `wait` takes and lets go of.
PROGRAM = """
import os, signal, sys
from radmeter.interruption import set_by_signals
stop = set_by_signals()
with stop._cond:
    signal.raise_signal(int(sys.argv[1]))
assert stop.wait(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_of_a_wait_ends_it(number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(int(number))], timeout=60, check=False)
    assert done.returncode == 0
