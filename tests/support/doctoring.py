"""Runs `radmeter doctor`, and runs the command that it prints in a shell, as an operator would paste it."""

import json
import os
import re
import shlex
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
    note: str = ""


# What a remedy begins with. psql may be called by its path.
PROGRAMS = (
    "radmeter",
    "psql",
    "sudo",
    "sudoedit",
    "ssh",
    "ping",
    "pip",
    "ls",
    "mv",
    "uptime",
    "rm",
    "echo",
    "df",
    "timedatectl",
    "getent",
    "chmod",
    # What root runs instead of sudo.
    "systemctl",
    "runuser",
    "editor",
)
# A word that stands for something else, and SQL's own words.
PLACEHOLDER = re.compile(r"(?<![\w$'\"=-])(?:[A-Z]{4,}|\.\.)(?=[\s,]|$)")
SQL = re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|ALTER|CREATE|DROP|GRANT|REVOKE|VACUUM|SET)\b")


def fault_of(remedy: str, note: str) -> str | None:
    """Return why a remedy is not a command that can be pasted as it is, or a note not words. None: all is well."""
    if remedy:
        if subprocess.run(["bash", "-n", "-c", remedy], capture_output=True, check=False).returncode:
            return "not a command of a shell"
        words = shlex.split(remedy, comments=False)
        if any(word.startswith("#") and not word[1:].isdigit() for word in words):
            return "a comment in a command"
        program = next(word for word in words if not re.match(r"\w+=", word))
        if program == "export":
            return "a setting of the operator's shell, which no service gets"
        if Path(program).name not in PROGRAMS:
            return f"{program} is no program"
        if re.search(r"\bsed -i(?! --follow-symlinks)", remedy):
            return "an edit that makes a file of a link"
        unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", remedy)
        if SQL.search(unquoted):
            return "SQL that no program runs"
        if PLACEHOLDER.search(unquoted):
            return "a placeholder in a command"
    if note and (SQL.search(note) or not note.endswith((".", "?")) or not note[0].isupper()):
        return "a note that is no sentence"
    return None


def ask(dsn: str | None, *arguments: str | Path, **environment: str) -> list[Line]:
    """Return all findings."""
    result = radmeter(dsn, "doctor", "--format", "json", *arguments, **environment)
    assert result.exit_code in (0, 1, 3), result.errors
    assert "Traceback" not in result.errors
    findings = json.loads(result.output)["findings"]
    for each in findings:
        assert fault_of(each["remedy"], each["note"]) is None, (fault_of(each["remedy"], each["note"]), each)
        assert each["level"] in ("green", "unknown") or each["remedy"] or each["note"], each
    return [Line(*(each[name] for name in ("check", "level", "said", "remedy", "note"))) for each in findings]


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
