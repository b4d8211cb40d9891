"""Judges whether radiusd's user may read the configuration file and write the journal, whoever runs doctor."""

import grp
import os
import pwd
from pathlib import Path

READ, WRITE, ENTER = 4, 2, 1


class User:
    """A user of this machine, with its groups."""

    def __init__(self, name: str) -> None:
        """Look the user up. Raises KeyError if there is none, or its group is unknown."""
        found = pwd.getpwnam(name)
        self.name = name
        self.group = grp.getgrgid(found.pw_gid).gr_name
        self.uid = found.pw_uid
        self._groups = os.getgrouplist(name, found.pw_gid)

    def refused(self, path: Path, rights: int) -> Path | None:
        """Return the first directory on the way that the user may not enter, or `path` if it has not those rights.

        None: it may use the path, there is no such path, or access control lists decide.
        """
        path = path.resolve()
        for place in [*reversed(path.parents), path]:
            try:
                if not self._may(place, rights if place == path else ENTER):
                    return place
            except OSError:
                return None
        return None

    def _may(self, path: Path, rights: int) -> bool:
        found = path.stat()
        if self.uid == 0 or _has_access_list(path):
            return True
        if found.st_uid == self.uid:
            mode = found.st_mode >> 6
        elif found.st_gid in self._groups:
            mode = found.st_mode >> 3
        else:
            mode = found.st_mode
        return mode & rights == rights


def _has_access_list(path: Path) -> bool:
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:  # the file system has no attributes
        return False
