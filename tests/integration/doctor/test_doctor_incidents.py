"""What `radmeter doctor` says of what the shippers found, and that each remedy can be pasted."""

import json
import os
import pwd
import re
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.commands import radmeter
from support.doctoring import Line, ask, faults, one, paste
from support.journals import segments
from support.servers import Connection
from support.shipping import counted, fill, incidents, once, packet, ship

from radmeter.plugin.journal import files
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.record_format import pack
from radmeter.plugin.journal.segment_format import HEADER_1
from radmeter.plugin.journal.writer import JournalWriter

TIMES = {"from_at": "2026-11-20 10:00:00+00", "to_at": "2026-11-20 11:30:00+00"}


def note(connection: Connection, **incident: object) -> int:
    row = connection.execute(
        "SELECT radmeter.note_incident('node-1', %s::json)", (json.dumps({"detail": "", **incident}),)
    ).fetchone()
    assert row is not None
    return int(row[0])


def told(database: str) -> list[Line]:
    return [line for line in ask(database, "--only", "incidents") if line.check == "incidents"]


@pytest.mark.parametrize(
    ("incident", "level", "said"),
    [
        (
            {"kind": "missing", "first_seq": 1, "last_seq": 1700, "records": 1700, **TIMES},
            "red",
            r"1,700 packets of node-1 were acknowledged and are not counted "
            r"\(missing, received from 2026-11-20 \d\d:00:00 \w+ to 2026-11-20 \d\d:30:00 \w+\)",
        ),
        ({"kind": "missing"}, "red", r"packets of node-1 were acknowledged and are not counted \(missing\)"),
        (
            {"kind": "damaged", "records": 1, "to_at": TIMES["to_at"]},
            "red",
            r"1 packet of node-1 was acknowledged and is not counted "
            r"\(damaged, received to 2026-11-20 \d\d:30:00 \w+\)",
        ),
        (
            {"kind": "rewound", "records": 5},
            "yellow",
            r"lacked 5 packets of node-1, found .* ago: they are being shipped",
        ),
        ({"kind": "forked"}, "yellow", "1 segment of node-1 was continued by two machines"),
        (
            {"kind": "copied"},
            "yellow",
            "there are two journals named node-1: one was copied, or an older copy",
        ),
        ({"kind": "shorter"}, "yellow", "1 segment of node-1 ends before what is counted: a power cut took"),
    ],
)
def test_each_kind_until_it_is_acknowledged(
    database: str, connection: Connection, tmp_path: Path, incident: dict[str, object], level: str, said: str
) -> None:
    number = note(connection, **incident)
    line = told(database)[-1]
    assert line.level == level
    assert re.search(said, line.said), line.said
    if line.remedy:
        paste(line.remedy, database, RADMETER_JOURNAL=str(tmp_path))
    connection.execute("SELECT radmeter.acknowledge_incident(%s, 'known')", (number,))
    (green,) = told(database)
    assert (green.level, green.said) == (
        "green",
        "no acknowledged packet is known to be missing",
    )


def test_what_has_ended_is_news_for_a_week(database: str, connection: Connection) -> None:
    lost, rewound = note(connection, kind="missing", records=3), note(connection, kind="rewound", records=5)
    for number in (lost, rewound):
        connection.execute("SELECT radmeter.settle_incident(%s)", (number,))
    green, yellow = told(database)
    assert (green.level, yellow.level) == ("green", "yellow")
    assert "they were shipped again" in yellow.said
    connection.execute("UPDATE radmeter.journal_incident SET settled_at = now() - interval '8 days'")
    assert [line.level for line in told(database)] == ["green"]


def test_several_at_once_are_summed(database: str, connection: Connection) -> None:
    for number, records in enumerate((1000, 700, None)):
        note(connection, kind="missing", first_seq=number, records=records)
    (line,) = told(database)
    assert line.said.startswith("1,700 packets and an unknown number of others of node-1 were acknowledged")


def test_another_database(database: str, connection: Connection, tmp_path: Path) -> None:
    fill(tmp_path, range(20))
    ship(tmp_path, database)
    places: dict[str, Any] = {"RADMETER_JOURNAL": str(tmp_path)}
    assert [line for line in faults(database, "journal", **places) if "ships to" in line.said] == []
    connection.execute("UPDATE radmeter.database_identity SET id = gen_random_uuid()")
    connection.execute("TRUNCATE radacct, user_quota_usage, router_daily_usage, radmeter.journal_segment")
    fill(tmp_path, range(20, 30))
    refused = radmeter(database, "ship", "--until-empty", **places)
    assert refused.exit_code == 1
    assert "ships to the database" in refused.errors
    (red,) = faults(database, "journal", **places)
    assert (red.level, "nothing is shipped here" in red.said) == ("red", True)
    paste(red.remedy.replace("radmeter ship", "radmeter ship --until-empty"), database, **places)
    assert counted(connection) == once(range(30))
    (tmp_path / "database").write_text("?")
    (red,) = faults(database, "journal", **places)
    assert "does not hold the identity of a database" in red.said
    paste(red.remedy)
    assert faults(database, "journal", **places) == []


def test_segments_that_an_older_release_kept(database: str, connection: Connection, tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    now = time.time_ns() // 1000
    path = tmp_path / "kept-segment-00000000000000000500.log"
    records = (pack(500 + n, 500 + n, now, packet(100 + n).encode()) for n in range(10))
    path.write_bytes(HEADER_1 + b"".join(records))
    places: dict[str, Any] = {"RADMETER_JOURNAL": str(tmp_path)}
    (line,) = faults(database, "journal", **places)
    assert (line.level, "kept in" in line.said) == ("yellow", True)
    assert "10 packets shipped, 0 counted before" in paste(line.remedy, database, **places)
    path.unlink()
    assert faults(database, "journal", **places) == []
    ship(tmp_path, database)
    assert counted(connection) == once(range(5)) | once(range(100, 110))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_radiusd_may_delete_kept_segments(database: str, tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    shipped = tmp_path / files.SHIPPED
    shipped.mkdir(mode=0o770)
    places: dict[str, Any] = {"RADMETER_JOURNAL": str(tmp_path)}
    nobody = pwd.getpwuid(65534)
    for each in (tmp_path, *(each for each in tmp_path.iterdir() if each.is_file())):
        os.chown(each, nobody.pw_uid, nobody.pw_gid)
    try:
        (line,) = faults(None, "journal", **places)
        assert f"{nobody.pw_name}, who writes the journal, may not delete kept segments" in line.said
        assert line.remedy.startswith(f"sudo usermod -aG root {nobody.pw_name} && sudo chmod g+rwx {shipped}")
        os.chown(shipped, 0, nobody.pw_gid)
        shipped.chmod(0o770)
        assert faults(None, "journal", **places) == []
    finally:
        os.chown(tmp_path, 0, 0)


def test_the_remedy_for_a_copied_journal(
    database: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fill(first, range(20))
    ship(first, database)
    shutil.copytree(first, second)
    fill(first, range(20, 40))
    fill(second, range(40, 60))
    for journal in (first, second):
        ship(journal, database)
    assert {kind for kind, *_ in incidents(connection)} == {"copied"}
    row = connection.execute("SELECT detail FROM radmeter.journal_incidents").fetchone()
    assert row is not None
    place = re.search(r"of its journal \(here (\S+)\), and start", row[0])
    assert place
    renamed = Path(place[1])
    assert renamed.parent in (first, second)
    radmeter(database, "journal", "acknowledge", "--all", "--reason", "gave it a name")
    renamed.write_text("another-name\n")
    with closing(JournalWriter(renamed.parent)) as writer:
        writer.append(time.time_ns() // 1000, packet(60))
    assert read_header(segments(renamed.parent)[-1]).node == "another-name"
    for journal in (first, second):
        ship(journal, database)
    assert counted(connection) == once(range(61))
    assert one(ask(database, "--only", "incidents"), "incidents").level == "green"
    assert connection.execute(
        "SELECT count(*) FROM radmeter.nodes WHERE node = 'another-name' AND records = 1"
    ).fetchone() == (1,)
