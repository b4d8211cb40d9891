"""Signals interrupt only where that does no harm, and never the end of a process."""

import os
import signal
import subprocess
import sys

import pytest

from radmeter.interruption import Interrupted, Interruption

ENDS = """
import atexit, os, signal, sys
from radmeter.interruption import Interruption
def again():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
with Interruption(to_the_end=True):
    again()
again()
atexit.register(again)
sys.exit(130)
"""


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_part_that_must_not_break_is_finished_and_interrupted_behind_it() -> None:
    done = []

    def work(interruption: Interruption) -> None:
        with interruption.may_break():
            with interruption.unbroken():
                interrupt()
                done.append("within")
            done.append("behind")

    with Interruption() as interruption, pytest.raises(Interrupted):
        work(interruption)
    assert done == ["within"]


def test_such_a_part_outside_of_a_block_that_may_break_only_counts() -> None:
    with Interruption() as interruption:
        with interruption.unbroken():
            interrupt()
        assert interruption.count == 1


def test_after_an_interruption_no_signal_changes_how_the_process_ends() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
