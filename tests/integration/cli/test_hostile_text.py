"""Every command that shows text of others writes out its control characters, in every format, and in errors."""

import csv
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
from support import documents_of_money, stock
from support.command_tree import leaves
from support.commands import Packets, Result, radmeter
from support.ledger import ingest
from support.servers import Connection, Server

from radmeter.ingest.store import Store
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.printable import CONTROL
from radmeter.spreadsheets import harmless

# Colors, the title of a window, C1, the direction of writing, and a line that looks like ours.
HOSTILE = "=1\x1b[31m\x1b]0;t\x07\x7f\x9b2J\u202e\u2066\u061c\r\nerror: forged;@x"
COLUMN = "A\x1b[31m\n\u202e, b"
NODE = "node\x1b[31m\nerror: forged"
FORMATS = ("table", "json", "csv")
# The arguments of each command that has --format. {user} and {router} are hostile names.
READ: dict[str, tuple[str, ...]] = {
    "billing settings": (),
    "billing close": ("2020-01", "--dry-run"),
    "billing list": (),
    "billing show": ("{invoice}",),
    "simulate": (),  # sends to a server, and shows names of its own
    "queue list": (),
    "routers qualify": (),
    "routers test-coa": ("{router}",),
    "jobs close-stale": ("--dry-run",),
    "migrate plan": ("--reapply",),
    "migrate status": (),
    "migrate history": (),
    "adopt": ("--status",),
    "partitions list": (),
    "usage user": ("{user}",),
    "usage users": (),
    "usage router": ("{router}",),
    "explain": ("{user}", "--packets"),
    "report usage": ("--router", "{router}"),
    "report top users": (),
    "report top routers": (),
    "report compare": ("--what", "users"),
    "report forecast": ("--router", "{router}"),
    "sessions": (),
    "routers list": (),
    "routers show": ("{router}",),
    "status": ("--sample", "0"),
    "backfill": ("--status",),
    "verify": (),
    "doctor": ("--verbose",),
    "rejected list": (),
    "rejected show": ("{rejected}",),
    "rejected left-out": (),
    "jobs expire": ("--dry-run",),
    "config": (),
    "limits list": (),
    "keys list": (),
    "tenants list": ("--retired",),
    "tenants show": ("{user}",),
    "tenants rates": ("{user}",),
    "billing issuers list": (),
    "plans list": (),
    "plans show": ("{user}",),
    "users list": (),
    "users show": ("{user}",),
    "alerts list": (),
    "alerts show": ("1",),
    "alerts mutes": (),
    "alerts mails": (),
    "alerts rules": (),
    "alerts check": ("{rules}",),
    "webhooks list": (),
    "webhooks queue list": (),
    "quota over": (),
    "cache status": ("{user}",),  # FreeRADIUS answers, and there is none here
    "audit list": (),
    "audit verify": (),
    "tenants logins": (),
    "login list": (),
    "people show": ("{user}",),
    "people erase": ("{user}", "--yes", "--even-open"),
    "journal status": ("--all",),
    "journal incidents": ("--all",),
    "journal salvage": ("{journal}",),
    "journal adopt": ("{journal}",),
}
WITHOUT_DATA = {"simulate", "jobs close-stale", "migrate plan", "migrate status", "migrate history", "adopt"}
WITHOUT_DATA |= {
    "billing close",
    "billing settings",
    "jobs expire",
    "limits list",
    "cache status",
    "audit verify",
    "tenants logins",
    "login list",
    "partitions list",
    "backfill",
    "verify",
    "config",
    "routers qualify",  # a realm has letters, digits, dots and dashes
    "tenants rates",  # no text of the operator's but the tax rule, which is checked
    "routers test-coa",  # the router has no secret
    "journal adopt",
    "journal status",
    "report usage",  # JSON has days and octets only
    "report forecast",  # too little history
}


def formats(command: click.Command) -> tuple[str, ...]:
    """Return what a command's --format takes; nothing if it has no such option."""
    kinds = [option.type for option in command.params if option.name == "output_format"]
    return tuple(kinds[0].choices) if kinds and isinstance(kinds[0], click.Choice) else ()


def test_every_command_with_a_format_is_looked_at() -> None:
    assert {name for name, command in leaves().items() if formats(command)} == READ.keys()


def assert_harmless(done: Result, what: object) -> None:
    for text in (done.output, done.errors):
        found = CONTROL.search(text.replace("\n", ""))
        assert not found, (what, text)
        assert "Traceback" not in text, (what, text)
        assert not [line for line in text.splitlines() if line.startswith("error: forged")], (what, text)
        text.encode()  # no surrogate


@pytest.fixture
def hostile(database: str, connection: Connection) -> dict[str, str]:
    """Fill the database with text of an attacker's, wherever a packet or a writer of tables can put it."""
    with Packets(database) as packets:
        packets.add(
            "Start", HOSTILE, User_Name=HOSTILE, NAS_Identifier=HOSTILE, Calling_Station_Id=HOSTILE, ago=3600
        )
        packets.add(
            "Interim-Update",
            HOSTILE,
            User_Name=HOSTILE,
            NAS_Identifier=HOSTILE,
            Calling_Station_Id=HOSTILE,
            Acct_Input_Octets=1000,
            Acct_Session_Time=60,
            ago=3500,
        )
    store = Store(database)
    received_us = int(time.time() * 1e6)
    pairs = [["User-Name", HOSTILE], ["Acct-Session-Id", HOSTILE], [HOSTILE, HOSTILE]]
    ingest(store, NODE, [{"seq": 1, "received_us": received_us, "reason": HOSTILE, "pairs": pairs}])
    store.close()
    connection.execute(
        """INSERT INTO radmeter.kept_per_hour
               (kind, source, hour, client, kept, kept_bytes, left_out, first_seq, last_seq)
           VALUES ('rejected packet', %s, now(), %s, 1, 1, 1, 1, 1)""",
        (NODE, HOSTILE),
    )
    connection.execute(
        "SELECT radmeter.note_incident(%s, %s::json)",
        (NODE, json.dumps({"kind": "missing", "detail": HOSTILE, "reason": HOSTILE})),
    )
    connection.execute(
        "INSERT INTO radmeter.webhook (url, events, secret) VALUES (%s, %s, 'sealed')", (HOSTILE, [HOSTILE])
    )
    connection.execute(
        """INSERT INTO radmeter.alerts (rule, kind, severity, site, username, began_at, fired_at, acked_by, ack_note)
           VALUES (%(text)s, %(text)s, 'warning', %(text)s, %(text)s, now(), now(), %(text)s, %(text)s)""",
        {"text": HOSTILE},
    )
    connection.execute(
        """INSERT INTO radmeter.alert_mutes (rule, site, username, until_at, note, created_by)
           VALUES (%(text)s, %(text)s, %(text)s, now() + interval '1 day', %(text)s, %(text)s)""",
        {"text": HOSTILE},
    )
    connection.execute(
        "INSERT INTO radmeter.alert_mail (recipients, created_at, error) VALUES (ARRAY[%(text)s], now(), %(text)s)",
        {"text": HOSTILE},
    )
    connection.execute(
        """UPDATE radmeter.alert_state SET rules_error = %(text)s, mail_error = %(text)s,
               rules = jsonb_build_array(jsonb_build_object('name', %(text)s::text, 'kind', 'quota',
                                                            'severity', %(text)s::text))""",
        {"text": HOSTILE},
    )
    connection.execute(
        """INSERT INTO radmeter.webhook_delivery
               (webhook_id, message_id, type, subject, data, happened_at, error)
           VALUES (1, gen_random_uuid(), %(text)s, %(text)s, '{}', now(), %(text)s)""",
        {"text": HOSTILE},
    )
    connection.execute(
        """INSERT INTO radmeter.disconnect_queue (radacctid, username, act, reason, error, requested_by)
           SELECT radacctid, username, 'disconnect', %(text)s, %(text)s, %(text)s FROM radacct""",
        {"text": HOSTILE},
    )
    (router,) = connection.execute("SELECT id FROM routers").fetchone() or (None,)
    (rejected,) = connection.execute("SELECT id FROM rejected_packet").fetchone() or (None,)
    connection.execute("INSERT INTO plans (name, timezone, quota_bytes) VALUES (%s, 'UTC', 0)", (HOSTILE,))
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT %s, id FROM plans", (HOSTILE,))
    connection.execute(
        "INSERT INTO top_ups (username, bytes, note, added_by) VALUES (%s, 1, %s, %s)", (HOSTILE,) * 3
    )
    connection.execute(
        """WITH made AS (
               INSERT INTO radmeter.tenants (name, currency, digits, timezone, legal_name, address, note, issuer_id)
               VALUES (%(text)s, 'EUR', 2, 'UTC', %(text)s, %(text)s, %(text)s, 1) RETURNING id), rate AS (
               INSERT INTO radmeter.tenant_rates SELECT id, '2026-01-01', '{"price": "1"}' FROM made)
           INSERT INTO radmeter.router_tenant SELECT %(router)s, '2026-01-01', id FROM made""",
        {"text": HOSTILE, "router": router},
    )
    connection.execute(
        """INSERT INTO radmeter.api_keys (id, family, name, role, tenant_id, secret_sha256, created_by)
           SELECT 'AAAAAAAA', 'AAAAAAAA', %(text)s, 'tenant', id, sha256(''), %(text)s FROM radmeter.tenants
           WHERE name = %(text)s""",
        {"text": HOSTILE},
    )
    connection.execute(
        "UPDATE radmeter.issuers SET legal_name = %(text)s, address = %(text)s", {"text": HOSTILE}
    )
    connection.execute(
        "SELECT radmeter.audit(%(text)s, jsonb_build_object(%(text)s::text, %(text)s::text))",
        {"text": HOSTILE},
    )
    # A counter that differs, a partition and a function of somebody else's making.
    connection.execute("UPDATE user_quota_usage SET bytes_in = bytes_in + 1")
    connection.execute(
        f"CREATE FUNCTION radmeter.{quoted(COLUMN)}() RETURNS int LANGUAGE sql AS 'SELECT 1'".encode()
    )
    connection.execute(f"ALTER TABLE radacct ADD COLUMN {quoted(COLUMN)} text".encode())
    ((tenant,),) = connection.execute(
        "SELECT id FROM radmeter.tenants WHERE name = %s", (HOSTILE,)
    ).fetchall()
    invoice = documents_of_money.document(
        connection,
        tenant,
        [documents_of_money.line("1.00", description=HOSTILE, arithmetic=HOSTILE, tax_rule=HOSTILE)],
        status="draft",
        number=None,
    )
    return {"user": HOSTILE, "router": f"#{router}", "rejected": str(rejected), "invoice": f"#{invoice}"}


def quoted(name: str) -> str:
    return psycopg.sql.Identifier(name).as_string(None)


def strings(value: Any) -> Iterator[str]:
    """Yield all text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.items() for each in item for text in strings(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in strings(each))


def test_no_command_writes_control_characters(database: str, hostile: dict[str, str], tmp_path: Path) -> None:
    journal = tmp_path / "journal \x1b[31m\n\u202e"
    writer = JournalWriter(journal)
    writer.append(int(time.time() * 1e6), json.dumps([["User-Name", HOSTILE]]))
    writer.close()
    rules = tmp_path / "alerts.toml"
    # DEL is the only character that TOML wants escaped and JSON does not.
    site = json.dumps(HOSTILE).replace("\x7f", "\\u007f")
    rules.write_text(f'[[rule]]\nname = "silent"\nkind = "router_silent"\nsites = [{site}]\n')
    tree = leaves()
    for name, arguments in READ.items():
        if name == "simulate":
            continue
        given = [argument.format(**hostile, journal=journal, rules=rules) for argument in arguments]
        for kind in formats(tree[name]):
            raws = ([], ["--raw"]) if kind == "csv" else ([],)
            for raw in raws:
                done = radmeter(
                    database, *name.split(), *given, "--format", kind, *raw, RADMETER_JOURNAL=str(journal)
                )
                what = (name, kind, *raw)
                assert_harmless(done, what)
                if kind == "json" and done.output:
                    shown = list(strings(json.loads(done.output)))
                    assert name in WITHOUT_DATA or any(CONTROL.search(text) for text in shown), what
                elif kind == "csv" and done.output:
                    cells = [cell for row in csv.reader(io.StringIO(done.output)) for cell in row]
                    assert raw or all(cell == harmless(cell) or NUMBER.fullmatch(cell) for cell in cells), (
                        what
                    )
                elif name not in WITHOUT_DATA:
                    assert "\\u001b" in done.output + done.errors, what


NUMBER = re.compile(r"-?[0-9.]+")


def test_json_decodes_to_the_very_text(database: str, hostile: dict[str, str]) -> None:
    (session,) = radmeter(database, "sessions", "--format", "json").json()
    assert (session["username"], session["router"]) == (HOSTILE, HOSTILE)
    (usage,) = radmeter(database, "usage", "user", HOSTILE, "--format", "json").json()
    assert usage["bytes_in"] == 1001
    (packet,) = radmeter(database, "rejected", "list", "--format", "json").json()
    assert (packet["reason"], packet["username"], packet["node"]) == (HOSTILE, HOSTILE, NODE)


def test_csv_is_harmless_by_default_and_raw_on_request(database: str, hostile: dict[str, str]) -> None:
    (session,) = radmeter(database, "sessions", "--format", "csv").csv()
    assert session["username"].startswith("'=1\\u001b[31m")
    assert session["username"].endswith("error: forged;'@x")
    (session,) = radmeter(database, "sessions", "--format", "csv", "--raw").csv()
    assert session["username"].startswith("=1\\u001b[31m")
    done = radmeter(database, "sessions", "--raw")
    assert (done.exit_code, done.output) == (2, "")
    assert "--raw goes with --format csv" in done.errors


# Commands that end with an error or a message that names what they were given. The hostile text is a name, a file or
# a name in the database.
MESSAGES: list[Callable[[Path, dict[str, str]], list[str | Path]]] = [
    lambda place, names: ["usage", "router", HOSTILE + "x"],
    lambda place, names: ["routers", "claim", names["router"], "--name", HOSTILE],
    lambda place, names: ["routers", "claim", names["router"], "--timezone", HOSTILE],
    lambda place, names: ["routers", "claim", names["router"], "--mac", HOSTILE],
    lambda place, names: ["routers", "set", names["router"], "--ip", HOSTILE],
    lambda place, names: ["routers", "set", names["router"], "--timezone", "Europe/Berlin"],
    lambda place, names: ["routers", "rename", names["router"], "lobby"],
    lambda place, names: ["routers", "retire", names["router"], "--yes"],
    lambda place, names: ["routers", "merge", names["router"], names["router"], "--yes"],
    lambda place, names: ["routers", "add", "--name", HOSTILE],
    lambda place, names: ["routers", "import", place / "inventory.csv"],
    lambda place, names: ["users", "import", place / "users.csv"],
    lambda place, names: ["users", "add", HOSTILE, "--plan", HOSTILE],
    lambda place, names: ["users", "add", "x", "--plan", HOSTILE + "x"],
    lambda place, names: ["users", "show", HOSTILE + "x"],
    lambda place, names: ["users", "assign", HOSTILE, "--without", HOSTILE],
    lambda place, names: ["users", "assign", HOSTILE, "--plan", HOSTILE],
    lambda place, names: ["users", "top-up", HOSTILE, HOSTILE],
    lambda place, names: ["users", "top-up", HOSTILE, "1GB", "--note", HOSTILE],
    lambda place, names: ["users", "password", HOSTILE, "--password", HOSTILE],
    lambda place, names: ["users", "suspend", HOSTILE],
    lambda place, names: ["users", "top-up", HOSTILE, "--undo", "1"],
    lambda place, names: ["users", "remove", HOSTILE, "--yes"],
    lambda place, names: ["plans", "add", HOSTILE, "--quota", "1GB"],
    lambda place, names: ["plans", "add", "x", "--quota", HOSTILE],
    lambda place, names: ["plans", "add", "x", "--tier", HOSTILE],
    lambda place, names: ["plans", "add", "x", "--quota", "1GB", "--timezone", HOSTILE],
    lambda place, names: ["plans", "set", HOSTILE, "--quota", "1GB"],
    lambda place, names: ["plans", "retire", HOSTILE + "x"],
    lambda place, names: ["tenants", "add", HOSTILE, "--currency", "EUR"],
    lambda place, names: ["tenants", "add", "x", "--currency", HOSTILE],
    lambda place, names: ["tenants", "add", "x", "--currency", "EUR", "--address", HOSTILE],
    lambda place, names: ["tenants", "set", HOSTILE, "--language", HOSTILE],
    lambda place, names: ["tenants", "rate", HOSTILE, "--from", "2026-01-01", "--tier", HOSTILE],
    lambda place, names: ["tenants", "rate", HOSTILE, "--from", "2026-02-01", "--per-gb", "1"],
    lambda place, names: ["tenants", "retire", HOSTILE],
    lambda place, names: ["routers", "assign", names["router"], "--tenant", HOSTILE, "--from", "2026-02-01"],
    lambda place, names: ["routers", "assign", names["router"], "--tenant", HOSTILE + "x"],
    lambda place, names: ["users", "set", HOSTILE, "--tenant", HOSTILE],
    lambda place, names: ["billing", "issuers", "add", HOSTILE, "--number-format", HOSTILE],
    lambda place, names: ["billing", "issuers", "set", HOSTILE, "--yearly"],
    lambda place, names: ["routers", "import", place / HOSTILE.replace("/", "")],
    lambda place, names: ["replay", "--yes", place / "detail\x1b[31m\nerror: forged\u202e"],
    lambda place, names: ["replay", "--yes", place / "missing\x1b[31m\nerror: forged\u202e"],
    lambda place, names: ["replay", "--yes", place / "\udcff\x9b.gz"],
    lambda place, names: ["partitions", "restore", place / "missing\x1b[31m\nerror: forged\u202e"],
    lambda place, names: ["partitions", "restore", place / "detail\x1b[31m\nerror: forged\u202e"],
    lambda place, names: ["partitions", "archive", "--before", "2001-01", "--to", place / HOSTILE],
    lambda place, names: ["journal", "salvage", place / "missing\x1b[31m\nerror: forged\u202e"],
    lambda place, names: ["journal", "salvage", place / "detail\x1b[31m\nerror: forged\u202e"],
    lambda place, names: ["journal", "adopt", place / "detail\x1b[31m\nerror: forged\u202e"],
    lambda place, names: ["journal", "acknowledge", "1", "--reason", HOSTILE],
    lambda place, names: ["rejected", "retry", "--all"],
    lambda place, names: ["rejected", "list", "--since", HOSTILE],
    lambda place, names: ["doctor", "--only", HOSTILE],
    lambda place, names: ["adopt", "--from", HOSTILE],
    lambda place, names: ["migrate", "sql", "--from", HOSTILE],
    lambda place, names: ["migrate", "sql"],
    lambda place, names: ["ship", "--batch-records", HOSTILE],
    lambda place, names: ["explain", HOSTILE + "x"],
    lambda place, names: ["explain", names["user"], "--period", HOSTILE],
    lambda place, names: ["sessions", "--columns", HOSTILE],
    lambda place, names: ["verify", "--router", HOSTILE + "x"],
    lambda place, names: ["config", "--journal", HOSTILE],
    lambda place, names: ["no\x1b[31m\nerror: forged"],
    lambda place, names: ["status", "no\x1b[31m\nerror: forged"],
]


def test_no_message_does(database: str, hostile: dict[str, str], tmp_path: Path) -> None:
    inventory = f"name,mac,timezone\n\x1b[31m\u202e,{HOSTILE.splitlines()[0]},x\n{'x' * 300},\x9b,\x7f\n"
    (tmp_path / "inventory.csv").write_text(inventory)
    (tmp_path / "users.csv").write_text(
        f"username,plan\n\x1b[31m\u202e,{HOSTILE.splitlines()[0]}\nx,\x9b\x7f\n"
    )
    (tmp_path / "detail\x1b[31m\nerror: forged\u202e").write_text(
        f"Fri Nov 20 11:43:03 2026\n\tUser-Name = \x1b[31m\u202e\x9b\n\t{HOSTILE.splitlines()[0]}\n\n"
    )
    for arguments in MESSAGES:
        given = arguments(tmp_path, hostile)
        assert_harmless(radmeter(database, *given), given)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_plan_of_an_adoption_names_columns_escaped(server: Server, kind: str) -> None:
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            connection.execute(f"ALTER TABLE radacct ADD COLUMN {quoted(COLUMN)} text".encode())
            connection.execute(f"CREATE INDEX {quoted(COLUMN + 'i')} ON radacct ({quoted(COLUMN)})".encode())
            connection.execute(f"CREATE VIEW {quoted(COLUMN + 'v')} AS SELECT username FROM radacct".encode())
        done = radmeter(dsn, "adopt", "--from", "radacct", "--plan", "--format", kind)
        assert done.exit_code == 0
        assert_harmless(done, kind)
        if kind == "table":
            assert r'the columns U&"A\+00001b[31m\+00000a\+00202e, b".' in done.output
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"ALTER TABLE radacct ADD UNIQUE ({quoted(COLUMN)})".encode())
            connection.execute(
                f"CREATE MATERIALIZED VIEW {quoted(COLUMN + 'm')} AS SELECT username FROM radacct".encode()
            )
        done = radmeter(dsn, "adopt", "--from", "radacct", "--plan", "--format", kind)
        assert done.exit_code == 1
        assert r'U&"A\+00001b[31m\+00000a\+00202e, b"' in done.errors
        assert_harmless(done, kind)
