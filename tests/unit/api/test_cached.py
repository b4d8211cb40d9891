"""Readings that many share: one reads, and nobody waits for what was read a moment ago."""

import asyncio

import pytest

from radmeter.api.noc.cached import Cached


def test_who_asks_meanwhile_gets_what_was_read_before() -> None:
    async def run() -> None:
        now, read, may_end = [0.0], [], asyncio.Event()

        async def reading() -> int:
            read.append(now[0])
            if len(read) > 1:
                await may_end.wait()
            return len(read)

        cached = Cached(lambda: now[0])
        assert await cached.get("x", 5, reading, meanwhile=15) == 1
        now[0] = 6
        # The second reading is under way.
        assert await cached.get("x", 5, reading, meanwhile=15) == 1
        assert await cached.get("x", 5, reading, meanwhile=15) == 1
        await asyncio.sleep(0)
        assert read == [0, 6]
        # What is older is not shown.
        now[0] = 16
        waiting = asyncio.ensure_future(cached.get("x", 5, reading, meanwhile=15))
        await asyncio.sleep(0)
        assert not waiting.done()
        may_end.set()
        assert await waiting == 2
        assert await cached.get("x", 5, reading) == 2

    asyncio.run(run())


def test_a_reading_that_fails_is_the_fault_of_who_waits_for_it() -> None:
    async def run() -> None:
        now = [0.0]

        async def fails() -> int:
            raise OSError("gone")

        async def one() -> int:
            return 1

        cached = Cached(lambda: now[0])
        assert await cached.get("x", 5, one) == 1
        now[0] = 6
        assert await cached.get("x", 5, fails, meanwhile=15) == 1
        await asyncio.sleep(0)
        now[0] = 20
        with pytest.raises(OSError, match="gone"):
            await cached.get("x", 5, fails, meanwhile=15)

    asyncio.run(run())
