"""Each key under which a line of audit_log can have the name of a user is known to `radmeter.without_name`."""

import re
from pathlib import Path

import pytest
from support.commands import radmeter, run
from support.servers import Connection

SOURCE = Path(__file__).parents[4] / "src" / "radmeter"
AUDITS = re.compile(r"\bradmeter\.audit\s*\(|INSERT INTO public\.audit_log\b")
# What the functions of radmeter.audit's callers make of rows: each function that does is in ROWS.
VALUES = ("plan_values", "subscriber_values", "tenant_values")
KEY = re.compile(r"'([a-z_]+)'\s*,")
# A new key of a line belongs here, and in `radmeter.without_name` if a user's name can stand under it.
NAMES = {"username", "user", "user_counters"}
TEXTS = {"reason", "note"}
OTHERS = {
    *re.findall(
        r"\w+",
        """
        adopt after alert also also_ids attribute before began_at bytes clients closes columns created_at
        credit_note currency days days_of_dropped_sessions deliveries documents drafts events expires_at
        finished first first_seq first_used_at from from_at gross host id ids incident input input_octets
        into invoice invoice_id invoice_number invoices ip_address issuer keep_mac kind last last_id last_seq
        limit line mac mails months mute name nas_identifier net new_plan node old_id operator outcome output
        output_octets packets partition password password_stored_as passwords period period_start plan
        plan_id plausible_mbit_per_second price pseudonym radacctid radacctids rate_count rate_seconds realm
        received_us record records removed renamed_in_turn renew requested requests retired role router
        router_days router_id router_name routers rows rule secret secret_changed segment seq sessions
        setting site source status stored_as suspended_at table taken_back tax tenant tenant_id tenants tiers
        timezone to to_at top_up top_ups undo until usage_date users webhook
        """,
    )
}
# Rows that become details as a whole: columns with names of users are under keys that are known.
ROWS = {
    "add_issuer": {"v_issuer"},
    "change_issuer": {"v_issuer", "v_new"},
    "tenant_values": {"p_tenant"},
    "drop_rejected": {"dropped"},
    "drop_requests": {"dropped"},
    "plan_values": {"p_plan", "tier"},
    "remove_subscriber": {"top_up"},
    "undo_top_up": {"v_top_up"},
    "request_disconnect": {"v_sessions", "v_made"},
    "retry_requests": {"retried"},
    "set_router_coa": {"v_before", "v_after"},
    "change_router": {"v_router", "router"},
    "claim_router": {"v_router", "router"},
    "import_routers": {"router"},
    "merge_router": {"v_from", "v_into", "router"},
    "rename_router": {"v_router", "router"},
    "retire_router": {"v_router", "router"},
    "backfill_leave": {"v_ids[1:1000]"},
    "add_webhook": {"p_events"},
    "end_deliveries": {"v_changed"},
    "retry_mails": {"v_retried"},
    "revoke_key": {"v_ids"},
}
ROW_TABLES = (
    "public.routers",
    "public.plans",
    "public.plan_tiers",
    "public.top_ups",
    "radmeter.tenants",
    "radmeter.issuers",
    "radmeter.router_coa",
)


@pytest.fixture
def writers(connection: Connection) -> dict[str, str]:
    """Return the functions that write lines, or make parts of lines, by name."""
    found = {}
    for name, source in connection.execute(
        """SELECT proname, coalesce(pg_get_function_sqlbody(oid), prosrc) FROM pg_proc
           WHERE pronamespace = 'radmeter'::regnamespace"""
    ):
        code = re.sub(r"-- .*", "", source)
        if name in VALUES or AUDITS.search(code):
            found[name] = code
    return found


def test_each_key_of_a_line_is_known(writers: dict[str, str]) -> None:
    keys = {
        key
        for source in writers.values()
        for built in re.findall(
            r"jsonb_build_object\s*\((.*?)\)\s*(?:;|\bORDER\b|\bINTO\b|\bFROM\b|\|\|)", source, re.DOTALL
        )
        for key in KEY.findall(built)
    }
    assert len(keys) > 60  # the pattern finds them
    assert keys - NAMES - TEXTS - OTHERS == set()


def test_each_row_that_becomes_a_line_is_known(writers: dict[str, str], connection: Connection) -> None:
    rows = {name: {*re.findall(r"\bto_jsonb\s*\(([^()]*)\)", source)} for name, source in writers.items()}
    assert {name: found for name, found in rows.items() if found} == ROWS
    named = {
        column
        for table in ROW_TABLES
        for (column,) in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", (table,)
        )
        if re.search(r"user|subscriber|note|reason|who|_by$", column)
    }
    # Who added a top-up is an operator.
    assert named - NAMES - TEXTS == {"added_by"}


def test_lines_that_python_writes_name_no_user() -> None:
    """A new place in Python belongs here, after a look at its keys."""
    writing = {
        str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if AUDITS.search(path.read_text())
    }
    assert writing == {
        "adoption/swapped.py",
        "adoption/tidy.py",
        "partitions/archive_catalog.py",
        "partitions/split.py",
        "quotas/operations.py",
    }


def test_what_is_called_like_an_erased_user_keeps_its_lines(database: str, connection: Connection) -> None:
    run(database, "tenants", "add", "zed", "--currency", "EUR")
    run(database, "plans", "add", "zed", "--quota", "10MB", "--price", "9.90")
    run(database, "plans", "add", "other", "--quota", "10MB")
    run(database, "billing", "issuers", "add", "zed", "--number-format", "Z{number}")
    run(database, "users", "add", "zed", "--plan", "zed", "--no-password", "--tenant", "zed")
    run(database, "users", "top-up", "zed", "5MB", "--price", "1", "--note", "for zed, who asked")
    run(database, "users", "assign", "zed", "--plan", "other", "--also", "zed")
    run(database, "users", "add", "amy", "--plan", "zed", "--no-password", "--tenant", "zed")
    before = connection.execute("SELECT id, detail FROM audit_log ORDER BY id").fetchall()
    assert radmeter(database, "people", "erase", "zed", "--yes", "--unbilled-too").exit_code == 0
    ((pseudonym,),) = connection.execute(
        "SELECT username FROM subscribers WHERE username <> 'amy'"
    ).fetchall()
    after: dict[int, object] = dict(connection.execute("SELECT id, detail FROM audit_log").fetchall())
    for number, detail in before:
        if "username" in str(detail) and "amy" not in str(detail):
            continue
        assert after[number] == detail
    ((added,), (topped_up,), (assigned,)) = connection.execute(
        """SELECT detail FROM audit_log
           WHERE action IN ('users add', 'users top-up', 'users assign') AND detail::text NOT LIKE '%amy%'
           ORDER BY id"""
    ).fetchall()
    assert (added["username"], added["plan"]) == (pseudonym, "zed")
    assert (topped_up["username"], topped_up["note"]) == (pseudonym, f"for {pseudonym}, who asked")
    assert assigned["after"]["username"] == pseudonym
    assert (assigned["after"]["also"], assigned["after"]["tenant"]) == (["zed"], "zed")
    assert radmeter(database, "audit", "verify").exit_code == 0
