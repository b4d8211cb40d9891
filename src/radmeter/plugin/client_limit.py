"""How many packets one RADIUS client may have kept while others want theirs kept too. Standard library only."""

# So long after another client was last heard, a client counts as alone, and nothing is kept from it.
ALONE_SECONDS = 10.0
# A client that was silent may send so many seconds' worth at once, as routers do when a server is back.
BURST_SECONDS = 2.0
# More clients than any site has: forgetting them all gives each a full share again, no more.
MOST_CLIENTS = 100_000


class _Share:
    """What a client has left, when that was, and what it was refused since it began to ask for too much."""

    __slots__ = ("left", "refused", "since")

    def __init__(self, left: float, since: float) -> None:
        self.left = left
        self.since = since
        self.refused = 0


class ClientLimits:
    """Token buckets, one a client, that count only while more than one client is heard.

    One python3 instance serves all clients, one packet at a time, so a router gone mad would push the others' packets
    out of the server's queue. What exceeds its share is refused before anything is done for it.

    Parameters
    ----------
    packets_per_second
        The share of each client.
    """

    def __init__(self, packets_per_second: int) -> None:
        self._rate = packets_per_second
        self._most = packets_per_second * BURST_SECONDS
        self._shares: dict[str, _Share] = {}
        self._last: str | None = None
        self._together_until = float("-inf")

    def admits(self, client: str, now: float) -> bool:
        """Tell whether a packet of `client` at `now` (seconds of a monotonic clock) is within its share."""
        if client != self._last:
            if self._last is not None:
                self._together_until = now + ALONE_SECONDS
            self._last = client
        share = self._shares.get(client)
        if share is None:
            if len(self._shares) >= MOST_CLIENTS:
                self._shares.clear()
            share = self._shares[client] = _Share(self._most, now)
        left = share.left + (now - share.since) * self._rate
        share.left = left if left < self._most else self._most
        share.since = now
        if share.left < 1.0 and now < self._together_until:
            share.refused += 1
            return False
        if share.left >= 1.0:
            share.left -= 1.0
        return True

    def exceeding(self, client: str) -> int:
        """Return how many packets of `client` were refused since it was last within its share for long."""
        return self._shares[client].refused

    def within_again(self, client: str) -> int:
        """Return what was refused of a client that is well within its share again, once; else 0."""
        share = self._shares[client]
        if not share.refused or share.left < self._most / 2:
            return 0
        refused, share.refused = share.refused, 0
        return refused
