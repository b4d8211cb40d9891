"""The limits of the installation: read them, set them. The database keeps them, since its functions apply them."""

from typing import Any

from radmeter.database.connection import Connection, explained_errors


def limits(connection: Connection) -> list[dict[str, Any]]:
    """Return each limit: name, value and default (None: no limit), unit and meaning."""
    names = ("name", "value", "default", "unit", "meaning")
    with explained_errors("radmeter_reader"):
        rows = connection.execute("SELECT name, value, default_value, unit, meaning FROM radmeter.limits()")
        return [dict(zip(names, row, strict=True)) for row in rows]


def set_limit(connection: Connection, name: str, value: str | None) -> bool:
    """Set a limit to a number or to ``off``; None sets its default again. Return whether that changed it.

    Raises
    ------
    StoreError
        There is no such limit, or the value is not one.
    """
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT radmeter.set_limit(%s, %s)", (name, value)).fetchone()
    return bool(row and row[0])
