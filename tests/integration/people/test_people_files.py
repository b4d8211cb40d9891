"""Files with a person's name: journal segments, detail and quarantine files. They are listed, not changed."""

import json
from pathlib import Path

import pytest
from support.commands import Packets, radmeter

from radmeter.people import files
from radmeter.people.files import has_name
from radmeter.plugin.journal.files import AGAIN, DAMAGED, LEFT_OUT, SHIPPED
from radmeter.plugin.journal.writer import JournalWriter

PAIRS = [["Acct-Status-Type", "Stop"], ["Acct-Session-Id", "s1"], ["NAS-IP-Address", "10.0.0.1"]]


def journal_with(directory: Path, *pairs: list[str]) -> None:
    writer = JournalWriter(directory, segment_bytes=64 << 10)
    writer.append(1_700_000_000_000_000, json.dumps([*PAIRS, *pairs], ensure_ascii=False))
    writer.close()


def test_files_are_listed_with_what_to_do(database: str, tmp_path: Path) -> None:
    journal, state = tmp_path / "journal", tmp_path / "state"
    journal_with(journal, ["User-Name", "alice"])
    quarantine = state / "radius" / "radacct" / "radmeter-quarantine" / "detail"
    quarantine.parent.mkdir(parents=True)
    quarantine.write_text('Sat Nov 21 20:00:00 2026\n\tUser-Name = "alice"\n\n')
    (quarantine.parent / "detail.1").write_text('Sat Nov 21 20:00:00 2026\n\tUser-Name = "alice2"\n\n')
    with Packets(database) as packets:
        packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=5)
    places = {"RADMETER_JOURNAL": str(journal), "RADMETER_STATE": str(state)}
    shown = radmeter(database, "people", "show", "alice", "--format", "json", **places).json()
    (segment,) = journal.glob("segment-*")
    listed = {row["kind"]: row["place"] for row in shown if row["place"]}
    assert listed == {
        "journal segment": f"{segment}: the shipper moves it when it is full and all of it is shipped",
        "detail or quarantine file": f"{quarantine}: delete it, or let logrotate do so",
    }
    before = segment.read_bytes(), quarantine.read_bytes()
    done = radmeter(database, "people", "erase", "alice", "--yes", "--format", "json", **places).json()
    assert {row["kind"]: row["place"] for row in done["kept"]} == listed
    assert done["came_back"] == []
    assert (segment.read_bytes(), quarantine.read_bytes()) == before
    # Now only files have the name.
    again = radmeter(database, "people", "show", "alice", **places)
    assert again.exit_code == 0
    # A path is on a line of its own, so that the table stays readable.
    table, _, below = radmeter(database, "people", "show", "alice", COLUMNS="80", **places).output.partition(
        "\n\n"
    )
    assert max(map(len, table.splitlines())) <= 80
    assert len(table.splitlines()) == 1 + len(listed)
    assert any(line.startswith(f"journal segment: {segment}") for line in below.splitlines())


def test_kept_segments_and_the_containers_quarantine_are_listed(database: str, tmp_path: Path) -> None:
    journal, run = tmp_path / "journal", tmp_path / "run"
    journal_with(journal, ["User-Name", "alice"])
    (segment,) = journal.glob("segment-*")
    kept = segment.rename(segment.with_name(f"kept-{segment.name}"))
    folders = {folder: journal / folder / segment.name for folder in (AGAIN, SHIPPED, DAMAGED, LEFT_OUT)}
    for copy in folders.values():
        copy.parent.mkdir()
        copy.write_bytes(kept.read_bytes())
    for name in ("detail", "detail.full"):
        file = run / "radacct" / "radmeter-quarantine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('Sat Nov 21 20:00:00 2026\n\tUser-Name = "alice"\n\n')
    places = {"RADMETER_JOURNAL": str(journal), "RADMETER_RUN": str(run)}
    for rows in (
        radmeter(database, "people", "show", "alice", "--format", "json", **places).json(),
        radmeter(database, "people", "erase", "alice", "--yes", "--format", "json", **places).json()["kept"],
    ):
        assert sorted((row["kind"], row["place"].split(": ")[0]) for row in rows) == [
            ("damaged segment", str(folders[DAMAGED])),
            ("detail or quarantine file", f"{file.parent}/detail"),
            ("detail or quarantine file", f"{file.parent}/detail.full"),
            ("kept segment", str(folders[SHIPPED])),
            ("kept segment of an older release", str(kept)),
            ("left-out segment", str(folders[LEFT_OUT])),
            ("segment that is shipped again", str(folders[AGAIN])),
        ]
    assert "salvage" in next(row["place"] for row in rows if row["kind"] == "left-out segment")


@pytest.mark.parametrize("name", ["alice", "käthe", 'x"y', "back\\slash"])
def test_a_name_is_found_however_the_journal_writes_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = (
        ["User-Name", name],
        ["Tmp-Octets-0", "0x" + name.encode().hex()],
    )
    for number, pair in enumerate(ways):
        directory = tmp_path / str(number)
        journal_with(directory, pair)
        (segment,) = directory.glob("segment-*")
        assert has_name(segment, name)
        assert not has_name(segment, name[:-1])
    # Also across the ends of the pieces in which a file is read.
    for size in (1, 3, 7):
        monkeypatch.setattr(files, "CHUNK_BYTES", size)
        assert has_name(segment, name)
        assert not has_name(segment, name[:-1])
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    assert not has_name(empty, name)


def test_a_file_that_cannot_be_read_may_have_the_name(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal_with(journal, ["User-Name", "alice"])
    (segment,) = journal.glob("segment-*")
    segment.unlink()
    segment.mkdir()  # even root cannot read a directory as a file
    with Packets(database) as packets:
        packets.add("Stop", "s1", User_Name="alice", Acct_Input_Octets=5)
    shown = radmeter(
        database, "people", "show", "alice", "--format", "json", RADMETER_JOURNAL=str(journal)
    ).json()
    assert "journal segment, cannot be read" in {row["kind"] for row in shown}
