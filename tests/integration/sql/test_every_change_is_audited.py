"""Whatever changes money, plans, rates, assignments or usage by hand leaves a line in audit_log, in its transaction."""

import re

import pytest
from support.servers import Connection

# Tables of money, and of what money is made of. A new one belongs here.
TABLES = {
    "public.credit_note_lines",
    "public.credit_notes",
    "public.invoice_lines",
    "public.invoice_usage",
    "public.invoices",
    "public.plan_tiers",
    "public.plans",
    "public.radcheck",
    "public.router_daily_usage",
    "public.routers",
    "public.subscriber_plans",
    "public.subscribers",
    "public.top_ups",
    "public.user_quota_usage",
    "radmeter.billing_close",
    "radmeter.document_number",
    "radmeter.issuers",
    "radmeter.plan_prices",
    "radmeter.router_tenant",
    "radmeter.setting",
    "radmeter.tenant_logins",
    "radmeter.tenant_rates",
    "radmeter.tenant_realm",
    "radmeter.tenants",
}
PACKET = "packets do it, nobody by hand"
CLOSE = "a step of `billing close`: note_close writes the line, and what is made are drafts"
STEP = "a step of functions that write the line"
# Functions that change these tables without a line of their own, and why.
WITHOUT = {
    "apply_quotas": "packets and time do it, nobody by hand: radmeter.quota_notice has what users are told",
    "backfill_move": "an adoption counts the history; radmeter.adoption has who began it",
    "backfill_settle": "the same",
    "begin_erasure": "end_erasure writes the line of the erasure",
    "apply_assignments": "assign_router writes the line of what holds today",
    "close_users": CLOSE,
    "count_inserted": PACKET,
    "count_number": STEP,
    "count_updated": PACKET,
    "discover_at_once": PACKET,
    "discover_router": PACKET,
    "draw_numbers": STEP,
    "drop_empty_drafts": CLOSE,
    "finish_erasure": "end_erasure writes the line of the erasure",
    "freeze_usage": CLOSE,
    "give_plan": STEP,
    "guard_invoice": "a draft that is removed takes its lines along",
    "judge_login": "a login begins the validity of a voucher",
    "limit_router": PACKET,
    "merge_assignments": STEP,
    "note_default_zone": "a trigger: the zone of the installation is a setting of `migrate`",
    "note_plan_price": "a trigger: what changed the plan writes the line",
    "observe_intervals": "the jobs note what packets tell",
    "rename_top_ups": "a trigger: what renamed the user writes the line",
    "set_tiers": STEP,
    "store_passwords": STEP,
    "write_drafts": CLOSE,
}
WRITES = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?)\s+"
    r'"?(public|radmeter)"?\."?(\w+)',
    re.IGNORECASE,
)
AUDITS = re.compile(r"\bradmeter\.audit\s*\(|INSERT INTO public\.audit_log\b")
CALLS = re.compile(r"\bradmeter\.(\w+)\s*\(")


def code(source: str) -> str:
    return re.sub(r"--.*", "", source)


@pytest.fixture
def sources(connection: Connection) -> dict[str, str]:
    """Return the functions of the database by name, those of one name together."""
    found: dict[str, str] = {}
    for name, source in connection.execute(
        """SELECT proname, coalesce(pg_get_function_sqlbody(oid), prosrc) FROM pg_proc
           WHERE pronamespace IN ('public'::regnamespace, 'radmeter'::regnamespace)"""
    ):
        found[name] = found.get(name, "") + "\n" + code(source)
    return found


def writing(sources: dict[str, str]) -> set[str]:
    return {
        name
        for name, source in sources.items()
        if {".".join(each).lower() for each in WRITES.findall(source)} & TABLES
    }


def test_each_function_that_changes_them_writes_a_line(sources: dict[str, str]) -> None:
    silent = {name for name in writing(sources) if not AUDITS.search(sources[name])}
    assert silent == WITHOUT.keys()


def test_a_step_is_called_by_functions_that_write_the_line(sources: dict[str, str]) -> None:
    for step in [name for name, reason in WITHOUT.items() if reason == STEP]:
        callers = [name for name, source in sources.items() if step in CALLS.findall(source)]
        assert callers, step
        for caller in callers:
            above = [name for name, source in sources.items() if caller in CALLS.findall(source)]
            assert AUDITS.search(sources[caller]) or (
                above and all(AUDITS.search(sources[name]) for name in above)
            ), (step, caller)


def test_a_step_can_be_called_by_no_role(connection: Connection) -> None:
    for name in [name for name, reason in WITHOUT.items() if reason == STEP]:
        row = connection.execute(
            """SELECT bool_or(has_function_privilege(rolname, pg_proc.oid, 'EXECUTE'))
               FROM pg_proc, pg_roles WHERE proname = %s AND starts_with(rolname, 'radmeter_')
                 AND rolname <> 'radmeter_owner'""",
            (name,),
        ).fetchone()
        assert row == (False,), name


def test_no_role_writes_to_the_tables_past_the_functions(connection: Connection) -> None:
    """Otherwise there would be changes without a line. What radmeter_billing adds keeps its name itself."""
    may = connection.execute(
        """SELECT rolname, relnamespace::regnamespace || '.' || relname
           FROM pg_class, pg_roles
           WHERE relnamespace::regnamespace || '.' || relname = ANY (%s)
             AND starts_with(rolname, 'radmeter_') AND rolname <> 'radmeter_owner'
             AND (has_table_privilege(rolname, pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                  OR has_any_column_privilege(rolname, pg_class.oid, 'INSERT, UPDATE'))""",
        (sorted(TABLES),),
    ).fetchall()
    assert set(may) <= {("radmeter_billing", "public.invoices")}


def test_the_table_names_are_right(connection: Connection) -> None:
    (there,) = connection.execute(
        """SELECT array_agg(relnamespace::regnamespace || '.' || relname) FROM pg_class WHERE relkind IN ('r', 'p')"""
    ).fetchall()
    assert set(there[0]) >= TABLES - {"public.radcheck"}
