"""What is known beside the sessions: the time, how far behind the shippers are, and the last packet."""

from dataclasses import dataclass
from datetime import datetime

from radmeter.database.connection import Connection, explained_errors

# How often it is asked.
SECONDS = 5.0
AROUND = """
SELECT now(), (SELECT min(received_at) FROM radmeter.lagging_nodes()),
       (SELECT max(last_received_at) FROM radmeter.journal_segment)"""


@dataclass(frozen=True)
class Around:
    """`behind`: the arrival that the shipper has reached that is furthest behind; None: none is behind."""

    now: datetime
    behind: datetime | None
    last_packet_at: datetime | None


def look_around(connection: Connection) -> Around:
    """Ask the database."""
    with explained_errors("radmeter_owner"):
        row = connection.execute(AROUND).fetchone()
    assert row is not None
    return Around(*row)


def now(connection: Connection) -> datetime:
    """Return the time of the database."""
    with explained_errors("radmeter_owner"):
        row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    at: datetime = row[0]
    return at
