"""As root, `radmeter up` starts FreeRADIUS, the shipper and the jobs as an ordinary user. That user must reach them."""

import os
import pwd
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import radmeter
from radmeter import resources, waits
from radmeter.config import Settings
from radmeter.embedded.changes import NOTHING_NOTED, Changes, of_state
from radmeter.embedded.service_user import hand_over, identity, let_list, let_read, let_through, service_user
from radmeter.errors import RadmeterError
from radmeter.plugin.scheduling import PRIORITY
from radmeter.quotas.secrets import add_key

IMPORT = (
    "import radmeter.cli.ship, radmeter.cli.jobs, radmeter.cli.serve\n"
    "import radmeter.jobs.runner, radmeter.ingest.shipper, psycopg, sys\n"
    "if radmeter.__file__ != sys.argv[1]: sys.exit(f'it finds {radmeter.__file__}')"
)


def prepare(settings: Settings) -> pwd.struct_passwd | None:
    """Return the user for the programs, None if we are not root. Give it the journal, and access to the code.

    Raises
    ------
    ConfigurationError
        The journal belongs to another user.
    RadmeterError
        The user cannot be made, or cannot read the code.
    """
    settings.state.mkdir(parents=True, exist_ok=True)
    changes = of_state(settings.state)
    user = service_user(changes)
    if user is None:
        return None
    inside = settings.journal.absolute().is_relative_to(settings.state.absolute())
    hand_over(user, settings.journal, NOTHING_NOTED if inside else changes)
    let_through(user, [settings.state, settings.journal.parent], changes)
    _give_key(user, settings)
    _make_code_readable(user, changes)
    return user


def _give_key(user: pwd.struct_passwd, settings: Settings) -> None:
    """Let the jobs read the key of routers' secrets. It is made here, since root's commands would keep it to root."""
    if settings.source("coa_key_file") != "default" or find_spec("cryptography") is None:
        return
    if not settings.coa_key_file.exists():
        add_key(settings.coa_key_file)
    if settings.coa_key_file.stat().st_uid == 0:
        os.chown(settings.coa_key_file, user.pw_uid, user.pw_gid)


def options(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments of `subprocess.Popen` for a program of that user."""
    return {} if user is None else identity(user)


def environment(user: pwd.struct_passwd | None) -> dict[str, str]:
    """Return the variables that differ for a program of that user: root's files are not for it."""
    return {} if user is None else {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}


def permit_realtime() -> None:
    """Permit real-time scheduling to the programs that we start from now on, as root itself has it."""
    with suppress(OSError, ValueError):  # root in a container may not
        resource.setrlimit(resource.RLIMIT_RTPRIO, (PRIORITY, PRIORITY))


def _make_code_readable(user: pwd.struct_passwd, changes: Changes) -> None:
    """Let the user read radmeter and its Python, if it cannot. Each change is logged."""
    ours = [Path(radmeter.__file__).absolute().parent, *map(resources.directory, ("radius", "sql"))]
    pythons = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).parent]
    pythons += [path.resolve() for path in pythons]
    let_through(user, [*ours, *pythons], changes)
    if _fault(user):
        for tree in [*ours, Path(sys.prefix)]:
            let_read(user, tree, changes)
        let_list(user, ours[0].parent, changes)
    if fault := _fault(user):
        raise RadmeterError(
            f"the user {user.pw_name} runs FreeRADIUS, the shipper and the jobs, and cannot read {ours[0]} ({fault}). "
            "Move radmeter to where everybody may read it, such as /opt/radmeter, or run it as an ordinary user"
        )


def _fault(user: pwd.struct_passwd) -> str:
    """Return why the user cannot run the code; an empty string if it can."""
    unreadable = [
        path
        for tree in map(resources.directory, ("radius", "sql"))
        for path in tree.rglob("*")
        if not path.stat().st_mode & 0o004
    ]
    if unreadable:
        return f"{unreadable[0]} is not readable"
    try:
        with waits.waiting_for(
            f"Python as the user {user.pw_name}, to see whether that user can read radmeter's files"
        ):
            done = subprocess.run(
                [sys.executable, "-P", "-c", IMPORT, radmeter.__file__],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env={**os.environ, **environment(user)},
                check=False,
                **identity(user),
            )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return (lines or ["it prints nothing"])[-1] if done.returncode else ""
