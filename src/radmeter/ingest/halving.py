"""A batch that the database refuses: it is halved until the items that it refuses stand alone."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from radmeter.errors import RecordRefused

T = TypeVar("T")


def send_halving(
    batch: Sequence[T], send: Callable[[Sequence[T]], None], set_aside: Callable[[T, str], None]
) -> None:
    """Send a batch; where it is refused, its first half and then its second, each in the same way.

    Parameters
    ----------
    batch
        In the order in which it has to be sent.
    send
        Sends items in one transaction, or raises `RecordRefused`, and nothing of them is sent.
    set_aside
        Takes an item that is refused alone, and the reason, before anything after it is sent.
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
