"""The sentences of the documents: short enough to be read once, and begun with what they are about."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sentences import inverted, prose_of, sentences, slips, too_long

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
        "radius/README.md",
    )
]


def name(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_sentence_has_at_most_30_words(document: Path) -> None:
    assert too_long(document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_sentence_begins_with_what_it_is_about(document: Path) -> None:
    assert inverted(document.read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_no_word_stands_twice_and_no_blank(document: Path) -> None:
    assert slips(document.read_text()) == []


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield each docstring of the package with the place where it stands."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0].lineno if node.body else 1
                yield f"{path.relative_to(ROOT)}:{first}", ast.get_docstring(node) or ""


def test_a_sentence_of_a_docstring_has_at_most_30_words() -> None:
    found = [(place, too_long(prose_of(docstring))) for place, docstring in docstrings()]
    assert len(found) > 3000
    assert [each for each in found if each[1]] == []


TEXT = """\
# A heading is no sentence

| a table | is none |

The first sentence
ends on the next line. See [the other page](other.md#part), e.g. `a b c`. **Bold.** It costs 1,000.5 us: The rest
ends:

- an item is a sentence
- another; with `code. In it`
  and more

    $ a screen is none

```
Nor is code. None.
```
"""


def test_what_a_sentence_is() -> None:
    assert [(each.line, each.words, each.text) for each in sentences(TEXT)] == [
        (5, 8, "The first sentence ends on the next line."),
        (5, 6, "See the other page, e.g. x."),
        (5, 1, "Bold."),
        (5, 4, "It costs 1,000.5 us"),
        (5, 3, "The rest ends:"),
        (9, 5, "an item is a sentence"),
        (10, 5, "another; with x and more"),
    ]


def test_what_is_found() -> None:
    assert too_long("word " * 30 + ".") == []
    assert len(too_long("word " * 31 + ".")) == 1
    assert inverted("Whole months go. Who is asked? Of course. That is so. Where it is so, it is.") == [
        "1: Where it is so, it is."
    ]
    assert slips("It is is  so, `a  a`.") == ["1: is is", "1: is  so,"]


DOCSTRING = """\
Say something.

\b
a    word  word  word  word  word  word  word  word  word  word  word  word  word  word  word
b    word  word  word  word  word  word  word  word  word  word  word  word  word  word  word

Parameters
----------
path
    What it is.
"""


def test_what_is_read_of_a_docstring() -> None:
    assert [each.text for each in sentences(prose_of(DOCSTRING))] == [
        "Say something.",
        "Parameters",
        "path",
        "What it is.",
    ]
