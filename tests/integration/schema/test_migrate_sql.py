"""`radmeter migrate sql`: the script of a DBA ends where `radmeter migrate up` does."""

from typing import Any

import psycopg
import pytest
import sqlalchemy
from alembic import command
from psycopg import sql
from support.alchemy import sqlalchemy_engine
from support.commands import radmeter
from support.schemas import AS_DOUBLES, REVISIONS, dump, psql
from support.servers import Server

from radmeter.printable import CONTROL
from radmeter.schema import revisions

STATE = (
    "SELECT version_num FROM radmeter.alembic_version",
    "SELECT path, checksum FROM radmeter.sql_file ORDER BY path",
    "SELECT name, from_at, to_at FROM radmeter.partitions ORDER BY name",
    "SELECT month FROM radmeter.session_month ORDER BY month",
    "SELECT name, value FROM radmeter.setting ORDER BY name",
    "SELECT DISTINCT kind, name, version FROM radmeter.migration_log WHERE kind = 'revision' ORDER BY name",
    """SELECT relname, relowner::regrole::text FROM pg_class
       WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) ORDER BY relname""",
    """SELECT oid::regprocedure::text, proowner::regrole::text, proacl::text FROM pg_proc
       WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) ORDER BY 1""",
)


def state(dsn: str) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(dsn) as connection:
        return [connection.execute(query.encode()).fetchall() for query in STATE]


@pytest.fixture
def empty(server: Server) -> Any:
    with server.clone("template0") as dsn:
        yield dsn


@pytest.mark.parametrize("options", [(), ("-1",)])
def test_from_base_without_a_database_it_makes_what_a_fresh_install_is(
    server: Server, database: str, empty: str, options: tuple[str, ...]
) -> None:
    script = radmeter(None, "migrate", "sql", "--from", "base")
    assert script.exit_code == 0, script.errors
    done = psql(server, empty, script.output, *options)
    assert done.returncode == 0, done.stderr
    assert dump(server, empty) == dump(server, database)
    assert state(empty) == state(database)
    assert radmeter(empty, "migrate", "status").exit_code == 0
    assert radmeter(empty, "migrate", "sql").output.count("\n") == 1  # nothing to do


@pytest.mark.parametrize("revision", REVISIONS[:-1])
@pytest.mark.parametrize("looking", [True, False])
def test_from_each_revision_it_makes_what_a_fresh_install_is(
    server: Server, database: str, empty: str, revision: str, looking: bool
) -> None:
    with sqlalchemy_engine(empty).connect() as connection:
        connection.execute(sqlalchemy.text("CREATE SCHEMA radmeter"))
        connection.commit()
        command.upgrade(revisions.revisions(connection), revision)
        connection.commit()
    printed = radmeter(empty, "migrate", "sql", *([] if looking else ["--from", revision]))
    assert printed.exit_code == 0, printed.errors
    done = psql(server, empty, printed.output)
    assert done.returncode == 0, done.stderr
    assert dump(server, empty) == dump(server, database)


def test_doubles_and_changed_files_of_the_present_state_are_in_it(
    server: Server, database: str, connection: psycopg.Connection[Any]
) -> None:
    before = dump(server, database), state(database)
    connection.execute(AS_DOUBLES.encode())
    connection.execute("INSERT INTO plans (id, name, price) VALUES (4, 'half', 2.675)")
    connection.execute("UPDATE radmeter.sql_file SET checksum = 'old'")
    done = psql(server, database, radmeter(database, "migrate", "sql").output)
    assert done.returncode == 0, done.stderr
    assert (dump(server, database), state(database)) == before
    assert connection.execute("SELECT key, shown, value::text FROM radmeter.decimal_change").fetchall() == [
        ("id=4", "2.675", "2.68")
    ]


def test_names_with_control_characters_are_escapes_and_exact(
    server: Server, database: str, connection: psycopg.Connection[Any]
) -> None:
    name = "tab\tblank\u00a0it's \\ \"\x1b[2J"
    column = sql.Identifier(name)
    connection.execute(AS_DOUBLES.encode())
    connection.execute("ALTER TABLE plans DROP CONSTRAINT plans_pkey CASCADE")
    connection.execute(
        sql.SQL(
            """ALTER TABLE plans ADD COLUMN {column} text NOT NULL DEFAULT 'a', ADD COLUMN "order" bigint
               GENERATED ALWAYS AS IDENTITY, ADD PRIMARY KEY ({column}, "order")"""
        ).format(column=column)
    )
    connection.execute("INSERT INTO plans (id, name, price) VALUES (4, 'half', 2.675)")
    order = connection.execute('SELECT "order" FROM plans WHERE id = 4').fetchone()
    assert order is not None
    script = radmeter(database, "migrate", "sql").output
    assert not CONTROL.search(script.replace("\n", ""))
    assert "\u00a0" not in script
    done = psql(server, database, script)
    assert done.returncode == 0, done.stderr
    assert connection.execute("SELECT key, shown FROM radmeter.decimal_change").fetchall() == [
        (f"{name}=a, order={order[0]}", "2.675")
    ]
    assert connection.execute("SELECT price::text FROM plans WHERE id = 4").fetchone() == ("2.68",)


def test_a_script_for_another_revision_changes_nothing(server: Server, database: str) -> None:
    before = dump(server, database)
    script = radmeter(None, "migrate", "sql", "--from", "0001").output
    done = psql(server, database, script)
    assert done.returncode != 0
    assert f"for a database at revision 0001, and this one is at {REVISIONS[-1]}" in done.stderr
    assert dump(server, database) == before


def test_a_revision_that_is_none_is_refused() -> None:
    refused = radmeter(None, "migrate", "sql", "--from", "9999")
    assert refused.exit_code == 2
    assert "there is no revision 9999: base, 0001" in refused.errors
