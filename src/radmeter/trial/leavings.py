"""Says what a try-out leaves on the machine, and the command that removes it."""

import os
import shlex
from contextlib import suppress
from pathlib import Path

from radmeter.config import Settings
from radmeter.embedded.changes import of_state
from radmeter.plugin.config_file import checkout
from radmeter.units import counted, disk_size

# What a try-out makes in its state directory, besides the lock and the notes.
OURS = (
    "postgresql",
    "radius",
    "journal",
    "log",
    "radmeter.env",
    "radmeter.unfinished",
    "coa.key",
    "http",
)
# scripts/setup writes the first into a .venv that it made, and into the second, in var/, which packages it installed.
MADE_HERE, PACKAGES = "made-by-setup", "apt-packages"


def said(settings: Settings) -> list[str]:
    """Return the lines that say it."""
    state, root = settings.state.absolute(), checkout()
    notes = of_state(state).read()
    left = [f"{state} ({disk_size(_size(state))})"]
    if root is not None and (root / ".venv" / MADE_HERE).is_file():
        left.append(str(root / ".venv"))
    left += sorted({f"the system user {each['name']}" for each in notes if each["kind"] == "user"})
    if changed := {each["path"] for each in notes if each["kind"] == "mode"}:
        left.append(
            f"wider permissions of {counted(len(changed), 'file or directory', 'files or directories')}"
        )
    lines = ["What stays: " + ", ".join(left)]
    if root is None:
        return lines
    if packages := _installed(root):
        lines.append(f"Installed by apt, and kept by the next command: {packages}")
    command = shlex.quote(str(root / "scripts" / "run")) + " --clean"
    where = "" if state == root / "var" else f"RADMETER_STATE={shlex.quote(str(state))} "
    return [*lines, f"To remove it: {where}{command}"]


def _installed(root: Path) -> str:
    with suppress(OSError):
        return " ".join(dict.fromkeys((root / "var" / PACKAGES).read_text().split()))
    return ""


def _size(tree: Path) -> int:
    """Return how many bytes the files of a tree have on the disk."""
    size = 0
    for directory, _, names in os.walk(tree):
        for name in names:
            with suppress(OSError):  # it is gone, or we may not look
                size += os.lstat(os.path.join(directory, name)).st_blocks * 512  # noqa: PTH118 # quicker than Path
    return size
