"""`radmeter.schema.triggers`: each way in which a trigger does not fire is told apart."""

import pytest
from support.servers import Connection

from radmeter.schema import triggers

INSERTED, UPDATED = triggers.COUNTING
TOPPED_UP = triggers.Trigger("public.top_ups", "_100_note_quota_change_inserted")


def test_a_fresh_install_has_each_of_the_list_and_no_other(connection: Connection) -> None:
    assert triggers.faults(connection) == []
    there = connection.execute(
        """SELECT relnamespace::regnamespace || '.' || relname, tgname
           FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
           WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) AND NOT relispartition
             AND NOT tgisinternal AND tgname ~ '^_[0-9]+_'
           ORDER BY 1, 2"""
    ).fetchall()
    assert there == sorted(triggers.EXPECTED)


@pytest.mark.parametrize(
    ("statement", "trigger", "state"),
    [
        ("DROP TRIGGER _100_count_updated ON radacct", UPDATED, triggers.MISSING),
        ("ALTER TABLE radacct DISABLE TRIGGER _100_count_updated", UPDATED, triggers.DISABLED),
        ("ALTER TABLE radacct ENABLE REPLICA TRIGGER _100_count_updated", UPDATED, triggers.ON_REPLICAS),
        ("ALTER TABLE radacct ENABLE ALWAYS TRIGGER _100_count_updated", UPDATED, None),
        ("DROP TRIGGER _100_note_quota_change_inserted ON top_ups", TOPPED_UP, triggers.MISSING),
        ("ALTER TABLE top_ups DISABLE TRIGGER USER", None, triggers.DISABLED),
    ],
)
def test_one_that_does_not_fire(
    connection: Connection, statement: str, trigger: triggers.Trigger | None, state: str | None
) -> None:
    connection.execute(statement.encode())
    expected = (
        [each for each in triggers.QUOTAS if each.table == "public.top_ups"] if trigger is None else [trigger]
    )
    assert triggers.faults(connection) == ([] if state is None else [(each, state) for each in expected])


def test_without_the_table_all_are_missing(connection: Connection) -> None:
    connection.execute("DROP TABLE radacct CASCADE")
    assert triggers.faults(connection) == [(INSERTED, triggers.MISSING), (UPDATED, triggers.MISSING)]
