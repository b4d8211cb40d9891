"""The commands of the documents, so that tests run what a reader copies."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def block(document: str, name: str) -> str:
    """Return the code block of a document that follows the comment ``run: name``."""
    text = (DOCS / document).read_text()
    found = re.findall(
        rf"^<!-- run: {re.escape(name)} -->\n```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    assert len(found) == 1, f"{document} has {len(found)} blocks named {name}"
    return str(found[0])
