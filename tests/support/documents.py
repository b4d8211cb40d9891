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


def blocks(document: str, section: str) -> list[tuple[str, str, str | None]]:
    """Return the blocks of a document from a heading on: name, code, and what the fence right below it shows."""
    text = (DOCS / document).read_text().partition(f"\n{section}\n")[2]
    assert text, f"{document} has no {section}"
    fences = r"^<!-- run: ([^\n]+) -->\n```sh\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?"
    found = [match.groups() for match in re.finditer(fences, text, re.MULTILINE | re.DOTALL)]
    assert len(found) == text.count("<!-- run: "), f"{document} has a block that is not of the shell"
    return [(name, code, shown) for name, code, shown in found]


# What is another one at each run: times and days but those of January 2026, numbers and ports of packets.
_ANOTHER = re.compile(
    r"\b(?!2026-01)\d{4}-\d\d(?:-\d\d)?(?: \d\d:\d\d(?::\d\d)?)?\b|(?<=Id )\d+|(?<=\.0\.[01]:)\d{5}\b|(?<=length )\d+"
)


def as_shown(shown: str, said: str) -> bool:
    """Say whether a command printed what a document shows.

    There `..` stands for lines that are left out, and four blanks for a tab.
    """
    lines = [re.escape(_ANOTHER.sub("N", line)) for line in shown.splitlines()]
    pattern = "".join(r"(?:.*\n)*?" if line == r"\.\." else f"{line}\n" for line in lines)
    return re.fullmatch(pattern, _ANOTHER.sub("N", said.replace("\t", "    "))) is not None


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
