"""`radmeter doctor` names what is wrong with the schema, and the command it prints mends it."""

import psycopg
import pytest
from support.doctoring import faults, paste
from support.servers import Connection, Server

from radmeter.schema import revisions, upgrade

CHECKS = ("migrations", "roles", "public", "schema", "triggers", "guarantees", "partitions", "sequences")

# What somebody did to the database; the check that names it; what it says; red or yellow.
BROKEN = {
    "an index dropped": (
        "DROP INDEX radacct_open_username_idx",
        "schema",
        "index radacct_open_username_idx on public.radacct_open is missing: btree (username)",
    ),
    "an index of a month dropped": (
        "DO $$ BEGIN EXECUTE format('DROP INDEX %I', (SELECT indexname FROM pg_indexes WHERE tablename = "
        "to_char(now() AT TIME ZONE 'UTC', '\"radacct_\"YYYY_MM') AND indexdef LIKE '%(acctuniqueid)')); END $$",
        "schema",
        "is missing: btree (acctuniqueid)",
    ),
    "an index on something else": (
        "DROP INDEX radacct_open_router_id_idx; CREATE INDEX radacct_open_router_id_idx ON radacct_open (realm)",
        "schema",
        "index radacct_open_router_id_idx is btree (realm), should be btree (router_id)",
    ),
    "an index left invalid": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'radacct_open_username_idx'::regclass",
        "schema",
        "index radacct_open_username_idx is btree (username) INVALID, should be btree (username)",
    ),
    "a trigger disabled": (
        "ALTER TABLE radacct DISABLE TRIGGER _100_count_updated",
        "triggers",
        "_100_count_updated on radacct is disabled",
    ),
    "a trigger for replicas only": (
        "ALTER TABLE radacct ENABLE REPLICA TRIGGER _100_count_inserted",
        "triggers",
        "_100_count_inserted on radacct fires on replicas only",
    ),
    "a trigger dropped": (
        "DROP TRIGGER _100_count_inserted ON radacct",
        "schema",
        "trigger public.radacct _100_count_inserted is missing",
    ),
    "a function's body changed": (
        "CREATE OR REPLACE FUNCTION radmeter.month_day(p_day date, p_anchor_day smallint) RETURNS date "
        "LANGUAGE sql IMMUTABLE AS 'SELECT p_day'",
        "schema",
        "function radmeter.month_day(p_day date, p_anchor_day smallint)",
    ),
    "a function's rights changed": (
        "ALTER FUNCTION radmeter.open_segments(text, json) SECURITY INVOKER",
        "schema",
        "function radmeter.open_segments(p_node text, p_segments json) is",
    ),
    "a function dropped": (
        "DROP FUNCTION radmeter.close_stale(bigint[], timestamptz, integer)",
        "schema",
        "function radmeter.close_stale(",
    ),
    "a view redefined": (
        "CREATE OR REPLACE VIEW radmeter.left_out AS SELECT kind, source AS node, client, hour, kept, left_out, "
        "salvaged, first_seq, last_seq FROM radmeter.kept_per_hour",
        "schema",
        "view radmeter.left_out is defined in another way",
    ),
    "a view of another column": (
        "CREATE OR REPLACE VIEW radmeter.user_usage AS SELECT username, period_start, bytes_out AS bytes_in, "
        "bytes_in AS bytes_out, bytes_in::numeric + bytes_out AS bytes_total, last_updated FROM user_quota_usage",
        "schema",
        "view radmeter.user_usage is defined in another way",
    ),
    "a view dropped": ("DROP VIEW radmeter.archives", "schema", "view radmeter.archives is missing"),
    "money in floating point": (
        "ALTER TABLE routers ALTER total_usage TYPE double precision",
        "schema",
        "column public.routers.total_usage is double precision NOT NULL DEFAULT 0, should be numeric(12,2)",
    ),
    "a column of another type": (
        "ALTER TABLE user_quota_usage ALTER last_updated DROP DEFAULT",
        "schema",
        "column public.user_quota_usage.last_updated is timestamp with time zone NOT NULL, should be",
    ),
    "a column that may be null": (
        "ALTER TABLE rejected_packet ALTER reason DROP NOT NULL",
        "schema",
        "column public.rejected_packet.reason is text, should be text NOT NULL",
    ),
    "a column dropped": (
        "ALTER TABLE accounting_anomaly DROP COLUMN direction",
        "schema",
        "column public.accounting_anomaly.direction is missing: text",
    ),
    "a constraint dropped": (
        "ALTER TABLE routers DROP CONSTRAINT routers_status_check",
        "schema",
        "constraint public.routers routers_status_check is missing",
    ),
    "a key dropped": (
        "ALTER TABLE ingest_checkpoint DROP CONSTRAINT ingest_checkpoint_pkey",
        "schema",
        "constraint public.ingest_checkpoint ingest_checkpoint_pkey is missing: PRIMARY KEY (source)",
    ),
    "a table's options reset": (
        "ALTER TABLE radacct_open RESET (fillfactor)",
        "schema",
        "table public.radacct_open is table replica identity index (radacctid) with (autovacuum",
    ),
    "the whole row as replica identity": (
        "ALTER TABLE radacct_open REPLICA IDENTITY FULL",
        "schema",
        "table public.radacct_open is table replica identity full",
    ),
    "a table dropped": (
        "DROP TABLE radmeter.replayed_file",
        "schema",
        "table radmeter.replayed_file is missing",
    ),
    "a right taken away": (
        "REVOKE EXECUTE ON FUNCTION radmeter.open_segments(text, json) FROM radmeter_ingest",
        "schema",
        "radmeter_ingest lacks EXECUTE on function radmeter.open_segments(",
    ),
    "a right too many": (
        "GRANT EXECUTE ON FUNCTION radmeter.open_segments(text, json) TO PUBLIC",
        "schema",
        "PUBLIC has EXECUTE on function radmeter.open_segments(",
    ),
    "files applied that are not these": (
        "UPDATE radmeter.sql_file SET checksum = 'old' WHERE path = 'functions/ingest/ingest.sql'",
        "migrations",
        "files of sql/ not applied in their present form: functions/ingest/ingest.sql",
    ),
    "the next month's partition dropped": (
        "DO $$ BEGIN EXECUTE format('DROP TABLE %I', to_char(date_trunc('month', now() AT TIME ZONE 'UTC') "
        "+ interval '1 month', '\"radacct_\"YYYY_MM')); END $$",
        "partitions",
        "none for ",
    ),
    "no right to make a partition": (
        "REVOKE CREATE ON SCHEMA public FROM radmeter_owner, pg_database_owner",
        "partitions",
        " could not be made: permission denied for schema public",
    ),
    "a table of another owner": (
        "ALTER TABLE plans OWNER TO postgres",
        "roles",
        "not radmeter_owner's but postgres's: public.plans",
    ),
    "everybody may make temporary tables": (
        "DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$",
        "roles",
        "everybody may make temporary tables in ",
    ),
    "the owner may make none": (
        "DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM radmeter_owner', current_database()); END $$",
        "roles",
        "radmeter_owner may not make temporary tables in ",
    ),
    "a function with a name of PostgreSQL's": (
        "CREATE FUNCTION public.pg_has_role(text, text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; "
        "CREATE FUNCTION public.now(int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1'; "
        'CREATE DOMAIN public."a \'b" AS text; CREATE FUNCTION public.lower(public."a \'b") RETURNS text LANGUAGE sql '
        "AS 'SELECT 1::text'",
        "public",
        'function public.lower(public."a \'b"), function public.now(integer), '
        "function public.pg_has_role(text,text,text)",
    ),
    "operators, aggregates and procedures with names of PostgreSQL's": (
        "CREATE FUNCTION public.same(text, name) RETURNS boolean LANGUAGE sql AS 'SELECT true'; "
        "CREATE FUNCTION public.minus(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; "
        "CREATE OPERATOR public.= (FUNCTION = public.same, LEFTARG = text, RIGHTARG = name); "
        "CREATE OPERATOR public.- (FUNCTION = public.minus, RIGHTARG = text); "
        "CREATE AGGREGATE public.max(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb); "
        "CREATE PROCEDURE public.version(text) LANGUAGE sql AS 'SELECT 1'",
        "public",
        "aggregate public.max(jsonb), operator public.-(NONE,text), operator public.=(text,name) and 1 more",
    ),
    "everybody may create in public": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "public",
        "everybody may create tables and functions in the schema public",
    ),
    "a trigger of somebody's": (
        "CREATE FUNCTION public.somebodys() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
        "CREATE TRIGGER zzz BEFORE UPDATE ON radacct FOR EACH ROW EXECUTE FUNCTION public.somebodys()",
        "schema",
        "trigger public.radacct zzz is extra",
    ),
    "a column of somebody's": (
        "ALTER TABLE routers ADD COLUMN rack text",
        "schema",
        "column public.routers.rack is extra",
    ),
    "an index of somebody's": (
        "CREATE INDEX site_idx ON routers (timezone)",
        "schema",
        "index site_idx on public.routers is extra: btree (timezone)",
    ),
    "a function of an older version": (
        "CREATE FUNCTION radmeter.ingest(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
        "schema",
        "function radmeter.ingest(text) is extra",
    ),
    "a sequence of small numbers": (
        "ALTER SEQUENCE radacct_radacctid_seq AS integer; SELECT setval('radacct_radacctid_seq', 2000000000)",
        "sequences",
        "public.radacct_radacctid_seq (integer) has used 93% of its numbers",
    ),
    "the partition of the open sessions detached": (
        "ALTER TABLE radacct DETACH PARTITION radacct_open",
        "partitions",
        "radacct_open is no partition of radacct: no packet can be counted",
    ),
    "the partition of the open sessions dropped": (
        "DROP TABLE radacct_open",
        "schema",
        "table public.radacct_open is missing",
    ),
    "a sequence at the end of its numbers": (
        "SELECT setval('radacct_radacctid_seq', 9223372036854775806)",
        "sequences",
        "public.radacct_radacctid_seq (bigint) has used 100% of its numbers",
    ),
    "a sequence at its end after a row with a huge number": (
        """INSERT INTO radacct (radacctid, acctsessionid, acctuniqueid, nasipaddress) VALUES
               (7, 's', 's', '::1'), (9223372036854775807, 't', 't', '::1');
           SELECT setval('radacct_radacctid_seq', 9223372036854775807)""",
        "sequences",
        "public.radacct_radacctid_seq (bigint) has used 100% of its numbers",
    ),
}


def test_a_fresh_install_is_as_it_should_be(database: str) -> None:
    assert faults(database, *CHECKS) == []


@pytest.mark.parametrize(("statement", "check", "said"), BROKEN.values(), ids=BROKEN)
def test_the_line_names_it_and_its_command_mends_it(
    database: str, connection: Connection, statement: str, check: str, said: str
) -> None:
    if statement.startswith("UPDATE pg_index"):
        connection.execute("SET allow_system_table_mods = on")
    connection.execute(statement.encode())
    found = faults(database, *CHECKS)
    assert any(line.check == check and said in line.said for line in found), found
    for _ in range(2):  # one command may show what the next has to mend
        # What cannot be looked at, because of the fault, has no command of its own.
        for command in dict.fromkeys(line.remedy for line in found if line.level != "unknown"):
            assert command
            paste(command, database)
        if not (found := faults(database, *CHECKS)):
            break
    assert found == []


def test_functions_of_an_extension_and_others_are_not_named(database: str, connection: Connection) -> None:
    connection.execute("CREATE FUNCTION public.of_the_site(text) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    connection.execute("CREATE FUNCTION public.length(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    # As a function of an extension, of which there may be none on this machine.
    connection.execute("ALTER EXTENSION plpgsql ADD FUNCTION public.length(int)")
    assert faults(database, "public") == []


def test_a_superuser_that_has_a_role_of_ours_is_red_and_one_that_has_none_is_not(
    database: str, connection: Connection
) -> None:
    """The superuser of these tests, which migrated, is none: as in `radmeter up`."""
    assert faults(database, "roles") == []
    for statement in (
        "CREATE ROLE service_in_test LOGIN SUPERUSER",
        "CREATE ROLE group_in_test IN ROLE radmeter_ingest",
        "GRANT group_in_test TO service_in_test",
        "GRANT radmeter_reader TO postgres",
    ):
        connection.execute(statement.encode())
    try:
        found = {line.said: line for line in faults(database, "roles")}
        assert {line.level for line in found.values()} == {"red"}
        assert found.keys() == {
            "postgres is a superuser and a member of radmeter_reader: no program of radmeter needs one",
            "service_in_test is a superuser and a member of radmeter_ingest: no program of radmeter needs one",
        }
        for line in found.values():
            paste(line.remedy, database)
        assert faults(database, "roles") == []
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'postgres'").fetchone() == (
            True,
        )
        connection.execute("ALTER ROLE radmeter_billing SUPERUSER")
        (line,) = faults(database, "roles")
        assert line.said == "radmeter_billing is a superuser: no program of radmeter needs one"
        paste(line.remedy, database)
        assert faults(database, "roles") == []
    finally:
        for statement in (
            "ALTER ROLE radmeter_billing NOSUPERUSER",
            "REVOKE radmeter_reader FROM postgres",
            "DROP ROLE service_in_test",
            "DROP ROLE group_in_test",
        ):
            connection.execute(statement.encode())


def test_it_tries_to_make_a_month_and_leaves_nothing(database: str, connection: Connection) -> None:
    tables = "SELECT count(*), max(relname) FROM pg_class"
    before = connection.execute(tables).fetchone()
    assert faults(database, "partitions") == []
    assert connection.execute(tables).fetchone() == before
    # Somebody who reads the open sessions is no fault.
    with psycopg.connect(database) as reading:
        reading.execute("SELECT count(*) FROM radacct")
        assert faults(database, "partitions") == []


def test_several_faults_are_named_each(database: str, connection: Connection) -> None:
    for statement, _, _ in list(BROKEN.values())[:6]:
        if not statement.startswith("UPDATE pg_index"):
            connection.execute(statement.encode())
    found = [line.said for line in faults(database, "schema", "triggers")]
    assert len(found) == 5


def test_an_old_revision_is_named_and_migrated(server: Server) -> None:
    with server.clone("template0") as empty:
        with psycopg.connect(empty, autocommit=True) as connection:
            upgrade.prepare(connection)
            revisions.run_revisions(connection, upto="0003")
        (pending, *_) = faults(empty, "migrations")
        assert pending.level == "red"
        assert pending.said.startswith("not applied: 0004 (")
        paste(pending.remedy, empty)
        assert faults(empty, *CHECKS) == []


def test_a_revision_of_a_newer_version_is_no_older_one(database: str, connection: Connection) -> None:
    connection.execute("UPDATE radmeter.alembic_version SET version_num = '9999'")
    (newer,) = faults(database, "migrations")
    assert newer.level == "red"
    assert "9999" in newer.said
    assert (newer.remedy, "the newer release" in newer.note) == ("", True)


def test_a_partition_that_is_called_otherwise_is_a_partition(database: str, connection: Connection) -> None:
    connection.execute(
        """DO $$ BEGIN EXECUTE format('ALTER TABLE %I RENAME TO radacct_special',
                                      to_char(now() AT TIME ZONE 'UTC', '"radacct_"YYYY_MM')); END $$"""
    )
    assert faults(database, *CHECKS) == []
    connection.execute(
        """DO $$ BEGIN EXECUTE format('DROP INDEX %I', (SELECT indexname FROM pg_indexes WHERE tablename
            = 'radacct_special' AND indexdef LIKE '%(username, acctstarttime)')); END $$"""
    )
    (missing,) = faults(database, "schema")
    assert "(username, acctstarttime)" in missing.said
    paste(missing.remedy, database)
    assert faults(database, *CHECKS) == []
