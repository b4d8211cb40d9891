"""What prevents the adoption of FreeRADIUS's radacct: told with its remedy, before anything is changed."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from support import stock
from support.commands import radmeter
from support.servers import Server

from radmeter.adoption import adopt, operation

Connection = psycopg.Connection[Any]

REFUSED = [
    ("ALTER TABLE radacct DROP COLUMN callingstationid", "no column callingstationid", "schema.sql"),
    (
        "ALTER TABLE radacct ALTER acctinputoctets TYPE integer USING 0",
        "acctinputoctets is integer, not bigint",
        "ALTER acctinputoctets TYPE bigint",
    ),
    (
        "ALTER TABLE radacct ALTER acctstarttime TYPE timestamp",
        "acctstarttime is timestamp without time zone",
        "AT TIME ZONE",
    ),
    (
        "ALTER TABLE radacct ALTER framedipaddress TYPE text",
        "framedipaddress is text, not inet",
        "USING nullif",
    ),
    (
        "DELETE FROM radacct WHERE username IS NULL; ALTER TABLE radacct ALTER username SET NOT NULL",
        "username is NOT NULL",
        "DROP NOT NULL",
    ),
    (
        "ALTER TABLE radacct ADD x integer NOT NULL DEFAULT 1; ALTER TABLE radacct ALTER x DROP DEFAULT",
        "x is NOT NULL and has no default",
        "DROP NOT NULL",
    ),
    ("ALTER TABLE radacct ADD router_id text", "column router_id", "RENAME router_id TO"),
    (
        "ALTER TABLE radacct ADD total bigint GENERATED ALWAYS AS (acctinputoctets + acctoutputoctets) STORED",
        "generated column",
        "DROP COLUMN total",
    ),
    ("ALTER TABLE radacct DROP CONSTRAINT radacct_pkey", "radacctid is not unique", "CREATE UNIQUE INDEX"),
    (
        "ALTER TABLE radacct ALTER radacctid DROP DEFAULT, ALTER radacctid ADD GENERATED ALWAYS AS IDENTITY",
        "identity column",
        "DROP IDENTITY",
    ),
    (
        """ALTER TABLE radacct DROP CONSTRAINT radacct_acctuniqueid_key;
           INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress)
           VALUES ('1', 'a', '::1'), ('1', 'a', '::1')""",
        "1 value of acctuniqueid is in 2 rows",
        "acctuniqueid || '-' || radacctid",
    ),
    (
        "CREATE UNIQUE INDEX radacct_whoson ON radacct (acctstarttime, nasipaddress)",
        "radacct_whoson keeps (acctstarttime, nasipaddress) unique",
        "DROP INDEX CONCURRENTLY radacct_whoson",
    ),
    (
        """CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
           CREATE TRIGGER mine AFTER INSERT ON radacct FOR EACH ROW EXECUTE FUNCTION t()""",
        "the trigger mine",
        "DROP TRIGGER mine",
    ),
    ("CREATE RULE r AS ON DELETE TO radacct DO ALSO NOTHING", "the rule r", "DROP RULE r"),
    ("ALTER TABLE radacct ENABLE ROW LEVEL SECURITY", "row level security", "DISABLE ROW LEVEL SECURITY"),
    (
        "CREATE TABLE bill (session bigint CONSTRAINT of_session REFERENCES radacct)",
        "foreign key of_session",
        "ALTER TABLE public.bill DROP CONSTRAINT",
    ),
    (
        "ALTER TABLE radacct ADD CONSTRAINT sane CHECK (acctsessiontime >= 0)",
        "constraint sane",
        "DROP CONSTRAINT sane",
    ),
    (
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM radacct",
        "materialized view public.m",
        "DROP MATERIALIZED VIEW public.m",
    ),
    (
        "CREATE VIEW g AS SELECT radacctid, username FROM radacct GROUP BY radacctid",
        "view public.g groups by the primary key",
        "GROUP BY",
    ),
    (
        "CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM radacct; END",
        "function public.f()",
        "DROP FUNCTION public.f()",
    ),
    (
        "CREATE FUNCTION f() RETURNS SETOF radacct LANGUAGE sql AS 'SELECT * FROM radacct'",
        "function public.f()",
        "DROP FUNCTION public.f()",
    ),
    ("CREATE TABLE kept (row radacct)", "kept has a column", "drop that column"),
    ("CREATE PUBLICATION p FOR TABLE radacct", "publication p", "ALTER PUBLICATION p"),
    ("CREATE TABLE child () INHERITS (radacct)", "inherits from or to public.child", "NO INHERIT"),
    ("CREATE TABLE routers (id integer)", "there is a routers", "RENAME TO my_routers"),
    (
        "UPDATE radacct SET acctstoptime = '2099-01-01Z' WHERE radacctid = 1",
        "1 session stopped in the future",
        "UPDATE radacct SET acctstoptime",
    ),
    (
        "ALTER TABLE radacct ALTER username TYPE varchar(64); CREATE VIEW u AS SELECT username FROM radacct",
        "the view public.u reads columns that are to become text",
        "DROP VIEW public.u",
    ),
]


@pytest.fixture(scope="module")
def template(server: Server) -> Iterator[str]:
    """A database with a small stock table, to be copied."""
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            stock.fill(connection, 200, open_sessions=10, zombies=10)
        yield dsn


@pytest.fixture
def radius(server: Server, template: str) -> Iterator[str]:
    name = psycopg.conninfo.conninfo_to_dict(template)["dbname"]
    with server.clone(str(name)) as dsn:
        yield dsn


def schema_of(server: Server, dsn: str) -> list[str]:
    done = subprocess.run([server.programs / "pg_dump", dsn], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith("\\")]


@pytest.mark.parametrize(("change", "reason", "remedy"), REFUSED, ids=[case[1] for case in REFUSED])
def test_refused_with_its_remedy_before_anything_is_changed(
    radius: str, change: str, reason: str, remedy: str
) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(change.encode())
        with pytest.raises(operation.Refused) as refused:
            adopt.adopt(operation.Operation(connection))
        assert reason in str(refused.value)
        assert remedy in str(refused.value)
        assert connection.execute("SELECT to_regnamespace('radmeter')").fetchone() == (None,)


def test_all_reasons_at_once_and_nothing_is_changed(server: Server, radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE radacct ADD x integer NOT NULL DEFAULT 1; ALTER TABLE radacct ALTER x DROP DEFAULT"
        )
        connection.execute("CREATE MATERIALIZED VIEW m AS SELECT * FROM radacct")
    before = schema_of(server, radius)
    result = radmeter(radius, "adopt", "--from", "radacct", "--yes")
    assert result.exit_code == 1
    assert "1. x is NOT NULL" in result.errors
    assert "2. the materialized view public.m" in result.errors
    assert schema_of(server, radius) == before


def test_the_remedies_can_be_pasted(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("ALTER TABLE radacct ALTER framedipaddress TYPE text")
        connection.execute("CREATE VIEW kept AS SELECT * FROM radacct")
        connection.execute(
            """UPDATE radacct SET acctstoptime = '2099-01-01Z', acctstarttime = '2098-01-01Z',
                   acctsessiontime = CASE radacctid WHEN 1 THEN 9223372036854775807 ELSE -9223372036854775808 END
               WHERE radacctid IN (1, 2)"""
        )
        for reason, statements in (
            ("framedipaddress is text", r"DROP VIEW [^;]*;|ALTER TABLE [^;]*;"),
            ("2 sessions stopped in the future", "UPDATE [^;]*;"),
        ):
            refused = radmeter(radius, "adopt", "--from", "radacct", "--plan").errors
            assert reason in refused
            assert ("The rows are read once this is done" in refused) is ("inet" in refused)
            for statement in re.findall(statements, refused):
                connection.execute(statement.encode())
    assert radmeter(radius, "adopt", "--from", "radacct", "--plan").exit_code == 0


def test_no_table_and_one_that_is_partitioned(server: Server, database: str) -> None:
    with server.clone("template0") as empty:
        result = radmeter(empty, "adopt", "--from", "radacct", "--yes")
    assert (result.exit_code, "there is no table public.radacct" in result.errors) == (1, True)
    result = radmeter(database, "adopt", "--from", "radacct", "--yes")
    assert (result.exit_code, "is partitioned already" in result.errors) == (1, True)


def test_migrate_up_names_the_command(radius: str) -> None:
    result = radmeter(radius, "migrate", "up", "--yes")
    assert result.exit_code == 1
    assert "radmeter adopt --from radacct" in result.errors


def test_a_role_that_may_not(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger; SET SESSION AUTHORIZATION stranger")
        try:
            with pytest.raises(operation.Refused, match="belongs to postgres"):
                adopt.adopt(operation.Operation(connection))
        finally:
            connection.execute("RESET SESSION AUTHORIZATION; DROP ROLE stranger")


def test_the_columns_of_an_older_freeradius(server: Server, radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(
            """ALTER TABLE radacct DROP acctupdatetime, DROP acctinterval, DROP framedipv6address,
                   DROP framedipv6prefix, DROP framedinterfaceid, DROP delegatedipv6prefix, DROP class,
                   ALTER username TYPE varchar(253), ALTER acctuniqueid TYPE varchar(32),
                   ALTER acctsessionid TYPE varchar(64),
                   ADD groupname varchar(64), ADD acctstartdelay integer"""
        )
        (node,) = connection.execute(
            "SELECT relfilenode FROM pg_class WHERE relname = 'radacct'"
        ).fetchone() or (0,)
        adopt.adopt(operation.Operation(connection))
        # Not one row was written again.
        assert connection.execute(
            "SELECT relfilenode FROM pg_class WHERE relname = 'radacct_legacy'"
        ).fetchone() == (node,)
        assert connection.execute(
            "SELECT count(*), count(acctupdatetime), count(groupname) FROM radacct"
        ).fetchone() == (220, 0, 0)


def test_the_plan_says_what_would_happen_and_does_nothing(server: Server, radius: str) -> None:
    before = schema_of(server, radius)
    result = radmeter(radius, "adopt", "--from", "radacct", "--plan")
    assert result.exit_code == 0, result.errors
    for word in ("columns", "indexes", "open sessions", "check", "swap", "radacct_legacy", "rlm_sql"):
        assert word in result.output
    assert schema_of(server, radius) == before
    steps = radmeter(radius, "adopt", "--from", "radacct", "--plan", "--format", "json").json()
    assert [step["step"] for step in steps] == ["columns", "indexes", "open sessions", "check", "swap"]


def test_the_command_from_beginning_to_end_and_back(radius: str) -> None:
    assert radmeter(radius, "adopt", "--status", "--format", "json").json()["state"] == "none"
    # Nobody can answer.
    result = radmeter(radius, "adopt", "--from", "radacct")
    assert (result.exit_code, "--yes" in result.errors) == (2, True)
    result = radmeter(radius, "adopt", "--from", "radacct", "--yes")
    assert result.exit_code == 0, result.errors
    assert "radacct is radmeter's" in result.output
    assert radmeter(radius, "adopt", "--status", "--format", "json").json()["state"] == "done"
    assert radmeter(radius, "adopt", "--from", "radacct", "--yes").exit_code == 0
    result = radmeter(radius, "adopt", "--undo", "--yes")
    assert result.exit_code == 0, result.errors
    assert radmeter(radius, "adopt", "--status", "--format", "json").json()["state"] == "undone"
    assert radmeter(radius, "adopt", "--undo", "--yes").exit_code == 1


def test_wrong_options(radius: str) -> None:
    for arguments in ((), ("--from", "radacct", "--undo"), ("--plan",), ("--from", "radius.radacct")):
        assert radmeter(radius, "adopt", *arguments).exit_code == 2
