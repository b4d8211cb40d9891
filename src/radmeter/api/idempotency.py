"""Writes that are sent again do nothing twice (draft-ietf-httpapi-idempotency-key-header).

The effect of a write and its answer commit together. So a client that got no answer sends the same request again, and
gets the first answer, or the write is done now.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import psycopg

from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.pools import Pools
from radmeter.api.problems import Problem
from radmeter.api.transactions import WRITE_SECONDS, plain, transaction

log = logging.getLogger(__name__)

LONGEST = 255
END = "SELECT radmeter.end_request(%s, %s, %s, %s::integer, %s::bytea)"


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
    async with plain(pools, "write") as connection:
        cursor = await connection.execute(
            "SELECT state, started_at, status, body FROM radmeter.begin_request(%s, %s, %s, %s)",
            (caller.key_id, key, request, sha256),
        )
        row = await cursor.fetchone()
    assert row is not None
    state, started_at, status, answer = row
    if state == "other":
        raise Problem(
            422, "idempotency-key-reused", "this Idempotency-Key was used for another request: take a new one"
        )
    if state == "running":
        raise _in_progress()
    if state == "done":
        return Answered(int(status), bytes(answer), True)
    try:
        async with transaction(pools, caller, writes=True, seconds=WRITE_SECONDS) as connection:
            status, answer = await write(connection)
            # The caller's role has no right on what is kept of answers.
            await connection.execute("SET LOCAL ROLE NONE", prepare=False)
            cursor = await connection.execute(END, (caller.key_id, key, started_at, status, answer))
            if await cursor.fetchone() != (True,):
                # This process stood still for minutes, and another one has begun the write again: it is that one's.
                raise _in_progress()
    except BaseException:
        # Nothing was done. If this fails, too, the same request may be tried again after two minutes.
        try:
            async with plain(pools, "write") as connection:
                await connection.execute(END, (caller.key_id, key, started_at, None, None))
        except (psycopg.Error, Problem) as error:
            log.warning("a write of key %s was refused, and could not be set free: %s", caller.key_id, error)
        raise
    return Answered(status, answer, False)


def _in_progress() -> Problem:
    return Problem(
        409, "in-progress", "the same request is in progress: ask again for its answer", {"retry-after": "1"}
    )
