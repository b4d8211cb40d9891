"""Each command, run by a database role without its rights, names the role that has them."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from support import documents_of_money as money
from support.command_tree import leaves
from support.commands import Packets, Result, radmeter
from support.logins import as_role, login_role
from support.servers import Connection

from radmeter.plugin.journal.writer import JournalWriter

# Every command that asks the database, with arguments that reach it.
KEYS = "{directory}/secrets.key"
FILES = ("--billing-directory", "{directory}/billing", "--billing-key-file", "{directory}/billing.key")
COMMANDS: dict[str, tuple[str, ...]] = {
    "jobs close-stale": (),
    "jobs close-stale --dry-run": (),
    "jobs expire": (),
    "jobs expire --dry-run": (),
    "jobs clear-personal": (),
    "migrate plan": (),
    "migrate up": ("--yes",),
    "migrate status": (),
    "migrate history": (),
    "migrate sql": (),
    "migrate roles": ("--login", "x=radmeter_reader"),
    "adopt --status": (),
    "adopt --undo": ("--yes",),
    "adopt --from radacct": ("--yes",),
    "partitions list": (),
    "partitions ensure": (),
    "partitions split": ("radacct_legacy", "--yes"),
    "partitions archive": ("--before", "2020-01", "--to", "{directory}"),
    "partitions restore": ("{directory}/x.parquet", "--yes"),
    "usage user": ("alice",),
    "usage users": (),
    "usage router": ("lobby",),
    "explain": ("alice",),
    "report usage --user": ("alice",),
    "report usage --router": ("lobby",),
    "report top users": (),
    "report top routers": (),
    "report compare --what": ("tenants",),
    "report forecast --user": ("alice",),
    "billing export --what": ("lines", "--period", "2026-10", "-o", "{directory}/lines.csv"),
    "billing settings": ("--zero", "draft"),
    "billing close": ("2020-01", "--yes", *FILES),
    "billing list": (),
    "billing show": ("2026-000001",),
    "billing reconcile": ("--yes", *FILES),
    "billing issue": ("2026-09", "--yes", *FILES),
    "billing credit": ("2026-000001", "--amount", "0.10", "--reason", "odd", "--yes", *FILES),
    "billing void": ("2026-000001", "--reason", "odd", "--yes", *FILES),
    "billing discard": ("2020-01", "--yes"),
    "billing statement": ("--period", "2026-10", "--tenant", "acme", "-o", "{directory}/acme.html"),
    "top": ("--count", "1"),
    "sessions": (),
    "routers list": (),
    "routers show": ("lobby",),
    "routers add": ("--name", "hall"),
    "routers claim": ("found",),
    "routers import": ("{directory}/routers.csv",),
    "routers rename": ("lobby", "hall"),
    "routers qualify": ("--tenant", "acme", "--realm", "hotel"),
    "routers assign": ("lobby", "--tenant", "acme", "--from", "2026-01-01"),
    "tenants list": (),
    "tenants show": ("acme",),
    "tenants add": ("x", "--currency", "EUR"),
    "tenants set": ("x", "--note", "y"),
    "tenants rate": ("x", "--from", "2026-01-01", "--per-gb", "0.50"),
    "tenants rates": ("acme",),
    "tenants retire": ("x",),
    "billing issuers list": (),
    "billing issuers add": ("south", "--number-format", "S-{{number}}"),
    "billing issuers set": ("south", "--legal-name", "Example Ltd"),
    "routers set": ("lobby", "--mac", "AA-BB-CC-DD-EE-FF"),
    "routers coa-key": ("--new", "--coa-key-file", "{directory}/coa.key"),
    "routers test-coa": ("lobby",),
    "disconnect": ("alice", "--reason", "test"),
    "queue list": (),
    "queue retry": ("--all",),
    "queue drop": ("--all", "--yes"),
    "routers retire": ("lobby", "--yes"),
    "routers merge": ("lobby", "hall", "--yes"),
    "plans list": (),
    "plans show": ("basic",),
    "plans add": ("x", "--quota", "1GB"),
    "plans set": ("basic", "--quota", "1GB"),
    "plans retire": ("basic",),
    "users list": (),
    "users show": ("dora",),
    "users add": ("x", "--plan", "basic"),
    "users password": ("dora", "--password", "x"),
    "users assign": ("dora", "--plan", "basic"),
    "users set": ("dora", "--tenant", "acme"),
    "users top-up": ("dora", "1GB"),
    "users suspend": ("dora",),
    "users resume": ("dora",),
    "users remove": ("dora", "--yes"),
    "users import": ("{directory}/users.csv",),
    "quota over": (),
    "status": ("--sample", "0"),
    "metrics": (),
    "backfill": ("--yes",),
    "backfill --status": (),
    "backfill --redo": ("--yes",),
    "verify": (),
    "replay": ("{directory}/detail", "--yes"),
    "rejected list": (),
    "rejected show": ("1",),
    "rejected retry": ("1",),
    "rejected drop": ("1", "--yes"),
    "rejected left-out": (),
    "rejected salvage": (),
    "people show": ("alice",),
    "people erase": ("alice", "--yes"),
    "journal status": (),
    "journal incidents": (),
    "journal acknowledge": ("1", "--reason", "known"),
    "journal salvage": ("{directory}/orphans",),
    "journal adopt": ("{directory}/orphans",),
    "audit list": (),
    "audit verify": (),
    "audit head": (),
    "tenants logins": (),
    "tenants login": ("nobody", "--remove"),
    "login list": (),
    "login set": ("message_over", "x"),
    "limits list": (),
    "keys list": (),
    "keys add": ("mine", "--role", "reader"),
    "keys rotate": ("screen",),
    "keys revoke": ("screen", "--yes"),
    "limits set": ("personal_keep_days", "90"),
    "alerts list": (),
    "alerts show": ("1",),
    "alerts ack": ("1",),
    "alerts mute": ("--rule", "router-silent", "--until", "4h"),
    "alerts mutes": (),
    "alerts unmute": ("1",),
    "alerts mails": (),
    "alerts retry": ("1",),
    "alerts rules": (),
    "webhooks add": (
        "https://x.test/",
        "--secret-file",
        "{directory}/hook.secret",
        "--coa-key-file",
        KEYS,
    ),
    "webhooks list": (),
    "webhooks test": ("1", "--coa-key-file", KEYS),
    "webhooks rotate": ("1", "--secret-file", "{directory}/hook.secret", "--coa-key-file", KEYS),
    "webhooks enable": ("1",),
    "webhooks retire": ("1", "--yes"),
    "webhooks queue list": (),
    "webhooks queue retry": ("1",),
    "webhooks queue drop": ("1", "--yes"),
}


# What accountants may do.
ENOUGH = {
    "radmeter_billing": {
        "usage user",
        "usage users",
        "usage router",
        "routers list",
        "plans list",
        "plans show",
        "users list",
        "users show",
        "quota over",
        "tenants list",
        "tenants show",
        "tenants add",
        "tenants set",
        "tenants rate",
        "tenants rates",
        "tenants retire",
        "billing issuers list",
        "billing issuers add",
        "billing issuers set",
        "report usage --router",
        "report top users",
        "report top routers",
        "report compare --what",
        "billing export --what",
        "billing settings",
        "billing close",
        "billing list",
        "billing show",
        "billing reconcile",
        "billing issue",
        "billing credit",
        "billing void",
        "billing discard",
        "billing statement",
    },
    None: set[str](),
}

# They ask no database, run for ever, or say in their findings what they may not see.
OTHERS = {
    "up",
    "simulate",
    "ship",
    "serve",
    "jobs run",
    "config",
    "doctor",
    "people pseudonymise",
    "freeradius install",
    "cache status",
    "cache drop",
    "alerts check",
    "alerts test",
}


def test_every_command_is_tried_without_rights() -> None:
    tried = {command.partition(" --")[0] for command in COMMANDS}
    assert tried | OTHERS == leaves().keys()


@pytest.fixture
def reachable(database: str, connection: Connection, tmp_path: Path) -> Path:
    """The directory of a database and of files with which each command reaches the database."""
    (tmp_path / "routers.csv").write_text("name,mac\nhall,AA-BB-CC-DD-EE-FF\n")
    (tmp_path / "users.csv").write_text("username,plan\nx,basic\n")
    connection.execute("INSERT INTO plans (name) VALUES ('basic')")
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'dora', id FROM plans")
    (tmp_path / "detail").write_text(
        'Mon Mar  2 10:00:00 2026\n\tAcct-Status-Type = Stop\n\tAcct-Session-Id = "1"\n\tTimestamp = 1772445600\n\n'
    )
    (tmp_path / "x.parquet").touch()
    (tmp_path / "secrets.key").write_bytes(Fernet.generate_key())
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "node").write_text("node-1\n")
    with closing(JournalWriter(tmp_path / "orphans")) as writer:
        writer.append(1, "[]")
    connection.execute("INSERT INTO user_quota_usage (username, period_start) VALUES ('alice', '2026-01-01')")
    acme = money.tenant(connection, "acme")
    money.document(connection, acme, [money.line("1.00")])
    money.document(
        connection, acme, [money.line("1.00")], status="draft", number=None, period=date(2026, 9, 1)
    )
    connection.execute(
        "INSERT INTO routers (name, status) VALUES ('lobby', 'active'), ('hall', 'active'), ('found', 'discovered')"
    )
    return tmp_path


def run_all(dsn: str, directory: Path) -> Iterator[tuple[str, Result]]:
    """Run every command as a role, and yield how each ended."""
    for command, arguments in COMMANDS.items():
        yield (
            command,
            radmeter(
                dsn,
                *command.split(),
                *(each.format(directory=directory) for each in arguments),
                RADMETER_JOURNAL=str(directory / "journal"),
            ),
        )


@pytest.mark.parametrize("group", [None, "radmeter_billing"])
def test_a_role_without_the_rights_is_told_which_role_has_them(
    database: str, connection: Connection, reachable: Path, group: str | None
) -> None:
    silent = []
    with login_role(connection, *([group] if group else [])) as role:
        for command, done in run_all(as_role(database, role), reachable):
            told = "run it as a superuser" if command == "migrate roles" else "grant radmeter_"
            if command in ENOUGH[group]:
                if done.exit_code != 0:
                    silent.append((command, done.exit_code, done.errors))
            elif done.exit_code == 0 or told not in done.errors.lower():
                silent.append((command, done.exit_code, done.errors))
    assert not silent, "\n".join(map(str, silent))


# What a tenant's login may do.
TENANTS = {
    "usage router",
    "report usage --router",
    "report top routers",
    "report top users",
    "report compare --what",
    "billing export --what",
    "billing list",
    "billing show",
    "billing statement",
    "routers list",
    "tenants list",
    "tenants show",
    "tenants rates",
    "billing issuers list",
}


def test_a_tenants_login_is_told_to_ask_the_operator(
    database: str, connection: Connection, reachable: Path
) -> None:
    """Whoever granted it what another role is told would show it the rows of all tenants."""
    wrong = []
    for table in ("routers", "subscribers"):
        connection.execute(f"UPDATE {table} SET tenant_id = (SELECT id FROM radmeter.tenants)".encode())
    with login_role(connection, "radmeter_tenant") as role:
        connection.execute(
            "INSERT INTO radmeter.tenant_logins (role_name, tenant_id) SELECT %s, id FROM radmeter.tenants",
            (role,),
        )
        for command, done in run_all(as_role(database, role), reachable):
            if command in TENANTS:
                right = done.exit_code == 0
            else:
                right = done.exit_code != 0 and "ask the operator" in done.errors
            if not right or "grant " in done.errors.lower():
                wrong.append((command, done.exit_code, done.errors))
    assert not wrong, "\n".join(map(str, wrong))


def test_an_accountant_sees_usage_and_no_session(database: str, connection: Connection) -> None:
    connection.execute("INSERT INTO plans (name, quota_bytes) VALUES ('gold', 1000)")
    connection.execute("INSERT INTO subscribers VALUES ('alice', 1)")
    with Packets(database) as packets:
        for session in ("one", "two"):
            packets.add(
                "Stop",
                session,
                User_Name="alice",
                NAS_Identifier="lobby",
                Called_Station_Id="02-00-00-00-00-01:wifi",
                Calling_Station_Id="02-00-00-00-00-99",
                Framed_IP_Address="10.9.8.7",
                Acct_Input_Octets=5,
            )
    connection.execute(
        """INSERT INTO rejected_packet (source, seq, received_at, reason, pairs)
           VALUES ('n', 1, now(), 'odd', '[["Calling-Station-Id", "02-00-00-00-00-99"]]')"""
    )
    seen = (
        ("usage", "user", "alice"),
        ("usage", "user", "alice", "--periods", "12"),
        ("usage", "users"),
        ("usage", "users", "--top", "100000", "--period", f"{datetime.now(UTC):%Y-%m}"),
        ("usage", "router", "#1", "--days", "31"),
        ("usage", "router", "02-00-00-00-00-01"),
        ("routers", "list"),
        ("routers", "list", "--status", "discovered"),
    )
    refused = (
        ("sessions",),
        ("sessions", "--user", "alice"),
        ("explain", "alice"),
        ("people", "show", "alice"),
        ("routers", "show", "#1"),
        ("rejected", "list"),
        ("rejected", "show", "1"),
        ("top", "--count", "1"),
        ("verify", "--user", "alice"),
    )
    with login_role(connection, "radmeter_billing") as role:
        accountant = as_role(database, role)
        for command in seen:
            for options in ((), ("--format", "json"), ("--format", "csv"), ("--wide", "--utc")):
                done = radmeter(accountant, *command, *options)
                assert (done.exit_code, done.errors) == (0, ""), (command, options)
                assert done.output == radmeter(database, *command, *options).output
                assert not any(each in done.output.replace("-", ":") for each in ("00:99", "10.9.8.7"))
        export = radmeter(accountant, "usage", "users", "--format", "csv", "--pseudonyms").csv()
        assert [row["bytes_in"] for row in export] == ["10"]
        assert export[0]["username"] != "alice"
        for denied in refused:
            done = radmeter(accountant, *denied)
            assert (done.exit_code, done.output) == (1, ""), denied
            assert done.errors.startswith("error: permission denied for "), denied
            assert done.errors.endswith(": grant radmeter_reader to the database role in use\n"), denied
        unknown = radmeter(accountant, "usage", "user", "nosuch")
        assert unknown.errors == (
            "error: there is no user 'nosuch': no subscriber or counter has exactly this name. "
            "`radmeter usage users` lists users\n"
        )
