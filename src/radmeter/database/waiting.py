"""A connection that does not wait for ever: after its deadline it asks whether the server works, or gives up.

libpq waits for an answer without end. TCP notices a peer that is gone, but not a stopped process: its kernel still
acknowledges. So the silence of the server is measured here.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import capabilities
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from radmeter import waits
from radmeter.database.deadline import Deadline, ordinary
from radmeter.database.dsn import of_connection

log = logging.getLogger(__name__)

T = TypeVar("T")
# A cancel request is a connection of its own, and a frozen server does not take it.
CANCEL_SECONDS = 5
# A new connection of a server that works is quick. One slow answer proves nothing on a busy machine.
PROBE_SECONDS = 5
PROBES = 3

# A server that waits for its client has sent its answer, and the answer is lost.
PROBE = """
SELECT coalesce(state, '') NOT LIKE 'idle%%' AND wait_event_type IS DISTINCT FROM 'Client'
FROM pg_stat_activity
WHERE pid = %s AND extract(epoch FROM pg_postmaster_start_time()) = %s"""

# What a server says itself when it refuses a connection begins with the severity and two blanks, in any language. libpq
# gives no SQLSTATE for it.
REFUSED = re.compile(r"failed: \S+:  ")


class NoAnswerError(psycopg.OperationalError):
    """The server did not answer in time. The connection is closed."""


class ServerProcess(NamedTuple):
    """The server's process behind a connection. A pooler between them gives the client another number."""

    pid: int
    server_started_at: object


class Sign(Enum):
    """What a second connection finds out."""

    WORKS = "works"
    LOST = "has no statement of this connection"
    SILENT = "does not answer"


class WaitingConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection with a deadline for each answer.

    `deadline` may be changed at any time. `process` is the server's process; None: unknown, so nobody can ask what it
    does, and the connection is given up at the deadline.
    """

    deadline: Deadline = ordinary()
    process: ServerProcess | None = None
    _told = False

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Run one of psycopg's generators, as each of its statements does.

        Raises
        ------
        NoAnswerError
            The server is frozen or cut off. The connection is closed.
        """
        try:
            return super().wait(self._watched(gen), *args, **kwargs)
        except NoAnswerError:
            give_up(self)
            raise

    def _watched(self, gen: PQGen[T]) -> PQGen[T]:
        silent_since = time.monotonic()
        check_at, bad_signs = silent_since + self.deadline.seconds, 0
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    silent_since, check_at, bad_signs = now, now + self.deadline.seconds, 0
                elif now < check_at:
                    self._tell(now - silent_since)
                else:
                    silent = now - silent_since
                    sign = self._sign(silent)
                    bad_signs = 0 if sign is Sign.WORKS else bad_signs + 1
                    if sign is None or bad_signs >= PROBES:
                        raise NoAnswerError(_said(silent, sign))
                    if sign is Sign.WORKS:
                        log.warning(
                            "the server has worked on one statement for %d s; waiting goes on", silent
                        )
                    # A bad sign may be the instant before the answer arrives.
                    pause = self.deadline.seconds if sign is Sign.WORKS else min(1.0, self.deadline.seconds)
                    check_at = time.monotonic() + pause
                wanted = gen.send(ready)
        except StopIteration as ended:
            result: T = ended.value
            return result

    def _tell(self, silent: float) -> None:
        """Say once that a command waits for the server, unless something on the screen says it."""
        if not self._told and waits.is_long(silent) and waits.is_told():
            self._told = True
            waits.tell(f"the answer of the database {self.info.dbname} on {self.info.host or 'this machine'}")

    def _sign(self, silent: float) -> Sign | None:
        """Ask the server what it does. None: it is too late to ask, or nobody can ask."""
        longest = self.deadline.longest_seconds
        if self.process is None or (longest is not None and silent >= longest):
            return None
        try:
            with WaitingConnection.connect(same_server(self), autocommit=True) as beside:
                beside.deadline = Deadline(PROBE_SECONDS, PROBE_SECONDS)
                beside.execute("SET search_path = pg_catalog", prepare=False)
                row = beside.execute(PROBE, self.process, prepare=False).fetchone()
        except psycopg.Error as error:
            # A server that refuses a connection with a reason is not frozen: too many connections, for example.
            return Sign.WORKS if error.sqlstate or REFUSED.search(str(error)) else Sign.SILENT
        return Sign.WORKS if row == (True,) else Sign.LOST


def _said(silent: float, sign: Sign | None) -> str:
    why = f"a second connection found that it {sign.value}" if sign else "it is frozen or cut off"
    return f"no answer from the server for {silent:.0f} s: {why}. The connection was closed"


def same_server(connection: psycopg.Connection[Any]) -> str:
    """Return the connection string of the very server that a connection has, of those that its own string names."""
    info = connection.info
    return of_connection(
        connection,
        host=info.host,
        hostaddr=info.hostaddr or None,
        port=info.port,
        target_session_attrs="any",
        connect_timeout=PROBE_SECONDS,
    )


def server_pid(connection: psycopg.Connection[Any]) -> int:
    """Return the number of the server's process, also behind a pooler."""
    process = connection.process if isinstance(connection, WaitingConnection) else None
    return connection.info.backend_pid if process is None else process.pid


def give_up(connection: psycopg.Connection[Any]) -> None:
    """Cancel what the server does for a connection, as far as that is possible in a moment, and close it."""
    if capabilities.has_cancel_safe():
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=CANCEL_SECONDS)
    else:
        # libpq before 17 sends a cancel request without a limit of time.
        cancel = threading.Thread(target=connection.cancel, name="cancel request", daemon=True)
        cancel.start()
        cancel.join(CANCEL_SECONDS)
    connection.close()


def answer(
    connection: psycopg.Connection[Any], meanwhile: Callable[[], None] | None = None
) -> PGresult | None:
    """Return the result of the statement that was sent with libpq's own call; None: there is none.

    In autocommit mode it is committed then. Else the result is the error.

    `meanwhile` is called once the statement is sent, while the server works on it.

    Raises
    ------
    NoAnswerError
        The server is frozen or cut off. The connection is closed.
    """
    connection.wait(_sent(connection.pgconn))
    if meanwhile is not None:
        meanwhile()
    return connection.wait(_result(connection.pgconn))


def copied(
    connection: psycopg.Connection[Any], data: bytes, meanwhile: Callable[[], None] | None = None
) -> PGresult | None:
    """Return the last result of the statements that were sent with libpq's own call, one of them COPY .. FROM STDIN.

    It reads `data`. As `answer`, with the same errors.
    """
    pgconn = connection.pgconn
    connection.wait(_sent(pgconn))
    before = connection.wait(_result(pgconn))
    if before is None or before.status != ExecStatus.COPY_IN:
        return before
    connection.wait(_put(pgconn, data))
    if meanwhile is not None:
        meanwhile()
    return connection.wait(_result(pgconn))


def _put(pgconn: PGconn, data: bytes) -> PQGen[None]:
    while pgconn.put_copy_data(data) == 0:
        yield Wait.W
    while pgconn.put_copy_end() == 0:
        yield Wait.W
    yield from _sent(pgconn)


def _sent(pgconn: PGconn) -> PQGen[None]:
    while pgconn.flush():
        # Read what the server sends meanwhile: else both sides may wait for each other.
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()


def _result(pgconn: PGconn) -> PQGen[PGresult | None]:
    """Return the statement's first error, or its result if there is none until the server is ready again.

    The server sends the result before it commits. An error of the commit, or of a server that stops, comes after it.
    """
    found = None
    while True:
        try:
            while pgconn.is_busy():
                if (yield Wait.R):
                    pgconn.consume_input()
        except psycopg.OperationalError:
            # The connection is gone. The server may have said why.
            if _is_error(found):
                return found
            raise
        result = pgconn.get_result()
        if result is None:
            return found
        if not _is_error(found):
            found = result
        if result.status == ExecStatus.COPY_IN:
            return found


def _is_error(result: PGresult | None) -> bool:
    return result is not None and result.status == ExecStatus.FATAL_ERROR
