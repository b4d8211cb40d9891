"""How many requests a key may make, and how fast an address may try keys. In memory: `radmeter serve` is one process.

A bucket of tokens: it holds as many requests as the rate has, and fills evenly. So a burst is fine, and the mean is the
rate.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_BUCKETS = 100_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may be made, how many are left, and after how many seconds there is another one."""

    allowed: bool
    remaining: int
    seconds: int


class Rates:
    """The buckets. The one that was not used for the longest time is dropped when there are too many."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str, count: int, seconds: float) -> Decision:
        """Take a token of a bucket that has `count` for `seconds`."""
        now, per_second = self._now(), count / seconds
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(count, now)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
            bucket.tokens = min(count, bucket.tokens + (now - bucket.at) * per_second)
            bucket.at = now
        # A token that is there but for a rounding error is there.
        allowed = bucket.tokens > 1 - 1e-9
        if allowed:
            bucket.tokens -= 1
        missing = 0.0 if bucket.tokens >= 1 else 1 - bucket.tokens
        return Decision(
            allowed, max(0, math.floor(bucket.tokens + 1e-9)), math.ceil(missing / per_second - 1e-9)
        )

    def give_back(self, name: str, count: int) -> None:
        """Put a token back that was taken and not used."""
        bucket = self._buckets.get(name)
        if bucket is not None:
            bucket.tokens = min(count, bucket.tokens + 1)


def headers(decision: Decision, count: int, seconds: int) -> dict[str, str]:
    """Return the headers that tell a client its rate (draft-ietf-httpapi-ratelimit-headers)."""
    return {
        "ratelimit-policy": f'"key";q={count};w={seconds}',
        "ratelimit": f'"key";r={decision.remaining};t={decision.seconds}',
    }
