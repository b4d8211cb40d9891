"""Closes the sessions whose Stop came while the partition of its month could not be made."""

import psycopg
from psycopg import errors

from radmeter.database.connection import explained_errors


def close_waiting(connection: psycopg.Connection) -> int:
    """Close them, if there is a partition now or it can be made; return how many were closed."""
    with explained_errors("radmeter_owner"):
        try:
            row = connection.execute("SELECT radmeter.close_waiting()").fetchone()
        except errors.LockNotAvailable:  # the next run of the jobs tries again
            return 0
    return int(row[0]) if row else 0
