"""Each fenced block of a document is run by a test that names it, or says why it is not.

`<!-- run: NAME -->` above a block: a test has `block(PAGE, NAME)`. `<!-- not run: WHY -->`: none. A page whose blocks
are all run by one file of the tests says so once: `<!-- each block is run by PATH -->`.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from support.documents import Fence, blocks, fences

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "radius" / "README.md"])
WITH_BLOCKS = [path for path in DOCUMENTS if fences(path)]


@cache
def read_by_tests() -> frozenset[tuple[str, str]]:
    """Return the pages and names of the blocks that the tests read."""
    return frozenset(
        each for path in sorted((ROOT / "tests").rglob("*.py")) for each in read_by(path.read_text())
    )


def read_by(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pages and names of a file. If one of the two is a variable, any text of the file may be in it."""
    if not re.search(r"\b(?:blocks?|documented)\(", text):
        return
    tree = ast.parse(text)
    texts = [each for node in ast.walk(tree) for each in constant(node)]
    for node in ast.walk(tree):
        called = (
            getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        )
        if not isinstance(node, ast.Call) or called not in ("block", "blocks", "documented"):
            continue
        if called == "blocks":
            # All from a heading on, and what they print, which stands in the fences right below them.
            for document, section in product(*(constant(each) for each in node.args)):
                for run, _, shown in blocks(document, section):
                    yield document, run
                    if shown is not None:
                        yield document, f"what {run} prints"
            continue
        if called == "block":
            page, name = node.args[0], node.args[-1]
            yield from product(constant(page) or texts, constant(name) or texts)
        else:
            # A method of a cluster, whose page is this one unless another is said.
            pages = [
                text for each in node.keywords if each.arg == "document" for text in constant(each.value)
            ]
            yield from product(pages or ["high-availability.md"], constant(node.args[0]))


def constant(node: ast.AST) -> list[str]:
    """Return the text that a constant is, if it is one."""
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def fault(fence: Fence) -> str | None:
    """Return what is wrong with a block, if anything."""
    if fence.reason:
        return None
    if fence.name is None:
        if (fence.page, f"what {fence.below} prints") in read_by_tests():
            return None
        return "neither `<!-- run: NAME -->` nor `<!-- not run: WHY -->` is above it"
    if (fence.page, fence.name) not in read_by_tests():
        return f"no test reads {fence.name!r} of {fence.page!r}"
    return None


@pytest.mark.parametrize("path", WITH_BLOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_block_is_run_or_says_why_not(path: Path) -> None:
    found = fences(path)
    whole = re.search(r"^<!-- each block is run by (\S+) -->$", path.read_text(), re.MULTILINE)
    if whole:
        assert f'"{path.name}"' in (ROOT / whole[1]).read_text()
        assert [fence for fence in found if fence.name or fence.reason] == []
        return
    assert {fence.line: said for fence in found if (said := fault(fence))} == {}
    names = Counter(fence.name for fence in found if fence.name)
    assert [name for name, times in names.items() if times > 1] == []


def test_a_block_without_a_mark_and_one_that_nobody_runs_are_found() -> None:
    assert fault(Fence("backup.md", 1, None, None)) is not None
    assert fault(Fence("backup.md", 1, "first-backups", None)) is not None
    assert fault(Fence("backup.md", 1, "first-backup", None)) is None
    assert fault(Fence("backup.md", 1, None, "needs two machines")) is None
