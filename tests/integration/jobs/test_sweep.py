"""What a month that is dropped leaves in other tables: the jobs remove it, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from support.archives import sessions_of
from support.commands import radmeter
from support.doctoring import faults
from support.servers import Connection

from radmeter.jobs import retention

MONTH, OTHER = "2026-03", "2026-04"
TABLE = "radacct_2026_03"

# Tables of rows with a session or a time that the sweep leaves alone, and what bounds them.
BOUNDED = {
    "public.audit_log": "for ever, on purpose: who changed what",
    "public.credit_notes": "for ever, on purpose: documents",
    "radmeter.api_keys": "a row for each key",
    "radmeter.api_requests": "a day: radmeter.drop_old_requests",
    "radmeter.ended_logins": "a month: radmeter.end_login removes those of before",
    "public.invoice_lines": "for ever, on purpose: documents",
    "public.invoice_usage": "for ever, on purpose: what documents bill",
    "public.credit_note_lines": "for ever, on purpose: documents",
    "radmeter.audit_chain": "a row for each line of audit_log and erasure",
    "radmeter.billing_close": "a row for each tenant and month",
    "radmeter.issuers": "a row for each issuer",
    "radmeter.plan_history": "a row for each change of a user's plans: money",
    "radmeter.plan_prices": "a row for each change of a plan's price",
    "radmeter.router_tenant": "a row for each router and change of hands",
    "radmeter.tenant_logins": "a row for each login of a tenant",
    "radmeter.tenant_rates": "a row for each tenant and change",
    "radmeter.tenants": "a row for each tenant",
    "radmeter.document_number": "a row for each issuer, kind and year",
    "radmeter.audit_head": "one row",
    "radmeter.alerts": "alerts_keep_days",
    "radmeter.alert_mail": "webhook_keep_days",
    "radmeter.alert_mail_line": "goes with its alert, or its mail",
    "radmeter.alert_mutes": "alerts_keep_days",
    "radmeter.alert_state": "one row",
    "radmeter.alert_watch": "what is not well now",
    "radmeter.refused_logins": "eight rows for each reason",
    "radmeter.router_hour": "a row for each router",
    "radmeter.router_watch": "a row for each router",
    "public.ingest_checkpoint": "a row for each source",
    "public.invoices": "for ever, on purpose",
    "public.plans": "a row for each plan",
    "public.subscriber_plans": "a row for each user and plan",
    "public.top_ups": "for ever, on purpose: money",
    "public.rejected_packet": "usage that nobody has counted; rejected_keep_bytes and rejected_keep_days",
    "public.router_daily_usage": "counters outlive their sessions",
    "public.routers": "a row for each router",
    "public.subscribers": "a row for each user",
    "public.user_quota_usage": "counters outlive their sessions",
    "radmeter.adopted_move": "the backfill and the jobs empty it",
    "radmeter.adopted_user": "a row for each user",
    "radmeter.adoption": "a row for each adoption",
    "radmeter.archive_change": "emptied at the end of each archive",
    "radmeter.archived_partition": "a row for each archive",
    "radmeter.backfill": "one row",
    "radmeter.backfill_rejected": "a row for each session that no router can have reported, for ever, on purpose",
    "radmeter.backfill_router": "emptied when it is added to the counters",
    "radmeter.backfill_user": "emptied when it is added to the counters",
    "radmeter.cleared_partition": "radmeter.people.clearing removes those of partitions that are gone",
    "radmeter.client_limit": "a row for each limit",
    "radmeter.database_identity": "one row",
    "radmeter.decimal_change": "a row for each column",
    "radmeter.disconnect_queue": "quota_history_keep_days",
    "radmeter.discovery_count": "a row for each client of a day",
    "radmeter.erasure": "emptied at the end of each erasure",
    "radmeter.job_result": "a row for each job",
    "radmeter.journal_incident": "a row for each incident",
    "radmeter.journal_segment": "segment_keep_days",
    "radmeter.sent_username": "the jobs remove those of sessions that are closed",
    "radmeter.tenant_realm": "a row for each tenant and change, for ever, on purpose",
    "radmeter.webhook": "a row for each endpoint",
    "radmeter.webhook_delivery": "webhook_keep_days",
    "radmeter.kept_per_hour": "radmeter.note_expired removes old hours",
    "radmeter.lease": "a row for each work",
    "radmeter.migration_log": "a row for each step of an upgrade",
    "radmeter.partition_split": "a row for each split",
    "radmeter.quota_account": "a row for each user",
    "radmeter.quota_booked": "a row for each counter that top-ups have paid, as long as the counter",
    "radmeter.quota_change": "the jobs empty it",
    "radmeter.quota_notice": "quota_history_keep_days",
    "radmeter.replayed_file": "a row for each file",
    "radmeter.router_coa": "a row for each router",
    "radmeter.router_coa_state": "a row for each router",
    "radmeter.router_network": "8 for each router",
    "radmeter.session_alias": "forgotten after 100 days",
    "radmeter.session_month": "a row for each month",
    "radmeter.setting": "a row for each setting",
    "radmeter.split_change": "emptied at the end of each split",
    "radmeter.split_month": "a row for each month of a split",
    "radmeter.sql_file": "a row for each file",
    "radmeter.swept_month": "a row for each month",
}
DATED = """
SELECT DISTINCT format('%I.%I', nspname, relname)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname IN ('public', 'radmeter') AND attnum > 0 AND NOT attisdropped AND NOT relispartition
  AND (attname = 'radacctid' OR atttypid = ANY ('{date,timestamptz,date[]}'::regtype[]))
ORDER BY 1"""


def rows(connection: Connection, month: str) -> dict[str, int]:
    """Return how many rows each swept table has of the sessions of a month."""
    return {
        table: connection.execute(
            f"SELECT count(*) FROM {table} AS part JOIN pg_temp.was USING (radacctid) WHERE month = %s".encode(),
            (month,),
        ).fetchone()[0]  # type: ignore[index]
        for table in ("radmeter.session_slice", "radmeter.adoption_baseline", "public.accounting_anomaly")
    }


@pytest.fixture
def two_months(database: str, connection: Connection) -> str:
    """Sessions of two months, with slices, baselines and anomalies; who was of which month is in pg_temp.was."""
    for month in (MONTH, OTHER):
        sessions_of(database, connection, month, 12)
    connection.execute(
        """CREATE TEMPORARY TABLE was AS
               SELECT radacctid, to_char(acctstoptime, 'YYYY-MM') AS month FROM radacct WHERE acctstoptime IS NOT NULL;
           INSERT INTO radmeter.adoption_baseline (radacctid, calledstationid, nasipaddress, bytes_in, bytes_out)
               SELECT radacctid, '', '10.0.0.1', 0, 0 FROM pg_temp.was;
           INSERT INTO accounting_anomaly (kind, radacctid, event_time, direction)
               SELECT 'counter wrapped', radacctid, (month || '-05')::timestamptz, 'input' FROM pg_temp.was;
           INSERT INTO accounting_anomaly (kind, event_time) VALUES ('server clock', '2026-03-05')"""
    )
    return database


def test_every_table_with_a_session_or_a_time_is_bounded(connection: Connection) -> None:
    found = {row[0] for row in connection.execute(DATED.encode())}
    swept = {"radmeter.session_slice", "radmeter.adoption_baseline", "public.accounting_anomaly"}
    assert found - swept - BOUNDED.keys() == set(), "neither swept nor bounded"
    assert {table.partition(".")[2] for table in swept} == retention.SWEPT.keys()


def test_a_dropped_month_leaves_nothing(two_months: str, connection: Connection) -> None:
    before, others = rows(connection, MONTH), rows(connection, OTHER)
    assert min(before.values()) > 0
    assert radmeter(two_months, "jobs", "expire", "--format", "csv").csv() == []
    assert rows(connection, MONTH) == before

    connection.execute(f"DROP TABLE {TABLE}".encode())
    removed = radmeter(two_months, "jobs", "expire", "--format", "csv")
    assert removed.exit_code == 0, removed.errors
    assert {(each["kind"], each["reason"]) for each in removed.csv()} == {
        (kind, "dropped month") for kind in retention.SWEPT.values()
    }
    assert rows(connection, MONTH) == dict.fromkeys(before, 0)
    assert rows(connection, OTHER) == others
    assert connection.execute(
        "SELECT count(*) FROM accounting_anomaly WHERE radacctid IS NULL"
    ).fetchone() == (1,)
    assert connection.execute("SELECT month::text FROM radmeter.swept_month").fetchall() == [("2026-03-01",)]
    assert connection.execute("SELECT count(*) FROM radmeter.dropped_months()").fetchone() == (0,)
    connection.execute("TRUNCATE radmeter.adoption_baseline")  # these sessions were not adopted
    assert radmeter(two_months, "verify").exit_code == 0


def detach(connection: Connection) -> None:
    connection.execute(f"ALTER TABLE radacct DETACH PARTITION {TABLE}".encode())


def detach_and_take_away(connection: Connection) -> None:
    detach(connection)
    connection.execute(f"CREATE SCHEMA elsewhere; ALTER TABLE {TABLE} SET SCHEMA elsewhere".encode())


@pytest.mark.parametrize("away", [detach, detach_and_take_away])
def test_a_month_that_is_only_detached_keeps_its_rows(
    two_months: str, connection: Connection, away: Callable[[Connection], None]
) -> None:
    before = rows(connection, MONTH)
    away(connection)
    found = [line for line in faults(two_months, "partitions") if "to be attached again" in line.said]
    assert [(line.level, TABLE in line.said) for line in found] == [("yellow", True)]
    names = connection.execute("SELECT name FROM radmeter.detached_tables()").fetchall()
    assert [name.rpartition(".")[2] for (name,) in names] == [TABLE]
    with psycopg.connect(two_months, autocommit=True) as jobs:
        assert retention.expire(jobs) == []
        # What the function does if the table was detached after the job has looked.
        for table in retention.SWEPT:
            assert jobs.execute(
                "SELECT removed FROM radmeter.sweep(%s, NULL, 1000)", (table,)
            ).fetchone() == (0,)
    assert rows(connection, MONTH) == before


def test_anomalies_of_an_archived_month_stay(two_months: str, connection: Connection, tmp_path: Path) -> None:
    before = rows(connection, MONTH)
    archived = radmeter(
        two_months, "partitions", "archive", "--before", "2026-04", "--to", str(tmp_path), "--yes"
    )
    assert archived.exit_code == 0, archived.errors
    assert radmeter(two_months, "jobs", "expire").exit_code == 0
    after = rows(connection, MONTH)
    assert after == {
        **dict.fromkeys(before, 0),
        "public.accounting_anomaly": before["public.accounting_anomaly"],
    }
    restored = radmeter(
        two_months, "partitions", "restore", str(tmp_path / "radacct_2026_03.parquet"), "--yes"
    )
    assert restored.exit_code == 0, restored.errors
    assert rows(connection, MONTH) == before
    connection.execute("TRUNCATE radmeter.adoption_baseline")  # these sessions were not adopted
    assert radmeter(two_months, "verify").exit_code == 0


def test_a_sweep_does_not_wait_while_a_partition_is_attached(two_months: str, connection: Connection) -> None:
    connection.execute(f"DROP TABLE {TABLE}".encode())
    with psycopg.connect(two_months) as operator, psycopg.connect(two_months, autocommit=True) as jobs:
        operator.execute("LOCK TABLE radacct IN SHARE UPDATE EXCLUSIVE MODE")
        assert retention.expire(jobs) == []
        assert connection.execute("SELECT count(*) FROM radmeter.swept_month").fetchone() == (0,)
        operator.rollback()
        assert len(retention.expire(jobs)) == 3
