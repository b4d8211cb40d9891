"""Gives root's rights up for those of the owner of FreeRADIUS's configuration, before anything in it is run or written.

Debian gives the configuration to radiusd's user. What stands there decides which programs `freeradius -C` runs and
which files an installation changes: as root, that user would become root by it.
"""

import json
import os
import pwd
import shlex
import signal
import socket
import stat
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from radmeter.errors import ServerConfigurationError, os_reason

# What an installation changes lies in these, and in the configuration directory itself.
FOLDERS = (
    "radiusd.conf",
    "mods-available",
    "mods-enabled",
    "policy.d",
    "sites-available",
    "sites-enabled",
    "radmeter-install",
)
# radiusd's, on Debian and on Fedora. Their packages make this user.
PACKAGES_USERS = ("freerad", "radiusd")
MOST_LINKS = 40
LONGEST_REQUEST = 64 << 10


@dataclass(frozen=True)
class Owner:
    """A user, with the groups that a login of this user has."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str | None

    def __str__(self) -> str:
        """Return the name for people."""
        return self.name or f"user id {self.uid}"


def other_owner(raddb: Path) -> Owner | None:
    """Return who owns a configuration directory, as far as root has to become that user; None if it has not.

    A directory on the way to it counts too: its owner could put another configuration there.

    Raises
    ------
    ServerConfigurationError
        Several users own parts of it. None of them can be trusted with the others' files.
    OSError
        It cannot be read.
    """
    if os.geteuid() != 0:
        return None
    found = dict(_strangers(raddb))
    for name in FOLDERS:
        with suppress(FileNotFoundError):
            found.update(_strangers(raddb / name))
    if len(found) > 1:
        raise ServerConfigurationError(
            f"{raddb} has several owners, so root does not use it: "
            + ", ".join(f"{path} belongs to {_named(uid)}" for uid, path in found.items()),
            "Give it to one user: chown -R",
        )
    return next((_owner(uid, raddb) for uid in found), None)


def owner_of(path: Path) -> Owner:
    """Return who owns a file. Raises OSError."""
    return _owner(path.stat().st_uid, path)


def is_roots(path: Path) -> bool:
    """Tell whether nobody but root can change what a path leads to. Raises OSError."""
    return not (any(_strangers(path)) or any(_writable(path)))


def named(name: str) -> Owner | None:
    """Return a user; None if there is none with this name."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Owner(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)), name)


def _named(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def _owner(uid: int, path: Path) -> Owner:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Owner(uid, path.stat().st_gid, (), None)
    return Owner(uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)), entry.pw_name)


def _strangers(path: Path) -> Iterator[tuple[int, Path]]:
    """Yield the users other than root who own something on the way to a path, each with what they own."""
    yield from ((status.st_uid, here) for here, status in _steps(path) if status.st_uid != 0)


def _writable(path: Path) -> Iterator[Path]:
    """Yield what a group other than root's, or all users, can write on the way to a path.

    In a directory such as /tmp (sticky) nobody can replace another's file.
    """
    for here, status in _steps(path):
        open_to = status.st_mode & (stat.S_IWOTH if status.st_gid == 0 else stat.S_IWOTH | stat.S_IWGRP)
        if open_to and not stat.S_ISLNK(status.st_mode) and not status.st_mode & stat.S_ISVTX:
            yield here


def _steps(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what lies on the way to a path, links followed, each with its status."""
    parts = list(reversed(path.absolute().parts))
    here = Path(parts.pop())
    links = 0
    while True:
        status = here.lstat()
        yield here, status
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise ServerConfigurationError(f"{path}: too many symbolic links")
            parts += reversed(here.readlink().parts)
            here = here.parent
        if not parts:
            return
        part = parts.pop()
        here = Path("/") if part == "/" else here.parent if part == ".." else here / part


_root: socket.socket | None = None
_self: Owner | None = None


def become(raddb: Path, journals: Collection[Path]) -> None:
    """Go on as the owner of a configuration directory, in a child process, if root has to.

    Root only waits for the child, ends with its exit code, and makes directories that the child asks for.

    Parameters
    ----------
    journals
        The directories that root may make.

    Raises
    ------
    ServerConfigurationError
        Several users own parts of the configuration.
    """
    global _root, _self
    owner = other_owner(raddb)
    if owner is None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child:
        theirs.close()
        sys.exit(_serve(ours, child, journals, owner))
    ours.close()
    os.setgroups(owner.groups)
    os.setgid(owner.gid)
    os.setuid(owner.uid)
    # Here the kernel takes other processes of this user the right to look into this one.
    _root, _self = theirs, owner


def acting() -> Owner | None:
    """Return the user who this process has become; None if it is the one that was started."""
    return _self


def _serve(child_asks: socket.socket, child: int, journals: Collection[Path], owner: Owner) -> int:
    """Make directories for a child until it has ended, and remove them if it fails. Return its exit code."""
    users = {owner.name, *PACKAGES_USERS}
    made: list[Path] = []
    # A terminal sends it to the child too, which says so and ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while request := child_asks.recv(LONGEST_REQUEST):
        try:
            asked = json.loads(request)
            if Path(asked["path"]) not in journals:
                raise ServerConfigurationError(
                    f"{asked['path']} is not the journal of radmeter's settings, so root does not make it"
                )
            if asked["user"] not in users:
                raise ServerConfigurationError(
                    f"root makes it for {owner} or radiusd's user alone, not for {asked['user']} as the "
                    f"configuration says. Make it by hand: {by_hand(Path(asked['path']), asked['user'])}"
                )
            made += _make(Path(asked["path"]), asked["user"])
            answer = ""
        except OSError as error:
            answer = os_reason(error)
        except ServerConfigurationError as error:
            answer = str(error)
        child_asks.send(json.dumps(answer).encode())
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        remove(made)
    return code if code >= 0 else 128 - code


def by_hand(path: Path, user: str | None) -> str:
    """Return the command that makes a journal for a user."""
    owner = ["-o", user] if user else []
    return shlex.join(["install", "-d", "-m", "0750", *owner, str(path)])


def remove(made: Iterable[Path]) -> None:
    """Remove the directories that `make_directory` has made, as far as nothing is in them."""
    for path in reversed(list(made)):
        with suppress(OSError):
            path.rmdir()


def make_directory(path: Path, user: str | None) -> list[Path]:
    """Make a journal for a user, as root if root has started this command.

    Returns
    -------
    list[Path]
        The directories that this process has made. Root removes its own if this command fails.

    Raises
    ------
    ServerConfigurationError
        It cannot be made.
    OSError
        The same.
    """
    if _root is None or _is_in_own(path):
        return _make(path, user)
    _root.send(json.dumps({"path": str(path), "user": user}).encode())
    if fault := json.loads(_root.recv(LONGEST_REQUEST)):
        raise ServerConfigurationError(f"{path} cannot be made: {fault}")
    return []


def _is_in_own(path: Path) -> bool:
    try:
        return _self is not None and _self.uid in _way(path)
    except PermissionError:
        return False


def _way(path: Path) -> set[int]:
    """Return the users other than root who own something on the way to a directory that is to be made."""
    there = path.absolute()
    while not (there.is_symlink() or there.exists()):
        there = there.parent
    return {uid for uid, _ in _strangers(there)}


def _make(path: Path, user: str | None) -> list[Path]:
    """Make a directory and those above it. Return what was made."""
    made: list[Path] = []
    if path.exists():
        return made
    try:
        entry = None if user is None or os.geteuid() != 0 else pwd.getpwnam(user)
    except KeyError:
        raise ServerConfigurationError(
            f"radiusd's user {user} does not exist, so {path} cannot be made for it"
        ) from None
    if os.geteuid() == 0 and (others := _way(path)):
        # Between two steps they could put a link there, and root would give its target away.
        named = ", ".join(sorted(map(_named, others)))
        raise ServerConfigurationError(
            f"{path} lies in a directory of {named}, make it by hand: {by_hand(path, user)}"
        )
    try:
        for each in reversed([path, *path.parents]):
            if not each.exists():
                each.mkdir(mode=0o750 if each == path else 0o777)
                made.append(each)
        if os.geteuid() == 0:
            path.chmod(0o750)
            if entry is not None:
                os.chown(path, entry.pw_uid, entry.pw_gid)
    except BaseException:
        remove(made)
        raise
    return made
