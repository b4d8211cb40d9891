"""What counts, event by event: the table of docs/architecture.md, one example or more for each row, a chapter a file.

tests/support/events.py says how an example is written.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support.events import Example, Outcome
from support.outcomes import DROP_PAST_MONTHS, FAR_ZONE, Counted, apply, outcome, set_up, use_zone
from support.servers import Server

from radmeter.ingest.store import Store


@pytest.fixture(scope="module")
def used_database(server: Server) -> Iterator[tuple[psycopg.Connection[Any], Store]]:
    """One database for all examples of a chapter, each of which empties it: far quicker than a new one."""
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        store = Store(dsn)
        yield connection, store
        store.close()


@pytest.fixture(
    params=[(1, "UTC"), (1000, FAR_ZONE)], ids=["packet by packet", "one batch, in a far time zone"]
)
def counted(used_database: tuple[psycopg.Connection[Any], Store], request: pytest.FixtureRequest) -> Counted:
    """Lets an example happen in an empty database; returns what was counted. The outcome is the same both ways."""
    connection, store = used_database
    largest_batch, zone = request.param

    def count(case: Example) -> Outcome:
        use_zone(connection, store, zone)
        set_up(connection)
        if zone == FAR_ZONE:
            connection.execute(DROP_PAST_MONTHS)  # so that each example has to make the months that it needs
        apply(connection, store, case.events, largest_batch)
        return outcome(connection)

    return count
