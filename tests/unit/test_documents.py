"""The form of the documents: blank lines where every renderer of Markdown needs them, and lines that fit a screen."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "radius" / "README.md"])
LONGEST = 120


def kinds(document: Path) -> Iterator[tuple[int, str, str]]:
    """Yield for each line its number, what it is and its text. A line of code is part of its fence."""
    fenced = False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = line.lstrip().startswith("```")
        if fence or fenced:
            yield number, "code", line
        elif not line.strip() or line.lstrip().startswith("<!--"):
            yield number, "blank", line
        elif line.startswith("#"):
            yield number, "heading", line
        elif line.lstrip().startswith("|"):
            yield number, "table", line
        else:
            yield number, "indented" if re.match(r" {4}\S", line) else "prose", line
        fenced ^= fence


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_paragraph_below_a_list_is_no_part_of_its_last_entry(document: Path) -> None:
    glued, in_list = [], False
    for number, kind, line in kinds(document):
        entry = re.match(r" *(?:[-*]|\d+\.) ", line)
        if in_list and kind == "prose" and not entry and not line.startswith(" "):
            glued.append(number)
        in_list = kind == "prose" and (entry is not None or in_list)
    assert glued == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_blank_lines_separate_headings_tables_and_code(document: Path) -> None:
    glued = []
    before = "blank"
    for number, kind, line in kinds(document):
        apart = {before, kind} & {"heading", "table", "code"} and "blank" not in (before, kind)
        if apart and (kind != before or kind == "heading"):
            glued.append(f"{number}: {line}")
        before = kind
    assert glued == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_fits(document: Path) -> None:
    # Screens of commands (indented or fenced) and tables are as wide as they are.
    assert [n for n, kind, line in kinds(document) if kind == "prose" and len(line) > LONGEST] == []


def blocks(document: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each table and each paragraph: what it is, and its lines."""
    for kind, group in groupby(kinds(document), key=lambda line: line[1]):
        if kind in ("table", "prose"):
            yield kind, [text for _, _, text in group]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_said_twice(document: Path) -> None:
    """As after a merge that kept both sides: two rows of a table for one thing, or two versions of a paragraph."""
    twice = []
    for kind, lines in blocks(document):
        if kind == "table":
            # A row of measurements may begin as another does. A row on something with a name may not.
            twice += [cell for cell in repeated(line.split("|")[1].strip() for line in lines) if "`" in cell]
    sides = [line for _, kind, line in kinds(document) if kind == "prose" and len(line) > 90]
    assert twice + repeated(sides) == []


def repeated(texts: Iterable[str]) -> list[str]:
    return [text for text, times in Counter(texts).items() if times > 1]


def test_the_list_of_decisions_has_each_once() -> None:
    """The list at the head links to each decision by its name, and a line says what it is."""
    text = (ROOT / "docs" / "decisions.md").read_text()
    head, *decisions = re.split(r"^## ", text, flags=re.MULTILINE)
    listed = re.findall(r"^\| \[(.+?)\]\(#(\S+)\) \| .+ \|$", head, re.MULTILINE)
    names = [decision.partition("\n")[0] for decision in decisions]
    assert sorted(name for name, _ in listed) == sorted(names)
    assert [anchor for _, anchor in listed] == [
        re.sub(r"[^\w -]", "", name).lower().replace(" ", "-") for name, _ in listed
    ]


def test_each_picture_is_named_and_each_that_is_named_is_there() -> None:
    kept = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"\]\((?:\.\./|docs/)?pictures/([^)]+)\)", document.read_text())
    }
    assert named == kept
