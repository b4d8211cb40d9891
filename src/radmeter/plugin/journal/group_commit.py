"""Group commit: threads that append at the same time share one commit; a lone thread pays nothing for it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Ticket(Generic[Item]):
    """One waiting thread's item on its way into a commit."""

    __slots__ = ("error", "gate", "item", "seq")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.seq: int | None = None
        self.error: BaseException | None = None
        self.gate = threading.Lock()  # closed while its thread waits
        self.gate.acquire()


class GroupCommit(Generic[Item]):
    """Leader and followers.

    The first thread to come leads: it commits. Those that come meanwhile queue; when the leader is done, the
    first of them leads next and commits for all that have queued by then.

    Parameters
    ----------
    commit
        Commits all items or none and returns the number of the first; the others follow on. Called by one
        thread at a time.
    """

    def __init__(self, commit: Callable[[list[Item]], int]) -> None:
        self._commit = commit
        self._mutex = threading.Lock()
        self._leading = False
        self._queue: list[_Ticket[Item]] = []

    def append(self, item: Item) -> int:
        """Return the item's number once it is committed. Raises what `commit` raised."""
        with self._mutex:
            ticket = _Ticket(item) if self._leading else None
            if ticket is not None:
                self._queue.append(ticket)
            self._leading = True
        if ticket is None:
            try:
                return self._commit([item])
            finally:
                self._hand_on()
        ticket.gate.acquire()
        if ticket.seq is None and ticket.error is None:  # let through to lead
            with self._mutex:
                batch, self._queue = self._queue, []
            self._lead(batch)
        if ticket.seq is None:
            assert ticket.error is not None
            raise ticket.error
        return ticket.seq

    def _lead(self, batch: list[_Ticket[Item]]) -> None:
        """Commit for the whole batch, then let the next leader and this batch's followers through."""
        try:
            seq = self._commit([ticket.item for ticket in batch])
            for offset, ticket in enumerate(batch):
                ticket.seq = seq + offset
        except BaseException as error:
            batch[0].error = error
            for ticket in batch[1:]:
                # Its own exception for each thread: they would write into each other's traceback.
                ticket.error = type(error)(*error.args)
        finally:
            self._hand_on()
            for ticket in batch[1:]:
                ticket.gate.release()

    def _hand_on(self) -> None:
        """Let the first of those who came meanwhile through to lead."""
        with self._mutex:
            heir = self._queue[0] if self._queue else None
            self._leading = heir is not None
        if heir is not None:
            heir.gate.release()
