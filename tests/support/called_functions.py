"""Which functions of ours in SQL PostgreSQL calls instead of putting their expression into the statement.

Each statement parses and plans such a function anew. That takes longer than most statements of ours.
"""

from support.servers import Connection


def follow(connection: Connection) -> None:
    """Have calls of functions counted, in sessions that begin from now on."""
    row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None
    connection.execute(f"ALTER DATABASE {row[0]} SET track_functions = 'all'".encode())


def calls(connection: Connection) -> dict[str, int]:
    """Return the functions in SQL that were called, and how often. The sessions that called them must have ended."""
    connection.execute("SELECT pg_stat_clear_snapshot()")
    found = connection.execute(
        """SELECT proname, calls FROM pg_stat_user_functions JOIN pg_proc ON pg_proc.oid = funcid
           JOIN pg_language ON pg_language.oid = prolang
           WHERE lanname = 'sql' AND schemaname = 'radmeter' AND calls > 0 ORDER BY proname"""
    )
    return dict(found.fetchall())
