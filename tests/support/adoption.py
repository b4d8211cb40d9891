"""Shared by the tests of adoption: a tool that reads radacct all the time, dumps, sessions, totals."""

import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from radmeter.adoption import states
from radmeter.adoption.operation import Operation
from radmeter.adoption.state import Adoption
from radmeter.adoption.states import Step
from radmeter.ingest.store import Store
from support import stock
from support.ledger import ingest
from support.servers import Connection, Server

# Takes back what revisions 0029 and 0030 made.
BACK_TO_0028 = """
DROP TABLE radmeter.audit_chain, radmeter.audit_head, radmeter.tenant_logins, credit_note_lines, credit_notes,
    invoice_usage, invoice_lines, radmeter.plan_prices, radmeter.plan_history, radmeter.tenant_rates,
    radmeter.router_tenant, radmeter.document_number CASCADE;
ALTER TABLE invoices DROP CONSTRAINT invoices_recipient_check, DROP CONSTRAINT invoices_number_check,
    DROP CONSTRAINT invoices_amount_check, DROP COLUMN tenant_id CASCADE, DROP COLUMN of_tenant_id CASCADE,
    DROP COLUMN close_id CASCADE, DROP COLUMN status CASCADE, DROP COLUMN issuer_id CASCADE,
    DROP COLUMN number_year CASCADE, DROP COLUMN sequence CASCADE, DROP COLUMN number CASCADE,
    DROP COLUMN digits CASCADE, DROP COLUMN usage_bytes CASCADE, DROP COLUMN net CASCADE, DROP COLUMN tax CASCADE,
    DROP COLUMN taxes CASCADE, DROP COLUMN recipient CASCADE, DROP COLUMN issuer CASCADE, DROP COLUMN terms CASCADE,
    DROP COLUMN voided_at CASCADE,
    ALTER COLUMN username SET NOT NULL, ALTER COLUMN issued_at SET NOT NULL, ALTER COLUMN amount TYPE numeric(10,2);
DROP INDEX IF EXISTS invoices_period_start_idx;
CREATE UNIQUE INDEX invoices_username_period_start_idx ON invoices (username, period_start);
ALTER TABLE plans ALTER COLUMN price TYPE numeric(10,2);
ALTER TABLE top_ups DROP COLUMN price CASCADE,
    ADD CONSTRAINT top_ups_username_fkey FOREIGN KEY (username) REFERENCES subscribers (username) ON UPDATE CASCADE;
DROP FUNCTION radmeter.note_plan_history, radmeter.note_plan_price, radmeter.rename_top_ups, radmeter.note_rename,
    radmeter.note_default_zone CASCADE;
ALTER TABLE subscribers DROP COLUMN tenant_id CASCADE;
DROP TABLE radmeter.billing_close, radmeter.tenants, radmeter.issuers CASCADE;
DROP TABLE IF EXISTS radmeter.api_requests, radmeter.api_keys, radmeter.ended_logins CASCADE;
DROP TABLE radmeter.alert_mail_line, radmeter.alert_mail, radmeter.alert_mutes, radmeter.alerts, radmeter.alert_watch,
    radmeter.alert_state, radmeter.refused_logins, radmeter.router_hour, radmeter.router_watch CASCADE;
ALTER TABLE routers DROP COLUMN site CASCADE;
DELETE FROM radmeter.setting WHERE name LIKE 'billing%';
"""
# Takes back what revisions 0024 to 0030 made. radcheck stays: it may be FreeRADIUS's own.
BACK_TO_0023 = (
    BACK_TO_0028
    + """
DROP TABLE radmeter.webhook_delivery, radmeter.webhook, radmeter.tenant_realm, radmeter.sent_username CASCADE;
DROP TABLE radmeter.router_coa, radmeter.router_coa_state CASCADE;
DROP TABLE plan_tiers, subscriber_plans, top_ups, radmeter.quota_account, radmeter.quota_booked, radmeter.quota_change,
    radmeter.disconnect_queue, radmeter.quota_notice CASCADE;
ALTER TABLE plans DROP COLUMN quota_bytes_in CASCADE, DROP COLUMN quota_bytes_out CASCADE,
    DROP COLUMN quota_seconds CASCADE, DROP COLUMN speed_up CASCADE, DROP COLUMN speed_down CASCADE,
    DROP COLUMN max_sessions CASCADE, DROP COLUMN session_timeout CASCADE, DROP COLUMN idle_timeout CASCADE,
    DROP COLUMN valid_seconds CASCADE, DROP COLUMN rollover_bytes CASCADE, DROP COLUMN retired_at CASCADE,
    DROP COLUMN period_number CASCADE,
    DROP COLUMN role CASCADE, DROP CONSTRAINT plans_anchor_day_check,
    ADD CONSTRAINT plans_anchor_day_check CHECK (anchor_day BETWEEN 1 AND 31);
ALTER TABLE subscribers DROP COLUMN first_used_at CASCADE, DROP COLUMN suspended_at CASCADE;
ALTER TABLE user_quota_usage DROP COLUMN next_check CASCADE;
DROP FUNCTION radmeter.note_quota_change CASCADE;
"""
)


class Killed(Exception):
    """The process ends here."""


def killed_before(
    dsn: str, function: Callable[[Operation, Adoption], None], work: Callable[[Connection], Any]
) -> None:
    """Do the work, an adoption or its undoing, up to a step."""
    taken = states.take

    def take(step: Step, operation: Operation, adoption: Adoption) -> None:
        if step.function is function:
            raise Killed
        taken(step, operation, adoption)

    with pytest.MonkeyPatch.context() as patch, psycopg.connect(dsn, autocommit=True) as connection:
        patch.setattr(states, "take", take)
        with pytest.raises(Killed):
            work(connection)


def dump(server: Server, dsn: str) -> list[str]:
    """Return the table and its views as pg_dump writes them."""
    done = subprocess.run(
        [server.programs / "pg_dump", "--schema-only", "-t", "public.radacct*", "-t", "public.long*", dsn],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if not line.startswith(("--", "\\"))]


def sessions(dsn: str) -> list[tuple[Any, ...]]:
    """Return all rows, with FreeRADIUS's own columns and the site's."""
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT (row(radacct.*))::text FROM radacct ORDER BY radacctid").fetchall()


class Reader:
    """A tool that reads radacct by name half of the time. The number of rows must not fall, and no row may come twice.

    Adoption waits only briefly for each lock. It would try for ever if one long read followed the other.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn, self._stop = dsn, threading.Event()
        self.faults: list[str] = []
        self.reads = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        most = 0
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stop.is_set():
                begun = time.monotonic()
                try:
                    rows, ids, by_view = connection.execute(
                        """SELECT count(*), count(DISTINCT acctuniqueid), (SELECT count(*) FROM long_sessions)
                           FROM radacct"""
                    ).fetchone() or (0, 0, 0)
                    if rows < most or ids != rows or not by_view:
                        self.faults.append(f"{rows} rows, {ids} ids, {by_view} long ones, after {most}")
                    most = max(most, rows)
                    self.reads += 1
                except psycopg.Error as error:
                    self.faults.append(str(error))
                self._stop.wait(time.monotonic() - begun)


def assert_totals(connection: Connection, traffic: stock.Traffic) -> None:
    """Assert that each session of the traffic is there once, with its last values."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for uid, *rest in connection.execute(
        """SELECT acctuniqueid, acctinputoctets, acctoutputoctets, acctstoptime IS NOT NULL FROM radacct
           WHERE acctsessionid LIKE %s""",
        (f"live{traffic.seed}-%",),
    ):
        found.setdefault(uid, []).append(tuple(rest))
    expected = {
        each.uid: [(each.octets_in, each.octets_out, each.stopped)] for each in traffic.sessions if each.uid
    }
    assert found == expected


def ship(dsn: str, traffic: stock.Traffic) -> None:
    store = Store(dsn)
    try:
        for begin in range(0, len(traffic.journal), 500):
            ingest(store, "test-node", traffic.journal[begin : begin + 500])
    finally:
        store.close()
