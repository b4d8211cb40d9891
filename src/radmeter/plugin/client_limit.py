"""Limits how many packets of one RADIUS client, and of one session, are journaled while other clients send too.

Standard library only.
"""

import re
from collections.abc import Sequence

# A client counts as alone, and has no limit, when no other client was heard for this long.
ALONE_SECONDS = 10.0
# A client that was silent may send this many seconds' worth at once. Routers do so when a server is back.
BURST_SECONDS = 2.0
# More clients than any site has. At this number all are forgotten: each may send a full burst again, no more.
MOST_CLIENTS = 100_000

# Packets of a session are counted for this long, then from zero again. A session may send its seconds' worth at once.
WINDOW_SECONDS = 4.0
# A client's first packets of such a time are of too few sessions to matter: only a client that sends more pays.
UNCOUNTED = 20
# More sessions than a client has within its limit. At this number they are forgotten: each may send as much again.
MOST_SESSIONS = 50_000
# Text that is not UTF-8 comes in these (radius/policy.d/radmeter).
_OCTETS = {
    "User-Name": "Tmp-Octets-0",
    "Acct-Session-Id": "Tmp-Octets-1",
    "NAS-Identifier": "Tmp-Octets-4",
    "NAS-Port-Id": "Tmp-Octets-5",
}
_ACCT_CLASS = re.compile("ai:([0-9a-f]{32})", re.IGNORECASE)


def session_key(pairs: Sequence[tuple[str, str]]) -> str:
    """Return what is the same in all packets of a session, or in all Accounting-On and -Off of a router.

    It is the text that acctuniqueid is the digest of (radmeter.packet.record.unique_id): one that differed more often
    would let a flood pass.
    """
    values = dict(pairs[::-1])  # if an attribute comes twice, the first one counts
    get = values.get
    for name, octets in _OCTETS.items():
        if octets in values:
            values[name] = _decoded(values[octets]).rstrip("\0")
    nas = get("NAS-IPv6-Address") or get("NAS-IP-Address", "")
    if get("Acct-Status-Type") in ("Accounting-On", "Accounting-Off"):
        return f"{nas},{get('NAS-Identifier', '')}"
    session_id, class_ = get("Acct-Session-Id", ""), get("Class", "")
    if class_.startswith("0x61693a") and (found := _ACCT_CLASS.match(_decoded(class_))):
        return f"{found[1]},{session_id}"
    parts = get("NAS-Identifier", ""), get("NAS-Port-Id", ""), get("NAS-Port", "")
    return ",".join((get("User-Name", ""), session_id, nas, *parts))


def _decoded(octets: str) -> str:
    try:
        return bytes.fromhex(octets[2:]).decode("utf-8", "surrogateescape")
    except ValueError:
        return ""


class _Bucket:
    """A client's tokens, the time at which they were counted, and its refused packets since its flood began.

    `heard` packets came since `counted_from`, those of each session in `sessions`. `cut` packets of floods of sessions
    were refused, the last of them at `cut_at`.
    """

    __slots__ = ("counted_from", "cut", "cut_at", "heard", "refused", "sessions", "since", "tokens")

    def __init__(self, tokens: float, since: float) -> None:
        self.tokens = tokens
        self.since = since
        self.refused = 0
        self.counted_from = since
        self.heard = 0
        self.sessions: dict[str, int] = {}
        self.cut = 0
        self.cut_at = since


class ClientLimits:
    """One token bucket for each client. The limit holds only while more than one client sends.

    One python3 instance serves all clients, one packet at a time. Without a limit, a router that floods the server
    would push the other routers' packets out of the server's queue. A packet above the limit is refused before
    anything else is done with it.

    Parameters
    ----------
    packets_per_second
        The limit of each client; 0: none.
    session_packets_per_second
        The limit of each session of a client, and of the Accounting-On and -Off of each router; 0: none. The packets of
        a session are applied one after the other, so those of one session delay the others'.
    """

    def __init__(self, packets_per_second: int, session_packets_per_second: int = 0) -> None:
        self._rate = packets_per_second or 10**9
        self._most = self._rate * BURST_SECONDS
        self._most_of_session = int(session_packets_per_second * WINDOW_SECONDS)
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

    def allow_session(self, client: str, pairs: Sequence[tuple[str, str]], now: float) -> bool:
        """Tell whether a packet that `allow` has allowed is within its session's limit."""
        bucket = self._buckets[client]
        if not 0.0 <= now - bucket.counted_from < WINDOW_SECONDS:
            bucket.counted_from = now
            bucket.heard = 0
            bucket.sessions = {}
        bucket.heard += 1
        if bucket.heard <= UNCOUNTED or not self._most_of_session or now >= self._together_until:
            return True
        key = session_key(pairs)
        sessions = bucket.sessions
        if len(sessions) >= MOST_SESSIONS:
            sessions.clear()
        count = sessions.get(key, 0)
        if count >= self._most_of_session:
            bucket.cut += 1
            bucket.cut_at = now
            return False
        sessions[key] = count + 1
        return True

    def cut(self, client: str) -> int:
        """Return how many packets of `client` the limit of sessions has refused in the flood that is under way."""
        return self._buckets[client].cut

    def end_session_flood(self, client: str, now: float) -> int:
        """Return how many packets floods of sessions cost, once, when none was refused for two windows; else 0."""
        bucket = self._buckets[client]
        if not bucket.cut or now - bucket.cut_at < 2 * WINDOW_SECONDS:
            return 0
        cut, bucket.cut = bucket.cut, 0
        return cut
