"""Finds the FreeRADIUS of this machine: its version, configuration directory, environment and Python."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from radmeter import waits
from radmeter.errors import ServerConfigurationError
from radmeter.freeradius.open_journal import open_journal, same
from radmeter.freeradius.owner import Owner, is_roots, named, owner_of
from radmeter.freeradius.raddb import read
from radmeter.freeradius.server_user import named_by_root, server_users, unprivileged
from radmeter.ingest.holders import holder
from radmeter.plugin.journal.locks import WRITER

PROGRAMS = ("freeradius", "radiusd")  # the name on Debian, and on all others
# Not on the PATH of an ordinary user on Debian.
PROGRAM_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/sbin")
# Below the program's prefix: on Debian, on Fedora, and when built from source.
LIBRARY_DIRECTORIES = ("lib/freeradius", "lib64/freeradius", "lib", "lib64")
PYTHON_MODULE = "rlm_python3.so"  # in a separate package, which is easily forgotten
SQL_MODULE = "rlm_sql_postgresql.so"  # the same
MEMCACHED_MODULE = "rlm_cache_memcached.so"
PLACES = (
    "/etc/freeradius/3.0",
    "/etc/freeradius",
    "/etc/raddb",
    "/usr/local/etc/raddb",
    "/opt/freeradius/etc/raddb",
)
# The environment files of the systemd units of Debian and Fedora.
ENVIRONMENT_FILES = ("/etc/default/freeradius", "/etc/sysconfig/radiusd")
PROGRAM_SECONDS = 60  # more than any of them needs on a busy machine
_VARIABLE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
# All that a program of the configuration gets of this process's environment. The rest may hold passwords.
PASSED_ON = ("PATH", "LANG")


class Running(NamedTuple):
    """A running radiusd: its process id, its configuration directory, and its variables."""

    pid: int
    raddb: Path | None
    environment: dict[str, str] | None  # None: this user may not read it


def program() -> str | None:
    """Return the path of FreeRADIUS; None if it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *PROGRAM_DIRECTORIES])
    return next((found for name in PROGRAMS if (found := shutil.which(name, path=path))), None)


def installed_version() -> tuple[int, ...] | None:
    """Return the version of FreeRADIUS, from its option `-v`; None if it is not known."""
    path = program()
    if path is None:
        return None
    match = re.search(r"FreeRADIUS Version (\d+)\.(\d+)\.(\d+)", _said(path, "-v"))
    return tuple(int(part) for part in match.groups()) if match else None


def running() -> list[Running]:
    """Return the radiusd processes of this machine that this user can see.

    Any user can give a process the name of radiusd, and name a configuration there. So it must be FreeRADIUS's program,
    as far as this user may see that, and a process of root, of this user or of radiusd's.
    """
    found = []
    trusted = {0, os.geteuid(), *(each.uid for each in server_users())}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
            if Path(words[0]).name not in PROGRAMS or not _runs_radiusd(entry):
                continue
            users = _users(entry)
        except OSError:  # ended meanwhile
            continue
        given = next((Path(words[n + 1]) for n, word in enumerate(words[:-1]) if word == "-d"), None)
        if users <= trusted or _is_servers(users, given):
            found.append(Running(int(entry.name), given, _environment(entry)))
    return found


def sees_others() -> bool:
    """Return whether this user sees the processes of others. The option hidepid of /proc hides them."""
    return Path("/proc/1").exists()


def _users(process: Path) -> set[int]:
    """Return the user ids of a process: real, effective and saved."""
    for line in (process / "status").read_text(errors="replace").splitlines():
        if line.startswith("Uid:"):
            return set(map(int, line.split()[1:4]))
    return set()


def _usual_places() -> list[Path]:
    """Return the usual places that have a configuration, or that this user may not look into."""
    found = []
    for place in map(Path, PLACES):
        try:
            if (place / "radiusd.conf").exists():
                found.append(place)
        except PermissionError:
            found.append(place)
    return found


def _is_servers(users: set[int], given: Path | None) -> bool:
    """Tell whether a process has the user that a configuration of root's names, or that owns one in a usual place."""
    places = _usual_places()
    place = given or next(iter(places), None)
    try:
        if place is None:
            return False
        if place in places and users <= {0, owner_of(place / "radiusd.conf").uid}:
            return True
        name = named_by_root(read(place))
        user = named(name) if name else None
        return user is not None and users <= {0, user.uid}
    except (OSError, ServerConfigurationError):
        return False


def _runs_radiusd(process: Path) -> bool:
    """Tell whether a process executes FreeRADIUS's program. True if this user, who is not root, may not see that."""
    try:
        executed = (process / "exe").readlink()
    except PermissionError:
        return os.geteuid() != 0
    # After an upgrade the kernel says that the file of the running program is deleted.
    executed = Path(str(executed).removesuffix(" (deleted)"))
    return executed.name in PROGRAMS and (os.geteuid() != 0 or is_roots(executed))


def _writes_to(process: Running, journal: Path) -> bool:
    opened = open_journal(process.pid, [journal])
    if opened is not None:
        return same(opened, journal)
    written = (process.environment or {}).get("RADMETER_JOURNAL")
    return written is not None and Path(written).absolute() == journal.absolute()


def _environment(process: Path) -> dict[str, str] | None:
    try:
        text = (process / "environ").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return None
    pairs = (variable.partition("=") for variable in text.split("\0"))
    return {name: value for name, _, value in pairs if name}


def environment_file() -> tuple[Path, dict[str, str]]:
    """Return the service's environment file, and the variables in it."""
    for name in ENVIRONMENT_FILES:
        try:
            lines = Path(name).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        matches = (_VARIABLE.fullmatch(line) for line in lines)
        return Path(name), {match[1]: match[2].strip().strip("\"'") for match in matches if match}
    return Path(ENVIRONMENT_FILES[0]), {}


def undecided(journal: Path) -> list[str]:
    """Return the configurations among which nobody can tell the one of `journal`. [] if there is one at most.

    A running server that has the journal open, or in its environment, decides; then any running server; then the usual
    places.
    """
    processes = running()
    processes = [each for each in processes if _writes_to(each, journal)] or processes
    if processes:
        names = {each.raddb: f"{each.raddb or 'its default'} (process {each.pid})" for each in processes}
    else:
        there = _usual_places()
        names = {place.resolve(): str(place) for place in there}
    return list(names.values()) if len(names) > 1 else []


def unjudged_writer(journal: Path) -> str | None:
    """Return who has `journal` open for writing if it is none of `running`; None if nobody has, or it is one of them.

    It is a radiusd of a user whom root does not trust, as that of a try-out, or one in a container. Its configuration
    is not that of the usual places.
    """
    try:
        writer = holder(journal, WRITER)
    except OSError:
        return None
    return None if writer in {None, *(f"process {each.pid}" for each in running())} else writer


def raddb(given: Path | None, journal: Path) -> tuple[Path | None, dict[str, str] | None, str]:
    """Return the configuration directory, the environment of its server (None: unknown) and how it was found.

    If several servers run, the one that writes to `journal` is preferred.
    """
    processes = sorted(running(), key=lambda each: not _writes_to(each, journal))
    if given is not None:
        same = next(
            (each for each in processes if each.raddb and each.raddb.absolute() == given.absolute()), None
        )
        return given, same.environment if same else None, "--raddb"
    for each in processes:
        if each.raddb is not None:
            return each.raddb, each.environment, f"of process {each.pid}"
    place = next(iter(_usual_places()), None)
    return place, processes[0].environment if processes else None, "running" if processes else "not running"


def embedded_python() -> str | None:
    """Return the version of the Python that rlm_python3 is linked with, such as ``3.11``; None if it is not known."""
    path = python_module()
    if path is None or shutil.which("ldd") is None:
        return None
    match = re.search(r"libpython(3\.\d+)", _said("ldd", str(path)))
    return match[1] if match else None


def python_module() -> Path | None:
    """Return the path of rlm_python3; None if it is not installed."""
    return module(PYTHON_MODULE)


def module(name: str) -> Path | None:
    """Return the path of a module of FreeRADIUS by its file's name; None if it is not installed."""
    path = program()
    if path is None:
        return None
    prefix = Path(path).resolve().parent.parent
    places = (prefix / directory / name for directory in LIBRARY_DIRECTORIES)
    return next((place for place in places if place.exists()), None)


def import_fault(python: str, directory: str, user: Owner | None = None) -> str:
    """Return why a Python cannot import the plugin from a directory; "" if it can. Writes nothing there.

    Root tries it as `user`: what stands in the directory is executed.
    """
    code = (
        # Inside radiusd there is a module `radiusd` with constants. Here a stand-in takes its place.
        "import sys, types; sys.path.append(sys.argv[1]); sys.modules['radiusd'] = types.ModuleType('radiusd')\n"
        "sys.modules['radiusd'].__getattr__ = lambda name: 0\n"
        # The package loads its handlers when one is asked for, as rlm_python3 does.
        "import radmeter.plugin as p; p.instantiate, p.accounting, p.detach; print('imported', p.__file__)"
    )
    said = _said(python, "-I", "-B", "-c", code, directory, user=user)
    if said.startswith("imported"):
        return ""
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it prints nothing"


def configuration_fault(directory: Path, environment: dict[str, str], user: Owner | None = None) -> str:
    """Return the first error that `radiusd -C` finds in a configuration; "" if none. `-C` only checks and then ends.

    It loads the modules, and so runs what the configuration names. Root never does that: it lets `user` do it, else
    the user that radiusd has.
    """
    return check(directory, environment, user)[0]


def check(
    directory: Path, environment: dict[str, str], user: Owner | None = None, *, detailed: bool = False
) -> tuple[str, str]:
    """Return what `configuration_fault` does, and all that radiusd has said. `detailed`: also how it reads sections."""
    path = program()
    if path is None:
        return "FreeRADIUS is not installed", ""
    try:
        if os.geteuid() == 0 and (user is None or user.uid == 0):
            user = unprivileged(read(directory), directory)
        with waits.waiting_for(f"`{path} -C`, which checks the configuration"):
            done = _run(
                [path, "-Cxxxx" if detailed else "-C", "-l", "stdout", "-d", str(directory.absolute())],
                _passed_on(environment),
                user,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error), ""
    said = done.stdout.decode(errors="replace")
    if done.returncode == 0:
        return "", said
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.partition(" : Error: ")[2] for line in lines if " : Error: " in line]
    fault = next(iter([*errors, *lines[-1:]]), f"it ends with {done.returncode}")
    if user is not None and "Permission denied" in fault:
        fault += f" (asked as {user}: root does not run what a configuration names)"
    return fault, said


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that a configuration names: its server's variables, and nothing of root's."""
    own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**own, **environment}


def _said(*command: str, user: Owner | None = None) -> str:
    try:
        with waits.waiting_for(f"`{command[0]}`"):
            done = _run(command, _passed_on({}), user)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout.decode(errors="replace")


def _run(
    command: Sequence[str], environment: Mapping[str, str] | None, user: Owner | None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        # Real, effective and saved: radiusd's own change of the user would keep a way back.
        user=None if user is None else user.uid,
        group=None if user is None else user.gid,
        extra_groups=None if user is None else user.groups,
        env=environment,
        cwd="/",  # the present directory may be closed to that user
        # Another user's program must not reach this terminal: it could type into it.
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PROGRAM_SECONDS,
        check=False,
    )
