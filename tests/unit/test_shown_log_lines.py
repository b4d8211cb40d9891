"""Lines of logs that the documents show: radmeter says so, with other names and numbers."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support.documents import block

import radmeter

PACKAGE = Path(radmeter.__file__).parent
# What stands for a value in a message: of logging, and of a text that is formatted.
PLACES = re.compile(r"%[-\d]*[sdrf]|%\.\d+f")


@cache
def messages() -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each longer text of the program."""
    return tuple(
        pattern for path in sorted(PACKAGE.rglob("*.py")) for pattern in patterns(ast.parse(path.read_text()))
    )


def patterns(tree: ast.AST) -> Iterator[re.Pattern[str]]:
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        texts = [
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "\0"
            for part in parts
        ]
        fixed = "".join(texts).replace("\0", "")
        if len(fixed) > 12:
            whole = PLACES.sub("\0", "".join(texts))
            yield re.compile(".+".join(map(re.escape, whole.split("\0"))), re.DOTALL)


@pytest.mark.parametrize(
    "shown",
    [
        *block("operators/services.md", "log of two journals").splitlines(),
        *block("high-availability.md", "log of an outage").splitlines(),
        *block("high-availability.md", "log of a restore").splitlines(),
    ],
)
def test_a_line_of_a_log_is_one_that_radmeter_writes(shown: str) -> None:
    _, message = shown.split(" ", 1)
    assert any(pattern.fullmatch(message) for pattern in messages()), message


def test_another_line_is_none() -> None:
    assert not any(pattern.fullmatch("shipping goes on and on") for pattern in messages())
