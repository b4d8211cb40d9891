"""The temporary table of a batch: `radmeter.ingest` runs as the owner, and uses no table that its caller has made."""

from collections.abc import Iterator

import psycopg
import pytest
from support.commands import packet, radmeter
from support.functions import value
from support.ledger import ingest, progress, segment_id
from support.schemas import names
from support.servers import Connection, Server

from radmeter.errors import StoreUnavailable
from radmeter.ingest.store import Store, records_json
from radmeter.schema import upgrade

SHIPPER = "shipper_in_test"
INCOMING = (
    "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass('pg_temp.incoming') AND attnum > 0"
)


@pytest.fixture
def shipper(database: str, connection: Connection) -> Iterator[str]:
    """A member of radmeter_ingest that may make temporary tables, as everybody may by default."""
    connection.execute(f"CREATE ROLE {SHIPPER} LOGIN IN ROLE radmeter_ingest".encode())
    connection.execute(f"GRANT TEMPORARY ON DATABASE {connection.info.dbname} TO {SHIPPER}".encode())
    try:
        yield database.replace("postgres@", f"{SHIPPER}@")
    finally:
        connection.execute(f"DROP OWNED BY {SHIPPER}; DROP ROLE {SHIPPER}".encode())


def batch(*sessions: str, first: int = 1) -> str:
    """Return Stops of 5 octets each, as JSON."""
    return records_json(
        [
            packet(first + number, "Stop", session, User_Name="alice", Acct_Input_Octets=5)
            for number, session in enumerate(sessions)
        ]
    )


def counted(connection: Connection) -> object:
    return value(connection, "coalesce(sum(bytes_in), 0) FROM public.user_quota_usage")


# radmeter's own table, which a caller cannot get by other means.
COPY = """
DO $$
DECLARE
    v_columns text := substring((SELECT prosrc FROM pg_proc WHERE proname = 'create_incoming')
                                FROM 'incoming \\((.*)\\) ON COMMIT');
BEGIN
    EXECUTE format('CREATE TEMPORARY TABLE incoming (%s) ON COMMIT DELETE ROWS', v_columns);
END $$;
"""
EVIL = """
CREATE TABLE IF NOT EXISTS pg_temp.ran (who text);
CREATE FUNCTION pg_temp.evil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ran as %', current_user;
END $$;
"""
MADE_BY_THE_CALLER = {
    "a table like ours": COPY,
    "with a trigger": COPY
    + EVIL
    + "CREATE TRIGGER evil BEFORE INSERT ON incoming FOR EACH ROW EXECUTE FUNCTION pg_temp.evil()",
    "with a rule": COPY + "CREATE RULE evil AS ON INSERT TO incoming DO ALSO SELECT 1",
    "with row security": COPY + "ALTER TABLE incoming ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "with a comment like ours": COPY + """DO $$ BEGIN EXECUTE format('COMMENT ON TABLE incoming IS %L', (
        SELECT 'radmeter.create_incoming ' || md5(prosrc) FROM pg_proc WHERE proname = 'create_incoming')); END $$;
        GRANT ALL ON incoming TO PUBLIC""",
    "another table": "CREATE TEMPORARY TABLE incoming (x int)",
    "a table with children": COPY + "CREATE TEMPORARY TABLE child () INHERITS (incoming)",
    "a partitioned table": "CREATE TEMPORARY TABLE incoming (seq bigint) PARTITION BY RANGE (seq)",
    "a view": "CREATE TEMPORARY VIEW incoming AS SELECT 1 AS seq",
    "a sequence": "CREATE TEMPORARY SEQUENCE incoming",
    "a type": "CREATE TYPE pg_temp.incoming AS (seq bigint)",
}  # fmt: skip


@pytest.mark.parametrize("making", MADE_BY_THE_CALLER)
def test_a_table_of_the_caller_is_refused_and_nothing_of_it_runs(
    shipper: str, connection: Connection, making: str
) -> None:
    with psycopg.connect(shipper, autocommit=True) as caller:
        assert progress(caller, "n") == (0, 0)
        caller.execute(MADE_BY_THE_CALLER[making].encode())
        for call in (
            f"radmeter.ingest('{segment_id('n')}', 0, 0, %s, 1)",
            "radmeter.replay('detail:0123456789abcdef', %s, 'detail', 1, 1, '\\x00')",
        ):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="connect again") as refused:
                caller.execute(f"SELECT {call}".encode(), (batch("s1"),))
            assert refused.value.diag.message_hint == "DISCARD TEMP drops it, too."
        caller.execute("DISCARD TEMP")
        ingest(caller, "n", batch("s1"))
    assert counted(connection) == 5


def test_the_shipper_connects_again_when_its_session_has_a_table_of_that_name(
    shipper: str, connection: Connection
) -> None:
    store = Store(shipper)
    store._connection.execute("CREATE TEMPORARY TABLE incoming (x int)")
    record = packet(1, "Stop", "s1", User_Name="alice", Acct_Input_Octets=5)
    with pytest.raises(StoreUnavailable, match="not radmeter's own: connect again"):
        ingest(store, "n", [record])
    store.close()
    store = Store(shipper)
    assert ingest(store, "n", [record]) == 1
    store.close()
    assert counted(connection) == 5


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TRIGGER t BEFORE INSERT ON incoming FOR EACH ROW EXECUTE FUNCTION radmeter.note_archive_change()",
        "CREATE RULE r AS ON DELETE TO incoming DO INSTEAD NOTHING",
        "ALTER TABLE incoming ENABLE ROW LEVEL SECURITY",
        "CREATE TEMPORARY TABLE child () INHERITS (incoming)",
        "ALTER TABLE incoming OWNER TO postgres",
    ],
)
def test_the_owners_table_is_refused_too_when_something_was_added(
    connection: Connection, change: str
) -> None:
    ingest(connection, "n", batch("s1"))
    connection.execute(change.encode())
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        ingest(connection, "n", batch("s2", first=2))


def test_batches_of_one_transaction_count_once_each(connection: Connection) -> None:
    with connection.transaction():
        for source, sessions in (("a", ("s1", "s2")), ("b", ("s3",)), ("a", ("s4",))):
            first = 1 if len(sessions) > 1 or source == "b" else 3
            ingest(connection, source, batch(*sessions, first=first))
            assert value(connection, "count(*) FROM pg_temp.incoming") == len(sessions)
    assert counted(connection) == 20
    assert value(connection, "sum(records) FROM radmeter.nodes") == 4


def test_a_session_goes_on_with_a_new_table_after_an_upgrade_that_changed_it(
    database: str, connection: Connection
) -> None:
    ingest(connection, "n", batch("s1"))
    before = value(connection, "'pg_temp.incoming'::regclass::oid")
    columns = names(connection, INCOMING)
    connection.execute("ALTER TABLE pg_temp.incoming DROP COLUMN class")
    connection.execute("COMMENT ON TABLE pg_temp.incoming IS 'radmeter.create_incoming of an older version'")
    upgrade.upgrade(database, reapply=True)
    ingest(connection, "n", batch("s2", first=2))
    assert value(connection, "'pg_temp.incoming'::regclass::oid") != before
    assert names(connection, INCOMING) == columns
    assert counted(connection) == 10
    # An upgrade that does not change it leaves the session its table.
    before = value(connection, "'pg_temp.incoming'::regclass::oid")
    upgrade.upgrade(database, reapply=True)
    ingest(connection, "n", batch("s3", first=3))
    assert value(connection, "'pg_temp.incoming'::regclass::oid") == before


def acl(connection: Connection) -> set[tuple[str]]:
    """Return who may make temporary tables in the database, as far as it is written down."""
    return set(
        connection.execute(
            """SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END
               FROM pg_database, aclexplode(datacl)
               WHERE datname = current_database() AND privilege_type = 'TEMPORARY'"""
        ).fetchall()
    )


def test_only_the_owner_may_make_temporary_tables_after_every_upgrade(
    server: Server, database: str, connection: Connection
) -> None:
    mine = {("radmeter_owner",), ("postgres",)}
    assert acl(connection) == mine
    name = connection.info.dbname
    connection.execute(f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC".encode())
    connection.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM radmeter_owner".encode())
    assert "revoke TEMPORARY on the database from PUBLIC" in radmeter(database, "migrate", "plan").output
    upgrade.upgrade(database)
    assert acl(connection) == mine
    with server.clone("template0") as fresh, psycopg.connect(fresh, autocommit=True) as other:
        upgrade.upgrade(fresh)
        assert acl(other) == mine
    connection.execute("SET ROLE radmeter_ingest")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="temporary tables"):
        connection.execute("CREATE TEMPORARY TABLE incoming (x int)")
    ingest(connection, "n", batch("s1"))


def test_who_may_not_change_that_is_told_what_to_run(server: Server) -> None:
    """In a cluster of its own: a member of the owner's role whose database belongs to somebody else."""
    with Server(server.programs) as alone:
        upgrade.upgrade(alone.dsn())
        with psycopg.connect(alone.dsn(), autocommit=True) as superuser:
            superuser.execute("CREATE ROLE plain LOGIN IN ROLE radmeter_owner")
            superuser.execute("GRANT TEMPORARY ON DATABASE postgres TO PUBLIC")
            superuser.execute("REVOKE TEMPORARY ON DATABASE postgres FROM radmeter_owner")
        done = radmeter(alone.dsn().replace("postgres@", "plain@"), "migrate", "up", "--yes")
        assert done.exit_code == 0, done.errors
        assert "GRANT TEMPORARY ON DATABASE postgres TO radmeter_owner" in done.errors
        assert "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC" in done.errors


def test_a_role_without_radmeter_owner_gets_the_right_itself(server: Server) -> None:
    with Server(server.programs) as alone:
        with psycopg.connect(alone.dsn(), autocommit=True) as superuser:
            superuser.execute("CREATE ROLE plain LOGIN")
            superuser.execute("CREATE DATABASE plain OWNER plain")
        plain = alone.dsn("plain").replace("postgres@", "plain@")
        upgrade.upgrade(plain)
        with psycopg.connect(plain, autocommit=True) as connection:
            assert acl(connection) == {("plain",)}
            ingest(connection, "n", batch("s1"))
