"""Each role against every object there is: functions, tables, columns, sequences, views, types, schemas, the database.

test_roles.py has what each role may do. This file looks at all that PostgreSQL can grant, also on what is made later:
partitions, restored months, functions of a new version.
"""

from pathlib import Path

import psycopg
import pytest
from support.archives import sessions_of
from support.commands import radmeter
from support.functions import value
from support.schemas import names
from support.servers import Connection

from radmeter.database.connection import connect

OURS = (
    "radmeter_api",
    "radmeter_billing",
    "radmeter_ingest",
    "radmeter_login",
    "radmeter_noc",
    "radmeter_owner",
    "radmeter_reader",
    "radmeter_tenant",
)
# Every privilege of a role on an object, by the object's own list (the ACL), or PostgreSQL's default where it has none.
# One's own objects, and what a table's row type or an array has by itself, are left out.
GRANTED = """
SELECT kind, name, coalesce(rolname::text, 'PUBLIC'), privilege_type, is_grantable FROM (
    SELECT 'table' AS kind, oid::regclass::text AS name, relowner AS owner,
           coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl
    FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) AND relkind <> 'i'
    UNION ALL
    SELECT 'column', attrelid::regclass || '.' || attname, relowner, attacl
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) AND attacl IS NOT NULL
    UNION ALL
    SELECT 'function', oid::regprocedure::text, proowner, coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
    UNION ALL
    SELECT 'type', oid::regtype::text, typowner, typacl FROM pg_type
    WHERE typnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
    UNION ALL
    SELECT 'schema', nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL
    SELECT 'database', 'it', datdba, coalesce(datacl, acldefault('d', datdba)) FROM pg_database
    WHERE datname = current_database()
    UNION ALL
    SELECT 'default', defaclobjtype::text, defaclrole, defaclacl FROM pg_default_acl
    UNION ALL
    SELECT 'language', lanname, lanowner, lanacl FROM pg_language
    UNION ALL
    SELECT 'large object', oid::text, lomowner, lomacl FROM pg_largeobject_metadata
    UNION ALL
    SELECT 'setting', parname, 10, paracl FROM pg_parameter_acl
    UNION ALL
    SELECT 'tablespace', spcname, spcowner, spcacl FROM pg_tablespace
    UNION ALL
    SELECT 'foreign server', srvname, srvowner, srvacl FROM pg_foreign_server
) AS objects CROSS JOIN LATERAL aclexplode(acl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE grantee <> owner AND (grantee = 0 OR starts_with(rolname, 'radmeter_'))"""

# What there is beside the grants on tables, views and functions, which test_roles.py lists.
ELSE = {
    ("schema", "public", "PUBLIC", "USAGE"),
    ("schema", "public", "radmeter_owner", "USAGE"),
    ("schema", "public", "radmeter_owner", "CREATE"),
    ("schema", "radmeter", "radmeter_ingest", "USAGE"),
    ("schema", "radmeter", "radmeter_reader", "USAGE"),
    ("schema", "radmeter", "radmeter_noc", "USAGE"),
    ("schema", "radmeter", "radmeter_billing", "USAGE"),
    ("schema", "radmeter", "radmeter_login", "USAGE"),
    ("schema", "radmeter", "radmeter_tenant", "USAGE"),
    ("schema", "radmeter", "radmeter_api", "USAGE"),
    # Not total_usage.
    *(
        ("column", f"public.routers.{column}", "radmeter_tenant", "SELECT")
        for column in [
            "id",
            "name",
            "mac",
            "nas_identifier",
            "ip_address",
            "status",
            "timezone",
            "created_at",
            "updated_at",
            "discovery_key",
            "merged_into",
            "merged_at",
            "interim_interval",
            "clients",
            "plausible_mbit_per_second",
            "site",
            "tenant_id",
        ]
    ),
    # Not note and added_by.
    *(
        ("column", f"public.top_ups.{column}", "radmeter_tenant", "SELECT")
        for column in (
            "id",
            "username",
            "bytes",
            "used_bytes",
            "added_at",
            "expires_at",
            "renewal",
            "price",
        )
    ),
    ("database", "it", "PUBLIC", "CONNECT"),
    ("database", "it", "radmeter_owner", "TEMPORARY"),
    # Not id, issued_at and issued_by.
    *(
        ("column", f"public.invoices.{column}", "radmeter_billing", "INSERT")
        for column in ("username", "plan_id", "period_start", "period_end", "usage", "amount", "currency")
    ),
}
KINDS_OF_TABLES = {"SELECT"}


def granted(connection: Connection) -> set[tuple[str, str, str, str]]:
    """Return all that PUBLIC and our roles have on objects of others: kind, name, role, privilege."""
    with connect(connection.info.dsn) as plain:  # which writes all names with their schemas
        rows = plain.execute(GRANTED).fetchall()
    assert [row for row in rows if row[4]] == [], "nobody may pass a privilege on"
    return {row[:4] for row in rows}


def test_there_is_nothing_that_is_not_listed(connection: Connection) -> None:
    found = granted(connection)
    assert {each for each in found if each[0] not in ("table", "function")} == ELSE
    assert {each for each in found if each[2] == "PUBLIC"} == {each for each in ELSE if each[2] == "PUBLIC"}
    # The owner owns; it needs no grant. NOC reads as a member of radmeter_reader.
    tables = {each for each in found if each[0] == "table"}
    # It also reads the encrypted secrets of routers, to send with them.
    assert {each[1] for each in tables if each[2] == "radmeter_noc"} == {"radmeter.router_coa"}
    assert {each[2] for each in tables} == {
        "radmeter_reader",
        "radmeter_noc",
        "radmeter_billing",
        "radmeter_login",
        "radmeter_tenant",
    }
    assert {each for each in tables if each[3] not in KINDS_OF_TABLES} == set()
    functions = {each for each in found if each[0] == "function"}
    assert {(role, privilege) for _, _, role, privilege in functions} == {
        (role, "EXECUTE") for role in OURS if role != "radmeter_owner"
    }


def test_a_role_becomes_no_other(connection: Connection) -> None:
    """Not by SET ROLE, and none inherits from another: not from ours, not from PostgreSQL's (pg_read_all_data ..).

    Only a NOC reads, and `radmeter serve` becomes the role of a key: it inherits from none.
    """
    members, heirs = (
        set(
            connection.execute(
                """SELECT member.rolname::text, role.rolname::text FROM pg_roles AS member, pg_roles AS role
                   WHERE member.rolname = ANY (%s) AND member.oid <> role.oid
                     AND pg_has_role(member.oid, role.oid, %s)""",
                (list(OURS), privilege),
            ).fetchall()
        )
        for privilege in ("MEMBER", "USAGE")
    )
    assert heirs == {("radmeter_noc", "radmeter_reader")}
    assert members - heirs == {
        ("radmeter_api", f"radmeter_{role}") for role in ("reader", "noc", "billing", "tenant")
    }
    for role in OURS:
        # As one who logs in: a superuser in another role may still go back to any.
        connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
        for other in (*OURS, "postgres", "pg_write_server_files", "pg_execute_server_program"):
            if other == role or (role, other) in members:
                continue
            for statement in (f"SET ROLE {other}", f"GRANT {other} TO {role}"):
                with pytest.raises(
                    (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidGrantOperation)
                ):
                    connection.execute(statement.encode())
        connection.execute("RESET SESSION AUTHORIZATION")


def test_no_role_can_change_how_the_functions_of_another_run(connection: Connection) -> None:
    """No setting that only a superuser may change, and no extension, language, event trigger, role or file."""
    for role in OURS:
        connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
        for statement in (
            "SET session_replication_role = replica",
            "SET log_statement = 'none'",
            "SET zero_damaged_pages = on",
            "CREATE ROLE mine",
            "CREATE DATABASE mine",
            "CREATE SCHEMA mine",
            "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION radmeter.count_inserted()",
            "CREATE FUNCTION public.f() RETURNS int LANGUAGE internal AS 'int4pl'",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "COPY (SELECT 1) TO '/tmp/radmeter-role-in-test'",
            "SELECT pg_read_file('/etc/passwd')",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "SELECT pg_reload_conf()",
            "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'; END $$",
        ):  # fmt: skip
            if role == "radmeter_owner" and statement.startswith("DO"):
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        connection.execute("RESET SESSION AUTHORIZATION")


def test_what_is_made_later_is_nobody_elses_either(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    """A month's partition, the function of a conversion, an archived month that is restored, an upgrade done again."""
    before = granted(connection)
    sessions_of(database, connection, "2026-02", 4)
    connection.execute("SELECT radmeter.ensure_partition(now() + interval '1 year')")
    assert granted(connection) == before
    done = radmeter(database, "partitions", "archive", "--before", "2026-03", "--to", tmp_path, "--yes")
    assert done.exit_code == 0, done.errors
    done = radmeter(database, "partitions", "restore", tmp_path / "radacct_2026_02.parquet", "--yes")
    assert done.exit_code == 0, done.errors
    assert radmeter(database, "migrate", "up", "--yes", "--reapply").exit_code == 0
    assert granted(connection) == before
    owners = names(
        connection,
        """SELECT relowner::regrole::text FROM pg_class
           WHERE relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)""",
    )
    assert owners == {"radmeter_owner"}


def test_a_right_on_a_new_function_is_taken_from_public_in_the_same_upgrade(
    database: str, connection: Connection
) -> None:
    """By default everybody may execute a new function. DROP and a new upgrade make all of them anew."""
    before = granted(connection)
    connection.execute("DROP FUNCTION radmeter.ingest(text, json), radmeter.node_checkpoint(text)")
    connection.execute("DROP FUNCTION public.get_user_total_usage(text, timestamptz)")
    assert radmeter(database, "migrate", "up", "--yes", "--reapply").exit_code == 0
    assert granted(connection) == before


SEGMENT = "5b0d5f9c-8a56-4c7e-9d0e-1f2a3b4c5d6e"
HOSTILE_TEXTS = (
    "'; DROP TABLE public.radacct; --",
    "x\\'\"$$$1%s%I{}",
    "\u202eabc\x01\x7f\n\t",
    "pg_temp.evil()",
    "9" * 5000,
    "",
)
# Calls with a text of the caller's, by role: every allowed function that takes text or JSON.
TAKES_TEXT = {
    "radmeter_api": (
        "SELECT name FROM radmeter.find_key(%(text)s)",
        "SELECT radmeter.note_keys_used(ARRAY[%(text)s::text])",
        "SELECT radmeter.begin_request(%(text)s, %(text)s, %(text)s, sha256('x'))",
        "SELECT radmeter.end_request(%(text)s, %(text)s, now(), 200, '')",
        "SELECT radmeter.end_request(%(text)s, %(text)s, now(), NULL, NULL)",
        "SELECT radmeter.end_login(%(text)s, now())",
        "SELECT radmeter.login_ended(%(text)s)",
    ),
    "radmeter_login": (
        "SELECT count(*) FROM radmeter.authorize(%(text)s, %(text)s, %(text)s, %(text)s, %(text)s, %(text)s)",
        "SELECT count(*) FROM radmeter.authorize(encode(convert_to(%(text)s, 'UTF8'), 'hex'), '', '', '', '', '::1')",
    ),
    "radmeter_reader": (
        "SELECT public.get_user_total_usage(%(text)s, 'infinity')",
        "SELECT public.get_user_total_usage(%(text)s, '-infinity')",
        "SELECT radmeter.user_period_start(%(text)s, now())",
        "SELECT radmeter.setting_value(%(text)s)",
        "SELECT radmeter.alert_subject(NULL, %(text)s)",
        "SELECT radmeter.is_muted(%(text)s, 1, %(text)s, %(text)s, NULL, 1, %(text)s, %(text)s)",
        "SELECT radmeter.muted_until(%(text)s, 1, %(text)s, %(text)s, now())",
        "SELECT radmeter.period_start(%(text)s, 99::smallint, 'infinity', '-infinity')",
        "SELECT radmeter.anchor_day(%(text)s, 0::smallint, 'infinity')",
        "SELECT radmeter.period_start('weekly', (-99)::smallint, NULL, now()::date)",
        "SELECT radmeter.period_complete(%(text)s, 99::smallint, NULL, %(text)s, 'infinity', 'infinity')",
        "SELECT count(*) FROM radmeter.user_differences(NULL, NULL, ARRAY[%(text)s, NULL])",
        "SELECT count(*) FROM radmeter.user_differences('infinity', '-infinity', '{}')",
        "SELECT count(*) FROM radmeter.user_parts(%(text)s, 'infinity')",
        "SELECT count(*) FROM radmeter.user_days(%(text)s, '-infinity', 'infinity')",
        "SELECT radmeter.audit_digest('', -1, 'infinity', %(text)s, %(text)s, %(text)s, to_jsonb(%(text)s::text))",
        "SELECT count(*) FROM radmeter.router_differences('-infinity', 'infinity', '{NULL,-1}')",
        "SELECT count(*) FROM radmeter.missing_months(-2147483648)",
        "SELECT count(*) FROM radmeter.erasures(%(text)s)",
        "SELECT count(*) FROM radmeter.audit_lines_with(%(text)s)",
        "SELECT radmeter.login_rows(%(text)s)",
        "SELECT count(*) FROM radmeter.quota_state(ARRAY[%(text)s, NULL], 'infinity')",
        "SELECT count(*) FROM radmeter.quota_state(ARRAY[%(text)s, NULL], now())",
        "SELECT radmeter.period_end(%(text)s, 99::smallint, 'infinity')",
        "SELECT radmeter.day_begins('infinity', %(text)s)",
        "SELECT radmeter.used_seconds(%(text)s, '-infinity', 'infinity')",
        "SELECT radmeter.open_sessions(%(text)s)",
        "SELECT radmeter.without_name(to_jsonb(ARRAY[%(text)s::text, 'a']), %(text)s, %(text)s)",
    ),
    "radmeter_noc": (
        "SELECT radmeter.set_login_setting(%(text)s, %(text)s)",
        "SELECT radmeter.bind_tenant_login(%(text)s, %(text)s)",
        "SELECT radmeter.unbind_tenant_login(%(text)s)",
        "SELECT radmeter.add_key(%(text)s, %(text)s, 'reader', NULL, sha256('x'), 1, 1, NULL)",
        "SELECT radmeter.add_key('aaaaaaaa', %(text)s, 'reader', %(text)s, sha256('x'), 1, 1, NULL)",
        "SELECT radmeter.add_key('aaaaaaaa', 'x', %(text)s, NULL, sha256('x'), 1, 1, NULL)",
        "SELECT radmeter.rotate_key(%(text)s, %(text)s, sha256('x'), '1 day')",
        "SELECT radmeter.revoke_key(%(text)s)",
        "SELECT radmeter.request_disconnect(%(text)s, NULL, %(text)s)",
        "SELECT radmeter.set_router_coa(-1, jsonb_build_object('vendor', %(text)s::text, 'address', %(text)s::text))",
        "SELECT radmeter.add_router(%(text)s, NULL, %(text)s, '0.0.0.0/0', NULL)",
        "SELECT radmeter.add_router('zone', NULL, NULL, NULL, %(text)s)",
        "SELECT radmeter.claim_router(NULL, %(text)s, NULL, NULL, NULL, NULL)",
        "SELECT radmeter.rename_router((SELECT min(id) FROM radmeter.router_list), %(text)s)",
        "SELECT radmeter.change_router((SELECT min(id) FROM radmeter.router_list), "
        "jsonb_build_object('nas_identifier', %(text)s::text, 'id', 7, 'status', 'x', 'total_usage', 'NaN'), NULL)",
        "SELECT radmeter.change_router(NULL, to_jsonb(%(text)s::text), true)",
        "SELECT count(*) FROM radmeter.import_routers(json_build_array(json_build_object("
        "'line', 1, 'name', %(text)s::text)))",
        "SELECT count(*) FROM radmeter.import_routers(to_json(%(text)s::text))",
        "SELECT radmeter.repair_usage(ARRAY[%(text)s, NULL], ARRAY['infinity', NULL]::date[], '{-1}', '{infinity}')",
        "SELECT radmeter.drop_rejected('{NULL,-1}')",
        "SELECT radmeter.merge_router(NULL, NULL)",
        "SELECT radmeter.merge_router_sessions(NULL, '{1}', '{}')",
        "SELECT radmeter.merge_router_finish(-1)",
        "SELECT radmeter.retire_router(NULL, NULL)",
        "SELECT radmeter.acknowledge_incident(1, %(text)s)",
        "SELECT radmeter.assign_router((SELECT min(id) FROM radmeter.router_list), %(text)s, 'infinity')",
        "SELECT radmeter.assign_router(NULL, %(text)s, NULL)",
        "SELECT radmeter.set_subscriber_tenant(%(text)s, %(text)s)",
        "SELECT radmeter.price_top_up(-1, 'NaN')",
        "SELECT radmeter.qualify_usernames(NULL, %(text)s, 'infinity')",
        "SELECT radmeter.qualify_usernames(7, %(text)s, now()::date + 40)",
        "SELECT radmeter.ack_alert(1, %(text)s), radmeter.unmute_alerts(1), radmeter.retry_mails('{NULL,-1}')",
        "SELECT radmeter.mute_alerts(%(text)s, -1, %(text)s, %(text)s, 'infinity', %(text)s)",
        "SELECT radmeter.mute_alerts(%(text)s, NULL, %(text)s, %(text)s, now() + interval '1 day', %(text)s)",
        "SELECT radmeter.add_webhook(%(text)s, ARRAY[%(text)s], %(text)s)",
        "SELECT radmeter.add_webhook('https://x.test/' || %(text)s, ARRAY[%(text)s], %(text)s)",
        "SELECT radmeter.add_webhook('https://x.test/', ARRAY[%(text)s, NULL], %(text)s)",
        "SELECT radmeter.change_webhook(1, %(text)s, %(text)s, -2147483648)",
        "SELECT radmeter.change_webhook(1, 'rotate', %(text)s, 2147483647)",
        "SELECT radmeter.end_deliveries('{NULL,-1}', %(text)s)",
        "SELECT radmeter.set_limit(%(text)s, %(text)s)",
        "SELECT radmeter.set_limit('rejected_per_client_hour', %(text)s)",
        "SELECT radmeter.add_plan(jsonb_build_object('name', %(text)s::text, 'quota_type', 'never'))",
        "SELECT radmeter.add_plan(jsonb_build_object('name', %(text)s::text, 'timezone', %(text)s::text))",
        "SELECT radmeter.add_plan(to_jsonb(%(text)s::text))",
        "SELECT radmeter.change_plan(%(text)s, jsonb_build_object('name', %(text)s::text, 'id', 7, 'tiers', 7))",
        "SELECT radmeter.retire_plan(%(text)s, NULL)",
        "SELECT radmeter.add_subscriber(%(text)s, %(text)s, ARRAY[%(text)s, NULL], %(text)s, %(text)s)",
        "SELECT radmeter.set_anchor(%(text)s, 1)",
        "SELECT radmeter.assign_plan(%(text)s, %(text)s, ARRAY[%(text)s], ARRAY[%(text)s], NULL)",
        "SELECT radmeter.top_up(%(text)s, -1, 'infinity', -1, %(text)s)",
        "SELECT radmeter.undo_top_up(-1, %(text)s)",
        "SELECT radmeter.suspend_subscriber(%(text)s, NULL)",
        "SELECT radmeter.remove_subscriber(%(text)s)",
        "SELECT radmeter.set_password(%(text)s, %(text)s, %(text)s)",
        "SELECT count(*) FROM radmeter.import_subscribers(json_build_array(json_build_object("
        "'line', 1, 'username', %(text)s::text, 'plan', %(text)s::text, 'also', json_build_array(%(text)s::text))))",
        "SELECT count(*) FROM radmeter.import_subscribers(to_json(%(text)s::text))",
        "SELECT radmeter.retry_rejected(to_json(%(text)s::text))",
        "SELECT radmeter.retry_rejected(json_build_array(json_build_object('id', 1, 'reason', %(text)s::text)))",
    ),
    "radmeter_billing": (
        "SELECT public.get_user_total_usage(%(text)s, 'infinity')",
        "SELECT radmeter.add_tenant(%(text)s, to_jsonb(%(text)s::text))",
        "SELECT radmeter.add_tenant(%(text)s, jsonb_build_object('id', 7, 'currency', %(text)s::text, 'digits', 9))",
        "SELECT radmeter.add_tenant(%(text)s, jsonb_build_object('timezone', %(text)s::text, 'issuer', 'default'))",
        "SELECT radmeter.change_tenant(%(text)s, jsonb_build_object('name', %(text)s::text, 'issuer_id', -1))",
        "SELECT radmeter.retire_tenant(%(text)s, NULL)",
        "SELECT radmeter.set_tenant_rate(%(text)s, 'infinity', to_jsonb(%(text)s::text))",
        "SELECT radmeter.add_issuer(%(text)s, jsonb_build_object('number_format', %(text)s::text, 'id', 1))",
        "SELECT radmeter.add_issuer(%(text)s, to_jsonb(%(text)s::text))",
        "SELECT radmeter.change_issuer('default', jsonb_build_object('number_format', %(text)s::text, 'id', 7))",
        "SELECT radmeter.setting_value(%(text)s)",
        "SELECT radmeter.set_billing_setting(%(text)s, %(text)s)",
        "SELECT radmeter.set_billing_setting('rounding', %(text)s)",
        "SELECT radmeter.set_billing_setting('settling_hours', %(text)s)",
        "SELECT radmeter.freeze_usage('infinity', '{-1}', to_jsonb(%(text)s::text))",
        "SELECT radmeter.freeze_usage('2020-01-02', '{-1,NULL}', to_jsonb(%(text)s::text))",
        "SELECT radmeter.close_users('infinity', to_jsonb(%(text)s::text))",
        "SELECT radmeter.note_close('infinity', to_jsonb(%(text)s::text))",
        "SELECT radmeter.write_drafts(to_json(%(text)s::text))",
        "SELECT radmeter.write_drafts(json_build_array(json_build_object('username', %(text)s::text, 'close_id', 1, "
        "'lines', to_json(%(text)s::text))))",
        "SELECT radmeter.add_credit_note(to_jsonb(%(text)s::text))",
        "SELECT radmeter.add_credit_note(jsonb_build_object('invoice_id', 1, 'net', %(text)s::text))",
    ),
    "radmeter_ingest": (
        "SELECT radmeter.node_checkpoint(%(text)s)",
        "SELECT count(*) FROM radmeter.replayed_files(%(text)s)",
        "SELECT radmeter.replay(%(text)s, '[]', %(text)s, -1, -1, '')",
        "SELECT radmeter.ingest(%(text)s, to_json(%(text)s::text))",
        "SELECT count(*) FROM radmeter.open_segments(%(text)s, '[]')",
        "SELECT count(*) FROM radmeter.open_segments(%(text)s, to_json(%(text)s::text))",
        "SELECT count(*) FROM radmeter.open_segments('n', json_build_array(json_build_object("
        "'id', gen_random_uuid(), 'node', %(text)s::text, 'format', 1, 'first_seq', 1)))",
        "SELECT count(*) FROM radmeter.open_segments('n', json_build_array(json_build_object("
        f"'id', '{SEGMENT}', 'format', 2, 'first_seq', 1)))",
        f"SELECT radmeter.ingest('{SEGMENT}', 0, 0, to_json(%(text)s::text), 1)",
        f"SELECT radmeter.ingest('{SEGMENT}', 0, 0, json_build_array(json_build_object('seq', 1, 'received_us', 1, "
        "'reason', %(text)s::text, 'pairs', '[]'::json)), 0)",
        'SELECT radmeter.note_incident(%(text)s, \'{"kind": "copied", "detail": "x"}\')',
        "SELECT radmeter.note_incident('n', json_build_object('kind', 'copied', 'detail', %(text)s::text, 'reason', "
        "%(text)s::text))",
        "SELECT radmeter.note_incident('n', to_json(%(text)s::text))",
        "SELECT count(*) FROM radmeter.removed_segments(to_json(%(text)s::text))",
        f"SELECT count(*) FROM radmeter.removed_segments(json_build_array(json_build_object('id', '{SEGMENT}', "
        "'node', %(text)s::text, 'ended_us', 1)))",
        "SELECT count(*) FROM radmeter.left_out_ranges(%(text)s)",
        "SELECT radmeter.salvage_rejected(%(text)s, NULL, to_json(%(text)s::text))",
        "SELECT radmeter.salvage_rejected(%(text)s, NULL, json_build_array(json_build_object('seq', 1, "
        "'received_us', 1, 'reason', %(text)s::text, 'client_ip', %(text)s::text, 'pairs', '[]'::json)))",
        f"SELECT radmeter.ingest('{SEGMENT}', (SELECT last_seq FROM radmeter.open_segments('n', '[]')), 0, "
        "json_build_array(json_build_object('seq', 1 + (SELECT last_seq FROM radmeter.open_segments('n', '[]')), "
        "'status', %(text)s::text, 'uid', %(text)s::text, 'username', %(text)s::text, 'router_key', %(text)s::text)), "
        "0)",
    ),
}
# What both may call.
SHARED = (
    "anchor_day day_begins open_sessions period_end period_start quota_state used_seconds user_period_start"
)
TAKES_TEXT["radmeter_billing"] += tuple(
    call for call in TAKES_TEXT["radmeter_reader"] if any(f".{name}(" in call for name in SHARED.split())
)


@pytest.mark.parametrize("role", TAKES_TEXT)
def test_hostile_arguments_are_values_and_nothing_else(
    database: str, connection: Connection, role: str
) -> None:
    """They are stored or refused. Nothing else changes: no object, no grant, no row of another table."""
    schema = names(
        connection, "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    )
    before = granted(connection)
    connection.execute("INSERT INTO public.routers (name) VALUES ('first')")
    untouched = (
        "SELECT md5(string_agg(line, '' ORDER BY line)) FROM ("
        "SELECT format('%s', each) AS line FROM public.plans AS each "
        "UNION ALL SELECT format('%s', each) FROM radmeter.setting AS each "
        "UNION ALL SELECT format('%s', each) FROM public.user_quota_usage AS each "
        "UNION ALL SELECT format('%s', each) FROM radmeter.sql_file AS each) AS lines"
    )
    rows = connection.execute(untouched.encode()).fetchone()
    with psycopg.connect(database, autocommit=True) as caller:
        caller.execute(f"SET SESSION AUTHORIZATION {role}".encode())
        for text in HOSTILE_TEXTS:
            for call in TAKES_TEXT[role]:
                try:
                    caller.execute(call.encode(), {"text": text})
                except psycopg.errors.InsufficientPrivilege as error:
                    raise AssertionError(f"{role} may not {call}") from error
                except psycopg.errors.InternalError_ as error:
                    raise AssertionError(f"{call} with {text!r} ended with an internal error") from error
                except psycopg.Error as error:
                    assert error.sqlstate != "XX000", (call, text)  # noqa: PT017
    assert connection.execute(untouched.encode()).fetchone() == rows
    assert value(connection, "count(*) FROM radmeter.setting WHERE name NOT LIKE 'billing%'") == 2
    assert granted(connection) == before
    assert (
        names(
            connection, "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
        == schema
    )


def test_every_allowed_function_that_takes_text_is_in_the_list(connection: Connection) -> None:
    for role, calls in TAKES_TEXT.items():
        allowed = names(
            connection,
            """SELECT proname FROM pg_proc
               WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
                 AND proacl::text ~ (%s || '=X/')
                 AND (ARRAY['text', 'json', 'jsonb', 'text[]']::regtype[]::oid[] && proargtypes::oid[])""",
            role,
        )
        called = {name for name in allowed if any(f".{name}(" in call for call in calls)}
        assert sorted(allowed - called) == [], role
