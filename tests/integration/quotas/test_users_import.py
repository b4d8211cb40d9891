"""`radmeter users import`: a report by line, again and again, and a long list in flat memory."""

import json
from pathlib import Path

import psycopg
import pytest
from support.commands import radmeter
from support.memory import peak_bytes
from support.quotas import MB, state, use
from support.servers import Connection


@pytest.fixture
def plans(database: str) -> str:
    for name, quota in (("basic", "10MB"), ("gold", "100MB"), ("more", "5MB")):
        assert radmeter(database, "plans", "add", name, "--quota", quota).exit_code == 0
    radmeter(database, "plans", "add", "old", "--quota", "1MB")
    radmeter(database, "users", "add", "keeper", "--plan", "old")
    radmeter(database, "plans", "retire", "old")
    return database


LIST = """username,plan,also,password
ann,basic,,secret-of-ann
bob,gold,more,
carl,nosuch,,
,basic,,
ann,gold,,
keeper,old,,
dora,old,,
emil,,,
o'brien,basic,none,
frida,basic,basic,
gus,basic,absent,
"""


def test_each_line_is_reported_and_a_second_import_changes_nothing(
    plans: str, connection: Connection, tmp_path: Path
) -> None:
    path = tmp_path / "users.csv"
    path.write_text(LIST)
    refused = (
        'line 4: there is no plan "nosuch"\n'
        "line 5: it has no user name\n"
        "line 6: the user 'ann' is on a line before already\n"
        'line 8: the plan "old" is retired\n'
        'line 9: "emil" has no plan yet: give one\n'
        "line 11: the own plan of a user is no further plan: leave it out of also\n"
        'line 12: there is no plan "absent"\n'
    )
    tried = radmeter(plans, "users", "import", path, "--dry-run")
    assert (tried.exit_code, tried.errors) == (1, refused)
    assert tried.output == "dry run, nothing is changed: 11 lines: 3 added, 1 unchanged, 7 refused\n"
    assert connection.execute("SELECT count(*) FROM subscribers").fetchone() == (1,)
    done = radmeter(plans, "users", "import", path)
    assert (done.exit_code, done.errors) == (1, refused)
    assert done.output == "11 lines: 3 added, 1 unchanged, 7 refused\n"
    again = radmeter(plans, "users", "import", path)
    assert again.output == "11 lines: 4 unchanged, 7 refused\n"
    assert connection.execute("SELECT username FROM radcheck").fetchall() == [("ann",)]
    (audited,) = connection.execute("SELECT detail FROM audit_log WHERE action = 'users import'").fetchall()
    assert [line["username"] for line in audited[0]] == ["ann", "bob", "o'brien"]
    assert "secret-of-ann" not in json.dumps(audited[0])


def test_a_change_of_plan_is_as_by_assign(plans: str, connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("username,plan,also\nbob,basic,more\n")
    assert radmeter(plans, "users", "import", path).exit_code == 0
    radmeter(plans, "users", "top-up", "bob", "20MB")
    use(plans, 16 * MB)
    path.write_text("username,plan,also\nbob,gold,none\n")
    done = radmeter(plans, "users", "import", path)
    assert (done.exit_code, done.output) == (0, "1 line: 1 changed\n")
    found = state(connection)
    assert (found["plan"], found["remaining_bytes"], found["used_bytes"]) == (
        "gold",
        (100 - 16 + 19) * MB,
        16 * MB,
    )
    assert radmeter(plans, "users", "show", "bob", "--format", "json").json()["also"] == []


def test_the_database_refuses_names_too(plans: str, connection: Connection) -> None:
    lines = [
        {"line": number, "username": name, "plan": "basic"}
        for number, name in enumerate(["", " x", "x" * 254, "a\x07b", "fine"])
    ]
    rows = connection.execute(
        "SELECT outcome FROM radmeter.import_subscribers(%s)", (json.dumps(lines),)
    ).fetchall()
    assert [outcome for (outcome,) in rows] == ["refused"] * 4 + ["added"]


def test_a_long_list_takes_little_memory(plans: str, connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    with path.open("w") as file:
        file.write("username,plan\n")
        file.writelines(f"user{n:06},{'basic' if n % 20 == 0 else 'nosuch' * 20}\n" for n in range(100_000))
    code = """
environ = {"RADMETER_DSN": sys.argv[1], "RADMETER_STATE": "/nonexistent"}
os.environ.update(environ)
with open(os.devnull, "w") as nothing, redirect_stderr(nothing), redirect_stdout(nothing):
    try:
        main(["users", "import", sys.argv[2]])
    except SystemExit as stop:
        assert stop.code == 1
"""
    imports = """
import os
from contextlib import redirect_stderr, redirect_stdout

import psycopg
import radmeter.cli.users
from radmeter.cli.main import main
"""
    assert peak_bytes(imports, code, plans, path) < 32 << 20
    assert connection.execute("SELECT count(*) FROM subscribers").fetchone() == (5001,)


def test_a_password_that_cannot_be_stored_is_not_written_into_the_servers_log(connection: Connection) -> None:
    """The command refuses it before. The function can also be called in SQL."""
    for text in ('"\\u0000topsecret"', '"\\ud800topsecret"'):
        line = '[{"line": 1, "username": "eve", "plan": "basic", "attribute": "Cleartext-Password", "password": %s}]'
        with pytest.raises(psycopg.Error) as raised:
            connection.execute("SELECT * FROM radmeter.import_subscribers(%s)", (line % text,))
        assert raised.value.sqlstate == "RM001"
        diagnostics = raised.value.diag
        said = (diagnostics.message_primary, diagnostics.message_detail, diagnostics.context)
        assert "topsecret" not in str(said)
