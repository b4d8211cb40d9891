"""All that is ours belongs to one role; members of it and of the others do their work, superusers or not."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from support.commands import Packets, radmeter
from support.schemas import dump, names
from support.servers import Connection, Server

from radmeter.jobs import stale_sessions
from radmeter.partitions import months
from radmeter.schema.ownership import PUBLIC_TABLES

MEMBERS = ("shipper_in_test", "owner_in_test", "plain_in_test")


@pytest.fixture
def logins(connection: Connection) -> Iterator[Connection]:
    """Roles that log in, each a member of one of ours, or of none."""
    for role, group in zip(MEMBERS, ("IN ROLE radmeter_ingest", "IN ROLE radmeter_owner", ""), strict=True):
        connection.execute(f"CREATE ROLE {role} LOGIN {group}".encode())
    try:
        yield connection
    finally:
        for role in MEMBERS:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def owners(connection: Connection) -> set[str]:
    return names(
        connection,
        """SELECT relowner::regrole::text FROM pg_class
           WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
           UNION SELECT proowner::regrole::text FROM pg_proc
           WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
           UNION SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'radmeter'""",
    )


def test_all_that_is_ours_is_owned_by_a_role_that_nobody_logs_in_as(connection: Connection) -> None:
    assert owners(connection) == {"radmeter_owner"}
    assert connection.execute(
        """SELECT rolsuper OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication
           FROM pg_roles WHERE rolname = 'radmeter_owner'"""
    ).fetchone() == (False,)


def test_every_table_in_public_is_one_that_is_handed_over(connection: Connection) -> None:
    tables = names(
        connection,
        """SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
           AND NOT relispartition""",
    )
    # radcheck may be FreeRADIUS's own, which stays its owner's.
    assert tables - {"radcheck"} == set(PUBLIC_TABLES)


def test_a_shipper_with_the_ingest_role_only_counts_and_makes_the_months_it_needs(
    database: str, logins: Connection
) -> None:
    with Packets(database.replace("postgres@", "shipper_in_test@")) as packets:
        for days in (0.1, 6.9):
            packets.add("Start", f"s{days}", ago=days * 86_400 + 60, User_Name="alice")
            packets.add("Stop", f"s{days}", ago=days * 86_400, User_Name="alice", Acct_Input_Octets=5)
        packets.add(
            "Interim-Update", "open", NAS_Identifier="unknown", User_Name="alice", Acct_Input_Octets=7
        )
        packets.ship()
    assert logins.execute("SELECT sum(bytes_in) FROM user_quota_usage").fetchone() == (17,)
    assert owners(logins) == {"radmeter_owner"}


def test_a_member_of_the_owner_migrates_and_runs_the_jobs_without_being_a_superuser(
    server: Server, database: str, logins: Connection
) -> None:
    before = dump(server, database)
    member = database.replace("postgres@", "owner_in_test@")
    logins.execute("UPDATE radmeter.sql_file SET checksum = 'old'")
    last = logins.execute(
        "SELECT name FROM radmeter.partitions WHERE from_at IS NOT NULL ORDER BY from_at DESC LIMIT 1"
    ).fetchone()
    assert last is not None
    logins.execute(f"DROP TABLE public.{last[0]}".encode())
    done = radmeter(member, "migrate", "up", "--yes")
    assert (done.exit_code, "warning" in done.errors) == (0, False), done.errors
    assert dump(server, database) == before
    assert logins.execute(
        "SELECT DISTINCT who FROM radmeter.migration_log WHERE at > now() - interval '1 minute' ORDER BY 1"
    ).fetchall()[0] == ("owner_in_test",)
    logins.execute(f"DROP TABLE public.{last[0]}".encode())
    with psycopg.connect(member, autocommit=True) as owner:
        assert months.ensure_partitions(owner) == 1
        assert stale_sessions.close_stale(owner) == 0
    assert owners(logins) == {"radmeter_owner"}


def test_what_the_databases_owner_has_is_handed_over_and_that_role_goes_on_writing(
    server: Server, database: str, logins: Connection, request: pytest.FixtureRequest
) -> None:
    before = dump(server, database)
    name = sql.Identifier(logins.info.dbname)
    logins.execute(sql.SQL("ALTER DATABASE {} OWNER TO plain_in_test").format(name))
    request.addfinalizer(
        lambda: logins.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(name)) and None
    )
    for table in ("radacct", "radacct_open", "plans", "user_quota_usage"):
        logins.execute(f"ALTER TABLE {table} OWNER TO plain_in_test".encode())
    logins.execute("ALTER FUNCTION radmeter.ingest(text, json) OWNER TO postgres")
    planned = radmeter(database, "migrate", "plan").output
    assert "hand 5 objects of plain_in_test, postgres over to radmeter_owner" in planned
    assert radmeter(database, "migrate", "up", "--yes").exit_code == 0
    assert owners(logins) == {"radmeter_owner"}
    with psycopg.connect(database.replace("postgres@", "plain_in_test@"), autocommit=True) as plain:
        plain.execute("INSERT INTO plans (name) VALUES ('theirs')")
        plain.execute("SELECT count(*) FROM radacct")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            plain.execute("SELECT radmeter.ensure_partition(now())")
    logins.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM plain_in_test")
    logins.execute("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM plain_in_test")
    assert dump(server, database) == before


# A role's object with a name of ours, and what the message says to do about it.
STRANGERS = {
    """ALTER FUNCTION radmeter.open_segments(text, json)
       OWNER TO plain_in_test""": "DROP ROUTINE radmeter.open_segments(text,json);",
    """ALTER FUNCTION public.get_user_total_usage(text, timestamptz)
       OWNER TO plain_in_test""": "DROP ROUTINE public.get_user_total_usage(text,timestamp with time zone);",
    """CREATE FUNCTION radmeter.door(sql text) RETURNS void SECURITY DEFINER LANGUAGE plpgsql
       AS 'BEGIN EXECUTE sql; END';
       ALTER FUNCTION radmeter.door OWNER TO plain_in_test""": "DROP ROUTINE radmeter.door(text);",
    "ALTER SCHEMA radmeter OWNER TO plain_in_test": "ALTER SCHEMA radmeter OWNER TO radmeter_owner;",
    "ALTER TABLE public.plans OWNER TO plain_in_test": "ALTER TABLE public.plans OWNER TO radmeter_owner;",
    "ALTER VIEW radmeter.totals OWNER TO plain_in_test": "DROP VIEW radmeter.totals;",
}


@pytest.mark.parametrize(("making", "remedy"), STRANGERS.items(), ids=STRANGERS.values())
def test_what_a_stranger_owns_is_not_handed_over(
    server: Server, database: str, logins: Connection, making: str, remedy: str
) -> None:
    logins.execute("GRANT CREATE ON SCHEMA public, radmeter TO plain_in_test")
    logins.execute(making.encode())
    logins.execute("REVOKE CREATE ON SCHEMA public, radmeter FROM plain_in_test")
    before = dump(server, database)
    script = radmeter(database, "migrate", "sql")
    for done in (script, radmeter(database, "migrate", "plan"), radmeter(database, "migrate", "up", "--yes")):
        assert done.exit_code == 1
        assert "belong to roles that are no superuser, nothing was changed" in done.errors
        assert remedy in done.errors
    assert dump(server, database) == before
    assert "plain_in_test" in owners(logins)
    logins.execute("REASSIGN OWNED BY plain_in_test TO radmeter_owner")


def test_a_function_of_the_same_name_with_other_arguments_is_not_ours(
    database: str, logins: Connection
) -> None:
    logins.execute("GRANT CREATE ON SCHEMA public TO plain_in_test")
    with psycopg.connect(database.replace("postgres@", "plain_in_test@"), autocommit=True) as plain:
        plain.execute(
            """CREATE FUNCTION public.get_user_total_usage(sql text, x integer) RETURNS text SECURITY DEFINER
               LANGUAGE plpgsql AS $$ BEGIN EXECUTE sql; RETURN current_user; END $$"""
        )
        assert radmeter(database, "migrate", "up", "--yes").exit_code == 0
        assert plain.execute("SELECT public.get_user_total_usage('SELECT 1', 1)").fetchone() == (
            "plain_in_test",
        )


def test_a_schema_radmeter_with_a_door_is_not_taken_over(server: Server) -> None:
    """The role owns the database, too."""
    with server.clone("template0") as dsn, psycopg.connect(dsn, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE door_in_test LOGIN")
        name = sql.Identifier(superuser.info.dbname)
        superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO door_in_test").format(name))
        try:
            with psycopg.connect(dsn.replace("postgres@", "door_in_test@"), autocommit=True) as plain:
                plain.execute("CREATE SCHEMA radmeter")
                plain.execute(
                    """CREATE FUNCTION radmeter.door(sql text) RETURNS text SECURITY DEFINER
                       LANGUAGE plpgsql AS $$ BEGIN EXECUTE sql; RETURN current_user; END $$"""
                )
                # A command that reads one of these by name would run the function as the superuser.
                plain.execute(
                    """CREATE FUNCTION radmeter.evil() RETURNS text LANGUAGE plpgsql
                       AS $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
                       CREATE VIEW radmeter.alembic_version AS SELECT radmeter.evil() AS version_num;
                       CREATE VIEW radmeter.sql_file AS SELECT radmeter.evil() AS path, '' AS checksum;
                       CREATE VIEW radmeter.adoption AS SELECT radmeter.evil() AS state, NULL AS undone_at;
                       CREATE TABLE public.radacct (radacctid bigint)"""
                )
            for command in (("migrate", "status"), ("adopt", "--status"), ("adopt", "--undo", "--yes"),
                            ("adopt", "--from", "radacct", "--plan")):  # fmt: skip
                done = radmeter(dsn, *command)
                assert "ran as" not in done.output + done.errors
            superuser.execute("DROP TABLE public.radacct")
            for arguments in (("plan",), ("up", "--yes"), ("sql",)):
                refused = radmeter(dsn, "migrate", *arguments)
                assert refused.exit_code == 1
                assert "schema radmeter of door_in_test" in refused.errors
                assert "routine radmeter.door(text) of door_in_test" in refused.errors
        finally:
            superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(name))
            superuser.execute("DROP OWNED BY door_in_test CASCADE")
            superuser.execute("DROP ROLE door_in_test")


def test_a_function_that_is_handed_over_keeps_only_the_grants_of_our_roles(
    server: Server, database: str, logins: Connection
) -> None:
    before = dump(server, database)
    logins.execute("ALTER FUNCTION radmeter.open_segments(text, json) OWNER TO postgres")
    logins.execute("GRANT EXECUTE ON FUNCTION radmeter.open_segments(text, json) TO plain_in_test, PUBLIC")
    assert radmeter(database, "migrate", "up", "--yes").exit_code == 0
    assert dump(server, database) == before


def test_a_table_is_looked_at_before_it_is_handed_over(database: str, logins: Connection) -> None:
    logins.execute("GRANT CREATE ON SCHEMA public TO plain_in_test")
    logins.execute("ALTER TABLE public.plans OWNER TO postgres")
    logins.execute(
        "CREATE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    )
    logins.execute("CREATE TRIGGER evil BEFORE UPDATE ON plans FOR EACH ROW EXECUTE FUNCTION public.evil()")
    logins.execute("ALTER FUNCTION public.evil() OWNER TO plain_in_test")
    refused = radmeter(database, "migrate", "up", "--yes")
    assert refused.exit_code == 1
    assert (
        "the trigger evil of public.plans runs the function public.evil() of plain_in_test" in refused.errors
    )
    logins.execute("ALTER FUNCTION public.evil() OWNER TO postgres")
    done = radmeter(database, "migrate", "up", "--yes")
    assert done.exit_code == 0, done.errors
    assert owners(logins) == {"radmeter_owner", "postgres"}


@pytest.mark.parametrize("attributes", ["CREATEROLE", ""])
def test_without_a_superuser_it_works_and_says_what_it_may_not(server: Server, attributes: str) -> None:
    """In a cluster of its own: roles belong to the cluster."""
    with Server(server.programs) as alone:
        with psycopg.connect(alone.dsn(), autocommit=True) as superuser:
            superuser.execute(f"CREATE ROLE plain LOGIN {attributes}".encode())
            superuser.execute("CREATE DATABASE plain OWNER plain")
        plain = alone.dsn("plain").replace("postgres@", "plain@")
        done = radmeter(plain, "migrate", "up", "--yes")
        assert done.exit_code == 0, done.errors
        assert ("role radmeter_owner was not made: plain may not create roles" in done.errors) == (
            not attributes
        )
        with psycopg.connect(plain, autocommit=True) as connection:
            assert owners(connection) == {"radmeter_owner" if attributes else "plain"}
            connection.execute("UPDATE radmeter.sql_file SET checksum = 'old'")
        assert radmeter(plain, "migrate", "up", "--yes").exit_code == 0
        assert radmeter(plain, "migrate", "status").exit_code == 0
        with Packets(plain) as packets:
            packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=5)
        assert radmeter(plain, "usage", "user", "alice", "--format", "json").exit_code == 0
