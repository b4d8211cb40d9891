"""The shipper's connection to the database, with the calls that carry packets."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg import errors
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from radmeter.database import deadline
from radmeter.database.connection import connect, explained_errors
from radmeter.database.waiting import answer, copied
from radmeter.errors import RecordRefused, StoreError
from radmeter.ingest.rows import COLUMNS
from radmeter.packet.columns import NULL


class Progress(NamedTuple):
    """How far a segment is ingested: its last number that is counted, and the digest over the records up to it.

    `digest`: None if it is not known, since an older release counted them.
    """

    seq: int
    digest: int | None


class Registered(NamedTuple):
    """A segment as the database knows it.

    `given`: the caller has named it. `unseen_seconds`: how long ago a shipper last did, by the database's clock.
    `previous_finished`: whether the segment before it is all counted; None if there is none, or if the database
    does not know it. `siblings`: how many other segments of the node name the same segment before them: the journal
    was copied, or set back.
    """

    id: str
    first_seq: int
    last_seq: int
    digest: int | None
    records: int
    finished: bool
    given: bool
    unseen_seconds: float
    previous: str | None
    previous_finished: bool | None
    siblings: int

    @property
    def progress(self) -> Progress:
        """How far the segment is ingested."""
        return Progress(self.last_seq, self.digest)


OPEN_SEGMENTS = """
SELECT id::text, first_seq, last_seq, digest, records, finished, given,
       extract(epoch FROM clock_timestamp() - seen_at)::float8, previous::text, previous_finished, siblings
FROM radmeter.open_segments(%s, %s::json)"""


# One message, so one transaction. The records are read before radmeter.ingest takes its lock.
INGEST_COPIED = (
    "SELECT radmeter.stage(); "  # noqa: S608  # constants, a UUID and integers
    f"COPY pg_temp.staged ({', '.join(COLUMNS)}) FROM STDIN (NULL E'\\x{ord(NULL):02x}'); "
    "SELECT radmeter.ingest('{}', {}, {}, NULL, {})"
)
TAKES_COPIES = """
SELECT coalesce(has_function_privilege(to_regprocedure('radmeter.stage()'), 'EXECUTE'), false)"""


def records_json(records: Sequence[dict[str, Any]]) -> str:
    """Return a batch as JSON text for the SQL functions that take records.

    Raises
    ------
    RecordRefused
        A value has no JSON: a text with a lone surrogate, a number of more than 64 bits, or lists in lists in lists.
    """
    return _json(records).decode()


def _json(records: Sequence[dict[str, Any]]) -> bytes:
    try:
        return orjson.dumps(records)
    except TypeError as error:
        raise RecordRefused(f"a value cannot be sent: {error}") from error


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
        self._takes_copies: bool | None = None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def database_id(self) -> str:
        """Return the identity of the database. Its backups and standbys have the same."""
        return str(self._call("SELECT radmeter.database_id()::text"))

    def open_segments(self, node: str, segments: Sequence[Mapping[str, Any]]) -> list[Registered]:
        """Register segments of a journal, and return how far each is ingested, in the order of their numbers.

        With them come the other segments of `node` that are not all counted.

        Parameters
        ----------
        node
            The journal's name.
        segments
            For each: ``id``, ``node`` (None: the journal's), ``format``, ``first_seq`` and ``previous``, as its header
            has them.
        """
        with explained_errors("radmeter_ingest"):
            rows = self._connection.execute(OPEN_SEGMENTS, (node, orjson.dumps(list(segments)).decode()))
            return [Registered._make(row) for row in rows]

    def removed(self, segments: Sequence[Mapping[str, Any]]) -> set[str]:
        """Return the ids of those segments that are all counted, and whose rows the jobs have removed.

        A database without the function has removed none.

        Parameters
        ----------
        segments
            For each: ``id``, ``node`` and ``ended_us``, when the shipper was done with it (None: not known).
        """
        with explained_errors("radmeter_ingest"):
            try:
                rows = self._connection.execute(
                    "SELECT id::text FROM radmeter.removed_segments(%s::json) AS id",
                    (orjson.dumps(list(segments)).decode(),),
                )
            except errors.UndefinedFunction:
                return set()
            return {row[0] for row in rows}

    def finish(self, segment_id: str, end: int | None) -> None:
        """Note that a segment ends at the number `end`, and that all of it is counted.

        `end` None: nothing says where it ends, and all that is there of it is counted.

        Raises
        ------
        ProgressMoved
            It is not: the database's progress is lower, or the segment is not registered.
        """
        self._call("SELECT radmeter.finish_segment(%s::uuid, %s::bigint)", segment_id, end)

    def note_incident(self, node: str, incident: Mapping[str, Any]) -> int:
        """Note what was found about a journal that a person should know. Return the incident's id.

        The same kind, segment and first number again is the same incident.

        Parameters
        ----------
        node
            The journal's name.
        incident
            ``kind`` (rewound, missing, damaged, forked, copied or shorter) and ``detail``. As far as they are known
            also ``segment``, ``first_seq``, ``last_seq``, ``records``, ``from_us`` and ``to_us`` (the first and the
            last arrival, in microseconds since 1970) or ``from_at`` and ``to_at``. With a ``reason`` it is
            acknowledged at once.
        """
        return int(
            self._call(
                "SELECT radmeter.note_incident(%s, %s::json)", node, orjson.dumps(dict(incident)).decode()
            )
        )

    def settle(self, incident_id: int) -> None:
        """Note that an incident has ended by itself."""
        self._call("SELECT radmeter.settle_incident(%s::bigint)", incident_id)

    def left_out(self, node: str) -> list[tuple[int, int]]:
        """Return the ranges of numbers in which packets of `node` were left out because of a limit and not salvaged.

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
        self,
        segment_id: str,
        after: Progress,
        records: Sequence[dict[str, Any]],
        digest: int | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        """Ingest a batch of a segment in one transaction. Return the segment's last number that is counted now.

        Parameters
        ----------
        segment_id
            The segment. `open_segments` has registered it.
        after
            How far the segment is ingested. The records are those that follow.
        digest
            Over the segment's records up to the last of these.
        meanwhile
            Called once the batch is sent, while the database ingests it.

        Raises
        ------
        ProgressMoved
            The segment's progress is not `after`. Nothing of the batch is stored.
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
        text = _json(records)
        pgconn = self._connection.pgconn
        with explained_errors("radmeter_ingest"), self._connection.begun():
            pgconn.send_query_params(
                b"SELECT radmeter.ingest($1::uuid, $2::bigint, $3::bigint, $4::json, $5::bigint)",
                [
                    segment_id.encode(),
                    b"%d" % after.seq,
                    None if after.digest is None else b"%d" % after.digest,
                    text,
                    None if digest is None else b"%d" % digest,
                ],
            )
            return _last(answer(self._connection, meanwhile))

    def takes_copies(self) -> bool:
        """Tell whether `ingest_copied` works: not in a database that is not upgraded yet."""
        if self._takes_copies is None:
            self._takes_copies = bool(self._call(TAKES_COPIES))
        return self._takes_copies

    def ingest_copied(
        self,
        segment_id: str,
        after: Progress,
        copied_rows: bytes,
        digest: int | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        """Ingest a batch of a segment as `ingest` does, with the same errors.

        Parameters
        ----------
        copied_rows
            The records, from `radmeter.ingest.rows.Rows.copied`.
        """
        query = INGEST_COPIED.format(
            uuid.UUID(segment_id),
            after.seq,
            *("NULL" if each is None else int(each) for each in (after.digest, digest)),
        )
        with explained_errors("radmeter_ingest"), self._connection.begun():
            self._connection.pgconn.send_query(query.encode())
            return _last(copied(self._connection, copied_rows, meanwhile))

    def _call(self, query: str, *parameters: object) -> Any:
        with explained_errors("radmeter_ingest"):
            row = self._connection.execute(query.encode(), parameters).fetchone()
        return row[0] if row else None


def _last(result: PGresult | None) -> int:
    """Return the number that `radmeter.ingest` has answered."""
    if result is None or result.status != ExecStatus.TUPLES_OK:
        raise errors.error_from_result(result) if result else psycopg.OperationalError("no answer")
    return int(result.get_value(0, 0) or 0)
