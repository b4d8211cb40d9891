"""Adds, lists, rotates and revokes keys of the HTTP API, through SQL functions."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from radmeter.database import views
from radmeter.database.connection import Connection, explained_errors
from radmeter.database.views import Row
from radmeter.errors import ConfigurationError
from radmeter.keys.text import Key, made

ROLES = ("reader", "noc", "billing", "tenant")
UNITS = {"s": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400}
LIST = """
SELECT id, name, role, tenant, state, rate_count, rate_seconds, last_used_at, expires_at, created_at, created_by,
       rotated_at, revoked_at
FROM radmeter.key_list WHERE %(all)s OR state IN ('valid', 'rotated')
ORDER BY name, created_at DESC, id"""


class Rate(NamedTuple):
    """How many requests in how many seconds. As text it is ``300/min``."""

    count: int  # type: ignore[assignment] # no method of a tuple is wanted here
    seconds: int

    def __str__(self) -> str:
        unit = {1: "s", 60: "min", 3600: "h", 86_400: "d"}.get(self.seconds, f"{self.seconds}s")
        return f"{self.count}/{unit}"


class BadKey(ConfigurationError):
    """A value of a key cannot be used."""


def rate(text: str) -> Rate:
    """Return the rate that a text is. Raises BadKey."""
    count, _, unit = text.partition("/")
    if not (
        count.isascii()
        and count.isdigit()
        and len(count) <= 7
        and 1 <= int(count) <= 1_000_000
        and unit in UNITS
    ):
        raise BadKey(
            f"--rate: {text!r} is not a number from 1 to 1000000 and a unit, such as 300/min: s, min, h or d"
        )
    return Rate(int(count), UNITS[unit])


def role(text: str) -> tuple[str, str | None]:
    """Return the role and the tenant that a text names, such as ``noc`` or ``tenant:acme``. Raises BadKey."""
    name, separator, tenant = text.partition(":")
    if name not in ROLES or bool(separator) != (name == "tenant") or (separator and not tenant):
        raise BadKey(f"--role: {text!r} is none of reader, noc, billing, tenant:NAME")
    return name, tenant or None


def add(
    connection: Connection, name: str, role: str, tenant: str | None, limit: Rate, expires_at: datetime | None
) -> Key:
    """Add a key, and return it. It is nowhere else.

    Raises
    ------
    StoreError
        The name is taken, there is no such tenant, or the caller may not add keys of this role.
    """
    key = made()
    _call(
        connection,
        "radmeter.add_key(%(id)s, %(name)s, %(role)s, %(tenant)s, %(sha256)s, %(count)s, %(seconds)s, %(expires)s)",
        {
            "id": key.id,
            "name": name,
            "role": role,
            "tenant": tenant,
            "sha256": key.sha256,
            "count": limit.count,
            "seconds": limit.seconds,
            "expires": expires_at,
        },
    )
    return key


def rotate(connection: Connection, name: str, overlap: timedelta) -> tuple[Key, datetime]:
    """Put a new key in the place of another. Return it, and until when the old one holds.

    Raises
    ------
    StoreError
        There is no such key, or the caller may not rotate keys of its role.
    """
    key = made()
    until = _call(
        connection,
        "radmeter.rotate_key(%(name)s, %(id)s, %(sha256)s, %(overlap)s)",
        {"name": name, "id": key.id, "sha256": key.sha256, "overlap": overlap},
    )
    return key, until


def revoke(connection: Connection, name: str) -> int:
    """End the keys of a name at once; return how many there were. Raises StoreError if there is none."""
    return int(_call(connection, "radmeter.revoke_key(%(name)s)", {"name": name}))


def list_keys(connection: Connection, *, all_keys: bool) -> list[Row]:
    """Return the keys by their names: those in use, or all."""
    found = views.rows(connection, LIST, {"all": all_keys})
    return [{**row, "rate": str(Rate(row["rate_count"], row["rate_seconds"]))} for row in found]


def _call(connection: Connection, function: str, values: Mapping[str, Any]) -> Any:
    with explained_errors("radmeter_owner"):
        row = connection.execute(f"SELECT {function}".encode(), values).fetchone()
    return None if row is None else row[0]
