"""Constants of revisions, for what makes or judges the same tables later on: a revision stays the one place for them.

They are read as text. To import a revision is to load Alembic and SQLAlchemy, which takes half a second.
"""

import ast
from pathlib import Path
from typing import Any

MIGRATIONS = Path(__file__).parents[1] / "schema" / "migrations"


def constant(module: str, name: str) -> Any:
    """Return a constant of a revision's module. It has to be a literal."""
    tree = ast.parse((MIGRATIONS / "versions" / f"{module}.py").read_text(encoding="utf-8"))
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    )
