"""`radmeter config` in a terminal."""

import os
import sys

import pexpect
import pytest

from radmeter.cli.config import COLUMNS


def shown(columns: int) -> list[str]:
    command = pexpect.spawn(
        sys.executable,
        ["-P", "-m", "radmeter", "config"],
        dimensions=(50, columns),
        env={
            **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
            "RADMETER_SYNC": "interval",
            "RADMETER_STATE": "/var/lib/radmeter",
            "NO_COLOR": "1",
        },
        encoding="utf-8",
        timeout=60,
    )
    command.expect(pexpect.EOF)
    command.close()
    assert command.exitstatus == 0
    return str(command.before).replace("\r", "").splitlines()


@pytest.mark.parametrize("columns", [80, 132])
def test_a_narrow_terminal_breaks_no_name_and_no_value(columns: int) -> None:
    lines = shown(columns)
    assert "RADMETER_STATE=/var/lib/radmeter  (RADMETER_STATE, default var)" in lines
    assert "RADMETER_SYNC=interval  (RADMETER_SYNC, default packet)" in lines
    assert "RADMETER_SESSION_PACKETS_PER_SECOND=5  (default)" in lines
    assert all(len(line) <= columns for line in lines)


def test_a_wide_terminal_has_a_table() -> None:
    header = next(line for line in shown(200) if "variable" in line)  # in bold
    assert [name for name in COLUMNS if name not in header] == []
