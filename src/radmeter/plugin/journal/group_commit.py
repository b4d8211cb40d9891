"""Group commit: threads that append at the same time share one commit. A lone thread loses no time by it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Ticket(Generic[Item]):
    """The item of one waiting thread, and the result of its commit."""

    __slots__ = ("error", "gate", "item", "seq")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.seq: int | None = None
        self.error: BaseException | None = None
        self.gate = threading.Lock()  # closed while its thread waits
        self.gate.acquire()


class GroupCommit(Generic[Item]):
    """Commits for leaders and followers.

    The first thread becomes the leader and commits. Threads that arrive meanwhile wait in a queue. When the leader is
    done, the first thread in the queue leads next and commits the items of all that wait by then.

    Parameters
    ----------
    commit
        Commits all items or none and returns the first item's number. The others have the numbers after it. Called
        by one thread at a time.
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
        if ticket.seq is None and ticket.error is None:  # woken to lead
            with self._mutex:
                batch, self._queue = self._queue, []
            self._lead(batch)
        if ticket.seq is None:
            assert ticket.error is not None
            raise ticket.error
        return ticket.seq

    def _lead(self, batch: list[_Ticket[Item]]) -> None:
        """Commit for the whole batch, then wake the next leader and this batch's followers."""
        try:
            seq = self._commit([ticket.item for ticket in batch])
            for offset, ticket in enumerate(batch):
                ticket.seq = seq + offset
        except BaseException as error:
            batch[0].error = error
            for ticket in batch[1:]:
                # A separate exception for each thread, because raising one extends its traceback.
                ticket.error = type(error)(*error.args)
        finally:
            self._hand_on()
            for ticket in batch[1:]:
                ticket.gate.release()

    def _hand_on(self) -> None:
        """Wake the first waiting thread as the next leader."""
        with self._mutex:
            leader = self._queue[0] if self._queue else None
            self._leading = leader is not None
        if leader is not None:
            leader.gate.release()
