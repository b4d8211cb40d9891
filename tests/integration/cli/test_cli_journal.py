"""`radmeter journal`: what an operator sees of a journal, and how damaged and orphaned segments are counted once."""

import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.backups import backup
from support.commands import Result, radmeter
from support.doctoring import ask, one, paste
from support.journals import segments
from support.logins import as_role, login_role
from support.processes import eventually
from support.screens import screen
from support.servers import Connection
from support.shipping import counted, fill, flip, once, packet, record_offset, ship, ship_damaged

from radmeter.ingest.ledger import LEDGER, Ledger
from radmeter.plugin.journal import files
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.record_format import MARK, pack
from radmeter.plugin.journal.segment_format import HEADER_1, pack_header
from radmeter.plugin.journal.writer import JournalWriter

pytestmark = pytest.mark.timeout(300, func_only=True)

INCIDENTS = "SELECT kind, records, settled_at IS NOT NULL FROM radmeter.journal_incidents ORDER BY id"


def run(dsn: str | None, journal: Path | str, *arguments: str | Path, **environment: str) -> Result:
    done = radmeter(dsn, "journal", *arguments, RADMETER_JOURNAL=str(journal), **environment)
    assert "Traceback" not in done.errors
    return done


def rows(done: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.output)
    return found


def contents(directory: Path) -> dict[str, tuple[str, int, int]]:
    """Return what is in a directory, with the times of change."""
    return {
        str(path.relative_to(directory)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in sorted(directory.rglob("*"))
    }


@contextmanager
def command(dsn: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run `radmeter journal` as a process of its own for the block."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RADMETER", "PG"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "radmeter", "journal", *map(str, arguments)],
        env=kept | {"RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent/state"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def copy_of(journal: Path, name: str = "copy") -> Path:
    copied = journal.with_name(name)
    shutil.copytree(journal, copied)
    return copied


# Status.


def test_status_of_each_state(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    middle = ship_damaged(journal, database)
    fill(journal, range(700, 710))
    found = rows(run(database, journal, "status", "--format", "json"))
    assert [row["first_seq"] for row in found] == sorted(row["first_seq"] for row in found)
    by_state: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_state.setdefault(row["state"], []).append(row)
        assert (journal / row["file"]).stat().st_size == row["bytes_on_disk"]
    assert by_state.keys() == {"open", "kept", "damaged", "unknown"}
    assert [row["waiting"] for row in by_state["open"]][-1] == 10
    assert {row["waiting"] for row in by_state["kept"]} == {0}
    assert by_state["unknown"][0]["shipped"] is None
    assert by_state["damaged"][0]["file"] == f"damaged/{middle.name}"
    assert all(row["first_packet_at"] <= row["last_packet_at"] for row in by_state["kept"])
    shown = run(database, journal, "status")
    assert shown.exit_code == 0
    assert "kept  " not in shown.output  # only the sum, unless --all is given
    assert "waiting: 10 packets" in shown.output
    assert re.search(
        r"kept: [\d.]+ KiB in \d+ segments, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \w+$", shown.output, re.M
    )
    assert "incidents wait for somebody: radmeter journal incidents" in shown.output
    assert f"1 segment cannot be read: radmeter journal salvage {journal}/damaged/segment-" in shown.output
    listed = run(database, journal, "status", "--all").output
    assert len(re.findall(r"^kept  ", listed, re.M)) == len(by_state["kept"])
    table = list(csv.DictReader(io.StringIO(run(database, journal, "status", "--format", "csv").output)))
    assert [row["segment"] for row in table] == [row["segment"] or "" for row in found]


def test_status_of_a_journal_whose_name_is_damaged(database: str, tmp_path: Path) -> None:
    fill(tmp_path, range(10))
    (tmp_path / "node").write_bytes(b"\xff")
    done = run(database, tmp_path, "status", "--format", "json")
    assert [(row["state"], row["waiting"]) for row in rows(done)] == [("open", 10)]


def test_status_while_a_restored_database_is_behind(database: str, tmp_path: Path) -> None:
    fill(tmp_path, range(300))
    ship(tmp_path, database)
    with backup(database) as restore:
        fill(tmp_path, range(300, 500))
        ship(tmp_path, database)
        restore()
        (tmp_path / files.AGAIN).mkdir()
        (tmp_path / files.SHIPPED / segments(tmp_path / files.SHIPPED)[-1].name).rename(
            tmp_path / files.AGAIN / segments(tmp_path / files.SHIPPED)[-1].name
        )
        found = rows(run(database, tmp_path, "status", "--format", "json"))
        (again,) = [row for row in found if row["state"] == "again"]
        assert again["waiting"] > 0
        ship(tmp_path, database)
    assert {row["waiting"] for row in rows(run(database, tmp_path, "status", "--format", "json"))} == {0}


def test_status_without_a_journal_or_a_database(database: str, tmp_path: Path) -> None:
    missing = run(database, tmp_path / "none", "status")
    assert missing.exit_code == 1
    assert "there is no such directory" in missing.errors
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty").mkdir()
    empty = run(database, tmp_path / "empty", "status")
    assert (empty.exit_code, empty.output) == (0, "waiting: 0 packets\nkept: nothing\n")
    assert rows(run(database, tmp_path / "empty", "status", "--format", "json")) == []
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in run(database, tmp_path / "file", "status").errors
    fill(tmp_path / "journal", range(10))
    away = run("host=/nonexistent", tmp_path / "journal", "status", "--format", "json")
    assert away.exit_code == 1
    assert [(row["state"], row["waiting"]) for row in rows(away)] == [("open", None)]
    assert away.errors.startswith("problem: database: the database cannot be reached")
    none = run(None, tmp_path / "journal", "status")
    assert "there is no database in /nonexistent/state/postgresql yet" in none.errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_directory_is_named_and_no_traceback(database: str, tmp_path: Path) -> None:
    fill(tmp_path / "journal", range(10))
    for path in (tmp_path / "journal").iterdir():
        path.chmod(0o600)
    (tmp_path / "journal").chmod(0o700)
    os.seteuid(65534)
    try:
        shown = run("host=/nonexistent", tmp_path / "journal", "status")
        adopted = run("host=/nonexistent", tmp_path / "journal", "adopt", tmp_path / "journal")
        salvaged = run("host=/nonexistent", tmp_path / "journal", "salvage", tmp_path / "journal")
    finally:
        os.seteuid(0)
    assert "problem: journal: " in shown.errors
    for done in (adopted, salvaged):
        assert done.exit_code == 1
        assert re.search(r"belongs to \w+: run as \w+", done.errors), done.errors


def test_status_of_thousands_of_segments_is_short_and_quick(database: str, tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    (path,) = segments(tmp_path)
    header = read_header(path)
    (tmp_path / files.SHIPPED).mkdir()
    for number in range(3000):
        first_seq = header.first_seq + (number + 1) * 1000
        made = pack_header(header._replace(id=str(uuid.uuid4()), first_seq=first_seq))
        record = pack(first_seq, first_seq, time.time_ns() // 1000, packet(number).encode())
        files.segment_path(tmp_path / files.SHIPPED, first_seq).write_bytes(made + record)
    began = time.monotonic()
    shown = run(database, tmp_path, "status")
    assert time.monotonic() - began < 60
    assert len(shown.output.splitlines()) == 4
    assert "in 3,000 segments" in shown.output


def test_status_says_when_the_size_cuts_the_time(database: str, tmp_path: Path) -> None:
    fill(tmp_path, range(400))
    ship(tmp_path, database)
    size = sum(path.stat().st_size for path in segments(tmp_path / files.SHIPPED))
    settings = {"RADMETER_KEPT_BYTES": str(size), "RADMETER_JOURNAL": str(tmp_path)}
    for arguments in (("journal", "status"), ("status", "--sample", "0")):
        assert "of 48 hours, since more than" in radmeter(database, *arguments, **settings).output
    assert one(ask(database, "--only", "backup", **settings), "backup").level == "yellow"
    settings["RADMETER_KEPT_BYTES"] = str(size * 3)
    assert "of 48 hours" not in radmeter(database, "journal", "status", **settings).output
    assert one(ask(database, "--only", "backup", **settings), "backup").level == "green"


# Incidents.


def note(connection: Connection, **incident: Any) -> int:
    row = connection.execute(
        "SELECT radmeter.note_incident('n', %s::json)", (json.dumps(incident),)
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_incidents_in_each_format(database: str, connection: Connection, tmp_path: Path) -> None:
    assert run(database, tmp_path, "incidents").output == "no incident waits for anybody\n"
    assert run(database, tmp_path, "incidents", "--format", "json").json() == []
    segment = str(uuid.uuid4())
    times = {"from_at": "2026-11-20 10:00:00+00", "to_at": "2026-11-20 11:30:00+00"}
    known = note(
        connection,
        kind="missing",
        segment=segment,
        first_seq=101,
        last_seq=1800,
        records=1700,
        detail="why",
        **times,
    )
    unknown = note(connection, kind="copied", detail="x " * 200)
    ended = note(connection, kind="rewound", records=5, detail="restored")
    connection.execute("SELECT radmeter.settle_incident(%s)", (ended,))
    done = run(database, tmp_path, "incidents")
    lines = done.output.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        line
        for line in lines
        if re.match(rf"#({ended} rewound|{unknown} copied|{known} missing), node n, found 20", line)
    ]
    assert any(
        re.fullmatch(
            r"  1,700 packets, received from 2026-11-20 1\d:00:00 \S+ to 2026-11-20 1\d:30:00 \S+, "
            r"numbers 101 to 1800",
            line,
        )
        for line in lines
    ), lines
    assert any(line.startswith("  ended 20") for line in lines)
    assert (
        lines[-1]
        == f"acknowledge: radmeter journal acknowledge {known} {unknown} --reason 'WHAT HAPPENED, TICKET'"
    )
    for kind in ("json", "csv"):
        shown = run(database, tmp_path, "incidents", "--format", kind)
        found = shown.json() if kind == "json" else shown.csv()
        assert [str(row["id"]) for row in found] == [str(ended), str(unknown), str(known)]
        assert (found[2]["segment"], str(found[2]["records"])) == (segment, "1700")
    connection.execute(
        "UPDATE radmeter.journal_incident SET settled_at = now() - interval '8 days' WHERE id = %s", (ended,)
    )
    assert [row["id"] for row in run(database, tmp_path, "incidents", "--format", "json").json()] == [
        unknown,
        known,
    ]
    assert len(run(database, tmp_path, "incidents", "--all", "--format", "json").json()) == 3
    paste(lines[-1].removeprefix("acknowledge: "), database)  # as it is printed
    assert run(database, tmp_path, "incidents").output == "no incident waits for anybody\n"
    everything = run(database, tmp_path, "incidents", "--all").output
    assert "acknowledged 20" in everything
    assert "WHAT HAPPENED, TICKET" in everything


@pytest.mark.parametrize("columns", [80, 200])
def test_incidents_fit_the_screen(database: str, connection: Connection, columns: int) -> None:
    note(connection, kind="missing", records=5, detail="segments of a journal that are gone " * 20)
    with screen(database, "journal", "incidents") as terminal:
        terminal.child.setwinsize(40, columns)
        assert terminal.end() == 0
    widths = [len(line) for line in terminal.text.splitlines()]
    assert max(widths) <= columns
    assert max(widths) > columns - 40


def test_a_command_in_an_incident_is_not_wrapped(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "a journal with a name that is longer than the screen is wide, or nearly so"
    fill(journal, range(300))
    flip(segments(journal)[1], 30)
    ship(journal, database)
    with screen(database, "journal", "incidents") as terminal:
        terminal.child.setwinsize(40, 80)
        assert terminal.end() == 0
    (command,) = re.findall(r"`(radmeter journal salvage [^`]+)`", terminal.text)
    assert "packets shipped" in paste(command, database)


def test_acknowledge_notes_who_and_why(database: str, connection: Connection, tmp_path: Path) -> None:
    first, second, third = (note(connection, kind="missing", first_seq=n, detail="") for n in (1, 2, 3))
    for wrong, told in (
        ((), "name incidents by their ids, or give --all"),
        ((str(first), "--all"), "name incidents by their ids, or give --all"),
    ):
        done = run(database, tmp_path, "acknowledge", *wrong, "--reason", "x")
        assert (done.exit_code, told in done.errors) == (2, True)
    assert run(database, tmp_path, "acknowledge", str(first)).exit_code == 2
    assert "--reason is empty" in run(database, tmp_path, "acknowledge", str(first), "--reason", "  ").errors
    failed = run(database, tmp_path, "acknowledge", str(first), "9999", "--reason", "x")
    assert (failed.exit_code, failed.errors) == (1, "error: there is no incident #9999\n")
    assert len(run(database, tmp_path, "incidents", "--format", "json").json()) == 3  # all or none
    done = run(database, tmp_path, "acknowledge", str(first), str(first), "--reason", "disk died")
    assert done.output == "1 incident acknowledged\n"
    again = run(database, tmp_path, "acknowledge", str(first), "--reason", "once more")
    assert again.errors == f'error: incident #{first} was acknowledged by "postgres": disk died\n'
    assert (
        run(database, tmp_path, "acknowledge", "--all", "--reason", "x").output
        == "2 incidents acknowledged\n"
    )
    assert (
        run(database, tmp_path, "acknowledge", "--all", "--reason", "x").output
        == "0 incidents acknowledged\n"
    )
    logged = connection.execute(
        """SELECT detail ->> 'incident', detail ->> 'reason', operator FROM audit_log
           WHERE action = 'journal acknowledge'"""
    ).fetchall()
    assert {row[:2] for row in logged} == {(str(first), "disk died"), (str(second), "x"), (str(third), "x")}
    assert all(row[2] for row in logged)


def test_the_shippers_role_is_told_which_role_it_lacks(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path, range(10))
    number = note(connection, kind="missing", detail="")
    with login_role(connection, "radmeter_ingest") as role:
        dsn = as_role(database, role)
        for arguments, lacks in (
            (("status",), "radmeter_reader"),
            (("incidents",), "radmeter_reader"),
            (("acknowledge", str(number), "--reason", "x"), "radmeter_noc"),
            (("acknowledge", "--all", "--reason", "x"), "radmeter_noc"),
        ):
            done = run(dsn, tmp_path, *arguments)
            assert done.exit_code == 1
            assert f"grant {lacks} to the database role in use" in done.errors
    with login_role(connection, "radmeter_noc") as role:
        dsn = as_role(database, role)
        assert run(dsn, tmp_path, "incidents").exit_code == 0
        assert run(dsn, tmp_path, "acknowledge", str(number), "--reason", "x").exit_code == 0


# Adopting the journal of a machine that is gone.


def test_a_journal_of_a_dead_machine_is_counted_once_and_not_changed(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(300))
    ship(journal, database)
    fill(journal, range(300, 600))
    with closing(JournalWriter(journal)) as writer:  # killed: no trailer
        writer.append(time.time_ns() // 1000, packet(600))
        dead = copy_of(journal, "dead")
    before = contents(dead)
    with login_role(connection, "radmeter_ingest") as role:
        connection.execute(f"GRANT postgres TO {role}".encode())  # a member of the role that shipped it
        done = run(as_role(database, role), tmp_path, "adopt", dead)
        connection.execute(f"REVOKE postgres FROM {role}".encode())
        connection.execute("UPDATE radmeter.journal_segment SET role = session_user")
    assert (done.exit_code, done.errors) == (0, "")
    assert re.search(r"^\d segments: 301 packets shipped, 300 counted before, 0 lost$", done.output, re.M)
    assert counted(connection) == once(range(601))
    again = run(database, tmp_path, "adopt", dead, "--format", "json").json()
    assert sum(row["shipped"] for row in again) == 0
    assert sum(row["counted_before"] for row in again) == 601
    assert contents(dead) == before
    assert connection.execute(
        "SELECT count(*) FROM radmeter.journal_segments WHERE finished_at IS NULL"
    ).fetchone() == (0,)
    assert connection.execute(INCIDENTS).fetchall() == []


def test_a_read_only_mount_is_adopted(database: str, connection: Connection, tmp_path: Path) -> None:
    fill(tmp_path / "journal", range(100))
    mount = tmp_path / "mount"
    mount.mkdir()
    for arguments in (
        ("--bind", str(tmp_path / "journal"), str(mount)),
        ("-o", "remount,ro,bind", str(mount)),
    ):
        if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
            subprocess.run(["umount", str(mount)], capture_output=True, check=False)
            pytest.skip("nothing can be mounted here")
    try:
        done = run(database, mount, "adopt", mount)
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    assert (done.exit_code, done.errors) == (0, "")
    assert counted(connection) == once(range(100))


def test_a_journal_in_use_is_refused(database: str, connection: Connection, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(100))
    before = contents(journal)
    with JournalReader(journal).lock():
        for arguments in (("adopt", journal), ("salvage", journal), ("salvage", segments(journal)[0])):
            done = run(database, tmp_path, *arguments)
            assert done.exit_code == 1
            assert f"the shipper of the journal {journal} is running (process {os.getpid()})" in done.errors
    with closing(JournalWriter(journal)) as writer:
        writer.append(time.time_ns() // 1000, packet(100))
        done = run(database, tmp_path, "adopt", journal)
    assert done.exit_code == 1
    assert f"radiusd is writing the journal {journal} (process {os.getpid()})" in done.errors
    assert counted(connection) == {}
    assert {name for name in contents(journal) if name.startswith("segment")} >= {
        name for name in before if name.startswith("segment")
    }
    assert run(database, tmp_path, "adopt", journal).exit_code == 0
    assert counted(connection) == once(range(101))


def test_another_database_is_refused_until_the_option_that_is_told(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(100))
    ship(journal, database)
    connection.execute("UPDATE radmeter.database_identity SET id = gen_random_uuid()")
    connection.execute("TRUNCATE radacct, user_quota_usage, router_daily_usage, radmeter.journal_segment")
    for name, place in (("adopt", journal), ("salvage", segments(journal)[0])):
        done = run(database, tmp_path, name, place)
        assert done.exit_code == 1
        assert f"the journal {journal} has shipped to the database" in done.errors
        wrong = run(database, tmp_path, name, place, "--accept-database", str(uuid.uuid4()))
        assert "which is neither" in wrong.errors
    assert counted(connection) == {}
    told = re.search(r"add (--accept-database \S+)", done.errors)
    assert told
    assert run(database, tmp_path, "adopt", journal, *shlex.split(told[1])).exit_code == 0
    assert counted(connection) == once(range(100))
    (journal / "database").write_text("?")
    damaged = run(database, tmp_path, "adopt", journal)
    assert f"{journal / 'database'} does not hold the identity of a database" in damaged.errors
    assert run(database, tmp_path, "adopt", journal, *shlex.split(told[1])).exit_code == 0


@pytest.mark.parametrize("known", [True, False])
def test_segments_that_are_missing_from_an_adopted_journal_are_told(
    database: str, connection: Connection, tmp_path: Path, known: bool
) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(300))
    path = segments(journal)[1]
    inside = path.read_bytes().count(MARK)
    if known:  # the shipper has shipped it, and a restored database lacks it
        with backup(database) as restore:
            ship(journal, database)
            restore()
            (journal / files.SHIPPED / path.name).unlink()
    else:
        path.unlink()
    done = run(database, tmp_path, "adopt", journal)
    assert done.exit_code == 1
    wanted = f"missing: {inside} packets of segment" if known else f"It had {inside} packets (numbers"
    assert wanted in done.output
    found = run(database, tmp_path, "incidents", "--format", "json").json()
    assert [(row["kind"], row["records"]) for row in found] == [("missing", inside)]
    again = run(database, tmp_path, "adopt", journal, "--format", "csv")
    assert wanted in again.errors
    assert len(run(database, tmp_path, "incidents", "--format", "json").json()) == 1


def test_a_segment_that_rots_after_it_was_counted_has_lost_nothing(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path, range(300))
    ship(tmp_path, database)
    kept = segments(tmp_path / files.SHIPPED)[0]
    flip(kept, record_offset(kept, 5) + 60)
    done = run(database, tmp_path, "adopt", tmp_path)
    assert (done.exit_code, done.errors) == (0, "")
    assert connection.execute(INCIDENTS).fetchall() == []
    # What is not counted of it is lost.
    connection.execute(
        "UPDATE radmeter.journal_segment SET last_seq = 3, finished_at = NULL WHERE first_seq = 1"
    )
    connection.execute("UPDATE radmeter.journal_segment SET digest = NULL WHERE first_seq = 1")
    done = run(database, tmp_path, "adopt", tmp_path, "--format", "json")
    assert done.exit_code == 1
    assert [row["lost"] for row in rows(done) if row["lost"]] == [1]
    assert connection.execute(
        "SELECT kind, first_seq, last_seq FROM radmeter.journal_incidents"
    ).fetchall() == [("damaged", 6, 6)]


def test_another_machines_records_under_the_same_identity_are_not_mixed(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path, range(50))
    ship(tmp_path, database)
    connection.execute("UPDATE radmeter.journal_segment SET digest = digest # 1, finished_at = NULL")
    done = run(database, tmp_path, "adopt", tmp_path)
    assert done.exit_code == 1
    assert "the database has counted other records under its identity" in done.output
    # Its shipper had noticed that, and gave a new identity to what follows.
    ledger = Ledger(tmp_path)
    ledger.read()
    (row,) = ledger.all()
    row.shipped_as, row.shipped_after = str(uuid.uuid4()), 40
    ledger.change()
    ledger.save()
    for _ in range(2):
        done = run(database, tmp_path, "adopt", tmp_path)
        assert (done.exit_code, done.errors) == (0, "")
    assert connection.execute(
        "SELECT records, finished_at IS NOT NULL FROM radmeter.journal_segments WHERE id = %s",
        (row.shipped_as,),
    ).fetchone() == (10, True)


def test_two_that_adopt_the_same_journal_at_once_count_once(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path, range(3000), segment_bytes=1 << 20)
    with command(database, "adopt", tmp_path) as first, command(database, "adopt", tmp_path) as second:
        outcomes = [process.communicate(timeout=200) for process in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0], outcomes
    assert counted(connection) == once(range(3000))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on(
    database: str, connection: Connection, tmp_path: Path, how: signal.Signals
) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(6000), segment_bytes=1 << 20)
    with command(database, "adopt", journal) as process:
        eventually(lambda: bool(counted(connection)), True)
        process.send_signal(how)
        said = process.communicate(timeout=60)
    if how == signal.SIGINT and process.returncode:
        assert process.returncode == 130
        assert said[1].endswith("interrupted: run the same command again. Nothing is counted twice\n")
        assert "Traceback" not in said[1]
    done = run(database, tmp_path, "adopt", journal)
    assert (done.exit_code, done.errors) == (0, "")
    assert counted(connection) == once(range(6000))


def test_a_terminal_shows_how_far_it_is(database: str, connection: Connection, tmp_path: Path) -> None:
    fill(tmp_path, range(2000), segment_bytes=1 << 20)
    with screen(database, "journal", "adopt", tmp_path) as terminal:
        terminal.expect(r"of 2,000 packets")
        assert terminal.end() == 0
    assert "2,000 packets shipped, 0 counted before, 0 lost" in terminal.text


# Salvaging segments.


def test_a_damaged_header_is_no_longer_red_when_all_is_salvaged(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path, range(300))
    flip(segments(tmp_path)[1], 30)
    ship(tmp_path, database)
    places = {"RADMETER_JOURNAL": str(tmp_path)}
    red = [line for line in ask(database, "--only", "incidents", **places) if line.check == "incidents"]
    assert {line.level for line in red} == {"red"}
    with JournalReader(tmp_path).lock():  # the shipper runs meanwhile
        (remedy,) = {line.remedy for line in red if "salvage" in line.remedy}
        assert "packets shipped, 0 counted before" in paste(remedy, database)
    assert counted(connection) == once(range(300))
    assert one(ask(database, "--only", "incidents", **places), "incidents").level == "green"
    assert {settled for _, _, settled in connection.execute(INCIDENTS).fetchall()} == {True}
    ship(tmp_path, database)  # nothing of it is found again
    assert one(ask(database, "--only", "incidents", **places), "incidents").level == "green"
    assert "cannot be read" not in run(database, tmp_path, "status").output
    shown = radmeter(database, "status", "--sample", "0", "--format", "json", **places).json()
    assert shown["incidents"] == []


def test_what_cannot_be_read_is_told_with_its_numbers(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path / "journal", range(300))
    place = tmp_path / "found"
    place.mkdir()
    path = segments(tmp_path / "journal")[1].rename(place / segments(tmp_path / "journal")[1].name)
    first_seq = files.first_seq_in_name(path.name) or 0
    inside = path.read_bytes().count(MARK)
    for offset in [record_offset(path, number) for number in (3, 4, 20)]:
        flip(path, offset + 60)
    done = run(database, tmp_path, "salvage", place)
    lost = sorted(set(once(range(first_seq - 1, first_seq - 1 + inside))) - set(counted(connection)))
    assert done.exit_code == 1
    told = re.findall(r"lost: numbers? (\d+)(?: to (\d+))?, received after", done.output)
    numbers = {n for a, b in told for n in range(int(a), int(b or a) + 1)}
    assert {f"user{number - 1}" for number in numbers} == set(lost)
    assert len(lost) == 3
    found = rows(run(database, tmp_path, "salvage", place, "--format", "json"))
    assert [(row["shipped"], row["counted_before"], row["lost"]) for row in found] == [
        (0, inside - len(lost), len(lost))
    ]
    assert "received after" in found[0]["lost_numbers"]


def test_a_segment_that_nothing_identifies_is_left_alone(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    fill(tmp_path / "journal", range(300))
    place = tmp_path / "found"
    place.mkdir()
    path = segments(tmp_path / "journal")[1].rename(place / segments(tmp_path / "journal")[1].name)
    inside = path.read_bytes().count(MARK)
    flip(path, 30)
    done = run(database, tmp_path, "salvage", path)
    assert done.exit_code == 1
    assert "its header is damaged, and nothing here says which segment it is" in done.output
    assert counted(connection) == {}
    for _ in range(2):
        done = run(database, tmp_path, "salvage", path, "--uncounted", "--node", "lost-host")
        assert (done.exit_code, done.errors) == (0, "")
    assert len(counted(connection)) == inside
    assert set(counted(connection).values()) == {1}


def test_old_segments_are_counted_under_their_journals_name(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    old = tmp_path / "kept-segment-00000000000000000001.log"
    texts = [packet(user).encode() for user in range(20)]
    now = time.time_ns() // 1000
    old.write_bytes(HEADER_1 + b"".join(pack(n, n, now, text) for n, text in enumerate(texts, 1)))
    done = run(database, tmp_path, "salvage", old)
    assert done.exit_code == 1
    assert "give --node NAME" in done.output
    for _ in range(2):
        assert run(database, tmp_path, "salvage", old, "--node", "old-host").exit_code == 0
    (tmp_path / "node").write_text("old-host\n")
    assert run(database, tmp_path, "adopt", tmp_path).exit_code == 0
    assert counted(connection) == once(range(20))


def test_a_shorter_copy_does_not_end_what_is_missing(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    fill(journal, range(300))
    whole = copy_of(journal, "whole")
    with backup(database) as restore:
        ship(journal, database)
        restore()
    for path in segments(journal / files.SHIPPED):
        path.unlink()
    ship(journal, database)
    short = tmp_path / segments(whole)[0].name
    short.write_bytes(segments(whole)[0].read_bytes())
    os.truncate(short, record_offset(short, 10))
    assert run(database, tmp_path, "salvage", short).exit_code == 0
    waits = [
        row
        for row in run(database, tmp_path, "incidents", "--format", "json").json()
        if not row["settled_at"]
    ]
    assert [row["kind"] for row in waits] == ["missing", "missing"]
    assert run(database, tmp_path, "salvage", whole).exit_code == 0
    waits = [
        row
        for row in run(database, tmp_path, "incidents", "--format", "json").json()
        if not row["settled_at"]
    ]
    assert waits == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it has no record: the file is empty"),
        (bytes(9000), "it has no record: it has only zeros"),
        (b"no segment at all " * 100, "it has no record: it does not begin as a segment does"),
        (b"radmeter log 3\n\0" + bytes(100), "it has format 3; this release cannot read it"),
    ],
)
def test_files_that_are_no_segments_are_told_and_the_others_are_shipped(
    database: str, connection: Connection, tmp_path: Path, content: bytes, told: str
) -> None:
    fill(tmp_path, range(50))
    files.segment_path(tmp_path, 1 << 40).write_bytes(content)
    done = run(database, tmp_path, "salvage", tmp_path)
    assert done.exit_code == 1
    assert told in done.output
    assert counted(connection) == once(range(50))


def test_places_that_hold_nothing(database: str, tmp_path: Path) -> None:
    for place, told in (
        (tmp_path / "none", f"No such file or directory: {tmp_path / 'none'}"),
        (tmp_path, f"{tmp_path} holds no segments (segment-*.log)"),
    ):
        for name in ("salvage", "adopt"):
            done = run(database, tmp_path, name, place)
            assert (done.exit_code, done.errors) == (1, f"error: {told}\n")
    (tmp_path / "file").write_text("x")
    done = run(database, tmp_path, "adopt", tmp_path / "file")
    assert (done.exit_code, "name a journal's directory" in done.errors) == (2, True)
    assert "it has no record" in run(database, tmp_path, "salvage", tmp_path / "file").output
    assert run(database, tmp_path, "salvage").exit_code == 2


def test_a_damaged_ledger_is_no_obstacle(database: str, connection: Connection, tmp_path: Path) -> None:
    fill(tmp_path, range(200))
    ship(tmp_path, database)
    (tmp_path / LEDGER).write_text("{")
    assert run(database, tmp_path, "adopt", tmp_path).exit_code == 0
    assert run(database, tmp_path, "status").exit_code == 0
    assert counted(connection) == once(range(200))
