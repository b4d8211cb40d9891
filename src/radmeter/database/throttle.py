"""Slows a long activity down: it rests a share of its time, and pauses while replication or ingest is behind."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from radmeter.database.connection import Connection, explained_errors

LAG_LOOK_SECONDS = 1.0
SAY_EVERY_SECONDS = 10.0

# A standby that has replayed all shows no lag. Replayed detail files are left out: old packets are no lag.
LAG = """
SELECT coalesce((SELECT max(extract(epoch FROM replay_lag)) FROM pg_stat_replication
                 WHERE state = 'streaming'), 0)::float8,
       coalesce((SELECT max(extract(epoch FROM updated_at - last_received_at))
                 FROM radmeter.nodes
                 WHERE updated_at > now() - interval '30 seconds' AND NOT starts_with(node, 'detail:')),
                0)::float8"""


def lag_seconds(connection: Connection) -> tuple[float, str]:
    """Return the longest lag in seconds, and whose it is: that of replication or that of ingest."""
    with explained_errors("radmeter_owner"):
        row = connection.execute(LAG).fetchone()
    assert row is not None
    return max(((row[0], "replication"), (row[1], "ingest")))


@dataclass(kw_only=True)
class Throttle:
    """How hard an activity with one connection may work.

    Parameters
    ----------
    max_load
        The share of its time that it works, up to 1.
    max_lag_seconds
        It pauses while replication or ingest is further behind.
    stopping
        Tells whether to stop. Then no rest is taken.
    """

    max_load: float = 1.0
    max_lag_seconds: float = 10.0
    stopping: Callable[[], bool] = lambda: False
    _looked_at: float = float("-inf")
    _said_at: float = float("-inf")

    def rest(self, connection: Connection, worked_seconds: float, say: Callable[[str], None]) -> None:
        """Rest after some work, and pause while replication or ingest is behind. `say` takes the reason."""
        until = time.monotonic() + worked_seconds * (1 - self.max_load) / self.max_load
        while not self.stopping():
            now = time.monotonic()
            paused = False
            if now - self._looked_at >= LAG_LOOK_SECONDS:
                lag, whose = lag_seconds(connection)
                paused = lag > self.max_lag_seconds
                if not paused:
                    self._looked_at = now
                elif now - self._said_at > SAY_EVERY_SECONDS:
                    self._said_at = now
                    say(f"pausing: {whose} is {lag:.0f} s behind")
            if until <= now and not paused:
                return
            time.sleep(0.5 if paused else min(until - now, 0.05))
