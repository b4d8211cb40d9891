"""What the shipper does if it cannot write a file of its own because the disk is full.

Shipping goes on, since that is what makes room. Something else gives way to the file, or the file is written later.
"""

import logging
from collections.abc import Callable

from radmeter.errors import os_reason
from radmeter.plugin.journal.kept import is_full

log = logging.getLogger(__name__)


class FullDisk:
    """Writes files as long as the disk has room for them. It says once that a file waits."""

    def __init__(self) -> None:
        self._make_room: Callable[[], bool] = lambda: False
        self._is_full = False

    def give_way_with(self, make_room: Callable[[], bool]) -> None:
        """Let `make_room` delete something when the disk is full. It returns False if it cannot."""
        self._make_room = make_room

    def written(self, what: str, write: Callable[[], None]) -> bool:
        """Call `write`. Return False if the disk is full and nothing gives way.

        `what` names the file for the log. Raises OSError for all other reasons.
        """
        while True:
            try:
                write()
            except OSError as error:
                if not is_full(error):
                    raise
                if self._make_room():
                    continue
                if not self._is_full:
                    log.warning("%s is not written: %s. Shipping goes on", what, os_reason(error))
                self._is_full = True
                return False
            self._is_full = False
            return True
