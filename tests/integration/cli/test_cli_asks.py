"""Every command that changes or deletes something for good asks first. Without a terminal it wants --yes."""

from pathlib import Path

import psycopg
import pytest
from support import stock
from support.command_tree import leaves
from support.commands import radmeter
from support.every_command import prepared
from support.screens import screen
from support.servers import Connection, Server

READS = "it only reads"
AGAIN = "a further call changes it back"
# Commands that ask, with arguments that reach the question.
ASKS: dict[str, list[tuple[str, ...]]] = {
    "billing close": [("2020-01",)],
    "billing discard": [("2026-09",)],
    "billing issue": [("2026-09",)],
    "billing credit": [("2026-000001", "--amount", "0.10", "--reason", "odd")],
    "billing void": [("2026-000001", "--reason", "odd")],
    "billing reconcile": [()],
    "replay": [("{directory}/detail",), ("-",)],
    "verify": [("--repair",)],
    "routers retire": [("#1",)],
    "routers merge": [("#1", "#2")],
    "queue drop": [("1",)],
    "rejected drop": [("1",), ("--reason", "odd")],
    "users remove": [("bob",)],
    "people erase": [("alice", "--even-open")],
    "limits set": [("personal_keep_days", "90")],
    "webhooks retire": [("1",)],
    "keys revoke": [("screen",)],
    "webhooks queue drop": [("1",), ("--all",)],
    "migrate up": [("--reapply",)],
    "adopt": [("--from", "radacct"), ("--undo",)],
    "backfill": [(), ("--redo",), ("--leave", "all")],
    "partitions archive": [("--before", "2025-12", "--to", "{directory}")],
    "partitions restore": [("{directory}/radacct_2025_10.parquet",)],
    "partitions split": [("radacct_legacy",)],
    "freeradius install": [],  # tests/acceptance/test_freeradius_install.py
}
# Of those, the ones that this database refuses before they ask: below, and in test_backfill_rejected.py.
ELSEWHERE = {("adopt", "--from", "radacct"), ("adopt", "--undo"), ("backfill", "--leave", "all")}
# Why the others do not ask.
WITHOUT = {
    "up": "what it makes is its own",
    "simulate": "it only sends packets",
    "usage user": READS,
    "usage users": READS,
    "usage router": READS,
    "explain": READS,
    "report usage": READS,
    "report top users": READS,
    "report top routers": READS,
    "report compare": READS,
    "report forecast": READS,
    "billing export": "the same data give the same file",
    "billing list": READS,
    "billing show": READS,
    "billing settings": AGAIN,
    "billing statement": "the same documents give the same file",
    "sessions": READS,
    "top": READS,
    "status": READS,
    "metrics": READS,
    "doctor": READS,
    "config": READS,
    "limits list": READS,
    "quota over": READS,
    "audit list": READS,
    "audit verify": READS,
    "audit head": READS,
    "tenants logins": READS,
    "tenants login": AGAIN,
    "login list": READS,
    "login set": AGAIN,
    "cache status": READS,
    "cache drop": "the next login stores it again",
    "alerts list": READS,
    "alerts show": READS,
    "alerts ack": "nothing is lost: the alert stays open",
    "alerts mute": "`alerts unmute` ends it",
    "alerts mutes": READS,
    "alerts unmute": AGAIN,
    "alerts mails": READS,
    "alerts retry": "it sends again what nobody took, with the same Message-ID",
    "alerts rules": READS,
    "alerts check": READS,
    "alerts test": "it sends a mail that says it is a test",
    "webhooks list": READS,
    "serve": "it changes nothing by itself",
    "keys list": READS,
    "keys add": "nothing is lost: `keys revoke` ends it",
    "keys rotate": "the old key holds for a while",
    "webhooks queue list": READS,
    "webhooks test": "it sends a message that says it is a test",
    "webhooks add": "nothing is lost: `webhooks retire` takes it out of use",
    "webhooks rotate": "the former secret signs too, and a further call sets another one",
    "webhooks enable": "nothing is lost: the endpoint switches itself off again",
    "webhooks queue retry": "it sends again what nobody took, with the same id",
    "routers list": READS,
    "routers show": READS,
    "routers add": "nothing is lost: `routers retire` takes the router out of use",
    "routers claim": "nothing is lost: it gives a name",
    "routers rename": AGAIN,
    "routers qualify": "nothing is renamed, and until the day a further call takes it back",
    "routers set": AGAIN,
    "routers coa-key": "the old key goes only when all secrets are encrypted with the new one",
    "routers test-coa": "it names a session that does not exist",
    "disconnect": "--reason has to be given, and the user may log in again",
    "queue list": READS,
    "queue retry": AGAIN,
    "routers import": "for programs, as often as they like; --dry-run shows what it would do",
    "routers assign": AGAIN,
    "tenants list": READS,
    "tenants show": READS,
    "tenants rates": READS,
    "tenants add": "nothing is lost: `tenants retire` takes it out of use",
    "tenants set": AGAIN,
    "tenants rate": AGAIN,
    "tenants retire": AGAIN,
    "billing issuers list": READS,
    "billing issuers add": "nothing is lost: nobody has it until `tenants set --issuer`",
    "billing issuers set": AGAIN,
    "users set": AGAIN,
    "plans list": READS,
    "plans show": READS,
    "plans add": "nothing is lost: `plans retire` takes the plan out of use",
    "plans set": AGAIN,
    "plans retire": AGAIN,
    "users list": READS,
    "users show": READS,
    "users add": "nothing is lost: it gives a plan",
    "users password": "the user asked for it, and the old one cannot be shown",
    "users assign": AGAIN,
    "users top-up": "nothing is lost: it gives more; with --undo a further call gives it again",
    "users suspend": AGAIN,
    "users resume": AGAIN,
    "users import": "for programs, as often as they like; --dry-run shows what it would do",
    "people show": READS,
    "people pseudonymise": "it makes a new file",
    "journal status": READS,
    "journal incidents": READS,
    "journal acknowledge": "--reason has to be given, and the incident stays",
    "journal salvage": "it counts what this installation has acknowledged, each packet once",
    "journal adopt": "it counts what another host of it has acknowledged, each packet once",
    "rejected list": READS,
    "rejected show": READS,
    "rejected left-out": READS,
    "rejected salvage": "it only keeps packets",
    "rejected retry": "it counts packets that were acknowledged, each once",
    "ship": "a service",
    "jobs run": "a service",
    "jobs close-stale": "what the service does; the next packet opens a session again",
    "jobs expire": "what the service does, by limits that `limits set` asks for",
    "jobs clear-personal": "what the service does, by a limit that `limits set` asks for",
    "migrate plan": READS,
    "migrate status": READS,
    "migrate history": READS,
    "migrate sql": READS,
    "migrate roles": AGAIN,
    "partitions list": READS,
    "partitions ensure": "it only adds",
}


def test_every_command_asks_or_it_is_said_why_not() -> None:
    assert ASKS.keys() | WITHOUT.keys() == leaves().keys()
    assert not ASKS.keys() & WITHOUT.keys()


def test_what_asks_takes_yes_and_nothing_else_does() -> None:
    takes = {
        name for name, command in leaves().items() if any("--yes" in each.opts for each in command.params)
    }
    assert takes == ASKS.keys()


def everything(connection: Connection) -> list[tuple[str]]:
    """Return what the commands could change."""
    return connection.execute(
        """SELECT to_jsonb(session)::text FROM radacct AS session
           UNION ALL SELECT to_jsonb(usage)::text FROM user_quota_usage AS usage
           UNION ALL SELECT to_jsonb(router)::text FROM routers AS router
           UNION ALL SELECT to_jsonb(packet)::text FROM rejected_packet AS packet
           UNION ALL SELECT to_jsonb(line)::text FROM audit_log AS line
           UNION ALL SELECT to_jsonb(setting)::text FROM radmeter.setting AS setting
           UNION ALL SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') ORDER BY 1"""
    ).fetchall()


def test_without_a_terminal_they_refuse_and_name_yes(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    settings = prepared(database, connection, tmp_path)
    assert radmeter(database, "routers", "add", "--name", "hall").exit_code == 0
    before = everything(connection)
    wrong = []
    for name, cases in ASKS.items():
        for arguments in cases:
            if (name, *arguments) in ELSEWHERE:
                continue
            given = [each.format(directory=tmp_path) for each in arguments]
            done = radmeter(database, *name.split(), *given, **settings)
            if done.exit_code != 2 or "error: there is no terminal to ask at: give --yes" not in done.errors:
                wrong.append((name, arguments, done.exit_code, done.errors))
    assert not wrong, "\n".join(map(str, wrong))
    assert everything(connection) == before


@pytest.mark.parametrize(
    ("arguments", "question", "done"),
    [
        (("routers", "retire", "#1"), r"Retire #1 .* by its MAC only", "is retired"),
        (("routers", "merge", "hall", "attic"), "It cannot be undone", "merged #"),
        (
            ("verify", "--repair"),
            r"alice .*Set 1 counter to the sum of its sessions\?",
            "1 differ, 1 repaired",
        ),
        (("replay", "{directory}/detail"), r"Count the packets of 1 file\? It cannot", "1 packet shipped"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_a_terminal_is_asked_and_no_changes_nothing(
    database: str,
    connection: Connection,
    tmp_path: Path,
    arguments: tuple[str, ...],
    question: str,
    done: str,
) -> None:
    prepared(database, connection, tmp_path)
    for name in ("hall", "attic"):
        assert radmeter(database, "routers", "add", "--name", name).exit_code == 0
    given = [each.format(directory=tmp_path) for each in arguments]
    before = everything(connection)
    with screen(database, *given) as shown:
        shown.expect("(?s)" + question)
        shown.type("n")
        assert shown.end() == 130
    assert everything(connection) == before
    with screen(database, *given) as shown:
        shown.expect("(?s)" + question)
        shown.type("y")
        shown.expect(done)
        assert shown.end() == 0
    assert everything(connection) != before


def test_an_adoption_asks_on_the_way_there_and_back(server: Server) -> None:
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
        for arguments in (("--from", "radacct"), ("--undo",)):
            refused = radmeter(dsn, "adopt", *arguments)
            assert refused.exit_code == 2
            assert "error: there is no terminal to ask at: give --yes" in refused.errors
            if arguments != ("--undo",):
                assert radmeter(dsn, "adopt", *arguments, "--yes").exit_code == 0


def test_taking_a_router_back_is_not_asked(database: str) -> None:
    assert radmeter(database, "routers", "add", "--name", "hall").exit_code == 0
    assert radmeter(database, "routers", "retire", "hall", "--yes").exit_code == 0
    assert radmeter(database, "routers", "retire", "hall").output == "router #1 'hall' was retired already\n"
    assert radmeter(database, "routers", "retire", "hall", "--undo").exit_code == 0
