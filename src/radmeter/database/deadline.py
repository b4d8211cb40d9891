"""How long a program waits for an answer of the database. No connection waits for ever for a frozen server."""

from dataclasses import dataclass

DEFAULT_SECONDS = 90.0
# A server that shows that it works on the statement gets so many times as long.
WORKING = 10
# A statement of the shipper ends after so long. It ends before the deadline, so a slow server is not taken for a
# frozen one.
STATEMENT_SECONDS, LOCK_SECONDS = 60.0, 30.0

_seconds = DEFAULT_SECONDS


@dataclass(frozen=True)
class Deadline:
    """How long a connection waits while the server sends nothing.

    Parameters
    ----------
    seconds
        After so long a second connection asks whether the server works on the statement. If not, waiting ends.
    longest_seconds
        A server that works gets so long. If it is not above `seconds`, nobody asks. None: as long as it takes.
    """

    seconds: float
    longest_seconds: float | None


def use(seconds: float) -> None:
    """Set the deadline of this process: the setting ``RADMETER_ANSWER_SECONDS``."""
    global _seconds
    _seconds = float(seconds)


def prompt() -> Deadline:
    """Return the deadline of short statements. The caller has limited their time on the server, too."""
    return Deadline(_seconds, _seconds)


def ordinary() -> Deadline:
    """Return the deadline of connections for which nothing else is said."""
    return Deadline(_seconds, WORKING * _seconds)


def patient() -> Deadline:
    """Return the deadline of an operator's long statements, such as CREATE INDEX: as long as the server works."""
    return Deadline(_seconds, None)


def statement_ms() -> int:
    """Return the ``statement_timeout`` that goes with `prompt`."""
    return int(min(STATEMENT_SECONDS, _seconds * 2 / 3) * 1000)


def lock_ms() -> int:
    """Return the ``lock_timeout`` that goes with `prompt`."""
    return int(min(LOCK_SECONDS, _seconds / 3) * 1000)
