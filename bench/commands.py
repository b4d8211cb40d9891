"""Measures how light radmeter is: the processor time of commands that people wait for, and the size on disk.

Most of the time is loading.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import sizes
from bench.database import Databases

Say = Callable[[str], None]
RUNS = 20
USER = "guest-1"
COMMANDS = {
    "--help": ("--help",),
    "usage user": ("usage", "user", USER),
    "sessions": ("sessions", "--user", USER),
    "routers list": ("routers", "list"),
    "status": ("status", "--sample", "0"),
}
# Seconds on a machine of 2020. Commands without a target are shown beside them.
TARGETS = {"--help": 0.15, "usage user": 0.35}


def measure(databases: Databases, private: Path, say: Say) -> dict[str, Any]:
    """Return the seconds of processor time of each run of each command, and the MB of each kind of installation."""
    found: dict[str, Any] = {"seconds": _times(databases, say)}
    say("installed size")
    return found | {"megabytes": sizes.measure(private)}


def _times(databases: Databases, say: Say) -> dict[str, list[float]]:
    with databases.empty("radmeter") as name:
        with databases.connect(name) as connection:
            connection.execute(
                "INSERT INTO public.user_quota_usage VALUES (%s, date_trunc('month', now()), 1, 1)", (USER,)
            )
        dsn = f"host={databases.socket_directory} port=5432 dbname={name} user=postgres"
        say("processor time of commands")
        found: dict[str, list[float]] = {each: [] for each in COMMANDS}
        for _ in range(RUNS):  # all commands in each turn, so that other load affects them alike
            for each, arguments in COMMANDS.items():
                found[each].append(_seconds(arguments, dsn))
    return found


def _seconds(arguments: tuple[str, ...], dsn: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {"RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [Path(sys.executable).with_name("radmeter"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    # status exits with 1: there is no journal.
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise RuntimeError(f"radmeter {' '.join(arguments)}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
