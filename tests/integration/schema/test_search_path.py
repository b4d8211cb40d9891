"""Every function of radmeter finds its types, tables and operators in pg_catalog, whatever the caller's session has.

A function without a path of its own looks where the caller looks. PostgreSQL searches pg_temp first for types and
tables, unless the path names it (manual, "Writing SECURITY DEFINER Functions Safely"). `date` is no keyword: a domain
pg_temp.date with a CHECK ran the caller's function as radmeter_owner.
"""

from collections.abc import Iterator

import psycopg
import pytest
from support import stock
from support.doctoring import ask
from support.schemas import AS_DOUBLES, names
from support.servers import Connection, Server

from radmeter.adoption import adopt, operation
from radmeter.schema import decimal_columns, upgrade

# Functions whose path is not fixed. A parsed body was looked up when the function was made, and needs no path.
LOOSE = """
SELECT proc.oid::regprocedure::text FROM pg_proc AS proc
WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = proc.oid AND deptype = 'e')
  AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)
  AND (prosqlbody IS NULL OR prosecdef OR prorettype = 'trigger'::regtype
       OR EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE starts_with(setting, 'search_path=')))"""

# What the parsed bodies are bound to: nothing that is neither ours nor the server's own.
BOUND_ELSEWHERE = """
SELECT proc.oid::regprocedure || ' uses ' || pg_describe_object(refclassid, refobjid, 0)
FROM pg_proc AS proc JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = proc.oid AND deptype = 'n'
WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) AND prosqlbody IS NOT NULL
  AND NOT EXISTS (SELECT FROM pg_namespace WHERE refclassid = 'pg_namespace'::regclass AND pg_namespace.oid = refobjid
                    AND nspname IN ('public', 'radmeter'))
  AND NOT EXISTS (SELECT FROM pg_proc AS used WHERE refclassid = 'pg_proc'::regclass AND used.oid = refobjid
                    AND used.pronamespace = 'radmeter'::regnamespace)
  AND NOT EXISTS (SELECT FROM pg_class WHERE refclassid = 'pg_class'::regclass AND pg_class.oid = refobjid
                    AND relowner = proowner)"""


def assert_fixed(connection: Connection) -> None:
    assert names(connection, LOOSE) == set()
    assert names(connection, BOUND_ELSEWHERE) == set()


def test_every_function_of_a_fresh_install_has_its_path_or_a_parsed_body(connection: Connection) -> None:
    assert_fixed(connection)
    for make in (
        "CREATE FUNCTION radmeter.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION radmeter.f() RETURNS int LANGUAGE sql SET search_path = pg_catalog AS 'SELECT 1'",
        "CREATE FUNCTION radmeter.f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "CREATE FUNCTION radmeter.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ):
        with connection.transaction(force_rollback=True):
            connection.execute(make.encode())
            assert names(connection, LOOSE) == {"radmeter.f()"}


@pytest.fixture
def adopted(server: Server) -> Iterator[Connection]:
    """A database whose radacct FreeRADIUS made, and radmeter adopted."""
    with server.clone("template0") as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(stock.RADACCT)
        stock.fill(connection, 20, open_sessions=2, zombies=1)
        adopt.adopt(operation.Operation(connection))
        yield connection


def test_every_function_of_an_adopted_database_too(adopted: Connection) -> None:
    assert_fixed(adopted)


def test_a_function_that_a_conversion_makes_for_a_while_too(connection: Connection) -> None:
    connection.execute(AS_DOUBLES.encode())
    columns = decimal_columns.find(connection)
    assert len(columns) == len(decimal_columns.COLUMNS)
    for column in columns:
        for statement in decimal_columns.begin(column):
            connection.execute(statement.encode())
    assert len(names(connection, "SELECT proname FROM pg_proc WHERE proname ~ '^convert_.*_'")) == len(
        columns
    )
    assert_fixed(connection)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER FUNCTION radmeter.open_segments(text, json) RESET search_path",
        "ALTER FUNCTION radmeter.count_updated() SET search_path = pg_catalog",
        "ALTER FUNCTION radmeter.match_router(macaddr, macaddr, text, inet) SET search_path = public, pg_catalog",
        """CREATE OR REPLACE FUNCTION radmeter.usage_date(p_router_id bigint, p_at timestamptz) RETURNS date
           LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT p_at::date'""",
        """CREATE OR REPLACE FUNCTION radmeter.usage_date(p_router_id bigint, p_at timestamptz) RETURNS date
           LANGUAGE sql STABLE PARALLEL SAFE RETURN p_at::date""",
    ],
)
def test_doctor_sees_a_path_or_a_parsed_body_that_was_changed(
    database: str, connection: Connection, change: str
) -> None:
    connection.execute(change.encode())
    (line,) = [line for line in ask(database, "--only=schema") if line.level != "green"]
    assert (line.level, line.remedy.endswith("migrate up --reapply")) == ("red", True)
    assert line.said.startswith("function radmeter.")
    upgrade.upgrade(database, reapply=True)
    assert_fixed(connection)


def test_a_parsed_body_names_what_it_was_bound_to_when_another_function_of_the_name_was_there(
    server: Server,
) -> None:
    """The bodies are looked up when they are made. Then too, a function in public must not be found first."""
    with server.clone("template0") as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION public.date_trunc(text, timestamp) RETURNS timestamp LANGUAGE sql AS 'SELECT $2';"
            "ALTER DATABASE " + connection.info.dbname + " SET search_path = public, pg_catalog"
        )
        upgrade.upgrade(dsn)
        assert names(connection, BOUND_ELSEWHERE) == set()


# A domain for every name of a type, on any value, and a table for every name of ours: all run the caller's function.
PLANTED = """
CREATE FUNCTION pg_temp.evil() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ran as %', current_user;
END $$;
DO $$
DECLARE
    v_name name;
BEGIN
    FOR v_name IN SELECT DISTINCT relname FROM pg_catalog.pg_class
                  WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
                    AND relkind IN ('r', 'p', 'v') LOOP
        EXECUTE format('CREATE VIEW pg_temp.%I AS SELECT pg_temp.evil()', v_name);
    END LOOP;
    FOR v_name IN SELECT typname FROM pg_catalog.pg_type
                  WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'm', 'r')
                    AND typname !~ '^_' LOOP
        EXECUTE format('CREATE DOMAIN pg_temp.%I AS pg_catalog.text CHECK (pg_temp.evil())', v_name);
    END LOOP;
END $$"""

CALLS = {
    "radmeter_reader": (
        "SELECT public.get_user_total_usage('alice'), radmeter.user_period_start('alice', now())",
        "SELECT count(*) FROM radmeter.user_differences('2000-01-01', '2100-01-01', NULL)",
        "SELECT count(*) FROM radmeter.router_differences('2000-01-01', '2100-01-01', NULL)",
        "SELECT count(*) FROM radmeter.user_parts('alice', '2026-01-01')",
        "SELECT count(*) FROM radmeter.user_days('alice', '2026-01-01', '2026-01-31')",
        "SELECT radmeter.sessions_complete_from(), radmeter.setting_value('timezone')",
        "SELECT count(*) FROM radmeter.missing_months(3)",
        "SELECT count(*) FROM radmeter.partitions, radmeter.router_list, radmeter.sessions, radmeter.router_clock",
    ),
    "radmeter_ingest": (
        """SELECT count(*) FROM radmeter.open_segments('node',
           '[{"id": "5b0d5f9c-8a56-4c7e-9d0e-1f2a3b4c5d6e", "format": 2, "first_seq": 1}]')""",
        """SELECT radmeter.ingest('5b0d5f9c-8a56-4c7e-9d0e-1f2a3b4c5d6e', 0, 0, '[{"seq": 1,
           "received_us": 1700000000000000, "status": "Interim-Update",
           "uid": "u1", "session_id": "s1", "username": "alice", "nas_ip": "10.0.0.1", "event_us": 1700000000000000,
           "stamped": true, "session_time": 10, "input_octets": 5, "output_octets": 7, "gigawords": true,
           "router_key": "k", "router_ip": "10.0.0.1"},
           {"seq": 2, "received_us": 1700000000000000, "reason": "why", "pairs": []},
           {"seq": 3, "received_us": 1700000100000000, "status": "Stop", "uid": "u1", "session_id": "s1",
           "username": "alice", "nas_ip": "10.0.0.1", "event_us": 1700000100000000, "stamped": true,
           "session_time": 110, "input_octets": 50, "output_octets": 70, "gigawords": true, "router_key": "k",
           "router_ip": "10.0.0.1"}]', 1)""",
        "SELECT radmeter.finish_segment('5b0d5f9c-8a56-4c7e-9d0e-1f2a3b4c5d6e', 3)",
        'SELECT radmeter.settle_incident(radmeter.note_incident(\'node\', \'{"kind": "copied", "detail": "x"}\'))',
        "SELECT radmeter.database_id(), radmeter.sessions_complete_from()",
        "SELECT radmeter.replay('detail:0123456789abcdef', '[]', 'detail', 1, 1, '\\x00')",
        "SELECT count(*) FROM radmeter.replayed_files('detail:0123456789abcdef')",
    ),
    "radmeter_noc": (
        "SELECT radmeter.add_router('lobby', '02:00:00:00:00:01', 'nas', '10.0.0.9', 'UTC')",
        'SELECT radmeter.change_router(1, \'{"timezone": "Europe/Berlin"}\', true)',
        "SELECT radmeter.rename_router(1, 'other')",
        "SELECT radmeter.repair_usage('{alice}', '{2024-01-01}', '{1}', '{2024-01-01}')",
        """SELECT count(*) FROM radmeter.import_routers('[{"line": 1, "name": "x", "mac": "02:00:00:00:00:02"}]')""",
        "SELECT radmeter.retry_rejected('[]'), radmeter.drop_rejected('{1}')",
        "SELECT radmeter.acknowledge_incident(1, 'known')",
        "SELECT radmeter.mute_alerts('rule', NULL, NULL, NULL, now() + interval '1 day', NULL)",
        "SELECT radmeter.unmute_alerts(1)",
        "SELECT radmeter.retry_mails(NULL)",
        "SELECT radmeter.add_webhook('https://x.test/', '{quota.over}', 'sealed')",
        "SELECT radmeter.webhook_secrets(1), radmeter.change_webhook(1, 'rotate', 'other', 60)",
        "SELECT radmeter.end_deliveries('{1}', 'retry'), radmeter.change_webhook(1, 'retire', NULL, NULL)",
        "SELECT radmeter.merge_router(2, 1), radmeter.merge_router_sessions(2, '{}', '{}')",
        "SELECT radmeter.merge_router_finish(2), radmeter.retire_router(1, false)",
    ),
    "radmeter_billing": (
        "SELECT public.get_user_total_usage('alice')",
        """INSERT INTO public.invoices (username, period_start, period_end, amount)
           VALUES ('alice', '2024-01-01', '2024-02-01', 1)""",
    ),
    # What FreeRADIUS's own role may do with radacct (ownership.hand_over).
    "freeradius_in_test": (
        """INSERT INTO public.radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime,
               acctinputoctets, acctoutputoctets)
           VALUES ('s9', 'u9', 'alice', '10.0.0.1', now(), 5, 7)""",
        "UPDATE public.radacct SET acctupdatetime = now(), acctinputoctets = 50 WHERE acctuniqueid = 'u9'",
        "UPDATE public.radacct SET acctstoptime = now(), username = 'bob' WHERE acctuniqueid = 'u9'",
    ),
}


@pytest.mark.parametrize("role", CALLS)
def test_what_a_caller_has_in_its_session_does_not_run(
    server: Server, database: str, connection: Connection, role: str
) -> None:
    login = f"caller_{role}"
    connection.execute(f"CREATE ROLE {login} LOGIN".encode())
    # As everybody may by default. The functions must be safe even so.
    connection.execute(f"GRANT TEMPORARY ON DATABASE {connection.info.dbname} TO {login}".encode())
    try:
        if role == "freeradius_in_test":
            connection.execute(f"GRANT SELECT, INSERT, UPDATE ON public.radacct TO {login}".encode())
            connection.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {login}".encode())
        else:
            connection.execute(f"GRANT {role} TO {login}".encode())
        with psycopg.connect(database.replace("postgres@", f"{login}@"), autocommit=True) as caller:
            caller.execute(PLANTED)
            # The trap works: the caller's own statements run into it.
            with pytest.raises(psycopg.errors.RaiseException, match=f"ran as {login}"):
                caller.execute("SELECT '2024-01-01'::date")
            caller.execute("SET search_path = pg_temp, public, pg_catalog")
            connection.execute(
                'SELECT radmeter.note_incident(\'other\', \'{"kind": "copied", "detail": "x"}\')'
            )
            for statement in CALLS[role]:
                caller.execute(statement.encode())
    finally:
        connection.execute(f"DROP OWNED BY {login}; DROP ROLE {login}".encode())
