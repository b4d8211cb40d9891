"""What the SQL functions say of each other is so: who calls them, and that parallel workers may."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "sql").rglob("*.sql"))
CODE = {path: re.sub(r"--[^\n]*", "", path.read_text()) for path in FILES}
PYTHON = "\n".join(
    path.read_text() for path in sorted((ROOT / "src").rglob("*.py")) if path.parent.name != "versions"
)
CALLED_BY = re.compile(r"Called by ((?:radmeter\.\w+(?:, | and |,\s)?)+)( only)?")


def callers(name: str) -> set[str]:
    """Return the SQL functions, or files of something else, whose code calls a function."""
    call = re.compile(rf"\bradmeter\.{name}\s*\(")
    return {path.stem for path, code in CODE.items() if path.stem != name and call.search(code)}


def test_called_by_is_true() -> None:
    wrong = []
    for path in FILES:
        header = " ".join(
            re.sub(r"^-- ?", "", path.read_text().split("\nCREATE ")[0], flags=re.MULTILINE).split()
        )
        for names, only in CALLED_BY.findall(header):
            said, found = set(re.findall(r"radmeter\.(\w+)", names)), callers(path.stem)
            if not said <= found or (only and (said != found or f"radmeter.{path.stem}(" in PYTHON)):
                wrong.append(f"{path.name} says {sorted(said)}{only}, called by {sorted(found)}")
    assert wrong == []


def test_a_function_that_is_parallel_safe_calls_only_such() -> None:
    safe = {path.stem for path, code in CODE.items() if "PARALLEL SAFE" in code}
    functions = {path.stem for path, code in CODE.items() if "CREATE OR REPLACE FUNCTION" in code}
    wrong = [
        f"{path.stem} calls {called}"
        for path, code in CODE.items()
        if path.stem in safe
        for called in sorted(set(re.findall(r"\bradmeter\.(\w+)\s*\(", code)) & functions - safe)
    ]
    assert wrong == []
