"""The triggers that must fire: of counters, quotas, what days are charged by, documents, and the chain of audit_log."""

from typing import NamedTuple

from radmeter.database.connection import Connection


class Trigger(NamedTuple):
    """A trigger that must exist, and must fire for every writer of its table."""

    table: str
    name: str


class Fault(NamedTuple):
    """A trigger that does not fire, and why: one of the three states below."""

    trigger: Trigger
    state: str


MISSING, DISABLED, ON_REPLICAS = "is missing", "is disabled", "fires on replicas only"

COUNTING = (
    Trigger("public.radacct", "_100_count_inserted"),
    Trigger("public.radacct", "_100_count_updated"),
)
QUOTAS = (
    *(
        Trigger(f"public.{table}", f"_100_note_quota_change_{event}")
        for table, events in (
            ("plan_tiers", ("deleted", "inserted", "updated")),
            ("plans", ("updated",)),
            ("subscriber_plans", ("deleted", "inserted", "updated")),
            ("subscribers", ("deleted", "inserted", "updated")),
            ("top_ups", ("deleted", "inserted", "updated")),
        )
        for event in events
    ),
    Trigger("radmeter.quota_notice", "_100_queue_notices"),
)
AUDIT = (
    *(
        Trigger("public.audit_log", name)
        for name in ("_100_guard", "_100_guard_rows", "_200_chain_inserted", "_200_chain_rewritten")
    ),
    *(
        Trigger(table, name)
        for table in ("radmeter.audit_chain", "radmeter.audit_head")
        for name in ("_100_guard", "_100_guard_rows")
    ),
)
HISTORY = (
    *(
        Trigger(f"public.{table}", f"_200_note_plan_history_{event}")
        for table in ("subscriber_plans", "subscribers")
        for event in ("deleted", "inserted", "updated")
    ),
    *(Trigger("public.plans", f"_200_note_plan_price_{event}") for event in ("inserted", "updated")),
    *(Trigger(f"public.{table}", "_200_note_rename") for table in ("subscriber_plans", "subscribers")),
    Trigger("public.subscribers", "_200_rename_top_ups"),
    Trigger("radmeter.setting", "_200_note_default_zone"),
)
DOCUMENTS = tuple(
    Trigger(table, f"_100_guard_{name}")
    for table, names in (
        ("public.credit_note_lines", "credit_lines kept"),
        ("public.credit_notes", "kept"),
        ("public.invoice_lines", "part_deleted part_inserted part_updated truncate"),
        ("public.invoice_usage", "part_deleted part_inserted part_updated truncate"),
        ("public.invoices", "invoice truncate"),
        ("public.routers", "recipient truncate"),
        ("radmeter.billing_close", "kept truncate"),
        ("radmeter.document_number", "kept number"),
        ("radmeter.tenants", "recipient truncate"),
    )
    for name in names.split()
)
EXPECTED = COUNTING + QUOTAS + HISTORY + DOCUMENTS + AUDIT


def faults(connection: Connection) -> list[Fault]:
    """Return the expected triggers that do not fire, in the order of `EXPECTED`."""
    found = []
    for trigger in EXPECTED:
        row = connection.execute(
            "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = %s", trigger
        ).fetchone()
        if row is None:
            found.append(Fault(trigger, MISSING))
        elif row[0] not in ("O", "A"):  # with these a trigger fires in ordinary sessions
            found.append(Fault(trigger, DISABLED if row[0] == "D" else ON_REPLICAS))
    return found
