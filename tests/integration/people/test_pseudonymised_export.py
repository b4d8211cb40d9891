"""`--pseudonyms` and `--pseudonym-key` of the commands that export data of people."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from support.archives import sessions_of
from support.commands import Packets, radmeter
from support.servers import Connection

PERSONAL: dict[str, Any] = {"Calling_Station_Id": "A1-B2-C3-D4-E5-F6", "Framed_IP_Address": "198.51.100.77"}
SECRETS = ("alice", "a1-b2-c3", "a1:b2:c3", "198.51.100", "s1", "s2")


def live(database: str) -> None:
    with Packets(database) as packets:
        for session in ("s1", "s2"):
            packets.add(
                "Stop", session, User_Name="alice", NAS_Identifier="lobby", Acct_Input_Octets=5, **PERSONAL
            )
        packets.add("Stop", "b1", User_Name="bob", NAS_Identifier="lobby", Acct_Input_Octets=5, **PERSONAL)


def test_sessions(database: str) -> None:
    live(database)
    plain = radmeter(database, "sessions", "--format", "csv").csv()
    made = radmeter(database, "sessions", "--format", "csv", "--pseudonyms").csv()
    assert not any(secret in str(made).lower() for secret in SECRETS)
    for before, after in zip(plain, made, strict=True):
        assert {name for name in before if before[name] != after[name]} == {
            "username", "calling_station_id", "framed_ip", "session_id", "unique_id",
        }  # fmt: skip
        assert after["router"] == "lobby"
    assert len({row["username"] for row in made}) == 2
    assert len({row["calling_station_id"] for row in made}) == 1
    assert len({row["unique_id"] for row in made}) == 3
    again = radmeter(database, "sessions", "--format", "csv", "--pseudonyms").csv()
    assert {row["username"] for row in again}.isdisjoint(row["username"] for row in made)
    shown = radmeter(database, "sessions", "--pseudonyms").output
    assert "alice" not in shown
    assert "user-" in shown


def test_a_key_joins_the_exports_of_two_commands(database: str, tmp_path: Path) -> None:
    live(database)
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123\n")
    about = ("--format", "json", "--pseudonym-key", key)
    (usage,) = radmeter(database, "usage", "user", "alice", *about).json()
    sessions = radmeter(database, "sessions", "--user", "alice", *about).json()
    assert {row["username"] for row in sessions} == {usage["username"]}
    assert usage["username"].startswith("user-")
    assert usage["bytes_total"] == 10


def test_a_key_that_cannot_be_used(database: str, tmp_path: Path) -> None:
    refused = radmeter(database, "sessions", "--pseudonym-key", tmp_path / "none")
    assert refused.exit_code == 2
    assert refused.errors == f"error: the key {tmp_path / 'none'} cannot be read: No such file or directory\n"


def test_a_copy_of_an_archive(database: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute("SELECT radmeter.ensure_partition('2026-03-10Z')")
    sessions_of(database, connection, "2026-03")
    connection.execute("ALTER TABLE radacct ADD COLUMN note text")
    connection.execute(
        "UPDATE radacct SET note = username, callingstationid = 'A1-B2-C3-D4-E5-F6', realm = 'r'"
    )
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123")
    (live,) = radmeter(
        database, "sessions", "--user", "user1", "--limit", "1", "--format", "json", "--pseudonym-key", key
    ).json()
    tmp_path.chmod(0o755)
    archived = radmeter(database, "partitions", "archive", "--before", "2026-05", "--to", tmp_path, "--yes")
    assert archived.exit_code == 0, archived.errors
    (file,) = tmp_path.glob("*.parquet")
    copy = tmp_path / "copy"
    done = radmeter(None, "people", "pseudonymise", file, "--to", copy, "--pseudonym-key", key)
    assert done.exit_code == 0, done.errors
    assert done.output.startswith(f"40 sessions in {copy}; left out: ")
    assert {"note", "realm", "class", "connectinfo_start", "adopted_part"} <= set(
        done.output.strip().partition("left out: ")[2].split(", ")
    )
    before, after = pq.read_table(file).to_pylist(), pq.read_table(copy).to_pylist()
    assert "user1" not in str(after)
    assert "A1-B2" not in str(after)
    for old, new in zip(before, after, strict=True):
        assert {name for name in new if old[name] != new[name]} == {
            "username", "callingstationid", "acctsessionid", "acctuniqueid",
        }  # fmt: skip
    assert len({row["username"] for row in after}) == len({row["username"] for row in before}) == 7
    # The same key joins it with what the commands show.
    (same,) = (row for row in after if row["acctuniqueid"] == live["unique_id"])
    assert (same["username"], same["callingstationid"]) == (live["username"], live["calling_station_id"])
    refused = radmeter(database, "partitions", "restore", copy, "--yes")
    assert refused.exit_code == 1
    there = radmeter(None, "people", "pseudonymise", file, "--to", copy)
    assert there.errors == f"error: {copy} exists already: give another name\n"
    bad = radmeter(None, "people", "pseudonymise", key, "--to", tmp_path / "other")
    assert bad.exit_code == 1
    assert not (tmp_path / "other").exists()
