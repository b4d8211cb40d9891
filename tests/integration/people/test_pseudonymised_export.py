"""`--pseudonyms` and `--pseudonym-key` of the commands that export data of people."""

from pathlib import Path

from support.commands import Packets, radmeter

PERSONAL = {"Calling_Station_Id": "A1-B2-C3-D4-E5-F6", "Framed_IP_Address": "198.51.100.77"}
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
