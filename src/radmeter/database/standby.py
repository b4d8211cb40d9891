"""Whether a server is a standby, and how far it is behind its primary."""

from typing import NamedTuple

from radmeter.database.connection import Connection, translated_errors

# A standby that has replayed all that it received is not behind, however long ago that was. Without its connection to
# the primary nobody knows what it lacks, so the age of the latest transaction counts.
REPLAY = """
SELECT pg_is_in_recovery(),
       CASE WHEN EXISTS (SELECT FROM pg_stat_wal_receiver)
                 AND pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() THEN 0
            ELSE greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())) END::float8
WHERE pg_is_in_recovery()"""


class Standby(NamedTuple):
    """A standby. `behind_seconds` is None if it has replayed no transaction since its start, and has no primary."""

    behind_seconds: float | None

    def __str__(self) -> str:
        if self.behind_seconds is None:
            return "nobody knows how far behind its primary"
        return f"{self.behind_seconds:.1f} s behind its primary"


def standby(connection: Connection) -> Standby | None:
    """Return what is known of a standby; None: the server is a primary."""
    with translated_errors():
        row = connection.execute(REPLAY).fetchone()
    return None if row is None else Standby(row[1])
