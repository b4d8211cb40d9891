"""Writes that are sent again do nothing twice (draft-ietf-httpapi-idempotency-key-header).

The effect of a write and its answer are one transaction, which holds a lock from its beginning. So a client that got
no answer sends the same request again, and gets the first answer, or the write is done now. Nothing is left of a write
that was refused or cut off.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.api.transactions import WRITE_SECONDS, as_server, transaction

LONGEST = 255
BEGIN = b"SELECT state, started_at, status, body FROM radmeter.begin_request(%s, %s, %s, %s)"
END = b"SELECT radmeter.end_request(%s, %s, %s, %s::integer, %s::bytea)"


class Answered(NamedTuple):
    """The answer to a write; `again`: it is that of an earlier request."""

    status: int
    body: bytes
    again: bool


def key_of(headers: Mapping[str, str]) -> str:
    """Return the key of a write. Raises Problem: 400, there is none, or it cannot be one."""
    given = headers.get("idempotency-key", "").strip().removeprefix('"').removesuffix('"')
    if not given or len(given) > LONGEST or not given.isascii() or not given.isprintable():
        raise Problem(
            400,
            "idempotency-key-missing",
            "a write needs the header Idempotency-Key, 1 to 255 printable ASCII characters that are new for each "
            "write, such as a UUID. Sent again with the same key, it is done once",
        )
    return given


async def once(
    pools: Pools,
    caller: Caller,
    key: str,
    request: str,
    body: bytes,
    write: Callable[[ApiConnection], Awaitable[tuple[int, bytes]]],
) -> Answered:
    """Do a write once, and return its answer.

    Raises
    ------
    Problem
        409: the same request is in progress. 422: the key was used for another request, or the write is refused.
    """
    sha256 = hashlib.sha256(body).digest()
    async with transaction(pools, caller, writes=True, seconds=WRITE_SECONDS) as connection:
        # The caller's role has no right on what is kept of answers.
        async with as_server(connection, caller):
            cursor = await connection.execute(BEGIN, (caller.key_id, key, request, sha256))
            row = await cursor.fetchone()
        assert row is not None
        state, started_at, status, answer = row
        if state == "other":
            raise Problem(
                422,
                "idempotency-key-reused",
                "this Idempotency-Key was used for another request: take a new one",
            )
        if state == "running":
            raise _in_progress()
        if state == "done":
            return Answered(int(status), bytes(answer), True)
        status, answer = await write(connection)
        async with as_server(connection, caller):
            cursor = await connection.execute(END, (caller.key_id, key, started_at, status, answer))
            if await cursor.fetchone() != (True,):
                # A server before this one holds no lock, and was faster. This one is rolled back.
                raise _in_progress()
    return Answered(status, answer, False)


def _in_progress() -> Problem:
    return Problem(
        409, "in-progress", "the same request is in progress: ask again for its answer", {"retry-after": "1"}
    )
