"""`radmeter replay`: each packet of a detail file counts once, whatever is replayed how often, and on its own day."""

import gzip
import io
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from support.commands import Packets, radmeter

from radmeter.errors import StoreUnavailable
from radmeter.ingest.replay import Replayer

Connection = psycopg.Connection[tuple[Any, ...]]

NOW = int(time.time())


def stanza(
    session: str, octets: int, *, at: int = NOW, status: str = "Interim-Update", **attributes: str
) -> bytes:
    """A stanza as FreeRADIUS 3.2 writes it with log_packet_header, its clock in UTC."""
    values = {
        "Packet-Src-IP-Address": "192.0.2.1",
        "Packet-Src-Port": "50683",
        "Acct-Status-Type": status,
        "Acct-Session-Id": f'"{session}"',
        "User-Name": '"alice"',
        "NAS-Identifier": '"lobby"',
        "Acct-Input-Octets": str(octets),
        "Event-Timestamp": datetime.fromtimestamp(at, UTC).strftime('"%b %d %Y %H:%M:%S UTC"'),
        **{name.replace("_", "-"): value for name, value in attributes.items()},
        "Timestamp": str(at),
    }
    header = datetime.fromtimestamp(at, UTC).strftime("%a %b %d %H:%M:%S %Y")
    return "".join(
        [f"{header}\n", *(f"\t{name} = {value}\n" for name, value in values.items()), "\n"]
    ).encode()


def octets(connection: Connection) -> int:
    """The octets counted for all users, which are those of the routers."""
    users = connection.execute("SELECT coalesce(sum(bytes_in), 0)::bigint FROM user_quota_usage").fetchone()
    routers = connection.execute(
        "SELECT coalesce(sum(bytes_in), 0)::bigint FROM router_daily_usage"
    ).fetchone()
    assert users is not None
    assert users == routers
    return int(users[0])


def checkpoints(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT last_seq, records, rejected FROM ingest_checkpoint WHERE source LIKE 'detail:%' ORDER BY source"
    ).fetchall()


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def test_twice_is_the_same_as_once(database: str, connection: Connection, tmp_path: Path) -> None:
    file = write(tmp_path / "detail", *(stanza(f"s{number}", 100) for number in range(2500)))
    first = radmeter(database, "replay", "--yes", file)
    assert (
        first.output
        == f"{file}: 2,500 packets shipped, 0 of them set aside, 0 stanzas were replayed before, 0 bad\n"
    )
    assert octets(connection) == 250_000
    second = radmeter(database, "replay", "--yes", file)
    assert (
        second.output
        == f"{file}: 0 packets shipped, 0 of them set aside, 2,500 stanzas were replayed before, 0 bad\n"
    )
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert octets(connection) == 250_000
    assert checkpoints(connection) == [(2500, 2500, 0)]


def test_a_file_that_has_grown_goes_on_where_it_ended(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    file = write(tmp_path / "detail", stanza("s", 100, at=NOW - 60))
    radmeter(database, "replay", "--yes", file)
    write(file, stanza("s", 100, at=NOW - 60), stanza("s", 300))
    assert (
        "1 packet shipped, 0 of them set aside, 1 stanza was replayed before"
        in radmeter(database, "replay", "--yes", file).output
    )
    assert octets(connection) == 300


def test_a_moved_and_compressed_file_is_known_again(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    text = stanza("s", 100) + stanza("t", 50)
    radmeter(database, "replay", "--yes", write(tmp_path / "detail", text))
    again = radmeter(database, "replay", "--yes", write(tmp_path / "detail-20261101", gzip.compress(text)))
    assert "0 packets shipped, 0 of them set aside, 2 stanzas" in again.output
    assert len(checkpoints(connection)) == 1


def test_standard_input(database: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.BytesIO(gzip.compress(stanza("s", 100)))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=text))
    assert "-: 1 packet shipped" in radmeter(database, "replay", "--yes", "-").output
    assert octets(connection) == 100


@pytest.mark.parametrize("octets_of_other", [1, 20], ids=["shorter", "of the same length"])
def test_another_file_that_begins_alike_is_another_file(
    database: str, connection: Connection, tmp_path: Path, octets_of_other: int
) -> None:
    # One packet that a router sent to two servers, which then heard of different sessions.
    alike = stanza("s", 100)
    one = write(tmp_path / "one", alike, stanza("t", 10), stanza("u", 10))
    other = write(tmp_path / "other", alike, *(stanza(session, octets_of_other) for session in "vw"))
    for file in (one, other, one, other):
        assert radmeter(database, "replay", "--yes", file).exit_code == 0
    assert octets(connection) == 120 + 2 * octets_of_other
    assert checkpoints(connection) == [(3, 3, 0), (3, 3, 0)]
    # Both go on to be known when they have grown.
    for file in (one, other):
        write(file, file.read_bytes(), stanza(f"{file.name} on", 3), stanza("y", 0))
        assert (
            "2 packets shipped, 0 of them set aside, 3 stanzas"
            in radmeter(database, "replay", "--yes", file).output
        )
    assert octets(connection) == 126 + 2 * octets_of_other


def test_a_replay_that_was_cut_off_goes_on(database: str, connection: Connection, tmp_path: Path) -> None:
    file = write(tmp_path / "detail", *(stanza(f"s{number}", 7) for number in range(30)))
    calls = 0

    def cut_off() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # at the start, after the first batch, after the second
            raise KeyboardInterrupt

    replayer = Replayer(database, batch_records=10)
    with file.open("rb") as stream, pytest.raises(KeyboardInterrupt):
        replayer.replay(stream, "detail", cut_off)
    replayer.close()
    assert octets(connection) == 140
    assert (
        "10 packets shipped, 0 of them set aside, 20 stanzas"
        in radmeter(database, "replay", "--yes", file).output
    )
    assert octets(connection) == 210


def test_a_database_that_goes_away_between_batches_does_not_matter(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    file = write(tmp_path / "detail", *(stanza(f"s{number}", 7) for number in range(30)))

    def cut_the_line() -> None:
        connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid <> pg_backend_pid() AND datname = current_database()"""
        )

    replayer = Replayer(database, batch_records=10)
    with file.open("rb") as stream:
        assert replayer.replay(stream, "detail", cut_the_line).shipped == 30
    replayer.close()
    assert octets(connection) == 210


def test_a_database_that_stays_away_ends_in_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radmeter.ingest.replay.RETRY_SECONDS", (0.0,))
    file = write(tmp_path / "detail", stanza("s", 7))
    with file.open("rb") as stream, pytest.raises(StoreUnavailable, match="the same command goes on"):
        Replayer(f"host={tmp_path} dbname=nowhere").replay(stream, "detail")


def test_a_file_of_months_ago_counts_on_its_own_days(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    start = int(datetime(2026, 3, 30, 22, tzinfo=UTC).timestamp())
    hour = 3600
    file = write(
        tmp_path / "detail",
        stanza("s", 0, at=start, status="Start"),
        stanza("s", 10, at=start + hour),
        stanza("s", 25, at=start + 3 * hour),
        stanza("s", 100, at=start + 27 * hour, status="Stop"),
        stanza(
            "t", 7, at=start + 27 * hour, Event_Timestamp='"Jan  1 1970 00:00:00 UTC"'
        ),  # no clock: the arrival
    )
    assert radmeter(database, "replay", "--yes", file).exit_code == 0
    days = connection.execute(
        "SELECT usage_date::text, bytes_in FROM router_daily_usage ORDER BY 1"
    ).fetchall()
    assert days == [("2026-03-30", 10), ("2026-03-31", 15), ("2026-04-01", 82)]
    periods = connection.execute(
        "SELECT period_start::text, bytes_in FROM user_quota_usage ORDER BY 1"
    ).fetchall()
    assert periods == [("2026-03-01", 25), ("2026-04-01", 82)]
    assert connection.execute("SELECT count(*) FROM radacct_2026_04").fetchone() == (1,)
    assert radmeter(database, "verify").exit_code == 0


def test_packets_that_were_counted_from_the_journal_add_nothing(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    at = int(time.time()) - 600
    with Packets(database) as packets:
        for ago, status, reported in (
            (600, "Start", 0),
            (500, "Interim-Update", 50),
            (400, "Interim-Update", 20),
            (300, "Stop", 90),
        ):
            packets.add(
                status, "s", ago=ago, User_Name="alice", NAS_Identifier="lobby", Acct_Input_Octets=reported
            )
    assert octets(connection) == 140  # its counter was restarted: 50, and then 90
    nas = {"NAS_IP_Address": "10.0.0.1"}
    file = write(
        tmp_path / "detail",
        stanza("s", 0, at=at, status="Start", **nas),
        stanza("s", 50, at=at + 100, **nas),
        stanza("s", 20, at=at + 200, **nas),
        stanza("s", 90, at=at + 300, status="Stop", **nas),
    )
    assert radmeter(database, "replay", "--yes", file).exit_code == 0
    assert octets(connection) == 140
    assert connection.execute("SELECT count(*) FROM radacct").fetchone() == (1,)


def test_bad_stanzas_are_told_by_line_and_the_others_count(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    good = stanza("s", 10)
    lines = good.count(b"\n")
    file = write(
        tmp_path / "detail",
        good,
        stanza("t", 10, User_Name='"cut off'),
        stanza("u", 10, at=NOW + 10 * 86400),
        stanza("v", 10).split(b"\tTimestamp")[0],  # the server died here
        stanza("w", 10),
        stanza("x", 10, status="Subsystem-On"),
    )
    result = radmeter(database, "replay", "--yes", file)
    assert result.exit_code == 1
    assert result.output.endswith(
        "3 packets shipped, 1 of them set aside, 0 stanzas were replayed before, 3 bad\n"
    )
    told = [line.removeprefix(f"{file}, ") for line in result.errors.splitlines()]
    assert told == [
        f"line {lines + 1}: line {lines + 6} has no closing quote: 'User-Name = \"cut off'",
        f"line {2 * lines + 1}: Timestamp {NOW + 10 * 86400} cannot be the time of arrival: "
        "it is before 1999, or more than 5 minutes ahead",
        f"line {3 * lines + 1}: the stanza breaks off",
        f"line {5 * lines - 1}: set aside: Acct-Status-Type Subsystem-On is not counted",
    ]
    assert octets(connection) == 20
    again = radmeter(database, "replay", "--yes", file)
    assert again.exit_code == 0
    assert "0 packets shipped, 0 of them set aside, 6 stanzas" in again.output


def test_a_stanza_that_is_being_written_is_left_for_the_next_time(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    whole = stanza("s", 10) + stanza("t", 5)
    file = write(tmp_path / "detail", whole[:-20])
    result = radmeter(database, "replay", "--yes", file)
    assert result.exit_code == 1
    assert "replay the file again when it is whole" in result.errors
    assert octets(connection) == 10
    write(file, whole)
    assert (
        "1 packet shipped, 0 of them set aside, 1 stanza"
        in radmeter(database, "replay", "--yes", file).output
    )
    assert octets(connection) == 15


def test_a_packet_that_the_database_refuses_is_set_aside_alone(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "detail",
        *(stanza(f"s{number}", 10) for number in range(5)),
        stanza("x", 10, NAS_IP_Address="nonsense"),
        stanza("y", 10, Framed_IP_Address="nonsense"),  # it only describes the packet
        *(stanza(f"t{number}", 10) for number in range(5)),
    )
    result = radmeter(database, "replay", "--yes", file)
    assert result.exit_code == 0
    assert "12 packets shipped, 1 of them set aside" in result.output
    assert 'invalid input syntax for type inet: "nonsense"' in result.errors
    assert octets(connection) == 110
    assert radmeter(database, "rejected", "list", "--format", "csv").csv()[0]["session_id"] == "x"


def test_a_month_whose_sessions_were_dropped_is_not_counted_again(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    at = int(datetime(2026, 2, 10, tzinfo=UTC).timestamp())
    file = write(tmp_path / "detail", stanza("s", 10, at=at, status="Stop"))
    radmeter(database, "replay", "--yes", file)
    connection.execute("DROP TABLE radacct_2026_02")
    copy = write(tmp_path / "copy", stanza("t", 5, at=at + 30 * 86400), stanza("s", 10, at=at, status="Stop"))
    result = radmeter(database, "replay", "--yes", copy)
    assert result.exit_code == 1
    assert "the packet is from before 2026-03-01, and the sessions of that time were dropped" in result.errors
    assert octets(connection) == 10
    assert radmeter(database, "replay", "--yes", copy, "--count-dropped").exit_code == 0
    assert octets(connection) == 25


def test_two_replays_of_a_file_at_once(database: str, connection: Connection, tmp_path: Path) -> None:
    file = write(tmp_path / "detail", stanza("s", 10))
    one = Replayer(database)
    results = []
    with file.open("rb") as stream:
        one.replay(stream, "detail", lambda: results.append(radmeter(database, "replay", "--yes", file)))
    one.close()
    assert results[0].exit_code == 1
    assert results[0].errors == f"error: {file}: another replay of this file is running\n"


def test_files_that_cannot_be_read_are_told_and_the_others_replayed(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    good = write(tmp_path / "good", stanza("s", 10))
    broken = write(tmp_path / "broken.gz", gzip.compress(stanza("t", 10))[:-12])
    result = radmeter(
        database, "replay", "--yes", tmp_path / "missing", tmp_path, broken, write(tmp_path / "empty"), good
    )
    assert result.exit_code == 1
    assert f"error: {tmp_path / 'missing'}: No such file or directory" in result.errors
    assert f"error: {tmp_path}: Is a directory" in result.errors
    assert f"error: {broken}: Compressed file ended" in result.errors
    assert f"{good}: 1 packet shipped" in result.output
    assert octets(connection) >= 10
    assert "Traceback" not in result.errors


def test_a_file_that_is_no_detail_file_leaves_nothing_behind(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    auth = b'Fri Nov 20 11:43:03 2026\n\tUser-Name = "alice"\n\tUser-Password = "hello"\n\tTimestamp = 1795171383\n\n'
    result = radmeter(database, "replay", "--yes", write(tmp_path / "auth-detail", auth * 3))
    assert result.exit_code == 1
    assert "no Acct-Status-Type: not an accounting packet" in result.errors
    assert "hello" not in result.errors
    assert connection.execute("SELECT count(*) FROM radmeter.replayed_file").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)


def test_the_ingest_role_may_replay(database: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute("CREATE ROLE replayer LOGIN IN ROLE radmeter_ingest")
    try:
        file = write(tmp_path / "detail", stanza("s", 10))
        result = radmeter(database.replace("postgres@", "replayer@"), "replay", "--yes", file)
        assert result.exit_code == 0, result.errors
    finally:
        connection.execute("DROP ROLE replayer")
    assert octets(connection) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "Missing argument"), (("--zone", "Mars/Olympus", "x"), "not the name of an IANA time zone")],
)
def test_mistakes_end_in_a_message(database: str, arguments: tuple[str, ...], message: str) -> None:
    result = radmeter(database, "replay", "--yes", *arguments)
    assert result.exit_code == 2
    assert message in result.errors


def test_zone_tells_the_local_dates_of_the_server(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, for the first time that night
    text = stanza(
        "s",
        10,
        at=int((at + timedelta(seconds=5)).timestamp()),
        Event_Timestamp='"Oct 25 2026 02:30:00 CEST"',
    )
    radmeter(database, "replay", "--yes", "--zone", "Europe/Berlin", write(tmp_path / "detail", text))
    assert connection.execute("SELECT acctupdatetime FROM radacct").fetchone() == (at,)
