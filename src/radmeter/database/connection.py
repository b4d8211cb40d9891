"""PostgreSQL: connections, and the calls on the packet path. The only module there that speaks psycopg."""

import logging
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import orjson
import psycopg
import sqlalchemy
from psycopg import errors
from psycopg.pq import ExecStatus

from radmeter.errors import RecordRefused, StoreError, StoreUnavailable

log = logging.getLogger(__name__)

# A peer that vanished without a word (a switch-over, a firewall) is noticed within about a minute instead of hours.
# `target_session_attrs=read-write` of a multi-host DSN is libpq's own and works as written in the DSN.
CONNECTION_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "application_name": "radmeter",
}

# Tried again as they are: the server is away, is stopping, or chose this transaction to give way to another.
TRANSIENT = (
    psycopg.OperationalError,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.LockNotAvailable,
    errors.ReadOnlySqlTransaction,  # the old primary after a switch-over
    errors.InternalError_,
)


def connection_string(dsn: str) -> str:
    """Return `dsn` with radmeter's defaults for what it leaves open.

    Raises
    ------
    StoreError
        It is no libpq connection string.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise StoreError(f"the DSN is not a PostgreSQL connection string: {str(error).strip()}") from None
    return psycopg.conninfo.make_conninfo(**{**CONNECTION_DEFAULTS, **given})  # type: ignore[arg-type] # its own output


def connect(dsn: str, *, autocommit: bool = True, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection.

    Raises
    ------
    StoreUnavailable
        No server of the DSN can be reached, or none of them takes writes where the DSN asks for that.
    """
    try:
        return psycopg.connect(connection_string(dsn), autocommit=autocommit, **options)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database cannot be reached: {str(error).strip()}") from error


def sqlalchemy_engine(dsn: str) -> sqlalchemy.Engine:
    """Return an engine that opens its connections as `connect` does; it pools none."""
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(dsn, autocommit=False),
        poolclass=sqlalchemy.NullPool,
    )


# SQLSTATE classes that are about a value: data exception, integrity constraint, program limit (PostgreSQL manual,
# appendix A). Anything else (a missing function, a missing right) is about the installation.
VALUE_CLASSES = ("22", "23", "54")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors into ours.

    `StoreUnavailable` for what may be tried again as it is, `RecordRefused` for a value the database will never take,
    else `StoreError`.
    """
    try:
        yield
    except psycopg.Error as error:
        message = error.diag.message_primary or str(error).strip()
        # First, since psycopg counts a row too long for its index among the operational errors.
        if (error.sqlstate or "")[:2] in VALUE_CLASSES:
            raise RecordRefused(message) from error
        if isinstance(error, TRANSIENT):
            raise StoreUnavailable(message) from error
        raise StoreError(message) from error


def records_json(records: Sequence[dict[str, Any]]) -> str:
    """Return a batch as the functions that take records take it."""
    return orjson.dumps(records).decode()


class Store:
    """One connection of the shipper: the calls of the packet path."""

    def __init__(self, dsn: str) -> None:
        # A batch is answered within a second; a statement that hangs is a switch-over that went wrong.
        self._connection = connect(dsn, prepare_threshold=0)
        try:
            with translated_errors():
                self._connection.execute("SET statement_timeout = '60s'")
                self._connection.execute("SET lock_timeout = '30s'")
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def checkpoint(self, node: str) -> int:
        """Return the last sequence number of `node` that is ingested, 0 for a node not seen before."""
        with translated_errors():
            row = self._connection.execute("SELECT radmeter.node_checkpoint(%s)", (node,)).fetchone()
        return cast(int, row[0]) if row else 0

    def ingest(
        self, node: str, records: Sequence[dict[str, Any]], meanwhile: Callable[[], None] | None = None
    ) -> int:
        """Ingest a batch in one transaction; return the node's new checkpoint.

        `meanwhile` is called once the database is at work on it.

        Raises
        ------
        StoreUnavailable
            Nothing of the batch is stored, or all of it is and the answer was lost: call again with the same batch.
        RecordRefused
            The database refuses a value in the batch; nothing of it is stored.
        StoreError
            The database is not as it should be, such as a missing function or right; nothing is stored.
        """
        # By libpq's own calls, which part sending from waiting; psycopg's pipeline mode would add a round trip.
        pgconn = self._connection.pgconn
        with translated_errors():
            pgconn.send_query_params(
                b"SELECT radmeter.ingest($1, $2::json)", [node.encode(), orjson.dumps(records)]
            )
            ready = select.poll()
            ready.register(pgconn.socket, select.POLLIN | select.POLLOUT)
            # psycopg's connections do not block; what the server says meanwhile is read.
            while pgconn.flush():
                ready.poll()
                pgconn.consume_input()
            if meanwhile is not None:
                meanwhile()
            ready.modify(pgconn.socket, select.POLLIN)
            while pgconn.is_busy():
                ready.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            while pgconn.get_result() is not None:
                pass
            if result is None or result.status != ExecStatus.TUPLES_OK:
                raise errors.error_from_result(result) if result else psycopg.OperationalError("no answer")
            return int(result.get_value(0, 0) or 0)
