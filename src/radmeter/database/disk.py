"""How much of the server's disk is free."""

import shutil
from pathlib import Path

import psycopg

from radmeter.database.connection import Connection


def free_bytes(connection: Connection) -> int | None:
    """Return the server's free disk. None: the server is on another machine, or its directory is unknown."""
    if not (
        connection.info.host.startswith("/") or connection.info.host in ("localhost", "127.0.0.1", "::1")
    ):
        return None
    try:
        row = connection.execute("SELECT current_setting('data_directory', true)").fetchone()
        return shutil.disk_usage(Path(row[0])).free if row and row[0] else None
    except (psycopg.Error, OSError):
        return None
