"""No process of the same user gets at the passwords of a service."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from radmeter.secret_files import close_memory

NOBODY = 65534
PR_SET_DUMPABLE = 4

# Says whether the memory is open when the settings, and with them the password, are read.
WHEN_READ = """
import ctypes, sys
from radmeter import config
from radmeter.cli.main import main
def load(*_, **__):
    print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    sys.exit(0)
config.Settings.load = load
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["ship", "jobs run"])
def test_a_service_closes_its_memory_before_it_reads_the_password(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHEN_READ, *command.split()], capture_output=True, text=True, check=True
    )
    assert done.stdout == "dumpable 0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("closed", [True, False])
def test_a_process_of_the_same_user_cannot_open_closed_memory(closed: bool) -> None:
    ready, says_ready = os.pipe()
    goes_on, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # the change of user closed it
        if closed:
            close_memory()
        os.write(says_ready, b".")
        os.read(goes_on, 1)
        os._exit(0)
    try:
        assert os.read(ready, 1) == b"."
        memory = Path(f"/proc/{child}/mem")
        opened = subprocess.run(
            ["bash", "-c", f"exec 3<> {memory}"], user=NOBODY, group=NOBODY, extra_groups=(), check=False
        )
        assert (opened.returncode != 0) == closed
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for descriptor in (ready, says_ready, goes_on):
            os.close(descriptor)
