"""The mutants written by hand (`sql.toml`, `policy.toml`), and those that no test can notice (`equivalent.toml`)."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from mutants.mutant import ROOT, Mutant

HERE = Path(__file__).absolute().parent
KINDS = ("sql", "policy")


class TableError(Exception):
    """An entry of a table does not fit the code any more."""


@dataclass(frozen=True)
class Entry:
    """A mutant as the table has it.

    Attributes
    ----------
    breaks
        The rule that it breaks.
    file
        The file, below the root of the tree.
    find, replace
        The text to replace, which the file has exactly once, and what stands there instead.
    tests
        The tests that should notice, as pytest takes them.
    """

    breaks: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    def mutant(self, kind: str) -> Mutant:
        """Return the mutant.

        Raises
        ------
        TableError
            The file does not have the text exactly once, or one of the tests is gone.
        """
        original = (ROOT / self.file).read_text(encoding="utf-8")
        if (times := original.count(self.find)) != 1:
            raise TableError(
                f"{kind}.toml, {self.breaks!r}: {self.file} has the text {times} times, not once"
            )
        if self.find == self.replace:
            raise TableError(f"{kind}.toml, {self.breaks!r}: nothing is changed")
        for test in self.tests:
            file, *names = re.split(r"::|\[", test)
            if not (ROOT / file).exists() or (
                names and f"def {names[0]}(" not in (ROOT / file).read_text(encoding="utf-8")
            ):
                raise TableError(f"{kind}.toml, {self.breaks!r}: there is no test {test}")
        return Mutant(
            kind,
            self.file,
            self.breaks,
            original,
            original.replace(self.find, self.replace),
            tuple((test,) for test in self.tests),
        )


@dataclass(frozen=True)
class Equivalent:
    """A mutant of cosmic-ray that changes nothing a test could notice: the changed lines, and why."""

    file: str
    before: str
    after: str
    reason: str


def entries(kind: str) -> list[Entry]:
    """Return what a table has: ``sql`` or ``policy``."""
    with (HERE / f"{kind}.toml").open("rb") as file:
        found = tomllib.load(file)["mutant"]
    return [Entry(**{**entry, "tests": tuple(entry["tests"])}) for entry in found]


def mutants(kind: str) -> list[Mutant]:
    """Return the mutants of a table. Raises TableError."""
    return [entry.mutant(kind) for entry in entries(kind)]


def equivalents() -> list[Equivalent]:
    """Return the mutants that are not counted.

    Raises
    ------
    TableError
        A file does not have the lines any more.
    """
    with (HERE / "equivalent.toml").open("rb") as file:
        found = [Equivalent(**entry) for entry in tomllib.load(file)["equivalent"]]
    for entry in found:
        if entry.before not in one_line((ROOT / entry.file).read_text(encoding="utf-8")):
            raise TableError(f"equivalent.toml: {entry.file} does not have {entry.before!r}")
    return found


def one_line(text: str) -> str:
    """Return a text with every run of white space as one space."""
    return " ".join(text.split())
