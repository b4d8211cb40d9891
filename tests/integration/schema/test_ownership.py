"""All that is ours belongs to one role; members of it and of the others do their work, superusers or not."""

from collections.abc import Iterator

import psycopg
import pytest
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
    assert tables == set(PUBLIC_TABLES)


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


def test_what_another_role_owns_is_handed_over_and_that_role_goes_on_writing(
    server: Server, database: str, logins: Connection
) -> None:
    before = dump(server, database)
    for table in ("radacct", "radacct_open", "plans", "user_quota_usage"):
        logins.execute(f"ALTER TABLE {table} OWNER TO plain_in_test".encode())
    logins.execute("ALTER FUNCTION radmeter.ingest OWNER TO postgres")
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
