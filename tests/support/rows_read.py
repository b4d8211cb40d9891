"""Counts what a statement reads. Unlike its time, that does not depend on what else the machine does."""

from collections.abc import Callable

from support.servers import Connection

READ = """
SELECT (SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_user_tables)
     + (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes)"""


def rows_read(connection: Connection, act: Callable[[], object]) -> int:
    """Return how many rows and index entries of all tables `act` reads on this connection, in autocommit mode."""
    before = _read(connection)
    act()
    return _read(connection) - before


def _read(connection: Connection) -> int:
    # The statement's own numbers reach the server's statistics when its transaction ends.
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute(READ).fetchone()
    assert row is not None
    return int(row[0])
