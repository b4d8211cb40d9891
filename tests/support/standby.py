"""A streaming standby of a test's server."""

import time

import psycopg

from .servers import Server, programs_of_the_release

PROGRAMS = programs_of_the_release()
CAUGHT_UP_SECONDS = 120.0


class Standby(Server):
    """A copy of a server that replays what the server does."""

    def __init__(self, primary: Server) -> None:
        super().__init__(primary.programs)
        self._primary = primary

    def __enter__(self) -> "Standby":
        try:
            self._run(
                "pg_basebackup",
                f"--pgdata={self.base / 'data'}",
                f"--dbname={psycopg.conninfo.make_conninfo(self._primary.dsn(), dbname='replication')}",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
            )
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def catch_up(self) -> None:
        """Wait until it has replayed all that the primary has done so far."""
        with (
            psycopg.connect(self._primary.dsn(), autocommit=True) as primary,
            psycopg.connect(self.dsn(), autocommit=True) as own,
        ):
            # Commits of the tests do not wait for the WAL to be written.
            primary.execute("SET synchronous_commit = on")
            primary.execute("SELECT txid_current()")
            primary.execute("SELECT pg_logical_emit_message(true, 'test', '')")
            (at,) = primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone()  # type: ignore[misc]
            deadline = time.monotonic() + CAUGHT_UP_SECONDS
            query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            while own.execute(query, (at,)).fetchone() != (True,):
                assert time.monotonic() < deadline, "the standby does not catch up"
                time.sleep(0.02)
