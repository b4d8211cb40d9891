"""Files: few are made at once, and few of one client. A whole list as CSV, and what a route makes in a thread."""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import IO, TypeVar

from radmeter.api import encoding
from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.listing import Listing, Row, reader
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem, too_slow
from radmeter.api.route import Answer, Page, Route
from radmeter.api.shares import Shares
from radmeter.api.transactions import CSV_SECONDS, transaction

T = TypeVar("T")

# Files of statements and of archived months are made beside each other, in threads.
SLOW_AT_ONCE = 2
# CSV files are read beside each other, and written into files when they are larger.
CSV_AT_ONCE = 2
IN_MEMORY_BYTES = 4 << 20
# Meanwhile VACUUM removes no row that the file could show.
MAKING_SECONDS = 300.0
# A key may have so many files under way: each lies on the disk until a client that is slow has taken it.
MOST_FILES_OF_A_KEY = 20


class Files:
    """Makes files."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._csv = asyncio.Semaphore(CSV_AT_ONCE)
        self._slow = asyncio.Semaphore(SLOW_AT_ONCE)
        # Of those places, a client has one. The rest of its files wait for each other.
        self._making = Shares(1, MAKING_SECONDS, "other files of this key are being made: try again")
        self._of_keys: Counter[str] = Counter()

    @contextmanager
    def one_more(self, caller: Caller) -> Iterator[None]:
        """Count a file of a key for the block. Raises Problem: 429, it has too many."""
        if self._of_keys[caller.key_id] >= MOST_FILES_OF_A_KEY:
            raise Problem(
                429,
                "too-many-files",
                f"a key may have {MOST_FILES_OF_A_KEY} files under way: take those first",
                {"retry-after": "10"},
            )
        self._of_keys[caller.key_id] += 1
        try:
            yield
        finally:
            self._of_keys[caller.key_id] -= 1
            if not self._of_keys[caller.key_id]:
                del self._of_keys[caller.key_id]

    async def made(self, caller: Caller, make: Callable[[], T]) -> T:
        """Return what a function makes, in a thread."""
        async with self._making.one(caller.share), self._slow:
            return await asyncio.to_thread(make)

    @asynccontextmanager
    async def csv(
        self, caller: Caller, route: Route, read: Callable[[ApiConnection], Awaitable[Answer]]
    ) -> AsyncIterator[IO[bytes]]:
        """Yield a file with a whole list as CSV. The database is read to its end first."""
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
            async with (
                self._making.one(caller.share),
                self._csv,
                transaction(self._pools, caller, seconds=CSV_SECONDS) as connection,
            ):
                ends = time.monotonic() + MAKING_SECONDS
                answer = await read(connection)
                if isinstance(answer, Listing):
                    file.write(encoding.csv_header(answer.item).encode())
                    made = reader(answer.item)

                    def write(found: list[Row]) -> None:
                        file.write(encoding.csv_lines([made(row) for row in found]).encode())

                    async for found in answer.everything(connection):
                        # In a thread, since it takes a tenth of a second: others are answered meanwhile.
                        await asyncio.to_thread(write, found)
                        if time.monotonic() > ends:
                            raise too_slow(MAKING_SECONDS)
                else:
                    assert isinstance(answer, Page)
                    file.write(encoding.csv_header(route.reply).encode())
                    file.write(encoding.csv_lines(answer.items).encode())
            file.seek(0)
            yield file
