"""What each role of `sql/grants.sql` may do, and that it may do nothing else."""

import json

import psycopg
import pytest
from support.commands import Packets, radmeter
from support.schemas import names
from support.servers import Connection, Server

ROLES = (
    "radmeter_ingest",
    "radmeter_reader",
    "radmeter_noc",
    "radmeter_billing",
    "radmeter_login",
    "radmeter_tenant",
    "radmeter_api",
)

# Every function there is. Who may execute it, by name: read by views and queries of the one who reads
READERS = {
    "login_rows",
    "audit_lines_with",
    "database_id",
    "erasures",
    "get_user_total_usage",
    "lagging_nodes",
    "alert_subject",
    "is_muted",
    "muted_until",
    "limits",
    "login_settings",
    "radcheck_fault",
    "missing_months",
    "anchor_day",
    "month_day",
    "period_complete",
    "period_start",
    "radacct_partitions",
    "router_differences",
    "sessions_complete_from",
    "setting_value",
    "stale_after",
    "stale_sessions",
    "user_days",
    "user_differences",
    "user_parts",
    "user_period_start",
    "coa_address",
    "vendor_attributes",
    "vendor_profiles",
    "without_name",
    "quota_state",
    "period_end",
    "overage",
    "percent_used",
    "day_begins",
    "octets_until",
    "used_seconds",
    "open_sessions",
}
# changes that people make
NOCS = {
    "acknowledge_incident",
    "add_plan",
    "add_router",
    "add_subscriber",
    "assign_plan",
    "set_anchor",
    "change_plan",
    "add_webhook",
    "ack_alert",
    "mute_alerts",
    "unmute_alerts",
    "retry_mails",
    "assign_router",
    "price_top_up",
    "set_subscriber_tenant",
    "change_router",
    "change_webhook",
    "end_deliveries",
    "qualify_usernames",
    "webhook_secrets",
    "claim_router",
    "drop_rejected",
    "drop_requests",
    "import_routers",
    "import_subscribers",
    "merge_router",
    "merge_router_finish",
    "merge_router_sessions",
    "rename_router",
    "repair_usage",
    "retire_plan",
    "request_disconnect",
    "retire_router",
    "retry_rejected",
    "retry_requests",
    "set_limit",
    "set_password",
    "remove_subscriber",
    "suspend_subscriber",
    "top_up",
    "undo_top_up",
    "set_login_setting",
    "set_router_coa",
}
# what FreeRADIUS asks at a login
LOGINS = {"authorize", "text_of_octets"}
INGESTS = {
    "database_id",
    "finish_segment",
    "ingest",
    "left_out_ranges",
    "node_checkpoint",
    "note_incident",
    "open_segments",
    "removed_segments",
    "stage",
    "replay",
    "replayed_files",
    "salvage_rejected",
    "sessions_complete_from",
    "settle_incident",
}
# the periodic jobs, which run as the owner: they make partitions, and close what they choose
OWNERS = {
    "restore_credit_note",
    "restore_invoice",
    "claim_deliveries",
    "drop_old_requests",
    "drop_sent_usernames",
    "due_webhooks",
    "erase_alerts",
    "note_reaped",
    "routers_heard",
    "note_delivery",
    "backfill_begin",
    "backfill_correct",
    "backfill_fill",
    "backfill_leave",
    "backfill_move",
    "backfill_progress",
    "backfill_range",
    "backfill_redo",
    "backfill_routers",
    "backfill_set_aside",
    "backfill_settle",
    "backfill_unknown_routers",
    "begin_erasure",
    "clear_attributes",
    "close_gone",
    "takes_limits",
    "close_stale",
    "close_waiting",
    "drop_segments",
    "end_erasure",
    "detached_tables",
    "dropped_months",
    "sweep",
    "end_lease",
    "ensure_partition",
    "erase_notes",
    "erase_packets",
    "erase_sessions",
    "finish_erasure",
    "expire",
    "expiring",
    "hold_lease",
    "note_expired",
    "observe_intervals",
    "old_segments",
    "take_lease",
    "apply_due_quotas",
    "apply_assignments",
}
# and parts of the others, which would break the counters, or the audit, if they were called by themselves.
PARTS = {
    "check_credit_note",
    "refuse_others",
    "refuse_unended",
    "check_issuer",
    "check_tenant",
    "issuer_id",
    "merge_assignments",
    "note_default_zone",
    "note_plan_history",
    "note_plan_price",
    "note_rename",
    "rename_top_ups",
    "tenant_id",
    "tenant_values",
    "tenants_today",
    "erase_deliveries",
    "note_sent_usernames",
    "qualified_name",
    "qualified_names",
    "qualify_names",
    "queue_deliveries",
    "queue_notices",
    "sent_name",
    "role_in_force",
    "reassign_adopted",
    "replace_history",
    "pending_user_sums",
    "pending_router_sums",
    "adoption_baselines",
    "history_fault",
    "adopted_effects",
    "apply_batch",
    "apply_quotas",
    "apply_round",
    "arrival_allowance",
    "arrival_hour",
    "is_believed_arrival",
    "as_counter",
    "audit",
    "check_journal",
    "check_source_role",
    "claim_journal",
    "client_network",
    "check_plan",
    "close_rebooted",
    "close_superseded",
    "drop_repeated_starts",
    "ensure_start_months",
    "is_current",
    "drop_repeated_stops",
    "fits_session",
    "unfit_stops",
    "earlier_sessions",
    "is_of_earlier",
    "plausible_octets",
    "shows_late_start",
    "supersedes",
    "count_inserted",
    "count_new_users",
    "count_updated",
    "give_plan",
    "judge_login",
    "note_refused",
    "lock_plans",
    "lock_subscriber",
    "note_quota_change",
    "note_session_starts",
    "note_counters_moved",
    "plan_to_give",
    "plan_values",
    "set_tiers",
    "store_passwords",
    "subscriber_values",
    "user_name_fault",
    "counted_octets",
    "count_erased",
    "counted_offset",
    "create_incoming",
    "create_staged",
    "discover_at_once",
    "discover_in_order",
    "discover_router",
    "discover_routers",
    "discoveries_left",
    "discovery_client",
    "discovery_key",
    "divert_session",
    "drop_deliveries",
    "drop_idle_reboots",
    "batch_sessions",
    "cut_segments",
    "contradicts",
    "device_key",
    "find_open",
    "label_components",
    "note_device_keys",
    "open_session",
    "sessions_of",
    "drop_old_incoming",
    "erasure_pseudonym",
    "ingest_batch",
    "insert_sessions",
    "latest_arrival",
    "is_newer",
    "limit_router",
    "is_pseudonym",
    "kept_as",
    "is_possible_time",
    "unusable_octets",
    "is_time_zone",
    "last_possible_time",
    "leading_mac",
    "limit_value",
    "match_router",
    "may_name_router",
    "note_archive_change",
    "note_split_change",
    "note_discoveries",
    "note_networks",
    "note_session_month",
    "prepare_incoming",
    "prepare_table",
    "find_plain",
    "bound_keys",
    "update_plain",
    "matched_routers",
    "reaper_time",
    "number_rounds",
    "plain_address",
    "packet_differences",
    "record_fault",
    "registered_segment",
    "recomputed_parts",
    "refuse_unbelieved",
    "retry_reason",
    "session_parts",
    "set_aside",
    "set_replica_identity",
    "stored_pairs",
    "text_of_octets",
    "unpack_records",
    "login_attributes",
    "update_closed",
    "update_open",
    "usage_date",
}
# The period of a user and its usage, which need the default time zone; what the list of routers shows; tenants, their
# rates, and who issues their documents.
BILLINGS = {
    "assigned_until",
    "former_routers",
    "add_credit_note",
    "billing_settings",
    "close_users",
    "database_id",
    "discard_drafts",
    "drop_empty_drafts",
    "freeze_usage",
    "issue_drafts",
    "month_ends",
    "note_close",
    "set_billing_setting",
    "write_drafts",
    "add_issuer",
    "add_tenant",
    "change_issuer",
    "change_tenant",
    "retire_tenant",
    "set_tenant_rate",
    "get_user_total_usage",
    "anchor_day",
    "month_day",
    "period_start",
    "setting_value",
    "stale_after",
    "user_period_start",
    "octets_until",
    "open_sessions",
    "overage",
    "percent_used",
    "day_begins",
    "period_end",
    "quota_state",
    "used_seconds",
}
# The chain of audit_log, and logins of tenants.
READERS |= {
    "assigned_until",
    "former_routers",
    "billing_settings",
    "month_ends",
    "audit_digest",
    "audit_faults",
    "chain_digest",
    "sees_more",
}
NOCS |= {"bind_tenant_login", "unbind_tenant_login"}
NOCS |= {"add_key", "revoke_key", "rotate_key"}
# `radmeter serve`, before it becomes another role
SERVES = {"begin_request", "end_login", "end_request", "find_key", "login_ended", "note_keys_used"}
PARTS |= {"count_number", "draw_numbers", "number_text"}
PARTS |= {
    "guard_credit_lines",
    "guard_invoice",
    "guard_kept",
    "guard_number",
    "guard_part",
    "guard_recipient",
}
PARTS |= {
    "chain_earlier_lines",
    "chain_inserted",
    "chain_lines",
    "chain_rewritten",
    "guard_audit",
    "lock_chain",
}
TENANTS = {
    "assigned_until",
    "current_tenant",
    "former_routers",
    "is_own_day",
    "own_sessions",
    "setting_value",
    "stale_after",
    "period_end",
    "period_start",
    "anchor_day",
    "month_day",
}
EXECUTES = {
    "radmeter_tenant": TENANTS,
    "radmeter_ingest": INGESTS,
    "radmeter_reader": READERS,
    "radmeter_noc": NOCS | READERS,
    "radmeter_billing": BILLINGS,
    "radmeter_login": LOGINS,
    "radmeter_api": SERVES,
}

TABLES = {
    "accounting_anomaly",
    "audit_log",
    "credit_note_lines",
    "credit_notes",
    "ingest_checkpoint",
    "invoice_lines",
    "invoice_usage",
    "invoices",
    "plan_tiers",
    "plans",
    "radacct",
    "rejected_packet",
    "router_daily_usage",
    "routers",
    "subscriber_plans",
    "subscribers",
    "top_ups",
    "user_quota_usage",
}
VIEWS = {
    "archives",
    "discovery_limits",
    "journal_incidents",
    "journal_segments",
    "left_out",
    "new_users",
    "nodes",
    "partitions",
    "router_activity",
    "router_clock",
    "router_list",
    "router_networks",
    "router_requests",
    "router_tenant",
    "router_usage",
    "sessions",
    "tenants",
    "totals",
    "user_plans",
    "user_usage",
    "webhooks",
    "alert_list",
}
# What was migrated, adopted and archived, and what quotas led to.
STATE = {
    "document_number",
    "adoption",
    "alembic_version",
    "backfill",
    "backfill_rejected",
    "billing_close",
    "issuers",
    "plan_history",
    "plan_prices",
    "tenant_rates",
    "cleared_partition",
    "decimal_change",
    "disconnect_queue",
    "job_result",
    "lease",
    "migration_log",
    "partition_split",
    "sent_username",
    "router_coa_state",
    "quota_account",
    "quota_booked",
    "quota_change",
    "quota_notice",
    "session_month",
    "session_slice",
    "sql_file",
    "tenant_realm",
    "webhook_delivery",
    "alert_mail",
    "alert_mail_line",
    "alert_mutes",
    "alert_state",
    "alert_watch",
    "alerts",
    "refused_logins",
    "router_hour",
    "router_watch",
}
STATE |= {"audit_chain", "audit_head", "session_slice", "tenant_logins"}
VIEWS |= {"key_list"}
READS = TABLES | VIEWS | STATE | {"setting"}
BILLING_TABLES = {
    "credit_note_lines",
    "credit_notes",
    "invoice_lines",
    "invoice_usage",
    "invoices",
    "plan_tiers",
    "plans",
    "router_daily_usage",
    "routers",
    "subscriber_plans",
    "subscribers",
    "top_ups",
    "user_quota_usage",
}
BILLING_VIEWS = {
    "billing_close",
    "document_number",
    "issuers",
    "plan_history",
    "plan_prices",
    "tenant_rates",
    "quota_account",
    "quota_booked",
    "quota_change",
    "router_list",
    "router_tenant",
    "router_usage",
    "tenants",
    "user_plans",
    "user_usage",
}
# Of all of these a tenant sees its own rows only: test_tenant_rows.py.
TENANT_RELATIONS = {
    "billing_close",
    "issuers",
    "credit_note_lines",
    "credit_notes",
    "invoice_lines",
    "invoice_usage",
    "invoices",
    "plans",
    "router_daily_usage",
    "router_list",
    "router_tenant",
    "router_usage",
    "setting",
    "subscriber_plans",
    "subscribers",
    "tenant_rates",
    "tenant_sessions",
    "tenants",
    "user_quota_usage",
}
SELECTS: dict[str, set[str]] = {
    "radmeter_tenant": TENANT_RELATIONS,
    "radmeter_ingest": set(),
    "radmeter_reader": READS,
    "radmeter_noc": READS | {"router_coa"},
    "radmeter_billing": BILLING_TABLES | BILLING_VIEWS | {"setting"},
    "radmeter_login": {"radcheck"},
    "radmeter_api": set(),
}
# Relation and privilege.
WRITES: dict[str, set[tuple[str, str]]] = {"radmeter_billing": {("invoices", "INSERT")}}

OURS = "pg_class.relnamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) AND relkind IN ('r', 'p', 'v')"


def test_every_function_is_somebodys_or_private_on_purpose(connection: Connection) -> None:
    functions = names(
        connection,
        "SELECT proname FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)",
    )
    known = READERS | NOCS | INGESTS | LOGINS | OWNERS | PARTS | BILLINGS | TENANTS | SERVES
    assert functions - known == set()
    assert known - functions == set()


def test_public_may_execute_nothing_and_read_nothing(connection: Connection) -> None:
    # Without an ACL the default is in force, which lets everyone execute (PostgreSQL manual, "Privileges").
    assert names(
        connection,
        """SELECT proname FROM pg_proc
           WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
             AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)""",
    ) == set()  # fmt: skip
    assert names(
        connection,
        f"""SELECT relname FROM pg_class WHERE {OURS}
            AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0)""",
    ) == set()  # fmt: skip
    connection.execute("CREATE ROLE stranger_in_test")
    try:
        assert connection.execute(
            "SELECT has_schema_privilege('stranger_in_test', 'radmeter', 'USAGE, CREATE')"
        ).fetchone() == (False,)
    finally:
        connection.execute("DROP ROLE stranger_in_test")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_executes_what_is_listed_here(connection: Connection, role: str) -> None:
    assert names(
        connection,
        """SELECT proname FROM pg_proc
           WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)
             AND has_function_privilege(%s, oid, 'EXECUTE')""",
        role,
    ) == EXECUTES[role]  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_and_writes_what_is_listed_here(connection: Connection, role: str) -> None:
    readable = names(
        connection, f"SELECT relname FROM pg_class WHERE {OURS} AND has_table_privilege(%s, oid, 'SELECT')", role
    )  # fmt: skip
    assert readable == SELECTS[role]
    writable = connection.execute(
        f"""SELECT relname, privilege
            FROM pg_class, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
            WHERE {OURS} AND (has_table_privilege(%(role)s, pg_class.oid, privilege)
                OR CASE WHEN privilege IN ('INSERT', 'UPDATE', 'REFERENCES')
                   THEN has_any_column_privilege(%(role)s, pg_class.oid, privilege) END)""".encode(),
        {"role": role},
    )
    assert set(writable) == WRITES.get(role, set())
    sequences = names(
        connection,
        """SELECT relname FROM (SELECT oid, relname FROM pg_class WHERE relkind = 'S' OFFSET 0) AS sequence
           WHERE has_sequence_privilege(%s, oid, 'USAGE, SELECT, UPDATE')""",
        role,
    )
    assert sequences == set()
    assert connection.execute(
        """SELECT has_schema_privilege(%(role)s, 'public', 'CREATE'),
                  has_schema_privilege(%(role)s, 'radmeter', 'CREATE'),
                  rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication OR rolcanlogin
           FROM pg_roles WHERE rolname = %(role)s""",
        {"role": role},
    ).fetchone() == (False, False, False)


def test_a_function_that_runs_as_its_owner_looks_nowhere_else(connection: Connection) -> None:
    """Else whoever may make a table or function could have it called with the owner's rights."""
    unsafe = names(
        connection,
        """SELECT proname FROM pg_proc
           WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace) AND prosecdef
             AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting
                             WHERE setting IN ('search_path=pg_catalog', 'search_path=pg_catalog, pg_temp'))""",
    )
    assert unsafe == set()


SEGMENT = "5b0d5f9c-8a56-4c7e-9d0e-1f2a3b4c5d6e"
INGEST = {
    "register": "SELECT * FROM radmeter.open_segments('n', json_build_array(json_build_object("
    f"'id', '{SEGMENT}', 'format', 2, 'first_seq', 1)))",
    "ingest": f"SELECT radmeter.ingest('{SEGMENT}', 0, 0, '[]', 0)",
    "finish": f"SELECT radmeter.finish_segment('{SEGMENT}', 0)",
    "removed": "SELECT * FROM radmeter.removed_segments('[]')",
    "note": """SELECT radmeter.note_incident('n', '{"kind": "copied", "detail": "x"}')""",
    "settle": "SELECT radmeter.settle_incident(1)",
    "replay": "SELECT radmeter.replay('detail:0123456789abcdef', '[]', 'detail', 1, 1, '\\x00')",
    "replayed": "SELECT * FROM radmeter.replayed_files('n')",
    "left out": "SELECT * FROM radmeter.left_out_ranges('n')",
    "salvage": "SELECT radmeter.salvage_rejected('n', NULL, '[]')",
}
READ = {relation: f"SELECT * FROM {relation}" for relation in sorted(TABLES)} | {
    view: f"SELECT * FROM radmeter.{view}" for view in sorted(VIEWS)
} | {
    "usage": "SELECT public.get_user_total_usage('alice')",
    "period": "SELECT radmeter.user_period_start('alice', now())",
    "verify users": "SELECT * FROM radmeter.user_differences(NULL, NULL, NULL)",
    "verify routers": "SELECT * FROM radmeter.router_differences(NULL, NULL, NULL)",
}  # fmt: skip
CHANGE = {
    "add": "SELECT radmeter.add_router('lobby', NULL, NULL, NULL, NULL)",
    "claim": "SELECT radmeter.claim_router(1, 'claimed', NULL, NULL, NULL, NULL)",
    "import": f"SELECT * FROM radmeter.import_routers('{json.dumps([{'line': 1, 'name': 'imported'}])}')",
    "rename": "SELECT radmeter.rename_router(1, 'renamed')",
    "set": 'SELECT radmeter.change_router(1, \'{"timezone": "UTC"}\', false)',
    "merge": "SELECT radmeter.merge_router(1, (SELECT id FROM radmeter.router_list WHERE name = 'lobby'))",
    "merge sessions": "SELECT radmeter.merge_router_sessions(1, '{}', '{}')",
    "merge finish": "SELECT radmeter.merge_router_finish(1)",
    "retire": "SELECT radmeter.retire_router((SELECT id FROM radmeter.router_list WHERE name = 'imported'), false)",
    "repair": "SELECT radmeter.repair_usage('{}', '{}', '{}', '{}')",
    "retry": "SELECT radmeter.retry_rejected('[]')",
    "drop": "SELECT radmeter.drop_rejected('{}')",
    "add plan": """SELECT radmeter.add_plan('{"name": "gold", "quota_bytes": 5}')""",
    "change plan": """SELECT radmeter.change_plan('gold', '{"quota_bytes": 6}')""",
    "add user": "SELECT radmeter.add_subscriber('gus', 'gold', '{}', 'Cleartext-Password', 'x')",
    "set password": "SELECT radmeter.set_password('gus', 'Cleartext-Password', 'y')",
    "assign": "SELECT radmeter.assign_plan('gus', 'gold', '{}', '{}', false)",
    "top up": "SELECT radmeter.top_up('gus', 1, NULL, NULL, NULL)",
    "suspend": "SELECT radmeter.suspend_subscriber('gus', false)",
    "undo top up": "SELECT radmeter.undo_top_up(top_up.id, 'gus') FROM top_ups AS top_up WHERE username = 'gus'",
    "import users": """SELECT radmeter.import_subscribers('[{"line": 1, "username": "h", "plan": "gold"}]')""",
    "remove user": "SELECT radmeter.remove_subscriber('gus')",
    "retire plan": "SELECT radmeter.retire_plan('gold', false)",
}
BILL = {
    "issue": """INSERT INTO invoices (username, plan_id, period_start, period_end, usage, amount, currency)
                VALUES ('alice', NULL, '2024-01-01', '2024-02-01', 12.5, 19.99, 'EUR')""",
    "usage": "SELECT public.get_user_total_usage('alice')",
    "period": "SELECT radmeter.user_period_start('alice', now())",
} | {name: f"SELECT * FROM {name}" for name in sorted(BILLING_TABLES)} | {
    f"view {name}": f"SELECT * FROM radmeter.{name}" for name in sorted(BILLING_VIEWS)
}  # fmt: skip
# What a bill is not made of, and what is issued.
NOT_BILLED = {
    "sessions": "SELECT * FROM radacct",
    "open sessions": "SELECT * FROM radacct_open",
    "sessions view": "SELECT * FROM radmeter.sessions",
    "packets": "SELECT * FROM rejected_packet",
    "anomalies": "SELECT * FROM accounting_anomaly",
    "audit log": "SELECT * FROM audit_log",
    "verify": "SELECT * FROM radmeter.user_differences(NULL, NULL, NULL)",
    "explain": "SELECT * FROM radmeter.user_parts('alice', '2026-01-01')",
    "days of users": "SELECT * FROM radmeter.user_days('alice', '2026-01-01', '2026-01-31')",
    "open sessions of routers": "SELECT * FROM radmeter.router_activity",
    "clocks": "SELECT * FROM radmeter.router_clock",
    "networks": "SELECT * FROM radmeter.router_networks",
}
ISSUED = {
    "change an invoice": "UPDATE invoices SET amount = 0",
    "delete an invoice": "DELETE FROM invoices",
    "empty the invoices": "TRUNCATE invoices",
    "overwrite an invoice": """INSERT INTO invoices (username, period_start, period_end, amount)
        VALUES ('alice', '2024-01-01', '2024-02-01', 0)
        ON CONFLICT (username, period_start) WHERE close_id IS NULL AND status <> 'void'
        DO UPDATE SET amount = excluded.amount""",
}
PRICES = {
    "price": "UPDATE plans SET price = 0",
    "plan": "INSERT INTO plans (name) VALUES ('mine')",
    "subscriber": "DELETE FROM subscribers",
    "total": "UPDATE routers SET total_usage = 0",
    "own": "SET ROLE radmeter_owner",
    "give": "GRANT radmeter_owner TO radmeter_ingest",
}
WRITE = (
    PRICES
    | ISSUED
    | {
        "insert": "INSERT INTO routers (name) VALUES ('x')",
        "update": "UPDATE routers SET name = 'x'",
        "delete": "DELETE FROM routers",
        "session": "UPDATE radacct SET acctinputoctets = 0",
        "user counter": "UPDATE user_quota_usage SET bytes_in = 0",
        "router counter": "UPDATE router_daily_usage SET bytes_in = 0",
        "checkpoint": "UPDATE ingest_checkpoint SET last_seq = 0",
        "progress": "UPDATE radmeter.journal_segment SET last_seq = 0",
        "incident": "DELETE FROM radmeter.journal_incident",
        "identity": "UPDATE radmeter.database_identity SET id = gen_random_uuid()",
        "drop segments": "SELECT radmeter.drop_segments(1)",
        "truncate": "TRUNCATE radacct",
        "trigger": "ALTER TABLE radacct DISABLE TRIGGER ALL",
        "audit": "SELECT radmeter.audit('forged', '{}')",
        "forget": "DELETE FROM audit_log",
        "read a password": "SELECT value FROM radcheck",
        "write a password": "INSERT INTO radcheck (username, attribute, op, value) VALUES ('x', 'y', ':=', 'z')",
        "let somebody in": "SELECT radmeter.store_passwords('{x}', 'Cleartext-Password', '{y}')",
        "setting": "UPDATE radmeter.setting SET value = 'Mars'",
        "expire": "SELECT radmeter.expire('rejected packet', 1, 1)",
        "limits of hours": "UPDATE radmeter.kept_per_hour SET kept = 0",
        "set aside": "SELECT radmeter.set_aside('n', NULL, '[]')",
        "reap": "SELECT radmeter.close_stale('{1}')",
        "partition": "SELECT radmeter.ensure_partition(now())",
        "count": "SELECT radmeter.insert_sessions('{1}')",
        "adoption": "SELECT * FROM radmeter.adoption_baseline",
        "names of the erased": "SELECT * FROM radmeter.erasure",
        "begin to erase": "SELECT radmeter.begin_erasure('alice')",
        "erase sessions": "SELECT radmeter.erase_sessions('alice', '{1}', '{2026-01-01}')",
        "erase notes": "SELECT radmeter.erase_notes('alice')",
        "erase packets": "SELECT radmeter.erase_packets('alice', '[]')",
        "finish to erase": "SELECT radmeter.finish_erasure('alice')",
        "end to erase": "SELECT radmeter.end_erasure('alice')",
        "clear attributes": "SELECT radmeter.clear_attributes('{1}', '{2026-01-01}')",
        "lease": "SELECT radmeter.take_lease('jobs', gen_random_uuid(), 'x', 30)",
        "forged lease": "UPDATE radmeter.lease SET expires_at = 'infinity'",
        "schema": "CREATE TABLE radmeter.mine (x int)",
        "public": "CREATE TABLE public.mine (x int)",
    }
)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("radmeter_noc", CHANGE | READ, WRITE | INGEST),
        ("radmeter_reader", READ, CHANGE | WRITE | INGEST),
        ("radmeter_ingest", INGEST, CHANGE | WRITE | READ),
        ("radmeter_billing", BILL, CHANGE | WRITE | INGEST | NOT_BILLED),
    ],
)
def test_a_role_does_what_is_its_and_is_refused_the_rest(
    database: str, connection: Connection, role: str, may: dict[str, str], may_not: dict[str, str]
) -> None:
    with Packets(database) as packets:
        packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=5)
    # As one who logs in: a superuser in another role may still go back to any.
    connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
    for name, statement in may_not.items():
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            continue
        raise AssertionError(f"{role} may {name}")
    for statement in may.values():
        connection.execute(statement.encode())


def test_a_person_with_the_role_merges_routers_by_the_command(server: Server, database: str) -> None:
    """Not only the functions: also what the command reads before and on the way."""
    with Packets(database) as packets:
        for name in ("east", "west"):
            packets.add("Stop", name, NAS_Identifier=name, Acct_Input_Octets=5)
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute("CREATE ROLE noc_person_in_test LOGIN IN ROLE radmeter_noc")
        owner.execute("CREATE ROLE reading_person_in_test LOGIN IN ROLE radmeter_reader")
        try:
            reader = database.replace("postgres@", "reading_person_in_test@")
            refused = radmeter(reader, "routers", "merge", "east", "west", "--yes")
            assert refused.exit_code == 1
            assert "grant radmeter_noc to the database role in use" in refused.errors
            person = database.replace("postgres@", "noc_person_in_test@")
            merged = radmeter(person, "routers", "merge", "east", "west", "--yes")
            assert (merged.exit_code, merged.errors) == (0, "")
            assert radmeter(reader, "routers", "show", "east", "--format", "json").json()["bytes_today"] == 10
            assert owner.execute("SELECT DISTINCT who FROM audit_log").fetchall() == [("noc_person_in_test",)]
        finally:
            owner.execute("DROP ROLE noc_person_in_test")
            owner.execute("DROP ROLE reading_person_in_test")
