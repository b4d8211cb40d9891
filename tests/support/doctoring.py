"""Runs `radmeter doctor`, and runs the command that it prints in a shell, as an operator would paste it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.commands import radmeter

NOWHERE = "/nonexistent/raddb"


@dataclass(frozen=True)
class Line:
    """A finding."""

    check: str
    level: str
    said: str
    remedy: str


def ask(dsn: str | None, *arguments: str | Path, **environment: str) -> list[Line]:
    """Return all findings."""
    result = radmeter(dsn, "doctor", "--format", "json", *arguments, **environment)
    assert result.exit_code in (0, 1, 3), result.errors
    assert "Traceback" not in result.errors
    findings = json.loads(result.output)["findings"]
    return [Line(each["check"], each["level"], each["said"], each["remedy"]) for each in findings]


def one(lines: list[Line], check: str) -> Line:
    """Return the only finding of a check."""
    (line,) = [each for each in lines if each.check == check]
    return line


def faults(
    dsn: str | None, *checks: str, arguments: tuple[str | Path, ...] = (), **environment: str
) -> list[Line]:
    """Return the findings of some checks that are not green."""
    return [
        line
        for line in ask(dsn, *(f"--only={check}" for check in checks), *arguments, **environment)
        if line.check in checks and line.level != "green"
    ]


def paste(command: str, dsn: str | None = None, **environment: str) -> str:
    """Run a command in a shell, as an operator who answers yes; return its output."""
    command = command.replace("radmeter migrate up", "radmeter migrate up --yes")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        ["bash", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={**inherited, "PATH": path, **({"RADMETER_DSN": dsn} if dsn else {}), **environment},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout
