"""A large export takes no more memory than a small one: `scripts/bench --parts exports` has the large figures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.exported import manifest
from support.servers import Connection

from bench.exports import FILL

ROWS = (20_000, 200_000)
# An interpreter's heap is not the same in each run.
ALLOWED_MB = 12


def resident_mb(database: str, form: str, file: Path) -> float:
    """Export the sessions of a month; return what the program had resident at most."""
    program = subprocess.Popen(
        [Path(sys.executable).with_name("radmeter"), "billing", "export", "--period", "2026-10", "--what", "sessions",
         "--format", form, "-o", file],
        env={"RADMETER_DSN": database, "RADMETER_STATE": "/nonexistent", "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    assert program.returncode == 0
    return used.ru_maxrss / 1024


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_rows(
    database: str, connection: Connection, tmp_path: Path, form: str
) -> None:
    found: list[float] = []
    for count in ROWS:
        if found:
            connection.execute("TRUNCATE radacct, routers, radmeter.tenants, radmeter.router_tenant,"
                               " radmeter.session_slice CASCADE")  # fmt: skip
        for statement in FILL.format(sessions=count).split(";"):
            connection.execute(statement.encode())
        found.append(resident_mb(database, form, tmp_path / "x"))
        # The router that changes hands divides no session: none of them lasts over that midnight but one in ten.
        assert manifest(tmp_path / "x")["rows"] >= count
    assert found[1] - found[0] < ALLOWED_MB
