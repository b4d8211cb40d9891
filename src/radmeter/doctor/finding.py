"""What a check found: one entry on the screen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

# How many clients or routers a finding names on the screen.
SHOWN = 3


class Level(StrEnum):
    """How bad it is. UNKNOWN: it could not be checked."""

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
        What was found, with the name of the object.
    remedy
        The command that repairs it, to be pasted into a shell as it is. Empty if there is nothing to repair, or if no
        command can be written.
    note
        What a person has to know or do besides, in words. Never a command and words in one text.
    detail
        What --verbose shows below it.
    """

    check: str
    level: Level
    said: str
    remedy: str = ""
    detail: tuple[str, ...] = ()
    note: str = ""


Findings = Iterator[Finding]


class Teller:
    """Makes the findings of one check."""

    def __init__(self, check: str) -> None:
        self._check = check

    def green(self, said: str, *detail: str) -> Finding:
        """All is well."""
        return Finding(check=self._check, level=Level.GREEN, said=said, detail=detail)

    def yellow(self, said: str, remedy: str, *detail: str, note: str = "") -> Finding:
        """Works, but not for ever, or not as well as it could."""
        return Finding(
            check=self._check, level=Level.YELLOW, said=said, remedy=remedy, detail=detail, note=note
        )

    def red(self, said: str, remedy: str, *detail: str, note: str = "") -> Finding:
        """Does not work, counts wrong, or soon will."""
        return Finding(check=self._check, level=Level.RED, said=said, remedy=remedy, detail=detail, note=note)

    def unknown(self, said: str, remedy: str = "", note: str = "") -> Finding:
        """Could not be checked."""
        return Finding(check=self._check, level=Level.UNKNOWN, said=said, remedy=remedy, note=note)


def first_of(named: Sequence[str], total: int | None = None) -> str:
    """Return the first three clients or routers, and how many more there are. --verbose names all.

    Parameters
    ----------
    total
        How many there are, if `named` does not have all.
    """
    more = (len(named) if total is None else total) - SHOWN
    return ", ".join(named[:SHOWN]) + (f" and {more} more" if more > 0 else "")
