"""The example configurations under deploy/, with the ports, addresses and directories of a test in them."""

import re
from collections.abc import Mapping
from pathlib import Path

from support.documents import changed

DEPLOY = Path(__file__).parents[2] / "deploy"
# What no rendered file may have left: the addresses of the examples, and places that belong to the machine.
LEFT_OVER = re.compile(r"192\.0\.2\.\d+|/var/(?:lib|run|log|spool)/[\w./-]+|/etc/pg[\w./-]+|/dev/watchdog")


def rendered(name: str, changes: Mapping[str, str]) -> str:
    """Return a file under deploy/ with texts replaced.

    A text that the file does not have is an error, so a test cannot go on with a file that has changed. So is a line
    that would use the machine's own addresses or directories. Comments are left out of that.
    """
    text = changed((DEPLOY / name).read_text(), changes)
    left = [line for line in text.splitlines() if LEFT_OVER.search(re.split(r"[#;] ", line)[0])]
    assert not left, f"deploy/{name} would use the machine's own: {left}"
    return text
