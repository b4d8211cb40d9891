"""The rooms of src/radmeter: imports go downward only, and the documents name only files that exist."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import radmeter

PACKAGE = Path(radmeter.__file__).parent
ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


def floors() -> dict[str, int]:
    """Return the floor of each room, from docs/architecture.md."""
    rows = re.findall(r"^\| (\d+) \| (`[\w`, ]+`) \|$", ARCHITECTURE, re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


def room(module: str) -> str:
    """Return the room of a module: the part after `radmeter`. The package itself has none."""
    return [*module.split("."), ""][1]


def imports() -> Iterator[tuple[str, str]]:
    """Yield (importing file, imported module) for every import of radmeter's own, also those within functions."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "radmeter":
                for name in node.names:
                    yield str(path.relative_to(PACKAGE)), f"{node.module}.{name.name}"
            elif isinstance(node, ast.Import):
                for name in node.names:
                    if name.name.split(".")[0] == "radmeter":
                        yield str(path.relative_to(PACKAGE)), name.name


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    rooms |= {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    assert floors().keys() == rooms
    levels = sorted(set(floors().values()))
    assert all(above - below == 1 for below, above in pairwise(levels))


def test_imports_go_downward_only() -> None:
    floor = floors()
    upward = [
        f"{path} imports {module}"
        for path, module in imports()
        if "/" in path or not path.startswith("__")
        for here, there in [(path.split("/")[0].removesuffix(".py"), room(module))]
        if there in floor and here != there and floor[here] <= floor[there]
    ]
    assert upward == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|sql|tsv|c))`", document.read_text()))
    there = [
        str(path.relative_to(ROOT))
        for top in ("src", "sql", "tests", "bench", "deploy", "scripts")
        for path in (ROOT / top).rglob("*.*")
    ]
    lost = [name for name in named if not any(path == name or path.endswith("/" + name) for path in there)]
    assert lost == []
