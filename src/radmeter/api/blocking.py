"""Lets code that waits, such as the reading of statements, use the connection of a request, in its transaction."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from radmeter.api.connection import ApiConnection
from radmeter.database.connection import Connection

T = TypeVar("T")

# Threads that wait for the database: not those of asyncio, which are few, and which metrics and files need. Each call
# holds a connection for reading, so there are no more threads than connections (http_pool), and a client that holds its
# part of those holds the same part of these.
_THREADS = ThreadPoolExecutor(1000, "statement")


class _Found:
    """The result of a statement."""

    def __init__(self, description: Any, rows: Sequence[tuple[Any, ...]]) -> None:
        self.description = description
        self._rows = list(rows)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row."""
        return self._rows[0] if self._rows else None


class _Blocking:
    """A connection for another thread: each statement runs in the event loop."""

    def __init__(self, connection: ApiConnection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop

    def execute(self, query: bytes, values: Mapping[str, Any] | Sequence[Any] | None = None) -> _Found:
        """Run a statement, and return all of its rows."""
        return asyncio.run_coroutine_threadsafe(self._execute(query, values), self._loop).result()

    async def _execute(self, query: bytes, values: Mapping[str, Any] | Sequence[Any] | None) -> _Found:
        cursor = await self._connection.execute(query, values)
        return _Found(cursor.description, await cursor.fetchall())


async def in_thread(connection: ApiConnection, read: Callable[[Connection], T]) -> T:
    """Run a function that reads by `radmeter.database.views.rows` in a thread, and return what it returns."""
    loop = asyncio.get_running_loop()
    blocking = _Blocking(connection, loop)
    return await loop.run_in_executor(_THREADS, read, cast(Connection, blocking))
