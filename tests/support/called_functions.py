"""Which functions of ours in SQL PostgreSQL calls instead of putting their expression into the statement.

Each statement parses and plans such a function anew. That takes longer than most statements of ours.
"""

from support.processes import until
from support.servers import Connection

OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""


def follow(connection: Connection) -> None:
    """Have calls of functions counted, in sessions that begin from now on."""
    row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None
    connection.execute(f"ALTER DATABASE {row[0]} SET track_functions = 'all'".encode())


def calls(connection: Connection) -> dict[str, int]:
    """Return the functions in SQL that were called, and how often, when the sessions that called them have ended."""
    # A session reports what it has counted at its end, which comes after that of its connection.
    until("all other sessions have ended", lambda: connection.execute(OTHERS).fetchone() == (0,), 60)
    connection.execute("SELECT pg_stat_clear_snapshot()")
    found = connection.execute(
        """SELECT proname, calls FROM pg_stat_user_functions JOIN pg_proc ON pg_proc.oid = funcid
           JOIN pg_language ON pg_language.oid = prolang
           WHERE lanname = 'sql' AND schemaname = 'radmeter' AND calls > 0 ORDER BY proname"""
    )
    return dict(found.fetchall())
