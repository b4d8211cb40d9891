"""Undoes an adoption: removes what it made, down to the columns."""

from radmeter.adoption import ownership
from radmeter.adoption.columns import OURS
from radmeter.adoption.indexes import NAMES, make_dropped
from radmeter.adoption.operation import Operation
from radmeter.adoption.state import Adoption
from radmeter.database.connection import Connection
from radmeter.database.lock_retries import outside_transaction
from radmeter.schema.migration_log import note

# Tables of what was counted. They are emptied: rlm_sql goes on with the same sessions, and another adoption would
# count them again.
COUNTED = r"^(session_slice|session_month|adopted_\w+|adoption_baseline|backfill|backfill_\w+)$"


def tidy(operation: Operation, adoption: Adoption) -> None:
    """Remove what the adoption made."""
    make_dropped(operation, adoption.saved.get("dropped", {}))
    for name in NAMES:
        outside_transaction(
            operation.connection,
            f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
            what=f"dropping the index {name}",
            patience_seconds=operation.patience_seconds,
            said=operation.said,
        )

    def work(connection: Connection) -> None:
        run = connection.execute
        run("SET LOCAL client_min_messages = warning")
        run("DROP TRIGGER IF EXISTS radmeter_divert ON public.radacct")
        columns = [column.name for column in OURS] + list(adoption.saved["columns_added"])
        run(
            f"ALTER TABLE public.radacct {', '.join(f'DROP COLUMN IF EXISTS {name}' for name in columns)}".encode()
        )
        ownership.give_back(connection, operation.owner, adoption.saved["owner"])
        run("DROP TABLE IF EXISTS radmeter.radacct CASCADE")
        run("DELETE FROM radmeter.sql_file")  # the views were dropped with it
        tables = run(
            """SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
               WHERE relkind = 'r' AND relnamespace = 'radmeter'::regnamespace AND relname ~ %s""",
            (COUNTED,),
        ).fetchone()
        assert tables is not None
        run(f"TRUNCATE public.user_quota_usage, public.router_daily_usage, {tables[0]}".encode())
        # radmeter.audit may not exist: an adoption that has just begun has not made it yet.
        run(
            """INSERT INTO public.audit_log (operator, action, detail)
               VALUES (nullif(current_setting('radmeter.operator', true), ''), 'adopt undo', '{"table": "radacct"}')"""
        )
        run(
            "UPDATE radmeter.adoption SET state = 'undone', undone_at = clock_timestamp() WHERE undone_at IS NULL"
        )
        note(connection, "adoption", "undone", None)

    operation.retried("tidying up", work, "ACCESS EXCLUSIVE")
