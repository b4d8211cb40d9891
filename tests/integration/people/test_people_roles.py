"""Who may see what is stored about a person, and who may erase it."""

from collections.abc import Iterator

import pytest
from support.commands import Packets, radmeter
from support.servers import Connection

ROLES = ("radmeter_ingest", "radmeter_reader", "radmeter_noc", "radmeter_billing", "radmeter_owner")


@pytest.fixture
def logins(database: str, connection: Connection) -> Iterator[dict[str, str]]:
    """A login in each role, and its connection string."""
    with Packets(database) as packets:
        packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=5)
    for role in ROLES:
        connection.execute(f"CREATE ROLE {role}_in_people_test LOGIN IN ROLE {role}")
    try:
        yield {role: database.replace("postgres@", f"{role}_in_people_test@") for role in ROLES}
    finally:
        for role in ROLES:
            connection.execute(f"DROP ROLE {role}_in_people_test")


@pytest.mark.parametrize(
    ("role", "shows", "erases"),
    [
        ("radmeter_ingest", False, False),
        ("radmeter_billing", False, False),
        ("radmeter_reader", True, False),
        ("radmeter_noc", True, False),
        ("radmeter_owner", True, True),
    ],
)
def test_a_role_shows_or_erases(
    logins: dict[str, str], connection: Connection, role: str, shows: bool, erases: bool
) -> None:
    shown = radmeter(logins[role], "people", "show", "alice", "--format", "json")
    assert (shown.exit_code == 0) == shows
    if not shows:
        assert "grant radmeter_reader to the database role in use" in shown.errors
    erased = radmeter(logins[role], "people", "erase", "alice", "--yes")
    assert (erased.exit_code == 0) == erases, erased.errors
    if shows and not erases:
        assert "grant radmeter_owner to the database role in use" in erased.errors
    here = connection.execute("SELECT FROM radacct WHERE username = 'alice'").fetchone()
    assert (here is None) == erases
    if erases:
        assert connection.execute("SELECT who FROM audit_log WHERE action = 'people erase'").fetchall() == [
            (f"{role}_in_people_test",)
        ]


def test_a_role_of_the_installation_may_be_given_the_functions(
    logins: dict[str, str], connection: Connection
) -> None:
    """For a data protection officer who reads, and does not own the tables, as docs/operators/people.md says."""
    person = "radmeter_reader_in_people_test"
    functions = (
        "begin_erasure(text)", "erase_sessions(text, bigint[], timestamptz[])", "erase_notes(text)",
        "erase_packets(text, json)", "finish_erasure(text)", "end_erasure(text)",
    )  # fmt: skip
    for function in functions:
        connection.execute(f"GRANT EXECUTE ON FUNCTION radmeter.{function} TO {person}")
    try:
        erased = radmeter(logins["radmeter_reader"], "people", "erase", "alice", "--yes")
        assert erased.exit_code == 0, erased.errors
        assert connection.execute("SELECT FROM radacct WHERE username = 'alice'").fetchone() is None
    finally:
        connection.execute(f"DROP OWNED BY {person}")
