"""Statements of a request go to the database together, and none outside the transaction of the caller's role."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import psycopg
import pytest
from support.servers import Connection

from radmeter.api.callers import Caller
from radmeter.api.connection import MOST_PREPARED, ApiConnection
from radmeter.api.listing import rows, several
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.api.transactions import transaction

READER = Caller(key_id="x", name="x", role="reader")
TENANT = Caller(key_id="y", name="y", role="tenant", tenant_id=1)
WHO = "SELECT current_user::text AS who, pg_catalog.now() AS at"


def within(dsn: str, work: Callable[[Pools], Awaitable[None]]) -> None:
    """Run something with the pools of a server that has one connection for reading."""

    async def run() -> None:
        pools = Pools(dsn, None, 1)
        await pools.open()
        try:
            async with asyncio.timeout(60):
                await work(pools)
        finally:
            await pools.close()

    asyncio.run(run())


@pytest.mark.parametrize("pooled", [False, True])
def test_no_statement_runs_outside_the_role_of_the_caller(api_dsn: str, pooled: bool) -> None:
    async def work(pools: Pools) -> None:
        for caller, role in ((READER, "radmeter_reader"), (TENANT, "radmeter_tenant")):
            async with transaction(pools, caller) as connection:
                if pooled:
                    connection.begin_with = "SET LOCAL jit = off; "
                assert connection.idle
                (first,) = await rows(connection, WHO)
                cursor = await connection.execute(WHO)
                found = await cursor.fetchone()
                assert found is not None
                # The transaction is the same.
                assert found == (first["who"], first["at"])
                assert first["who"] == role
                (last,), (again,) = await several(connection, (WHO, None), (WHO, None), last=True)
                assert last == again == first
                assert connection.idle is not pooled
                # What comes after the end begins a transaction of the same role.
                (later,) = await rows(connection, WHO)
                assert later["who"] == role
                assert (later["at"] > first["at"]) is not pooled
            async with pools.connection("read") as lent:
                assert lent.idle
                assert lent.opening is None

    within(api_dsn, work)


def test_a_transaction_without_statements_sends_none(api_dsn: str) -> None:
    async def work(pools: Pools) -> None:
        async with transaction(pools, READER) as connection:
            pass
        assert connection.idle

    within(api_dsn, work)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(
    "value", ["it's", "a\\'b", "100 % %s $1", "é☃𐍈", "'; DROP TABLE public.routers; --", "", None]
)
def test_values_stay_values(api_dsn: str, pooled: bool, value: str | None) -> None:
    async def work(pools: Pools) -> None:
        async with transaction(pools, READER) as connection:
            if pooled:
                connection.begin_with = "SET LOCAL jit = off; "
            query = "SELECT %(text)s::text AS text, 7 %% %(number)s AS rest, %(numbers)s::int[] AS numbers"
            for number in (4, 5):  # made, and used again
                values: dict[str, Any] = {"text": value, "number": number, "numbers": [1, -2]}
                assert await rows(connection, query, values) == [
                    {"text": value, "rest": 7 % number, "numbers": [1, -2]}
                ]

    within(api_dsn, work)


def test_values_have_types_as_they_have_elsewhere(api_dsn: str) -> None:
    """A value whose type the server guesses from its place would make `date - %(days)s` a number of days."""
    query = "SELECT date '2026-03-31' - %(days)s AS day, date '2026-03-31' - %(begin)s AS days, %(number)s + 1 AS more"

    async def work(pools: Pools) -> None:
        async with transaction(pools, READER) as connection:
            for number in (1, 2**40, 1, 2**70):
                values: dict[str, Any] = {"days": 30, "begin": date(2026, 3, 1), "number": number}
                assert await rows(connection, query, values) == [
                    {"day": date(2026, 3, 1), "days": 30, "more": number + 1}
                ]
            with pytest.raises(psycopg.DataError, match="NUL"):
                await rows(connection, "SELECT %(text)s::text AS text", {"text": "alice\0bob"})

    within(api_dsn, work)


def test_a_rollback_leaves_the_prepared_statements(api_dsn: str) -> None:
    async def work(pools: Pools) -> None:
        async with transaction(pools, READER) as connection:
            assert (await rows(connection, WHO))[0]["who"] == "radmeter_reader"
            for _ in range(10):  # so often that psycopg would prepare it
                await connection.execute("SELECT %s::text", ("a",))
        with pytest.raises(Problem, match="division by zero"):
            async with transaction(pools, READER) as connection:
                await connection.execute("SELECT 1 / %s", (0,))
        async with transaction(pools, READER) as connection:
            assert (await rows(connection, WHO))[0]["who"] == "radmeter_reader"

    within(api_dsn, work)


def test_after_a_failure_the_next_request_is_answered(api_dsn: str, tenants: Connection) -> None:
    tenants.execute("CREATE VIEW public.changing AS SELECT 1 AS a; GRANT SELECT ON public.changing TO PUBLIC")
    query = "SELECT * FROM public.changing"

    async def work(pools: Pools) -> None:
        async with transaction(pools, READER) as connection:
            assert await rows(connection, query) == [{"a": 1}]
        tenants.execute("CREATE OR REPLACE VIEW public.changing AS SELECT 1 AS a, 2 AS b")
        with pytest.raises((Problem, psycopg.Error)):
            async with transaction(pools, READER) as connection:
                await rows(connection, query)
        async with transaction(pools, READER) as connection:
            assert await rows(connection, query) == [{"a": 1, "b": 2}]

    within(api_dsn, work)


def test_prepared_statements_have_a_bound(api_dsn: str) -> None:
    async def prepared(connection: ApiConnection) -> int:
        cursor = await connection.execute("SELECT count(*) FROM pg_catalog.pg_prepared_statements")
        found = await cursor.fetchone()
        assert found is not None
        return int(found[0])

    async def work(pools: Pools) -> None:
        async with transaction(pools, READER) as connection:
            for number in range(MOST_PREPARED + 20):
                assert await rows(connection, f"SELECT {number} AS number") == [{"number": number}]
            assert 1 <= await prepared(connection) <= MOST_PREPARED + 1
            with pytest.raises(psycopg.errors.DivisionByZero):
                await rows(connection, "SELECT 1 / %(zero)s AS never", {"zero": 0})

    within(api_dsn, work)
