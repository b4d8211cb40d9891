"""How many records a batch may have: fewer after it took longer than the database allows."""

# A batch is tried again as it is first: the server may have been busy for a moment.
TRIES = 2


class BatchSize:
    """The size of the next batch. It is halved after `TRIES` timeouts, and doubled again when batches are quick.

    Parameters
    ----------
    most
        Records in a batch when all is well.
    """

    def __init__(self, most: int) -> None:
        self.records = most
        self._most = most
        self._tries = 0
        self._timeout_seconds = 0.0

    def timed_out(self, records: int, seconds: float) -> None:
        """Note that a batch of so many records was ended by a timeout after so long."""
        self._timeout_seconds = seconds
        self._tries += 1
        if self._tries >= TRIES:
            self._tries = 0
            self.records = max(1, records // 2)

    def taken(self, seconds: float) -> None:
        """Note that the database took a batch, and how long it worked on it."""
        self._tries = 0
        # Twice as many records, on a server that is twice as slow, are still in time.
        if self.records < self._most and seconds < self._timeout_seconds / 4:
            self.records = min(self._most, 2 * self.records)
