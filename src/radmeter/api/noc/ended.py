"""Logins that somebody has ended. A cookie is only a text: whoever has a copy could else use it until its end."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from radmeter.api.pools import Pools
from radmeter.api.transactions import plain, row_of_keys

# Another process, or this one before it was started again, may have ended a login: so often the database is asked.
ASKED_SECONDS = 5.0
MOST = 10_000
_ENDED = "SELECT radmeter.login_ended(%s)"
_END = "SELECT radmeter.end_login(%s, %s)"


class EndedLogins:
    """Keeps them in the database, and what was found for a moment."""

    def __init__(self, pools: Pools, now: Callable[[], float] = time.monotonic) -> None:
        self._pools = pools
        self._now = now
        # Until when a login is known to hold; for ever: it has ended.
        self._asked: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[bool]] = {}

    async def has(self, login: str) -> bool:
        """Return whether a login has ended. Raises Problem if the database does not answer."""
        ended, until = self._asked.get(login, (False, float("-inf")))
        if until > self._now():
            return ended
        asking = self._asking.get(login)
        if asking is None:
            asking = self._asking[login] = asyncio.create_task(self._ask(login))
            asking.add_done_callback(lambda _: self._asking.pop(login))
        return await asyncio.shield(asking)

    async def add(self, login: str, until: datetime) -> None:
        """End a login that would hold until a time. Raises Problem if the database does not take it."""
        self._keep(login, True, float("inf"))
        async with plain(self._pools, "keys") as connection:
            await connection.execute(_END, (login, until))

    async def _ask(self, login: str) -> bool:
        until = self._now() + ASKED_SECONDS
        row = await row_of_keys(self._pools, _ENDED, (login,), in_use=True)
        ended = bool(row and row[0])
        if self._asked.get(login, (False, 0.0))[0]:
            return True
        self._keep(login, ended, float("inf") if ended else until)
        return ended

    def _keep(self, login: str, ended: bool, until: float) -> None:
        self._asked[login] = ended, until
        self._asked.move_to_end(login)
        if len(self._asked) > MOST:
            self._asked.popitem(last=False)
