"""Limits how many packets of one RADIUS client are journaled while other clients send too. Standard library only."""

# A client counts as alone, and has no limit, when no other client was heard for this long.
ALONE_SECONDS = 10.0
# A client that was silent may send this many seconds' worth at once. Routers do so when a server is back.
BURST_SECONDS = 2.0
# More clients than any site has. At this number all are forgotten: each may send a full burst again, no more.
MOST_CLIENTS = 100_000


class _Bucket:
    """A client's tokens, the time at which they were counted, and its refused packets since its flood began."""

    __slots__ = ("refused", "since", "tokens")

    def __init__(self, tokens: float, since: float) -> None:
        self.tokens = tokens
        self.since = since
        self.refused = 0


class ClientLimits:
    """One token bucket for each client. The limit holds only while more than one client sends.

    One python3 instance serves all clients, one packet at a time. Without a limit, a router that floods the server
    would push the other routers' packets out of the server's queue. A packet above the limit is refused before
    anything else is done with it.

    Parameters
    ----------
    packets_per_second
        The limit of each client.
    """

    def __init__(self, packets_per_second: int) -> None:
        self._rate = packets_per_second
        self._most = packets_per_second * BURST_SECONDS
        self._buckets: dict[str, _Bucket] = {}
        self._last: str | None = None
        self._together_until = float("-inf")

    def allow(self, client: str, now: float) -> bool:
        """Tell whether a packet of `client` is within its limit. `now`: seconds of a monotonic clock."""
        if client != self._last:
            if self._last is not None:
                self._together_until = now + ALONE_SECONDS
            self._last = client
        bucket = self._buckets.get(client)
        if bucket is None:
            if len(self._buckets) >= MOST_CLIENTS:
                self._buckets.clear()
            bucket = self._buckets[client] = _Bucket(self._most, now)
        tokens = bucket.tokens + (now - bucket.since) * self._rate
        bucket.tokens = tokens if tokens < self._most else self._most
        bucket.since = now
        if bucket.tokens < 1.0 and now < self._together_until:
            bucket.refused += 1
            return False
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
        return True

    def refused(self, client: str) -> int:
        """Return how many packets of `client` were refused in the flood that is under way."""
        return self._buckets[client].refused

    def end_flood(self, client: str) -> int:
        """Return how many packets a flood of `client` cost, once, when its bucket is half full again; else 0."""
        bucket = self._buckets[client]
        if not bucket.refused or bucket.tokens < self._most / 2:
            return 0
        refused, bucket.refused = bucket.refused, 0
        return refused
