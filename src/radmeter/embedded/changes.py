"""Notes what a try-out makes and changes, so that `./scripts/run --clean` can take it back.

Each note is a line of JSON in the state directory. It is on disk before the change is made. `scripts/clean.py` reads
the notes, without this package.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "changes.jsonl"


@dataclass(frozen=True)
class Changes:
    """The notes of a state directory. Without a path nothing is noted."""

    path: Path | None = None

    def note(self, *changes: dict[str, Any]) -> None:
        """Write notes.

        Each has a `kind` and what belongs to it. ``user``: name, uid. ``mode``: path, added bits. ``owner``: path, uid
        and gid of before, uid of now. ``directory``: path. ``made``: path, of a file or directory in the state
        directory.
        """
        if self.path is None or not changes:
            return
        lines = "".join(json.dumps(each) + "\n" for each in changes)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "a") as notes:
            notes.write(lines)
            notes.flush()
            os.fsync(file)

    def read(self) -> list[dict[str, Any]]:
        """Return all notes, oldest first. A line that was cut by a power cut is left out."""
        try:
            lines = [] if self.path is None else self.path.read_text().splitlines()
        except FileNotFoundError:
            return []
        notes = []
        for line in lines:
            try:
                notes.append(json.loads(line))
            except ValueError:
                continue
        return notes


def of_state(state: Path) -> Changes:
    """Return the notes of a state directory."""
    return Changes(state / NAME)


NOTHING_NOTED = Changes()
