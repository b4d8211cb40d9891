"""FreeRADIUS's role owns radacct before an adoption. It must not be able to have its code run by radmeter's roles."""

import threading
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
from radmeter.adoption.preparing import add_columns, make_indexes, make_open_table
from radmeter.adoption.return_rows import return_rows
from radmeter.adoption.swap_back import swap_tables_back
from radmeter.adoption.swapped import finish
from radmeter.adoption.tidy import tidy
from radmeter.schema import table_code
from radmeter.schema.ownership import OWNER, Stranger, strangers

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
        (make_indexes, adopts),
        (make_open_table, adopts),
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


def test_the_owner_of_the_database_is_named_also_before_radmeters_roles_are_there(radius: str) -> None:
    with psycopg.connect(superuser(radius), autocommit=True) as connection:
        assert strangers(connection, "no_such_role_yet") == []
        connection.execute(f"ALTER DATABASE {connection.info.dbname} OWNER TO {ROLE}".encode())
        for ours in ("no_such_role_yet", OWNER):
            assert strangers(connection, ours) == [Stranger("DATABASE", connection.info.dbname, ROLE)]
        connection.execute(f"ALTER DATABASE {connection.info.dbname} OWNER TO postgres".encode())
    with psycopg.connect(radius, autocommit=True) as connection:
        assert strangers(connection, "no_such_role_yet") == []


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
    killed_before(superuser(radius), add_columns, adopts)
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
            "the default of public.radacct.site uses the function public.evil(text)",
            "ALTER TABLE radacct ALTER site DROP DEFAULT",
        ),
        (
            """CREATE OR REPLACE FUNCTION public.evil(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
               CREATE INDEX by_evil_idx ON radacct (public.evil(username))""",
            "the index public.by_evil_idx uses the function public.evil(text)",
            "DROP INDEX by_evil_idx",
        ),
        (
            """CREATE OPERATOR public.### (FUNCTION = public.evil, RIGHTARG = text);
               ALTER TABLE radacct ADD site text; ALTER TABLE radacct ALTER site SET DEFAULT ### 'x'""",
            "the default of public.radacct.site uses the operator public.###(NONE,text) of freeradius_owner_in_test",
            "ALTER TABLE radacct ALTER site DROP DEFAULT",
        ),
        (
            """CREATE OR REPLACE FUNCTION public.evil(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
               CREATE DOMAIN public.site AS text CHECK (public.evil(VALUE) <> 'x');
               ALTER TABLE radacct ADD site public.site""",
            "the column public.radacct.site uses the type public.site of freeradius_owner_in_test",
            "ALTER TABLE radacct DROP site",
        ),
        (
            """CREATE OR REPLACE FUNCTION public.evil(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
               CREATE STATISTICS public.evil ON (public.evil(username)), (lower(username)) FROM radacct""",
            "the statistics object public.evil uses the function public.evil(text)",
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
    assert f"{reason}, which could run code with the rights of radmeter_owner" in refused.errors
    with psycopg.connect(superuser(radius), autocommit=True) as connection:
        connection.execute(mending.encode())
    planned = radmeter(superuser(radius), "adopt", "--from", "radacct", "--plan")
    assert planned.exit_code == 0, planned.errors


# What SQL text, files, other databases or the server's settings a default could reach with built-in functions.
NOT_HARMLESS = (
    "ts_rewrite('a'::tsquery, 'SELECT public.evil(''x'')::tsquery, ''b''::tsquery')::text",
    "query_to_xml('SELECT public.evil(''x'')', true, true, '')::text",
    "table_to_xml('public.radcheck', true, true, '')::text",
    "database_to_xml(true, true, '')::text",
    "cursor_to_xml('c', 1, true, true, '')::text",
    "pg_read_file('PG_VERSION')",
    "lo_import('/etc/hostname')::text",
    "set_config('role', 'postgres', false)",
    "pg_terminate_backend(1)::text",
    "setval('public.radacct_radacctid_seq', 1)::text",
    "nextval('public.radacct_radacctid_seq'::text::regclass)::text",
    "pg_advisory_lock(1)::text",
    "ts_stat('SELECT 1')::text",
)
HARMLESS = (
    "'none'",
    "lower('X') || now()::date",
    "coalesce(current_user, session_user)",
    "to_char(clock_timestamp(), 'YYYY')",
    "CASE WHEN random() > 0.5 THEN 'a' ELSE gen_random_uuid()::text END",
    "(now() AT TIME ZONE 'utc')::text",
    "'T-' || nextval('public.radacct_radacctid_seq')",
    "'{a,b}'::text[]::text",
)


@pytest.mark.parametrize("default", NOT_HARMLESS)
def test_a_default_with_a_built_in_function_that_is_not_known_as_harmless_is_refused(
    radius: str, default: str
) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("CREATE TABLE radcheck (id int)")
        connection.execute("ALTER TABLE radacct ADD note text")
        try:
            connection.execute(f"ALTER TABLE radacct ALTER note SET DEFAULT {default}".encode())
        except psycopg.errors.FeatureNotSupported:
            return  # a function that returns a set cannot be a default
    refused = radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes")
    assert refused.exit_code == 1
    assert "the default of public.radacct.note uses " in refused.errors
    assert "ALTER TABLE public.radacct ALTER COLUMN note DROP DEFAULT;" in refused.errors


def test_harmless_defaults_are_kept(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        for number, default in enumerate(HARMLESS):
            connection.execute(f"ALTER TABLE radacct ADD note{number} text".encode())
            connection.execute(f"ALTER TABLE radacct ALTER note{number} SET DEFAULT {default}".encode())
    done = radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes")
    assert done.exit_code == 0, done.errors
    with psycopg.connect(superuser(radius)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum "
            "WHERE adrelid = 'radacct'::regclass AND attname ~ '^note'"
        ).fetchone()
    assert row == (len(HARMLESS),)


def test_every_function_on_the_list_is_postgresqls_own_and_changes_nothing(connection: Connection) -> None:
    rows = connection.execute(
        """SELECT proname::text, bool_or(provolatile = 'v') FROM pg_proc
           WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (%s) GROUP BY 1""",
        (list(table_code.HARMLESS_FUNCTIONS),),
    ).fetchall()
    volatile = {name for name, is_volatile in rows if is_volatile}
    assert volatile <= {"clock_timestamp", "gen_random_uuid", "random", "timeofday", "uuidv4", "uuidv7"}
    # Those of later versions only, and words that the parser turns into nodes.
    assert set(table_code.HARMLESS_FUNCTIONS) - {name for name, _ in rows} <= {
        "uuidv4", "uuidv7", "greatest", "least", "decode", "extract",
    }  # fmt: skip


# A constant of an array of this domain runs the check when PostgreSQL reads the text of the view.
EVIL_VIEW = """
CREATE TABLE public.ran (who text);
GRANT ALL ON public.ran TO PUBLIC;
CREATE FUNCTION public.evil_check(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.ran VALUES (current_user);
    RETURN true;
END $$;
CREATE DOMAIN public.evil_d AS text CHECK (public.evil_check(value));
CREATE VIEW public.long_ones AS SELECT username, '{x}'::public.evil_d[] AS e FROM public.radacct;
CREATE VIEW public.by_view AS SELECT username FROM public.long_ones;
TRUNCATE public.ran"""


def who_ran(radius: str) -> list[tuple[str]]:
    with psycopg.connect(superuser(radius)) as connection:
        return connection.execute("SELECT DISTINCT who FROM public.ran").fetchall()


def test_a_view_with_a_type_of_its_owner_is_not_made_again(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(EVIL_VIEW)
    for option in ("--plan", "--yes"):
        refused = radmeter(superuser(radius), "adopt", "--from", "radacct", option)
        assert refused.exit_code == 1
        assert f"the view public.long_ones uses the type public.evil_d of {ROLE}" in refused.errors
        assert "DROP VIEW public.long_ones;" in refused.errors
    assert who_ran(radius) == []


def test_a_view_that_comes_before_the_swap_or_the_way_back_is_not_made_again(radius: str) -> None:
    killed_before(superuser(radius), swap_tables, adopts)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(EVIL_VIEW)
    refused = radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes")
    assert (
        refused.exit_code,
        "new since the adoption began: the view public.long_ones" in refused.errors,
    ) == (
        1,
        True,
    )
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("DROP VIEW public.by_view, public.long_ones")
    assert radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes").exit_code == 0
    view = "CREATE VIEW public.long_ones AS SELECT username, '{x}'::public.evil_d[] AS e FROM public.radacct"
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(view.encode())
        connection.execute("TRUNCATE public.ran")
    refused = radmeter(superuser(radius), "adopt", "--undo", "--yes")
    assert (refused.exit_code, "nothing was changed" in refused.errors) == (1, True)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("DROP VIEW public.long_ones")
    killed_before(superuser(radius), swap_tables_back, undoes)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(view.encode())
        connection.execute("TRUNCATE public.ran")
    with psycopg.connect(superuser(radius), autocommit=True) as connection, pytest.raises(operation.Refused):
        undoes(connection)
    assert who_ran(radius) == []
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("DROP VIEW public.long_ones")
    assert radmeter(superuser(radius), "adopt", "--undo", "--yes").exit_code == 0


CHECK_ON_REALM = """
ALTER TABLE public.radacct ALTER realm TYPE varchar(64);
CREATE TABLE public.ran (who text);
GRANT ALL ON public.ran TO PUBLIC;
CREATE FUNCTION public.evil_check(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.ran VALUES (current_user);
    RETURN true;
END $$"""


def test_a_check_that_comes_while_the_command_waits_for_its_lock_does_not_run(radius: str) -> None:
    with psycopg.connect(radius, autocommit=True) as owner:
        owner.execute(CHECK_ON_REALM)
        with psycopg.connect(radius) as holder:
            holder.execute("SELECT FROM public.radacct LIMIT 1")
            outcome: list[BaseException] = []
            waits = threading.Event()

            def say(line: str) -> None:
                if "waiting for a lock" in line:
                    waits.set()

            def work() -> None:
                with psycopg.connect(superuser(radius), autocommit=True) as connection:
                    try:
                        adopt.adopt(operation.Operation(connection, said=say))
                    except Exception as error:
                        outcome.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            assert waits.wait(60)
            holder.execute("ALTER TABLE public.radacct ADD CONSTRAINT late CHECK (public.evil_check(realm))")
            holder.execute("TRUNCATE public.ran")
            holder.commit()
            thread.join(60)
        assert "new since the adoption began: the constraint late" in str(outcome[0])
        assert who_ran(radius) == []
        # The same when the adoption goes on, which has no survey of its own.
        refused = radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes")
        assert (refused.exit_code, "the constraint late" in refused.errors) == (1, True)
        assert who_ran(radius) == []
        owner.execute("ALTER TABLE public.radacct DROP CONSTRAINT late")
    done = radmeter(superuser(radius), "adopt", "--from", "radacct", "--yes")
    assert done.exit_code == 0, done.errors


def test_undoing_an_adoption_that_has_not_yet_taken_the_table_runs_nothing_of_its_owners(radius: str) -> None:
    killed_before(superuser(radius), add_columns, adopts)
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(EVIL)
        connection.execute("CREATE TABLE public.child () INHERITS (public.radacct)")
        connection.execute("INSERT INTO public.child SELECT * FROM ONLY public.radacct LIMIT 1")
        connection.execute(
            "CREATE TRIGGER evil BEFORE UPDATE OR DELETE ON public.child "
            "FOR EACH ROW EXECUTE FUNCTION public.evil()"
        )
    refused = radmeter(superuser(radius), "adopt", "--undo", "--yes")
    assert (refused.exit_code, "inherits from" in refused.errors) == (1, True), refused.errors
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute("ALTER TABLE public.child NO INHERIT public.radacct")
    undone = radmeter(superuser(radius), "adopt", "--undo", "--yes")
    assert undone.exit_code == 0, undone.errors
