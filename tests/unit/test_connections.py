"""Only `database.connection` opens connections: there the search path is set, before any other statement."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPENS = ("connect", "AsyncConnection", "ConnectionPool", "create_engine")
# The file and the call, and why it is allowed.
ALLOWED = {
    ("src/radmeter/database/connection.py", "TransactionsConnection.connect"): "connect, which sets the path",
    ("src/radmeter/database/waiting.py", "WaitingConnection.connect"): "sets the path before it asks",
    ("src/radmeter/database/poolers.py", "WaitingConnection.connect"): "names the schema of everything",
    ("src/radmeter/schema/revisions.py", "sqlalchemy.create_engine"): "it is given an open connection",
    ("bench/database.py", "psycopg.connect"): "a server that bench makes and deletes",
}


def calls(file: Path) -> Iterator[str]:
    """Yield the calls in a file that open a connection, by the libraries that we use."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in ("psycopg", "sqlalchemy"):
            yield from (f"from {node.module} import {each.name}" for each in node.names if each.name in OPENS)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OPENS:
            called = ast.unparse(node.func)
            if called.startswith(("psycopg.", "sqlalchemy.")) or ".Connection.connect" in called:
                yield called
        if isinstance(node, ast.Call) and re.fullmatch(r"\w*Connection\.connect", ast.unparse(node.func)):
            yield ast.unparse(node.func)


def test_connections_are_opened_in_one_place() -> None:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    found = {(str(file.relative_to(ROOT)), call) for file in files for call in calls(file)}
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "source",
    [
        "psycopg.connect('')",
        "psycopg.Connection.connect('')",
        "Connection.connect('')",
        "WaitingConnection.connect('')",
        "from psycopg import connect",
        "sqlalchemy.create_engine('')",
        "psycopg.AsyncConnection.connect('')",
    ],
)
def test_a_call_is_found_in_each_form(tmp_path: Path, source: str) -> None:
    (tmp_path / "module.py").write_text(f"import psycopg\n{source}\n")
    assert list(calls(tmp_path / "module.py"))


def test_programs_of_ours_in_other_languages_open_none_that_runs_a_statement() -> None:
    """The health check of docker-compose.yml only connects."""
    scripts = (str(each) for each in (ROOT / "scripts").iterdir() if each.is_file())
    for name in ("docker-compose.yml", "Dockerfile", *scripts):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "psql " not in text, name
        assert text.count("psycopg.connect(") == text.count("psycopg.connect(connect_timeout=5).close()"), (
            name
        )
