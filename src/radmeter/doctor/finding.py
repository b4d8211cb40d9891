"""What a check found: a line of the screen."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. UNKNOWN: it could not be looked at."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    check
        The check's name, such as ``schema``.
    said
        What was found, naming the object.
    remedy
        The command that mends it, to be pasted into a shell; "" if there is nothing to mend.
    detail
        What --verbose shows below it.
    """

    check: str
    level: Level
    said: str
    remedy: str = ""
    detail: tuple[str, ...] = ()


Findings = Iterator[Finding]


class Teller:
    """Makes the findings of one check."""

    def __init__(self, check: str) -> None:
        self._check = check

    def green(self, said: str, *detail: str) -> Finding:
        """All is well."""
        return Finding(check=self._check, level=Level.GREEN, said=said, detail=detail)

    def yellow(self, said: str, remedy: str, *detail: str) -> Finding:
        """Works, and will not for ever, or not as well as it could."""
        return Finding(check=self._check, level=Level.YELLOW, said=said, remedy=remedy, detail=detail)

    def red(self, said: str, remedy: str, *detail: str) -> Finding:
        """Does not work, or counts wrong, or is about to."""
        return Finding(check=self._check, level=Level.RED, said=said, remedy=remedy, detail=detail)

    def unknown(self, said: str, remedy: str = "") -> Finding:
        """Could not be looked at."""
        return Finding(check=self._check, level=Level.UNKNOWN, said=said, remedy=remedy)
