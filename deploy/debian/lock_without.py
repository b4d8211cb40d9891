"""Prints the packages of one lock that another lock does not have: lock_without.py LOCK OTHER."""

import re
import sys
from pathlib import Path


def entries(path: str) -> dict[str, str]:
    """Return the entries of a lock, each with its hashes, by the name of the package."""
    parts = re.split(r"\n(?=\S)", Path(path).read_text(encoding="utf-8").strip())
    return {part.partition("==")[0]: part for part in parts}


if __name__ == "__main__":
    lock, other = entries(sys.argv[1]), entries(sys.argv[2])
    sys.stdout.write("".join(f"{entry}\n" for name, entry in lock.items() if name not in other))
