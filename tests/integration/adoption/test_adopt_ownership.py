"""FreeRADIUS's role owns radacct before an adoption. It must not be able to have its code run by radmeter's roles."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from support import stock
from support.adoption import killed_before
from support.commands import radmeter
from support.servers import Connection, Server

from radmeter.adoption import adopt, operation, undo
from radmeter.adoption.bounding import swap_tables, validate
from radmeter.adoption.opening import bound, move_open
from radmeter.adoption.preparing import make_open_table
from radmeter.adoption.return_rows import return_rows
from radmeter.adoption.swap_back import swap_tables_back
from radmeter.adoption.swapped import finish
from radmeter.adoption.tidy import tidy

ROLE = "freeradius_owner_in_test"


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    """The connection string of FreeRADIUS's role, which is no superuser and owns radacct."""
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN".encode())
            connection.execute(f"GRANT ALL ON SCHEMA public TO {ROLE}".encode())
            connection.execute(f"SET ROLE {ROLE}".encode())
            connection.execute(stock.RADACCT)
            stock.fill(connection, 50, open_sessions=5, zombies=2)
        try:
            yield dsn.replace("postgres@", f"{ROLE}@")
        finally:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(f"DROP OWNED BY {ROLE} CASCADE".encode())
                connection.execute(f"DROP ROLE {ROLE}".encode())


def superuser(radius: str) -> str:
    return radius.replace(f"{ROLE}@", "postgres@")


def adopts(connection: Connection) -> Any:
    return adopt.adopt(operation.Operation(connection))


def undoes(connection: Connection) -> Any:
    return undo.undo(operation.Operation(connection))


EVIL = """
CREATE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ran as %', current_user;
END $$;
CREATE FUNCTION public.evil(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RAISE EXCEPTION 'ran as %', current_user;
END $$"""
CHANGES = (
    "CREATE TRIGGER evil BEFORE UPDATE OR DELETE ON public.radacct FOR EACH ROW EXECUTE FUNCTION public.evil()",
    "CREATE RULE evil AS ON UPDATE TO public.radacct DO ALSO SELECT public.evil('x')",
    "ALTER TABLE public.radacct ADD CHECK (public.evil(username) = '')",
    "ALTER TABLE public.radacct ALTER class SET DEFAULT public.evil('x')",
    "ALTER TABLE public.radacct ENABLE ROW LEVEL SECURITY",
    "CREATE INDEX evil ON public.radacct (public.evil(username))",
    "ALTER TABLE public.radacct ADD evil text",
    "ALTER SEQUENCE public.radacct_radacctid_seq RESTART",
    "DROP TABLE public.radacct",
    "CREATE TRIGGER evil BEFORE INSERT ON public.radacct_open FOR EACH ROW EXECUTE FUNCTION public.evil()",
)


@pytest.mark.parametrize(
    ("step", "work"),
    [
        (move_open, adopts),
        (bound, adopts),
        (validate, adopts),
        (swap_tables, adopts),
        (finish, adopts),
        (swap_tables_back, undoes),
        (return_rows, undoes),
        (tidy, undoes),
    ],
    ids=lambda value: value.__name__,
)
def test_it_reads_and_writes_at_every_step_and_changes_nothing_of_the_table(
    radius: str, step: Callable[..., Any], work: Callable[[Connection], Any]
) -> None:
    if work is undoes:
        with psycopg.connect(superuser(radius), autocommit=True) as connection:
            adopts(connection)
    killed_before(superuser(radius), step, work)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(EVIL)
        for change in CHANGES:
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)):
                connection.execute(change.encode())
        connection.execute("SELECT count(*) FROM radacct")
        connection.execute(
            """INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime)
               VALUES ('s', 'u-new', 'x', '10.0.0.1', now())"""
        )
        connection.execute("UPDATE radacct SET acctinputoctets = 5 WHERE acctuniqueid = 'u-new'")
        connection.execute("DELETE FROM radacct WHERE acctuniqueid = 'u-new'")


def test_it_owns_radacct_again_after_an_undo(radius: str) -> None:
    with psycopg.connect(superuser(radius), autocommit=True) as connection:
        adopts(connection)
        undoes(connection)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("ALTER TABLE radacct ADD mine text")
        connection.execute("ALTER SEQUENCE radacct_radacctid_seq CACHE 2")
        row = connection.execute(
            """SELECT count(*) FROM pg_class, aclexplode(relacl)
               WHERE relname ~ '^radacct' AND relnamespace = 'public'::regnamespace
                 AND pg_get_userbyid(grantee) ~ '^radmeter'"""
        ).fetchone()
        assert row == (0,)


def test_a_trigger_that_came_after_the_survey_is_seen_before_a_row_is_changed(radius: str) -> None:
    killed_before(superuser(radius), make_open_table, adopts)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(EVIL)
        connection.execute(CHANGES[0].encode())
    refused = radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes")
    assert (refused.exit_code, "new since the adoption began: the trigger evil" in refused.errors) == (
        1,
        True,
    )
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("DROP TRIGGER evil ON radacct")
    done = radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes")
    assert done.exit_code == 0, done.errors


@pytest.mark.parametrize(
    ("making", "reason", "mending"),
    [
        (
            "ALTER TABLE radacct ADD site text; ALTER TABLE radacct ALTER site SET DEFAULT public.evil('x')",
            "a default of radacct uses the function public.evil(text)",
            "ALTER FUNCTION public.evil(text) OWNER TO postgres",
        ),
        (
            """CREATE OR REPLACE FUNCTION public.evil(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
               CREATE INDEX by_evil_idx ON radacct (public.evil(username))""",
            "the index public.by_evil_idx of radacct uses the function public.evil(text)",
            "DROP INDEX by_evil_idx",
        ),
        (
            """CREATE OPERATOR public.### (FUNCTION = public.evil, RIGHTARG = text);
               ALTER TABLE radacct ADD site text; ALTER TABLE radacct ALTER site SET DEFAULT ### 'x'""",
            "a default of radacct uses the operator public.###(NONE,text)",
            "ALTER TABLE radacct ALTER site DROP DEFAULT",
        ),
        (
            """CREATE OR REPLACE FUNCTION public.evil(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
               CREATE DOMAIN public.site AS text CHECK (public.evil(VALUE) <> 'x');
               ALTER TABLE radacct ADD site public.site""",
            "a column of radacct uses the type public.site",
            "ALTER TABLE radacct DROP site",
        ),
        (
            """CREATE OR REPLACE FUNCTION public.evil(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
               CREATE STATISTICS public.evil ON (public.evil(username)), (lower(username)) FROM radacct""",
            "a statistics object of radacct uses the function public.evil(text)",
            "DROP STATISTICS public.evil",
        ),
    ],
)
def test_code_of_its_own_that_the_table_uses_is_refused(
    radius: str, making: str, reason: str, mending: str
) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(EVIL)
        connection.execute(making.encode())
    refused = radmeter(superuser(radius), "adopt", "--from", "radacct", "--plan")
    assert refused.exit_code == 1
    assert f"{reason} of {ROLE}, who could so run commands" in refused.errors
    with psycopg.connect(superuser(radius), autocommit=True) as connection:
        connection.execute(mending.encode())
    planned = radmeter(superuser(radius), "adopt", "--from", "radacct", "--plan")
    assert planned.exit_code == 0, planned.errors
