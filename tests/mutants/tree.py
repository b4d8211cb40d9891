"""A copy of the tree in which things are broken: the checkout itself is never touched."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mutants.mutant import ROOT, Mutant


@contextmanager
def copied_tree() -> Iterator[Path]:
    """Give a copy of every file that git knows or would add; delete it afterwards."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="radmeter-mutants-") as directory:
        Path(directory).chmod(0o755)  # PostgreSQL's user reads from it
        tree = Path(directory, "tree")
        for name in listed.stdout.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        yield tree


@contextmanager
def broken_by(mutant: Mutant, tree: Path) -> Iterator[None]:
    """Have the mutant in the copy for as long as this lasts."""
    file = tree / mutant.path
    assert file.read_text(encoding="utf-8") == mutant.original, f"{mutant.path} was changed while this ran"
    _forget_bytecode(tree)
    file.write_text(mutant.broken, encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(mutant.original, encoding="utf-8")
        _forget_bytecode(tree)


def _forget_bytecode(tree: Path) -> None:
    """A file that keeps its size and is written twice in a second looks unchanged to Python."""
    for directory in list((tree / "src").rglob("__pycache__")):
        shutil.rmtree(directory, ignore_errors=True)
