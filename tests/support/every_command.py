"""A database about which every command has something to say, and arguments with which each does."""

import json
import time
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.fernet import Fernet

from radmeter.ingest.store import Store
from radmeter.plugin.journal.writer import JournalWriter
from support import documents_of_money
from support.adopted import put
from support.archives import sessions_of
from support.commands import Packets, radmeter
from support.ledger import ingest
from support.servers import Connection
from support.shipping import fill

FILES = ("--billing-directory", "{directory}/billing", "--billing-key-file", "{directory}/billing.key")
# In the order in which they run: some change what later ones find. {directory} is that of `prepared`.
RUNS: dict[str, tuple[str, ...]] = {
    "config": (),
    "usage user": ("alice",),
    "usage users": (),
    "queue list": (),
    "queue retry": ("--all",),
    "queue drop": ("--all", "--yes"),
    "usage router": ("#1",),
    "explain": ("alice", "--packets"),
    "report usage": ("--user", "alice", "--plot", "{directory}/alice.svg"),
    "report top users": (),
    "report top routers": (),
    "report compare": (),
    "billing export": ("--period", "2026-10", "--what", "invoices", "-o", "{directory}/invoices.csv"),
    "billing settings": ("--zero", "draft"),
    "billing close": ("2020-01", "--yes"),
    "billing reconcile": ("--yes", *FILES),
    "billing issue": ("2026-09", "--yes", *FILES),
    "billing list": (),
    "billing show": ("2026-000001",),
    "billing credit": ("2026-000001", "--amount", "0.10", "--reason", "odd", "--yes", *FILES),
    "billing void": ("2026-000001", "--reason", "odd", "--yes", *FILES),
    "billing discard": ("2020-01", "--yes"),
    "billing statement": ("--period", "2026-10", "--tenant", "printed", "-o", "{directory}/printed.pdf"),
    "sessions": (),
    "top": ("--count", "1", "--seconds", "0.2"),
    "status": ("--sample", "0"),
    "metrics": (),
    "doctor": ("--only", "connection"),
    "verify": ("--repair", "--yes"),
    "jobs close-stale": (),
    "jobs expire": (),
    "jobs clear-personal": (),
    "audit list": (),
    "audit verify": (),
    "audit head": (),
    "tenants logins": (),
    "tenants login": ("radmeter_gone", "--remove"),
    "login list": (),
    "login set": ("message_over", "x"),
    "limits list": (),
    "keys add": ("screen", "--role", "reader"),
    "keys list": (),
    "keys rotate": ("screen",),
    "keys revoke": ("screen", "--yes"),
    "limits set": ("personal_keep_days", "90", "--yes"),
    "alerts list": ("--all",),
    "alerts show": ("1",),
    "alerts ack": ("1",),
    "alerts mute": ("--rule", "router-silent", "--until", "4h"),
    "alerts mutes": (),
    "alerts unmute": ("1",),
    "alerts mails": (),
    "alerts retry": ("--all",),
    "alerts rules": (),
    "alerts check": (),
    "webhooks list": (),
    "webhooks add": ("https://two.test/", "--secret-file", "{directory}/hook.secret"),
    "webhooks rotate": ("1", "--secret-file", "{directory}/hook.secret"),
    "webhooks enable": ("1",),
    "webhooks queue list": (),
    "webhooks queue retry": ("1",),
    "webhooks queue drop": ("1", "--yes"),
    "webhooks retire": ("1", "--yes"),
    "tenants add": ("acme", "--currency", "EUR"),
    "tenants list": (),
    "tenants set": ("acme", "--note", "x"),
    "tenants rate": ("acme", "--from", "2026-01-01", "--per-gb", "0.50"),
    "tenants rates": ("acme",),
    "tenants show": ("acme",),
    "tenants retire": ("printed",),
    "billing issuers add": ("south", "--number-format", "S-{{number}}"),
    "billing issuers set": ("south", "--legal-name", "Example Ltd"),
    "billing issuers list": (),
    "routers list": (),
    "routers show": ("#1",),
    "routers add": ("--name", "hall"),
    "routers claim": ("#1", "--name", "lobby"),
    "routers import": ("{directory}/routers.csv",),
    "routers rename": ("lobby", "lounge"),
    "routers qualify": ("--tenant", "7", "--realm", "hotel"),
    "routers set": ("lounge", "--timezone", "UTC"),
    "routers assign": ("lounge", "--tenant", "acme", "--from", "2026-01-01"),
    "routers coa-key": ("--new", "--forget", "--coa-key-file", "{directory}/coa.key"),
    "routers retire": ("hall", "--yes"),
    "routers merge": ("attic", "lounge", "--yes"),
    "plans add": ("gold", "--quota", "10MB"),
    "plans list": (),
    "plans show": ("gold",),
    "plans set": ("gold", "--quota", "20MB"),
    "users add": ("bob", "--plan", "gold", "--password", "secret"),
    "users password": ("bob", "--password", "other"),
    "users show": ("bob",),
    "users list": (),
    "users set": ("bob", "--tenant", "acme"),
    "users assign": ("bob", "--also", "basic"),
    "users top-up": ("bob", "20MB"),
    "users suspend": ("bob",),
    "users resume": ("bob",),
    "users remove": ("bob", "--yes"),
    "users import": ("{directory}/users.csv",),
    "plans retire": ("gold",),
    "quota over": (),
    "rejected list": (),
    "rejected show": ("1",),
    "rejected retry": ("1",),
    "rejected drop": ("1", "--yes"),
    "rejected left-out": (),
    "rejected salvage": (),
    "journal status": (),
    "journal incidents": (),
    "journal acknowledge": ("1", "--reason", "known"),
    "journal salvage": ("{directory}/orphans",),
    "journal adopt": ("{directory}/orphans",),
    "replay": ("{directory}/detail", "--yes"),
    "people show": ("alice",),
    "people erase": ("alice", "--even-open", "--yes"),
    "migrate plan": (),
    "migrate up": ("--reapply", "--yes"),
    "migrate status": (),
    "migrate history": (),
    "migrate sql": ("--from", "base"),
    "adopt": ("--status",),
    "backfill": ("--status",),
    "partitions list": (),
    "partitions ensure": (),
    "partitions split": ("radacct_legacy", "--dry-run"),
    "partitions archive": ("--before", "2025-12", "--to", "{directory}", "--yes"),
    "partitions restore": ("{directory}/radacct_2025_10.parquet", "--yes"),
    "people pseudonymise": ("{directory}/radacct_2025_10.parquet", "--to", "{directory}/copy.parquet"),
}
# Why the others are not among them.
OTHERS = {
    "report forecast": "needs weeks of usage: tests/integration/usage/test_report.py",
    "disconnect": "tests/integration/quotas/test_coa_commands.py",
    "routers test-coa": "sends to a router: tests/integration/quotas/test_coa_commands.py",
    "up": "tests/acceptance/test_up.py",
    "simulate": "needs a server; its output is `emit`, as that of others",
    "ship": "only logs",
    "serve": "only logs: tests/integration/api",
    "jobs run": "only logs",
    "alerts test": "needs a mail server: tests/integration/alerts/test_mail.py",
    "webhooks test": "needs an endpoint: tests/integration/webhooks/test_webhooks.py",
    "migrate roles": "makes roles of the whole server",
    "freeradius install": "tests/acceptance/test_freeradius_install.py",
    "cache status": "tests/acceptance/test_logins.py",
    "cache drop": "the same",
}


LEGACY = """
CREATE TABLE public.radacct_legacy (LIKE public.radacct INCLUDING DEFAULTS);
CREATE UNIQUE INDEX ON public.radacct_legacy (radacctid);
CREATE INDEX ON public.radacct_legacy (acctuniqueid);
CREATE INDEX ON public.radacct_legacy (username, acctstarttime);
CREATE INDEX ON public.radacct_legacy (router_id, acctstarttime) WHERE router_id IS NOT NULL;
ALTER TABLE public.radacct ATTACH PARTITION public.radacct_legacy
    FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-03-01 00:00:00+00')"""


def prepared(dsn: str, connection: Connection, directory: Path) -> dict[str, str]:
    """Fill a new database, and a directory with the files that the commands read. Return the settings to run with."""
    assert radmeter(dsn, "partitions", "ensure", "2025-10", "2025-11").exit_code == 0
    for month in ("2025-10", "2025-11"):
        sessions_of(dsn, connection, month, 3)
    archived = radmeter(dsn, "partitions", "archive", "--before", "2025-11", "--to", directory, "--yes")
    assert archived.exit_code == 0, archived.errors
    connection.execute(LEGACY)
    when = datetime(2026, 1, 20, tzinfo=UTC)
    put(connection, "adopted", start=when, update=when, stop=when, octets=(5, 7))
    with Packets(dsn) as packets:
        for number in range(3):
            packets.add(
                "Stop" if number else "Start",
                f"s{number}",
                ago=3600,
                User_Name="alice",
                NAS_Identifier="lobby",
                Called_Station_Id="02-00-00-00-00-01:lobby",
                Acct_Input_Octets=10**9,
            )
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason)
           SELECT radacctid, username, 'disconnect', 'over' FROM radacct WHERE username = 'alice' LIMIT 1"""
    )
    store = Store(dsn)
    pairs = [["User-Name", "alice"], ["Acct-Session-Id", "x"]]
    ingest(
        store, "other", [{"seq": 1, "received_us": int(time.time() * 1e6), "reason": "odd", "pairs": pairs}]
    )
    store.close()
    connection.execute(
        "SELECT radmeter.note_incident('other', %s::json)", (json.dumps({"kind": "missing", "detail": "x"}),)
    )
    connection.execute(
        """INSERT INTO radmeter.tenants (id, name, timezone, issuer_id) VALUES (7, 'inn', 'UTC', 1);
           UPDATE routers SET tenant_id = 7"""
    )
    # A counter that differs.
    connection.execute("UPDATE user_quota_usage SET bytes_in = bytes_in + 1 WHERE username = 'alice'")
    connection.execute("INSERT INTO plans (name) VALUES ('basic')")
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'dora', id FROM plans")
    printed = documents_of_money.tenant(connection, "printed")
    documents_of_money.document(connection, printed, [documents_of_money.line("1.00")])
    documents_of_money.document(
        connection,
        printed,
        [documents_of_money.line("1.00")],
        status="draft",
        number=None,
        period=date(2026, 9, 1),
    )
    (directory / "users.csv").write_text("username,plan\nemil,basic\n")
    (directory / "routers.csv").write_text("name,mac\nattic,02-00-00-00-00-09\n")
    (directory / "detail").write_text(
        'Mon Mar  2 10:00:00 2026\n\tAcct-Status-Type = Stop\n\tAcct-Session-Id = "d"\n\tUser-Name = "dora"\n'
        "\tTimestamp = 1772445600\n\n"
    )
    fill(directory / "orphans", range(3))
    with closing(JournalWriter(directory / "journal")) as writer:
        writer.append(int(time.time() * 1e6), json.dumps(pairs))
    (directory / "secrets.key").write_bytes(Fernet.generate_key())
    settings = {
        "RADMETER_JOURNAL": str(directory / "journal"),
        "RADMETER_COA_KEY_FILE": str(directory / "secrets.key"),
    }
    added = radmeter(
        dsn, "webhooks", "add", "https://one.test/", "--secret-file", directory / "one.secret", **settings
    )
    assert added.exit_code == 0, added.errors
    connection.execute(
        """INSERT INTO radmeter.alerts (rule, kind, severity, router_id, began_at, fired_at)
           VALUES ('router-silent', 'router_silent', 'warning', 1, now(), now())"""
    )
    connection.execute(
        """INSERT INTO radmeter.webhook_delivery
               (webhook_id, message_id, type, subject, data, happened_at, state, ended_at, error)
           VALUES (1, gen_random_uuid(), 'quota.over', 'alice', '{"username": "alice"}', now(), 'dead', now(), 'odd')"""
    )
    return settings
