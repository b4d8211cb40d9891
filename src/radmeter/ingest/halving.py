"""Halves a batch that the database refuses, until the refused items stand alone."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from radmeter.errors import RecordRefused

T = TypeVar("T")


def send_halving(
    batch: Sequence[T], send: Callable[[Sequence[T]], None], set_aside: Callable[[T, str], None]
) -> None:
    """Send a batch. If it is refused, send its first half and then its second half in the same way.

    Parameters
    ----------
    batch
        The items, in the order in which they must be sent.
    send
        Sends items in one transaction. If it raises `RecordRefused`, none of them was sent.
    set_aside
        Takes a single refused item and the reason, before any later item is sent.
    """
    try:
        send(batch)
    except RecordRefused as refused:
        if not batch:
            raise
        if len(batch) == 1:
            set_aside(batch[0], f"the database refuses it: {refused}")
            return
        middle = len(batch) // 2
        send_halving(batch[:middle], send, set_aside)
        send_halving(batch[middle:], send, set_aside)
