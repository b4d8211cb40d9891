"""Halves a batch that the database refuses, until the refused items stand alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from radmeter.errors import RecordRefused, RecordsRefused, RowConflict

T = TypeVar("T")


def send_halving(
    batch: Sequence[T],
    send: Callable[[Sequence[T]], None],
    set_aside: Callable[[T, str], None],
    marked: Callable[[T, Mapping[int, str]], T] | None = None,
) -> None:
    """Send a batch. If it is refused, send its first half and then its second half in the same way.

    If the database says which items it refuses, the batch is sent again as a whole, with those marked. If a constraint
    refuses it, it is sent again once as it is: another writer may have written one of its rows a moment before.

    Parameters
    ----------
    batch
        The items, in the order in which they must be sent.
    send
        Sends items in one transaction. If it raises `RecordRefused`, none of them was sent.
    set_aside
        Takes a single refused item and the reason, before any later item is sent.
    marked
        Returns an item as one to be set aside, if its number is among the reasons, else as it is. None: halve.
    """
    try:
        try:
            try:
                send(batch)
            except RowConflict:
                send(batch)
        except RecordsRefused as refused:
            if marked is None:
                raise
            # What is marked is not judged again. So a second refusal is about something else, and is halved.
            batch = [marked(item, refused.reasons) for item in batch]
            send(batch)
    except RecordRefused as refused:
        if not batch:
            raise
        if len(batch) == 1:
            named = isinstance(refused, RecordsRefused)
            set_aside(batch[0], str(refused) if named else f"the database refuses it: {refused}")
            return
        middle = len(batch) // 2
        send_halving(batch[:middle], send, set_aside, marked)
        send_halving(batch[middle:], send, set_aside, marked)
