"""One mutant: a file as it is, the same file broken, and the tests that should notice."""

import difflib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent.parent

Stage = tuple[str, ...]


@dataclass(frozen=True)
class Mutant:
    """A change of one file.

    Attributes
    ----------
    room
        Whose score it counts in: a folder of the Python code, ``sql`` or ``policy``.
    path
        The file, below the root of the tree.
    title
        What is broken, in a line.
    original, broken
        The whole file.
    stages
        Arguments for pytest, run one after the other until one fails.
    """

    room: str
    path: str
    title: str
    original: str
    broken: str
    stages: tuple[Stage, ...]

    def diff(self) -> str:
        """Return the change as ``diff -u`` writes it."""
        lines = difflib.unified_diff(
            self.original.splitlines(),
            self.broken.splitlines(),
            self.path,
            f"{self.path} (mutant)",
            lineterm="",
        )
        return "\n".join(lines)
