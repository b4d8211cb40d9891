"""Screens of the documents: what the commands print in a scene like theirs. Numbers may differ."""

import json
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from support import stock
from support.adopted import make_legacy, put
from support.commands import Packets, radmeter
from support.documents import assert_shown, block, changed, commands, run
from support.endpoint import endpoint
from support.json_log import events
from support.ledger import subscribe
from support.servers import Connection, Server
from support.shipping import fill, ship_damaged

CLOSED = """
INSERT INTO radacct (acctuniqueid, acctsessionid, username, nasipaddress, acctstarttime, acctupdatetime, acctstoptime)
VALUES (%(id)s, %(id)s, 'alice', '10.0.0.1', %(at)s, %(at)s::timestamptz + interval '1 h',
        %(at)s::timestamptz + interval '1 h')"""
MONTH = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month(before: int) -> datetime:
    """Return the first day of a month, so many before this one."""
    first = MONTH
    for _ in range(before):
        first = (first - timedelta(days=1)).replace(day=1)
    return first


def test_people(database: str, connection: Connection) -> None:
    subscribe(connection, "alice")
    with Packets(database) as packets:
        packets.add("Stop", "s1", ago=60, User_Name="alice", NAS_Identifier="lobby", Acct_Input_Octets=7)
    show, erase = commands(block("operators/people.md", "erase"))
    # Invoices and archives have pages and tests of their own.
    listed = [line for line in show.output if line.split()[0].rstrip(":") not in ("invoices", "archive")]
    assert_shown(listed, radmeter(database, *show.words).output.replace("open session ", "closed sessions"))
    done = radmeter(database, *erase.words, "--yes", "--unbilled-too")
    assert done.exit_code == 0, done.errors
    nameless = [re.sub("erased-[0-9a-f]{32}", "PSEUDONYM", text) for text in (erase.output[-1], done.output)]
    assert_shown(["..", nameless[0]], nameless[1])


def test_webhooks(database: str, tmp_path: Path) -> None:
    with endpoint() as (server, origin):
        text = changed(
            block("operators/webhooks.md", "add"),
            {"https://crm.example.org/radmeter": origin, "hook.secret": str(tmp_path / "hook.secret")},
        )
        environment = {
            "RADMETER_COA_KEY_FILE": str(tmp_path / "key"),
            "RADMETER_WEBHOOK_NETWORKS": "127.0.0.0/8",
        }
        run("radmeter routers coa-key --new", database, **environment)
        run(text, database, **environment)
        (sent,) = server.wait_for(1)
    shown = json.loads(block("operators/webhooks.md", "message"))
    assert sent.message.keys() == shown.keys()


def test_login_roles(server: Server, database: str, connection: Connection, tmp_path: Path) -> None:
    """Roles belong to the server: these have names of their own, and go afterwards."""
    names = {
        name: f"{name}_of_a_page"
        for name in ("radmeter_migrate", "radmeter_shipper", "radmeter_jobs", "radmeter_http")
    }
    for name in names.values():
        (tmp_path / name).write_text("a long password\n")
        (tmp_path / name).chmod(0o600)
    try:
        shown = block("operators/roles.md", "login roles").replace(
            "--dsn 'postgresql://postgres@db/radmeter'", ""
        )
        once = {f"{name}=": f"{new}=" for name, new in names.items()} | {
            f"{name}: ": f"{new}: " for name, new in names.items()
        }
        place = {"/etc/radmeter/secrets": str(tmp_path)}
        run(changed(shown, place | {old: new for old, new in once.items() if old in shown}), database)
        other = block("security.md", "login roles")
        run(changed(other, place | {old: new for old, new in once.items() if old in other}), database)
        bind = changed(
            block("operators/roles.md", "tenant"),
            {"acme_web": "acme_of_a_page", "-d radmeter": f"-d '{database}'"},
        )
        run("radmeter tenants add acme --currency EUR", database)
        for line in bind.splitlines():
            if line.startswith("psql"):
                done = subprocess.run(
                    ["bash", "-c", line.replace("psql", shlex.quote(str(server.programs / "psql")), 1)],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
            else:
                run(line, database)
    finally:
        for name in (*names.values(), "acme_of_a_page"):
            connection.execute(
                f"DROP OWNED BY {name}; DROP ROLE {name}" if exists(connection, name) else "SELECT"
            )


def exists(connection: Connection, role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount == 1


def test_upgrade(database: str, tmp_path: Path) -> None:
    printed = run(block("operators/upgrading.md", "upgrade"), database, asks=("migrate up",))
    assert "up to date" in printed[0] or "nothing" in printed[0], printed[0]


def test_what_is_wrong(database: str, connection: Connection) -> None:
    connection.execute("DROP INDEX public.radacct_open_username_idx")
    connection.execute("ALTER TABLE public.radacct DISABLE TRIGGER _100_count_updated")
    done = radmeter(database, "doctor", "--only", "schema", "--only", "triggers")
    assert done.exit_code == 3, done.output
    shown = block("operators/monitoring.md", "something is wrong")
    printed = " ".join(done.output.split())
    for part in re.split(r"^(?=\S)", shown, flags=re.MULTILINE):
        assert " ".join(part.split()) in printed, done.output


def test_all_is_well(database: str) -> None:
    """The checks that need only a database say what the page shows."""
    said = [
        line
        for line in block("operators/monitoring.md", "all is well").splitlines()
        if re.match(
            r"green   (?:migrations|public|schema|triggers|guarantees|partitions|sequences|adoption) ", line
        )
    ]
    assert len(said) == 8
    only = [argument for line in said for argument in ("--only", line.split()[1])]
    done = radmeter(database, "doctor", *only)
    assert done.exit_code == 0, done.output
    assert_shown(["..", *said], done.output)


def test_journal(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    ship_damaged(journal, database)
    environment = {"RADMETER_JOURNAL": str(journal)}
    (status,) = commands(block("operators/recovery.md", "status"))
    done = radmeter(database, *status.words, **environment)
    assert_shown(["..", *(line for line in status.output if "/var/lib" not in line)], done.output)
    (incidents,) = commands(block("operators/recovery.md", "incidents"))
    done = radmeter(database, *incidents.words, **environment)
    assert done.exit_code == 0
    find, acknowledge = incidents.output[-2:]
    assert find in done.output
    assert acknowledge.partition(" 2 ")[0] in done.output
    for command in commands(block("backup.md", "after a restore")):
        done = radmeter(database, *command.words, **environment)
        assert done.exit_code in ((0, 3) if command.words == ("doctor",) else (0,)), done.errors
    (salvage,) = commands(block("operators/recovery.md", "salvage"))
    done = radmeter(database, *salvage.words[:-1], journal / "damaged", **environment)
    assert "segments: " in done.output, done.errors
    (adopt,) = commands(block("operators/recovery.md", "adopt"))
    dead = radmeter(database, *adopt.words[:-1], journal, **environment)
    assert dead.exit_code in (0, 1), dead.errors
    run(block("operators/routers.md", "left out"), database, **environment)


def test_months(database: str, connection: Connection, tmp_path: Path) -> None:
    first, second, end = (f"{month(before):%Y-%m}" for before in (3, 2, 1))
    run(f"radmeter partitions ensure {first}\nradmeter partitions ensure {second}", database)
    for number, at in enumerate((month(3), month(2))):
        connection.execute(CLOSED, {"id": f"s{number}", "at": at})
    dates = {"2026-02": first, "2026-03": second, "2026-04": end}
    dates |= {old.replace("-", "_"): new.replace("-", "_") for old, new in dates.items()}
    text = block("operators/months.md", "archive")
    archive, listed, restore = commands(
        changed(
            text, {**{old: new for old, new in dates.items() if old in text}, "/srv/archive": str(tmp_path)}
        )
    )
    for command in (archive, listed, restore):
        yes = [] if command is listed else ["--yes"]
        done = radmeter(database, *command.words, *yes)
        assert done.exit_code == 0, done.errors
        lines = [line for line in command.output if "[y/N]" not in line and "radacct_20" not in line]
        assert_shown(["..", *lines], done.output + done.errors)


def test_split(database: str, connection: Connection) -> None:
    make_legacy(connection)
    connection.execute("ALTER TABLE radacct_legacy OWNER TO radmeter_owner")
    at = month(1)
    for number in range(2):
        put(
            connection, f"old{number}", start=at, update=at + timedelta(hours=1), stop=at + timedelta(hours=1)
        )
    run("radmeter backfill --only counters --yes", database)
    run(block("operators/months.md", "split"), database)


def test_beyond_a_counter(database: str, connection: Connection) -> None:
    make_legacy(connection)
    connection.execute("ALTER TABLE radacct_legacy OWNER TO radmeter_owner")
    at = month(1)
    numbers = [
        put(connection, name, start=at, update=at, stop=at, octets=((1 << 63) - 1, 0))
        for name in ("8a1f00c2", "other")
    ]
    run("radmeter backfill --yes", database)
    listed, correct, leave = commands(block("adoption.md", "beyond a counter"))
    done = radmeter(database, *listed.words)
    assert all(word in done.output for word in listed.output[0].rstrip(". ").split()), done.output
    for command, number in ((correct, numbers[0]), (leave, numbers[1])):
        words = [str(number) if word in ("4711", "4712") else word for word in command.words]
        done = radmeter(database, *words, "--yes")
        assert done.exit_code == 0, done.errors


def test_a_refused_adoption(server: Server) -> None:
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            connection.execute("ALTER TABLE radacct ALTER framedipaddress TYPE text")
            connection.execute("CREATE MATERIALIZED VIEW public.by_day AS SELECT count(*) FROM radacct")
        done = radmeter(dsn, "adopt", "--from", "radacct", "--plan")
        assert done.exit_code != 0
        printed = " ".join((done.output + done.errors).split())
        for line in block("adoption.md", "refused").splitlines():
            assert " ".join(line.split()) in printed, printed


def test_an_event_of_the_log(database: str, tmp_path: Path) -> None:
    """The log of a shipper that has nothing to do."""
    fill(tmp_path / "journal", range(1))
    done = subprocess.run(
        [sys.executable, "-m", "radmeter", "ship", "--until-empty", "--log-format", "json"],
        env={
            "RADMETER_DSN": database,
            "RADMETER_JOURNAL": str(tmp_path / "journal"),
            "RADMETER_STATE": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (shown,) = events(block("operators/services.md", "event"))
    assert {**shown, "time": "", "process": 0} in [
        {**each, "time": "", "process": 0} for each in events(done.stderr)
    ]
