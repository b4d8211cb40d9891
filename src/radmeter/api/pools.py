"""Connections to the database: a bounded pool for reading, a smaller one for writing, and a small one for keys.

A client that holds the connections it may have keeps others neither from reading nor from writing, and nobody's key
from being found.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Literal, Self

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from radmeter.api.connection import ApiConnection
from radmeter.api.problems import unavailable
from radmeter.api.shares import Shares
from radmeter.database import settings as server_settings
from radmeter.database.connection import BEGIN, SEARCH_PATH, connection_string
from radmeter.database.far_times import FarDateLoader, FarTimestamptzLoader
from radmeter.database.tenant_roles import GROUPS

WAIT_SECONDS = 3.0
# So many requests wait for each connection. More are told at once to come again.
WAITING_PER_CONNECTION = 64
# To find a key takes a millisecond.
FOR_KEYS = 2
SET_PATH = f"{SEARCH_PATH}; ".replace("SET ", "SET LOCAL ")


Use = Literal["read", "write", "keys"]


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


class _OfKeys(_Reachable):
    """A connection to find keys, and to note their use."""


_KINDS: dict[Use, type[_Reachable]] = {"read": _Reading, "write": _Writing, "keys": _OfKeys}


class Pools:
    """The pools of a server. All go to one database if there is no standby to read from.

    Attributes
    ----------
    shares
        Of the connections of each pool one client may hold so many that some are left.
    """

    def __init__(self, dsn: str, read_dsn: str | None, size: int) -> None:
        self.has_standby = read_dsn is not None
        for_writing = max(2, size // 4)
        self._pools = {
            "write": _pool(dsn, "write", for_writing),
            "keys": _pool(dsn, "keys", FOR_KEYS),
            "read": _pool(read_dsn or dsn, "read", size),
        }
        self.shares: dict[Use, Shares] = {
            "write": _shares(for_writing),
            "keys": _shares(FOR_KEYS, "too many keys are looked up"),
            "read": _shares(size),
        }

    async def open(self) -> None:
        """Begin to connect. A database that is away does not keep the server from starting."""
        for each in self._pools.values():
            await each.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        for each in reversed(self._pools.values()):
            await each.close()

    @asynccontextmanager
    async def connection(self, use: Use) -> AsyncIterator[ApiConnection]:
        """Lend a connection for the block. Raises Problem if there is none in time."""
        pool = self._pools[use]
        try:
            connection = await pool.getconn()
        except (PoolTimeout, TooManyRequests) as error:
            raise unavailable(self._reason(error, use)) from None
        try:
            yield connection
        finally:
            # One that was cut is dropped, also if it does not know its end yet.
            if connection.was_cut or not connection.idle:
                await connection.close()
            await pool.putconn(connection)

    def is_away(self, use: Use) -> bool:
        """Return whether the last connection could not be made."""
        return _KINDS[use].away

    def _reason(self, error: Exception, use: Use) -> str:
        if self.is_away(use):
            if self.has_standby:
                return f"the database to {'read from' if use == 'read' else 'write to'} cannot be reached now"
            return "the database cannot be reached now"
        if isinstance(error, TooManyRequests):
            return "too many requests wait for the database"
        return "no connection to the database was free in time"


def _shares(size: int, refusal: str = "too many requests of this key are under way") -> Shares:
    return Shares(max(1, size - max(1, size // 4)), WAIT_SECONDS, refusal)


def _pool(dsn: str, name: Use, size: int) -> AsyncConnectionPool[ApiConnection]:
    return AsyncConnectionPool(
        connection_string(dsn),
        connection_class=_KINDS[name],
        kwargs={
            "autocommit": True,
            "application_name": f"radmeter serve, {name}",
            # psycopg prepares nothing: at a ROLLBACK it would drop all prepared statements, and so those of ours.
            "prepare_threshold": None,
        },
        min_size=1,
        max_size=size,
        configure=_configure,
        check=_check,
        open=False,
        name=name,
        timeout=WAIT_SECONDS,
        max_waiting=size * WAITING_PER_CONNECTION,
        max_idle=300,
        reconnect_timeout=60,
    )


async def _check(connection: ApiConnection) -> None:
    """Let the pool drop a connection whose server process has ended since its last use, and lend another one."""
    if not connection.is_there():
        raise psycopg.OperationalError("the server has closed the connection")


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
