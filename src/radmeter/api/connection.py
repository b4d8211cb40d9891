"""A connection of a request: the beginning of its transaction goes to the server along with its first statements.

A message wakes the server's process and ours. On a busy machine that costs as much as the statement itself, so a page
of a list is one message: BEGIN, the caller's role, EXECUTE of a prepared statement, COMMIT (docs/decisions.md).
psycopg's pipeline mode saves the trips, too, but each statement in it costs as much of our processor time as alone.
"""

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.pq import Escaping, TransactionStatus
from psycopg.rows import tuple_row

log = logging.getLogger(__name__)

Values = Mapping[str, Any] | None
# The text of a statement, and the types of its values.
_Key = tuple[str, tuple[str, ...]]
# Prepared statements of a connection. When there are more, all are forgotten.
MOST_PREPARED = 200
# So much longer than its statement_timeout a statement may take. Then the server is frozen, and not slow.
GRACE_SECONDS = 3.0
ANSWER_SECONDS = 5.0 + GRACE_SECONDS
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|%)")


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a statement, with the names and types of its columns."""

    names: tuple[str, ...]
    types: tuple[int, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Prepared:
    name: str
    parameters: tuple[str, ...]


class ApiConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection of a pool.

    Attributes
    ----------
    begin_with
        The settings that each transaction needs behind a pooler. There nothing is prepared.
    opening
        What begins the transaction that is lent. While it is set, no statement runs outside such a transaction.
    answer_seconds
        How long an answer of the server may take. Then the connection is cut, and whoever waits gets the error of a
        server that has gone: a frozen one does not even take a cancellation.
    was_cut
        Whether it was.
    """

    begin_with: str = ""
    opening: bytes | None = None
    answer_seconds: float = ANSWER_SECONDS
    was_cut: bool = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cursor_factory = ApiCursor
        self._statements: dict[_Key, _Prepared] = {}
        self._number = 0
        self._stale = False

    @property
    def idle(self) -> bool:
        """Whether no transaction is open."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    def is_there(self) -> bool:
        """Return whether the server has not closed the connection since its last answer. Nothing is sent for that."""
        if not self.closed:
            # What a server process that ends has said lies in the socket, and then the end of it.
            with contextlib.suppress(psycopg.Error):
                self.pgconn.consume_input()
                self.pgconn.consume_input()
        return not self.closed

    async def wait(self, *arguments: Any, **named: Any) -> Any:
        """Wait for an answer of the server, as each use of a connection does."""
        timer = asyncio.get_running_loop().call_later(self.answer_seconds, self._cut)
        try:
            return await super().wait(*arguments, **named)
        finally:
            timer.cancel()

    def _cut(self) -> None:
        if self.pgconn.socket < 0:
            return
        self.was_cut = True
        log.warning(
            "the database's process %d has not answered for %.0f s: its connection is dropped",
            self.info.backend_pid,
            self.answer_seconds,
        )
        # The waiting task sees an end of the connection. A cancellation of it would ask the server first.
        with socket.socket(fileno=os.dup(self.pgconn.socket)) as opened, contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    async def begin(self) -> None:
        """Begin the transaction, if it is not open: for what is not run by a cursor of ours, such as DECLARE."""
        if self.opening is not None and self.idle:
            await psycopg.AsyncCursor(self).execute(self.opening, prepare=False)

    async def read(self, *statements: tuple[str, Values], last: bool = False) -> list[Table]:
        """Run statements that read, in one message, and return the rows of each.

        Parameters
        ----------
        last
            The transaction ends with them. Another statement would begin a new one.
        """
        if self.begin_with:
            return [await self._read_unprepared(query, values) for query, values in statements]
        parts, new = self._message(statements)
        if last and self.opening is not None:
            parts.append(b"COMMIT")
        cursor = psycopg.AsyncCursor(self, row_factory=tuple_row)
        try:
            await cursor.execute(b"; ".join(parts), prepare=False)
        except psycopg.Error:
            # Which of them were prepared is not known. Or an upgrade has changed what they return.
            self._stale = True
            raise
        self._statements.update(new)
        found = []
        while True:
            if cursor.pgresult is not None and cursor.pgresult.nfields:
                found.append(await _table(cursor))
            if not cursor.nextset():
                return found

    async def _read_unprepared(self, query: str, values: Values) -> Table:
        cursor = self.cursor(row_factory=tuple_row)
        await cursor.execute(query.encode(), values)
        return await _table(cursor)

    def _message(self, statements: Sequence[tuple[str, Values]]) -> tuple[list[bytes], dict[_Key, _Prepared]]:
        parts: list[bytes] = []
        if self.opening is not None and self.idle:
            parts.append(self.opening)
        if self._stale or len(self._statements) > MOST_PREPARED:
            parts.append(b"DEALLOCATE ALL")
            self._statements.clear()
            self._stale = False
        new: dict[_Key, _Prepared] = {}
        for query, values in statements:
            # The same text with values of other types is another statement, as it would be without PREPARE.
            types = {name: _type(value) for name, value in (values or {}).items()}
            key = query, tuple(types.values())
            prepared = self._statements.get(key) or new.get(key)
            if prepared is None:
                self._number += 1
                text, parameters = _numbered(query) if values is not None else (query, ())
                prepared = new[key] = _Prepared(f"read_{self._number}", parameters)
                declared = f" ({', '.join(types[name] for name in parameters)})" if parameters else ""
                # Behind the beginning: the caller's role may see what it names. A rollback does not undo it.
                parts.append(f"PREPARE {prepared.name}{declared} AS {text}".encode())
            parts.append(self._execute_text(prepared, values or {}))
        return parts, new

    def _execute_text(self, prepared: _Prepared, values: Mapping[str, Any]) -> bytes:
        if not prepared.parameters:
            return f"EXECUTE {prepared.name}".encode()
        given = b", ".join(self._literal(values[name]) for name in prepared.parameters)
        return b"EXECUTE %b (%b)" % (prepared.name.encode(), given)

    def _literal(self, value: Any) -> bytes:
        if value is None:
            return b"NULL"
        if type(value) is int:
            return b"%d" % value
        if type(value) is str:
            if "\0" in value:
                raise psycopg.DataError("PostgreSQL's text has no NUL")  # libpq would end the text there
            return bytes(Escaping(self.pgconn).escape_literal(value.encode()))
        return sql.Literal(value).as_bytes(self)


class ApiCursor(psycopg.AsyncCursor[Any]):
    """A cursor that begins the transaction before its statement, if it is not open."""

    async def execute(self, query: Any, params: Any = None, **named: Any) -> Self:
        """Run a statement."""
        connection = self.connection
        assert isinstance(connection, ApiConnection)
        await connection.begin()
        return await super().execute(query, params, **named)


def _type(value: object) -> str:
    """Return the type that a value is sent as. Of an unknown one the server takes what its place asks for."""
    if isinstance(value, int) and not isinstance(value, bool):
        for name, bits in (("integer", 31), ("bigint", 63)):
            if -(2**bits) <= value < 2**bits:
                return name
    types = {bool: "boolean", int: "numeric", datetime: "timestamp with time zone", date: "date"}
    return types.get(type(value), "unknown")


def _numbered(query: str) -> tuple[str, tuple[str, ...]]:
    """Return a query with $1, $2 for its named parameters, and the names in this order."""
    names: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        if match[1] is None:
            return "%"
        return f"${names.setdefault(match[1], len(names) + 1)}"

    return _PLACEHOLDER.sub(number, query), tuple(names)


async def _table(cursor: psycopg.AsyncCursor[tuple[Any, ...]]) -> Table:
    result = cursor.pgresult
    assert result is not None
    columns = range(result.nfields)
    names = tuple((result.fname(column) or b"").decode() for column in columns)
    return Table(names, tuple(result.ftype(column) for column in columns), await cursor.fetchall())
