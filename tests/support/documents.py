"""The commands of the documents, so that tests run what a reader copies."""

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

DOCS = Path(__file__).parents[2] / "docs"


def block(document: str, name: str) -> str:
    """Return the code block of a document that follows the comment ``run: name``. It may be part of a list."""
    text = (DOCS / document).read_text()
    found = re.findall(
        rf"^ *<!-- run: {re.escape(name)} -->\n *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL
    )
    assert len(found) == 1, f"{document} has {len(found)} blocks named {name}"
    return dedent(str(found[0]))


def changed(text: str, changes: Mapping[str, str]) -> str:
    """Return a text with others in it replaced, all at once, the longest first. Each must be there."""
    missing = [old for old in changes if old not in text]
    assert not missing, f"{missing} is not in:\n{text}"
    longest_first = sorted(changes, key=len, reverse=True)
    return (
        re.sub("|".join(map(re.escape, longest_first)), lambda found: changes[found[0]], text)
        if changes
        else text
    )
