"""The user for the programs that root starts: it is made if it is missing, and let through to what it needs."""

import logging
import os
import pwd
import stat
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from radmeter.embedded import programs
from radmeter.embedded.changes import NOTHING_NOTED, Changes
from radmeter.errors import ConfigurationError, StoreError, os_reason
from radmeter.plugin.journal.files import sync_path

_log = logging.getLogger(__name__)


def service_user(changes: Changes = NOTHING_NOTED) -> pwd.struct_passwd | None:
    """Return the user for PostgreSQL, FreeRADIUS, the shipper and the jobs; make it if it is missing.

    None: we are not root, so they run as the user that runs us.
    """
    try:
        return programs.server_user()
    except StoreError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "radmeter"]
        _log.warning("PostgreSQL and the others do not run as root: making the system user radmeter for them")
        changes.note({"kind": "user", "name": "radmeter", "uid": None})
        with suppress(OSError):
            subprocess.run(command, check=False)
        user = programs.server_user()
        assert user is not None
        changes.note({"kind": "user", "name": user.pw_name, "uid": user.pw_uid})
        return user


def identity(user: pwd.struct_passwd) -> dict[str, Any]:
    """Return the arguments of `subprocess.Popen` that start a program as a user, with no group but its own."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def let_through(user: pwd.struct_passwd, places: Iterable[Path], changes: Changes = NOTHING_NOTED) -> None:
    """Let a user pass through some directories and all above them. It still cannot list them."""
    for place in places:
        for directory in {place: 0, **dict.fromkeys(place.parents)}:
            mode = directory.stat().st_mode
            if not mode & stat.S_IXOTH and directory.stat().st_uid != user.pw_uid:
                _log.warning("letting the user %s pass through %s", user.pw_name, directory)
                _add_modes({directory: stat.S_IXOTH}, changes)


def let_read(user: pwd.struct_passwd, tree: Path, changes: Changes = NOTHING_NOTED) -> None:
    """Let everybody read a tree of programs. It was installed with a strict umask."""
    _log.warning("letting the user %s read %s", user.pw_name, tree)
    added = {}
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            added[path] = stat.S_IROTH | (stat.S_IXOTH if path.stat().st_mode & stat.S_IXUSR else 0)
    _add_modes(added, changes)


def let_list(user: pwd.struct_passwd, directory: Path, changes: Changes = NOTHING_NOTED) -> None:
    """Let everybody list a directory, as Python does with one that it imports from."""
    mode = directory.stat().st_mode
    if not mode & stat.S_IROTH:
        _log.warning("letting the user %s list %s", user.pw_name, directory)
        _add_modes({directory: stat.S_IROTH | stat.S_IXOTH}, changes)


def _add_modes(added: dict[Path, int], changes: Changes) -> None:
    """Set bits of modes, and note those that were not set."""
    missing = {path: bits & ~path.stat().st_mode for path, bits in added.items()}
    changes.note(
        *(
            {"kind": "mode", "path": str(path.absolute()), "added": bits}
            for path, bits in missing.items()
            if bits
        )
    )
    for path, bits in missing.items():
        if bits:
            path.chmod(stat.S_IMODE(path.stat().st_mode) | bits)


def hand_over(user: pwd.struct_passwd, directory: Path, changes: Changes = NOTHING_NOTED) -> None:
    """Make a directory, if it is missing, and give it to a user with all that is in it.

    Only a directory of root's is changed: nobody else could have put a link into it.

    Raises
    ------
    ConfigurationError
        The directory belongs to somebody else, or cannot be made.
    """
    try:
        made = not directory.exists()
        if made:
            changes.note({"kind": "directory", "path": str(directory.absolute())})
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        owner = directory.stat().st_uid
        if owner not in (0, user.pw_uid):
            raise ConfigurationError(
                f"{directory} belongs to user {owner}, but FreeRADIUS and the shipper would run as {user.pw_name}: "
                "use another directory"
            )
        if owner == 0:
            if not made:
                before = {"uid": owner, "gid": directory.stat().st_gid}
                place = {"kind": "owner", "path": str(directory.absolute())}
                changes.note({**place, **before, "now": user.pw_uid})
            # The directory itself comes last: a run that was killed half way does it again.
            for path in [*directory.rglob("*"), directory]:
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        if made:
            sync_path(directory.parent)
    except OSError as error:
        raise ConfigurationError(
            f"{directory} cannot be given to the user {user.pw_name}: {os_reason(error)}"
        ) from error
