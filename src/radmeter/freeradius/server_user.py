"""Says which user radiusd has, and as whom root lets a program run that FreeRADIUS's configuration names."""

import pwd
from pathlib import Path

from radmeter.freeradius.owner import PACKAGES_USERS, Owner, is_roots, named, owner_of
from radmeter.freeradius.raddb import Section

NOBODY = Owner(65534, 65534, (), "nobody")


def server_users() -> list[Owner]:
    """Return the users of this machine that a package of FreeRADIUS has made."""
    return [found for name in PACKAGES_USERS if (found := named(name))]


def server_user(root: Section, raddb: Path) -> str | None:
    """Return the name of the user that radiusd becomes; None if it is not known.

    Without a `user` in the configuration: the one who owns it, and if that is root, the one of the package. Debian's
    service starts radiusd as that user.
    """
    for section in (*root.all("security"), root):
        if user := section.value("user"):
            return user
    uid = (raddb / "radiusd.conf").stat().st_uid
    if uid == 0 and (made := server_users()):
        return made[0].name
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def is_trusted(user: str | None, root: Section, raddb: Path) -> bool:
    """Tell whether root may do something for a user because a configuration says that radiusd has it.

    A user of FreeRADIUS's package, and the owner of the configuration, need no such trust. Another name counts only in
    a file that nobody but root can write.
    """
    if user is None or user in PACKAGES_USERS or user == owner_of(raddb / "radiusd.conf").name:
        return True
    return user == named_by_root(root)


def named_by_root(root: Section) -> str | None:
    """Return the `user` of a configuration if it stands in a file that only root can write."""
    items = [
        item for section in (*root.all("security"), root) for item in section.items if item.name == "user"
    ]
    return items[0].value if items and is_roots(items[0].path) else None


def unprivileged(root: Section, raddb: Path) -> Owner:
    """Return the user as whom root runs what a configuration names: radiusd's if that can be trusted, never root."""
    name = server_user(root, raddb)
    user = named(name) if name and is_trusted(name, root, raddb) else None
    return next(
        (each for each in (user, *server_users()) if each and each.uid != 0), named("nobody") or NOBODY
    )
