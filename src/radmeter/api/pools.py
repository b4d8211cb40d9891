"""Connections to the database: a bounded pool for reading, and a smaller one for writing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from radmeter.api.connection import ApiConnection
from radmeter.api.problems import unavailable
from radmeter.database import settings as server_settings
from radmeter.database.connection import BEGIN, SEARCH_PATH, connection_string
from radmeter.database.far_times import FarDateLoader, FarTimestamptzLoader
from radmeter.database.tenant_roles import GROUPS

WAIT_SECONDS = 3.0
# So many requests wait for each connection. More are told at once to come again.
WAITING_PER_CONNECTION = 64
SET_PATH = f"{SEARCH_PATH}; ".replace("SET ", "SET LOCAL ")


class _Reachable(ApiConnection):
    """A connection of one of the pools. It remembers whether the server was there: the pool itself would not tell."""

    away: ClassVar[bool] = False

    @classmethod
    async def connect(cls, *arguments: Any, **named: Any) -> Self:
        """Connect."""
        try:
            made = await super().connect(*arguments, **named)
        except psycopg.OperationalError:
            cls.away = True
            raise
        cls.away = False
        return made


class _Reading(_Reachable):
    """A connection to read."""


class _Writing(_Reachable):
    """A connection to write."""


class Pools:
    """The pools of a server. Both read and write are one if there is no standby to read from."""

    def __init__(self, dsn: str, read_dsn: str | None, size: int) -> None:
        self.has_standby = read_dsn is not None
        self._write = _pool(dsn, "write", max(2, size // 4), _Writing)
        self._read = _pool(read_dsn or dsn, "read", size, _Reading)

    async def open(self) -> None:
        """Begin to connect. A database that is away does not keep the server from starting."""
        await self._write.open(wait=False)
        await self._read.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self._read.close()
        await self._write.close()

    @asynccontextmanager
    async def connection(self, *, writes: bool) -> AsyncIterator[ApiConnection]:
        """Lend a connection for the block. Raises Problem if there is none in time."""
        pool = self._write if writes else self._read
        try:
            connection = await pool.getconn()
        except (PoolTimeout, TooManyRequests) as error:
            raise unavailable(self._reason(error, writes=writes)) from None
        try:
            yield connection
        finally:
            await pool.putconn(connection)

    def is_away(self, *, writes: bool) -> bool:
        """Return whether the last connection could not be made."""
        return (_Writing if writes else _Reading).away

    def _reason(self, error: Exception, *, writes: bool) -> str:
        if self.is_away(writes=writes):
            if self.has_standby:
                return f"the database to {'write to' if writes else 'read from'} cannot be reached now"
            return "the database cannot be reached now"
        if isinstance(error, TooManyRequests):
            return "too many requests wait for the database"
        return "no connection to the database was free in time"


def _pool(dsn: str, name: str, size: int, kind: type[ApiConnection]) -> AsyncConnectionPool[ApiConnection]:
    return AsyncConnectionPool(
        connection_string(dsn),
        connection_class=kind,
        kwargs={
            "autocommit": True,
            "application_name": f"radmeter serve, {name}",
            # psycopg prepares nothing: at a ROLLBACK it would drop all prepared statements, and so those of ours.
            "prepare_threshold": None,
        },
        min_size=1,
        max_size=size,
        configure=_configure,
        open=False,
        name=name,
        timeout=WAIT_SECONDS,
        max_waiting=size * WAITING_PER_CONNECTION,
        max_idle=300,
        reconnect_timeout=60,
    )


async def _configure(connection: ApiConnection) -> None:
    """Set what each session has, as `radmeter.database.connection` does. Behind a pooler nothing of it would stay."""
    connection.adapters.register_loader("timestamptz", FarTimestamptzLoader)
    connection.adapters.register_loader("date", FarDateLoader)
    shown = connection.info.backend_pid
    question = BEGIN.format(
        pid=shown,
        path=SEARCH_PATH.partition(" = ")[2],
        groups=GROUPS,
        settings=server_settings.set_for_session(
            f"pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {shown}"
        ),
    )
    cursor = await connection.execute(question.encode(), prepare=False)
    row = await cursor.fetchone()
    assert row is not None
    if row[0] != shown:
        connection.begin_with = server_settings.set_for_transaction(connection.info.server_version) + "; "
