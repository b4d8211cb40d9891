"""What waits for the database in a thread leaves others theirs: metrics, files, the compression of an answer."""

import asyncio
import threading
from typing import cast

from radmeter.api.blocking import in_thread
from radmeter.api.connection import ApiConnection

# asyncio.to_thread has 32 threads at most.
MANY = 40
SLOW_MACHINE = 30.0


def test_many_that_wait_hold_no_thread_of_others() -> None:
    ended = threading.Event()
    begun = threading.Semaphore(0)

    def read(_: object) -> bool:
        begun.release()
        return ended.wait(2 * SLOW_MACHINE)

    async def ask() -> tuple[int, list[bool]]:
        # They ask nothing of it.
        connection = cast(ApiConnection, object())
        waiting = [asyncio.create_task(in_thread(connection, read)) for _ in range(MANY)]
        try:
            async with asyncio.timeout(SLOW_MACHINE):
                found = await asyncio.to_thread(lambda: 5)
                # Nor do they wait for each other: each has a connection of its own.
                while begun._value < MANY:
                    await asyncio.sleep(0.01)
        finally:
            ended.set()
        return found, list(await asyncio.gather(*waiting))

    assert asyncio.run(ask()) == (5, [True] * MANY)
