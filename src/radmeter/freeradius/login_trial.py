"""Tries to ask the database about a login as FreeRADIUS does: by its connection string, as its user."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg

from radmeter import output, waits
from radmeter.config import LIBPQ_VARIABLES
from radmeter.database.connection import connect, explained_errors
from radmeter.errors import RadmeterError, UnusableDsn
from radmeter.freeradius.owner import Owner
from radmeter.printable import one_line
from radmeter.secret_files import close_memory

# It connects within 5 s for each host.
SECONDS = 20
# What libpq reads besides.
FURTHER = ("HOME", "PGPASSFILE", "PGPASSWORD", "PGSSLMODE", "PGSSLROOTCERT")
# Of nobody, in hexadecimal: `radmeter login trial`.
NAME = b"radmeter login trial".hex()
_AUTHORIZE = "SELECT attribute, value FROM radmeter.authorize(%s, '', '', '', '', '')"


def fault(dsn: str, user: Owner | None, environment: Mapping[str, str]) -> str | None:
    """Return why logins cannot ask a database; "" if they can, None if it cannot be found out. Changes nothing.

    Parameters
    ----------
    dsn
        The connection string in FreeRADIUS's module.
    user
        As whom to try it; None: as this process.
    environment
        The variables of FreeRADIUS's process, of which libpq reads some.
    """
    other = user is not None and user.uid != os.geteuid()
    home = "/nonexistent"
    with suppress(KeyError):
        home = pwd.getpwuid(user.uid if user else os.geteuid()).pw_dir
    libpq = {name: value for name, value in environment.items() if name in {*LIBPQ_VARIABLES, *FURTHER}}
    try:
        with waits.waiting_for("the database of logins"):
            done = subprocess.run(
                [sys.executable, "-I", "-B", "-m", "radmeter.freeradius.login_trial"],
                user=user.uid if user and other else None,
                group=user.gid if user and other else None,
                extra_groups=user.groups if user and other else None,
                env={"PATH": os.defpath, "HOME": home, "LC_ALL": "C.UTF-8", **libpq},
                cwd="/",
                start_new_session=True,
                input=json.dumps(dsn).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=True,
            )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _tried(dsn: str) -> str:
    try:
        with (
            connect(dsn, any_pooler=True, autocommit=False) as connection,
            explained_errors("radmeter_login"),
        ):
            rows = connection.execute(_AUTHORIZE, (NAME,)).fetchall()
            connection.rollback()
    except UnusableDsn:
        return "radius_db is not a connection string"
    except (RadmeterError, psycopg.Error) as error:
        return one_line(str(error)) + _passfile(dsn)
    if ("Tmp-String-9", "error") in rows:
        return "the database could not judge a login: PostgreSQL's log has the reason (radmeter.authorize)"
    return ""


def _passfile(dsn: str) -> str:
    """Return what is wrong with the passfile that a connection string names, which libpq does not always say."""
    name = psycopg.conninfo.conninfo_to_dict(dsn).get("passfile")
    if not name:
        return ""
    path = Path(str(name))
    try:
        with path.open("rb"):
            mode = path.stat().st_mode
    except OSError as error:
        return f". The passfile {path} cannot be read by FreeRADIUS's user: {error.strerror}"
    return f". libpq ignores {path}, since others may read it: chmod 0600" if mode & 0o077 else ""


if __name__ == "__main__":
    close_memory()
    output.say(json.dumps(_tried(json.load(sys.stdin))))
