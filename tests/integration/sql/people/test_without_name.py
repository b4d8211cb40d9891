"""`radmeter.without_name`: a name is replaced where it is that of a user, or a word of a text."""

import json

import pytest
from psycopg.types.json import Jsonb
from support.servers import Connection

NAMES = ["alice", "a.b+c(d", "O'Brien", 'x"y', "back\\slash", "käthe", "%", "[", "名前", "a b", "tab\there"]


def without(connection: Connection, value: object, name: str) -> object:
    row = connection.execute("SELECT radmeter.without_name(%s, %s, 'P')", (Jsonb(value), name)).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("name", NAMES)
def test_under_the_keys_of_user_names(connection: Connection, name: str) -> None:
    detail = {
        "users": [{"username": name, "before": [1, 2]}, {"user": f"{name}x"}, None, True, 1.5],
        "packets": [{"user": name}],
        "user_counters": [[name, "2026-01-01", 1], [f"{name}x", name], name, []],
        "e": [],
    }
    expected = {
        "users": [{"username": "P", "before": [1, 2]}, {"user": f"{name}x"}, None, True, 1.5],
        "packets": [{"user": "P"}],
        "user_counters": [["P", "2026-01-01", 1], [f"{name}x", name], name, []],
        "e": [],
    }
    assert without(connection, detail, name) == expected


@pytest.mark.parametrize("name", NAMES)
def test_whatever_else_has_the_name_keeps_it(connection: Connection, name: str) -> None:
    detail = {
        "tenant": name,
        "before": {"name": name, "plan": name},
        "tenants": [name],
        name: {},
        "user_counters": name,
    }
    assert without(connection, detail, name) == detail
    assert without(connection, name, name) == name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["reason", "note"])
def test_a_word_of_a_text(connection: Connection, key: str, name: str) -> None:
    assert without(connection, {key: f"value <{name}> is bad"}, name) == {key: "value <P> is bad"}
    assert without(connection, {"other": f"value <{name}> is bad"}, name) == {
        "other": f"value <{name}> is bad"
    }


def test_not_a_part_of_another_name(connection: Connection) -> None:
    reason = {"reason": "'alice@example.org' or malice or alice-2 or alice.b"}
    assert without(connection, reason, "alice") == reason


@pytest.mark.parametrize("name", NAMES)
def test_audit_lines_are_found_by_the_name(connection: Connection, name: str) -> None:
    for detail in (
        {"username": name}, {"username": f"{name}x"}, {name: 1}, {"reason": f"<{name}>"}, {"tenant": name},
    ):  # fmt: skip
        connection.execute(
            "INSERT INTO audit_log (action, detail) VALUES ('test', %s)", (json.dumps(detail),)
        )
    found = connection.execute("SELECT id FROM radmeter.audit_lines_with(%s) ORDER BY 1", (name,)).fetchall()
    assert found == [(1,), (4,)]
