"""Tries to log in to a service's database as the service does: with its table of the configuration file, as its user.

A service that waits for its database looks like one that has nothing to do. Only its log says which error it gets.
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psycopg

from radmeter import output, waits
from radmeter.config import LIBPQ_VARIABLES, Settings
from radmeter.database.connection import connect, explained_errors
from radmeter.doctor import login_faults
from radmeter.errors import RadmeterError
from radmeter.ingest import database_of_journal
from radmeter.plugin import config_file
from radmeter.secret_files import close_memory

# It connects within 5 s for each host.
SECONDS = 12
USES = ("dsn", "password_file", "journal")
# With these in its environment or on its command line, a service may not use the file's database.
CHOOSES = ("RADMETER_DSN", "RADMETER_PASSWORD_FILE", *LIBPQ_VARIABLES)
OPTIONS = ("--dsn", "--config")
MAY_SHIP = """
SELECT current_user::text, radmeter.database_id()::text,
       has_function_privilege('radmeter.open_segments(text, json)', 'EXECUTE')"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of it.

    Attributes
    ----------
    fault
        Why the service cannot use its database. "": it can.
    asked
        The parameters of the connection, without the password.
    source
        Where the connection string comes from: the file, and the table if it is in one.
    password_file
        The file that has the password. "": none.
    """

    fault: str
    source: str
    password_file: str
    asked: dict[str, str] = field(default_factory=dict)


def said(trial: Trial, program: str) -> tuple[str, str]:
    """Return why a service cannot use its database and which setting may be wrong, and what to do, in words."""
    setting = login_faults.named(trial.source)
    password = f"the password in {trial.password_file}" if trial.password_file else ""
    asks = login_faults.question(trial.fault, trial.asked, setting, password)
    fault = trial.fault.rstrip(".")
    note = f"The service reads its settings when it starts (`radmeter {program}`): correct them first, then restart it."
    if login_faults.PASSWORD.search(fault):
        change = f"`\\password {trial.asked.get('user')}` in psql"
        note += f" If they are right, the role has another one on the server: {change}."
    return f"{fault}. {asks}" if asks else f"{fault} ({setting})", note


def trial(pid: int, program: str, file: Path | None) -> Trial | None:
    """Return what a service would get from its database; None if that cannot be found out.

    Only root can be another user. Nothing is taken from the service's process but who it is: another user's process
    must not choose what root reads.

    Parameters
    ----------
    program
        The service's command, whose table of the file counts: ``ship`` or ``jobs``.
    file
        The configuration file in force.
    """
    who = _who(pid)
    if file is None or who is None or _chooses_otherwise(pid, file):
        return None
    uid, gid, groups = who
    if os.geteuid() not in (0, uid):
        return None
    other = os.geteuid() == 0 and uid != 0
    try:
        with waits.waiting_for(f"the database of `radmeter {program}`"):
            done = subprocess.run(
                [sys.executable, "-I", "-B", "-m", "radmeter.doctor.service_trial", program, str(file)],
                user=uid if other else None,
                group=gid if other else None,
                extra_groups=groups if other else None,
                env={"PATH": os.defpath, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=True,
            )
        found = json.loads(done.stdout)
        return None if found is None else Trial(**found)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def _who(pid: int) -> tuple[int, int, Collection[int]] | None:
    """Return the user, the group and the other groups of a process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        return int(fields["Uid"][1]), int(fields["Gid"][1]), [int(each) for each in fields["Groups"]]
    except (OSError, KeyError, IndexError, ValueError):
        return None


def _chooses_otherwise(pid: int, file: Path) -> bool:
    """Return whether a process may use another database than the one that the configuration file names."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return True
    given = {name: value for name, _, value in (each.partition("=") for each in variables) if value}
    if given.get(config_file.VARIABLE, str(file)) != str(file):
        return True
    return any(name in given for name in CHOOSES) or any(word.startswith(OPTIONS) for word in words)


def _tried(program: str, file: str) -> Trial | None:
    settings = Settings.load({}, config=file, program=program, programs=config_file.COMMANDS, uses=())
    if settings.dsn is None:
        return None  # the embedded one
    found = Trial(
        fault="",
        source=settings.source("dsn"),
        password_file=str(settings.password_file or ""),
        asked=login_faults.parameters(settings.dsn),
    )
    try:
        settings = Settings.load({}, config=file, program=program, programs=config_file.COMMANDS, uses=USES)
        with connect(settings.dsn or "", any_pooler=True) as connection:
            return replace(found, fault=_may_ship(connection, settings.journal) if program == "ship" else "")
    except (RadmeterError, psycopg.Error) as error:
        return replace(found, fault=login_faults.reason(error))


def _may_ship(connection: psycopg.Connection, journal: Path) -> str:
    """Return why the role that is connected may not ship a journal here; "" if it may."""
    with explained_errors("radmeter_ingest"):
        row = connection.execute(MAY_SHIP.encode()).fetchone()
    assert row is not None
    user, identity, may = row
    if not may:
        return f"role {user!r} may not ingest: grant radmeter_ingest to it"
    known = database_of_journal.remembered(journal)
    if known is not None and known != identity:
        return f"it is the database {identity}, and the journal ships to {known}"
    return ""


if __name__ == "__main__":
    close_memory()
    result = _tried(*sys.argv[1:3])
    output.say(json.dumps(None if result is None else asdict(result)))
