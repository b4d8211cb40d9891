"""The links of the documents: each leads to a file that is there, and to a heading or a word of the glossary in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "radius" / "README.md"])


def prose(document: Path) -> str:
    """Return the text of a document without its code."""
    return re.sub(r"^ *```.*?^ *```|`[^`\n]*`", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return what a link can name behind `#`: headings as GitHub writes them, and the words of a glossary."""
    text = document.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings} | set(
        re.findall(r'<a id="([^"]+)">', text)
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", prose(document)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_a_word_is_in_the_glossary_once_and_in_order() -> None:
    words = re.findall(
        r"^\| (?:<a [^|]*</a>)+([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE
    )
    assert len(words) > 50
    assert words == sorted(set(words), key=str.lower)
