"""The settings of logins: read them, set them. The database keeps them, since radmeter.authorize applies them."""

from typing import Any

from radmeter.database.connection import Connection, explained_errors


def login_settings(connection: Connection) -> list[dict[str, Any]]:
    """Return each setting: name, value, default and meaning."""
    names = ("name", "value", "default", "meaning")
    with explained_errors("radmeter_reader"):
        rows = connection.execute("SELECT name, value, default_value, meaning FROM radmeter.login_settings()")
        return [dict(zip(names, row, strict=True)) for row in rows]


def set_login_setting(connection: Connection, name: str, value: str | None) -> bool:
    """Set a setting; None sets its default again. Return whether that changed it.

    Raises
    ------
    StoreError
        There is no such setting, or it does not take the value.
    """
    with explained_errors("radmeter_noc"):
        row = connection.execute("SELECT radmeter.set_login_setting(%s, %s)", (name, value)).fetchone()
    return bool(row and row[0])
