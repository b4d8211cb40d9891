"""The shipper's connection to the database, with the calls that carry packets."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson
import psycopg
from psycopg import errors
from psycopg.pq import ExecStatus

from radmeter.database import deadline
from radmeter.database.connection import connect, explained_errors
from radmeter.database.waiting import answer
from radmeter.errors import StoreError


def records_json(records: Sequence[dict[str, Any]]) -> str:
    """Return a batch as JSON text for the SQL functions that take records."""
    return orjson.dumps(records).decode()


class Store:
    """One connection of the shipper."""

    def __init__(self, dsn: str) -> None:
        # A batch takes less than a second. A statement that hangs means that a switch-over went wrong.
        self._connection = connect(dsn, deadline=deadline.prompt(), any_pooler=True, prepare_threshold=0)
        try:
            with explained_errors("radmeter_ingest"):
                self._connection.set("statement_timeout", str(deadline.statement_ms()))
                self._connection.set("lock_timeout", str(deadline.lock_ms()))
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def checkpoint(self, node: str) -> int:
        """Return the last sequence number of `node` that is ingested, 0 for a new node."""
        with explained_errors("radmeter_ingest"):
            row = self._connection.execute("SELECT radmeter.node_checkpoint(%s)", (node,)).fetchone()
        return cast(int, row[0]) if row else 0

    def left_out(self, node: str) -> list[tuple[int, int]]:
        """Return ranges of numbers in which packets of `node` were left out because of a limit, and not salvaged.

        A database without the function is older than the limits, and leaves nothing out.
        """
        with explained_errors("radmeter_ingest"):
            try:
                rows = self._connection.execute(
                    "SELECT first_seq, last_seq FROM radmeter.left_out_ranges(%s)", (node,)
                )
            except errors.UndefinedFunction:
                return []
            return [(first, last) for first, last in rows]

    def ingest(
        self, node: str, records: Sequence[dict[str, Any]], meanwhile: Callable[[], None] | None = None
    ) -> int:
        """Ingest a batch in one transaction. Return the node's new checkpoint.

        `meanwhile` is called once the batch is sent, while the database ingests it.

        Raises
        ------
        StoreTimeout
            The batch took longer than the statement timeout. Nothing of it is stored.
        NoAnswer
            The server is frozen or cut off. Nothing of the batch is stored, or all is. The connection is closed.
        StoreUnavailable
            Nothing of the batch is stored, or all is stored and the answer was lost: call again with the same batch.
        RecordRefused
            The database refuses a value in the batch. Nothing of the batch is stored.
        StoreError
            The database is not as it should be, for example a function or right is missing. Nothing is stored.
        """
        # libpq's own calls separate sending from waiting. psycopg's pipeline mode would add a round trip.
        pgconn = self._connection.pgconn
        with explained_errors("radmeter_ingest"), self._connection.begun():
            pgconn.send_query_params(
                b"SELECT radmeter.ingest($1, $2::json)", [node.encode(), orjson.dumps(records)]
            )
            result = answer(self._connection, meanwhile)
            if result is None or result.status != ExecStatus.TUPLES_OK:
                raise errors.error_from_result(result) if result else psycopg.OperationalError("no answer")
            return int(result.get_value(0, 0) or 0)
