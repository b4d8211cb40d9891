"""`radmeter.schema.triggers`: each way in which a trigger does not fire is told apart."""

import pytest
from support.servers import Connection

from radmeter.schema import triggers

INSERTED, UPDATED = triggers.EXPECTED


def test_a_fresh_install_has_each_of_the_list_and_no_other(connection: Connection) -> None:
    assert triggers.faults(connection) == []
    there = connection.execute(
        "SELECT 'public.' || relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE relname = 'radacct' AND NOT tgisinternal ORDER BY tgname"
    ).fetchall()
    assert there == list(triggers.EXPECTED)


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("DROP TRIGGER _100_count_updated ON radacct", triggers.MISSING),
        ("ALTER TABLE radacct DISABLE TRIGGER _100_count_updated", triggers.DISABLED),
        ("ALTER TABLE radacct ENABLE REPLICA TRIGGER _100_count_updated", triggers.ON_REPLICAS),
        ("ALTER TABLE radacct ENABLE ALWAYS TRIGGER _100_count_updated", None),
    ],
)
def test_one_that_does_not_fire(connection: Connection, statement: str, state: str | None) -> None:
    connection.execute(statement.encode())
    assert triggers.faults(connection) == ([] if state is None else [(UPDATED, state)])


def test_without_the_table_all_are_missing(connection: Connection) -> None:
    connection.execute("DROP TABLE radacct CASCADE")
    assert triggers.faults(connection) == [(INSERTED, triggers.MISSING), (UPDATED, triggers.MISSING)]
