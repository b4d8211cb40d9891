"""What archive and restore refuse, naming what is wrong, with nothing changed."""

from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.archives import everything, ours_left, sessions_of
from support.commands import radmeter
from support.servers import Connection, Server

from radmeter.partitions import restore
from radmeter.partitions.archive_catalog import Archive

FILE = "radacct_2026_03.parquet"


@pytest.fixture
def month(database: str, connection: Connection) -> str:
    """A database with a month of sessions."""
    sessions_of(database, connection, "2026-03", 8)
    return database


def refused(database: str, *arguments: object, code: int = 1) -> str:
    done = radmeter(database, "partitions", *map(str, arguments))
    assert done.exit_code == code, done
    assert "Traceback" not in done.errors
    return done.errors


def archive(directory: Path) -> tuple[object, ...]:
    return ("archive", "--before", "2026-04", "--to", directory, "--yes")


def test_without_a_terminal_it_asks_for_yes(month: str, connection: Connection, tmp_path: Path) -> None:
    before = everything(connection)
    assert "give --yes" in refused(month, *archive(tmp_path)[:-1], code=2)
    assert radmeter(month, "partitions", *map(str, archive(tmp_path))).exit_code == 0
    assert "give --yes" in refused(month, "restore", tmp_path / FILE, code=2)
    assert len(everything(connection)["sessions"]) == len(before["sessions"]) - 8


def test_a_dry_run_shows_the_partitions_and_does_nothing(
    month: str, connection: Connection, tmp_path: Path
) -> None:
    before = everything(connection)
    done = radmeter(month, "partitions", *map(str, archive(tmp_path)), "--dry-run")
    assert (done.exit_code, "radacct_2026_03  2026-03-01  2026-04-01" in done.output) == (0, True)
    assert everything(connection) == before
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_and_a_file_that_is(
    month: str, connection: Connection, tmp_path: Path
) -> None:
    before = everything(connection)
    assert f"mkdir -p {tmp_path}/no" in refused(month, *archive(tmp_path / "no"), code=2)
    (tmp_path / FILE).write_text("mine")
    assert "this database did not write it" in refused(month, *archive(tmp_path))
    assert (tmp_path / FILE).read_text() == "mine"
    assert everything(connection) == before
    assert ours_left(connection) == []


def test_a_full_disk_leaves_the_partition_and_no_file(
    month: str, connection: Connection, tmp_path: Path
) -> None:
    before = everything(connection)
    (tmp_path / f"{FILE}.part").symlink_to("/dev/full")
    said = refused(month, *archive(tmp_path))
    assert "the disk is full" in said
    assert "Nothing was lost" in said
    assert everything(connection) == before
    assert list(tmp_path.iterdir()) == []
    assert ours_left(connection) == []
    assert radmeter(month, "partitions", *map(str, archive(tmp_path))).exit_code == 0


def test_a_value_that_the_file_has_no_place_for(month: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute("UPDATE radacct SET acctstarttime = '-infinity' WHERE acctstoptime IS NOT NULL")
    said = refused(month, *archive(tmp_path))
    first = connection.execute("SELECT min(radacctid) FROM radacct_2026_03").fetchall()[0][0]
    assert "a value cannot be written to a Parquet file" in said
    assert "has acctstarttime -infinity" in said
    assert f"WHERE radacctid = {first}" in said
    assert ours_left(connection) == []
    assert list(tmp_path.iterdir()) == []


def test_what_depends_on_the_partition_is_named(month: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute(
        """CREATE VIEW mine AS SELECT username FROM radacct_2026_03;
           SET ROLE radmeter_owner;
           CREATE SEQUENCE public.ours OWNED BY radacct_2026_03.radacctid;
           RESET ROLE"""
    )
    said = refused(month, *archive(tmp_path))
    assert "the view public.mine reads it: DROP or redefine it" in said
    assert "ALTER SEQUENCE public.ours OWNED BY public.radacct.radacctid" in said
    connection.execute(
        "DROP VIEW mine; DROP SEQUENCE ours; ALTER TABLE radacct_2026_03 ADD PRIMARY KEY (radacctid)"
    )
    connection.execute("CREATE TABLE notes (id bigint REFERENCES radacct_2026_03 (radacctid))")
    assert "of public.notes refers to it: drop that constraint" in refused(month, *archive(tmp_path))
    connection.execute("DROP TABLE notes")
    assert radmeter(month, "partitions", *map(str, archive(tmp_path))).exit_code == 0


def test_adopted_sessions_that_are_not_counted_yet(
    month: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute("UPDATE radacct_2026_03 SET adopted = true WHERE radacctid % 2 = 0")
    before = everything(connection)
    said = refused(month, *archive(tmp_path), "--dry-run")
    assert "their usage would be lost: run `radmeter backfill` first" in said
    assert everything(connection) == before
    # What is not counted may be there if it was not adopted.
    connection.execute(
        """INSERT INTO radmeter.backfill (timezone, first_id, last_id, counted)
           SELECT 'UTC', min(radacctid), max(radacctid), range_agg(int8range(radacctid, radacctid, '[]'))
           FROM radacct_2026_03 WHERE adopted"""
    )
    assert radmeter(month, "partitions", *map(str, archive(tmp_path)), "--dry-run").exit_code == 0


@pytest.mark.parametrize("alone", ["min", "max"])
def test_a_single_adopted_session_that_is_not_counted_yet_is_enough(
    month: str, connection: Connection, tmp_path: Path, alone: str
) -> None:
    """All but the one with the lowest id, or the highest, is counted."""
    connection.execute("UPDATE radacct_2026_03 SET adopted = true")
    counted = "int8range(min(radacctid) + 1, NULL)" if alone == "min" else "int8range(NULL, max(radacctid))"
    connection.execute(
        f"""INSERT INTO radmeter.backfill (timezone, first_id, last_id, counted)
            SELECT 'UTC', min(radacctid), max(radacctid), int8multirange({counted}) FROM radacct_2026_03""".encode()
    )
    assert "their usage would be lost" in refused(month, *archive(tmp_path), "--dry-run")
    connection.execute(
        f"""UPDATE radmeter.backfill SET counted = counted + int8multirange(int8range(lone, lone, '[]'))
            FROM (SELECT {alone}(radacctid) AS lone FROM radacct_2026_03) AS uncounted""".encode()
    )
    assert radmeter(month, "partitions", *map(str, archive(tmp_path)), "--dry-run").exit_code == 0


def test_a_damaged_file_is_refused_before_it_is_parsed(
    month: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert radmeter(month, "partitions", *map(str, archive(tmp_path))).exit_code == 0
    before = everything(connection)
    whole = (tmp_path / FILE).read_bytes()
    parsed: list[object] = []
    monkeypatch.setattr(pq, "ParquetFile", lambda *given, **options: parsed.append(given))
    for damaged in (
        whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:],
        whole[:-100],
        b"",
        b"PAR1" + bytes(1000) + b"PAR1",
    ):
        (tmp_path / FILE).write_bytes(damaged)
        found = refused(month, "restore", tmp_path / FILE, "--yes")
        assert f"is damaged, or another database's: its SHA-256 is {sha256(damaged).hexdigest()}" in found
        assert sha256(whole).hexdigest() in found
        assert parsed == []
        assert "Nothing was changed" in found
        assert everything(connection) == before
    monkeypatch.undo()
    (tmp_path / FILE).write_bytes(whole)
    assert radmeter(month, "partitions", "restore", tmp_path / FILE, "--yes").exit_code == 0


def test_a_file_that_is_exchanged_after_it_was_checked_is_not_parsed(
    month: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert radmeter(month, "partitions", *map(str, archive(tmp_path))).exit_code == 0
    before = everything(connection)
    whole = (tmp_path / FILE).read_bytes()
    known = restore.record_of

    def exchanged(connection: Connection, path: Path) -> Archive:
        record = known(connection, path)
        path.write_bytes(whole[:-1] + b"x")
        return record

    monkeypatch.setattr(restore, "record_of", exchanged)
    found = refused(month, "restore", tmp_path / FILE, "--yes")
    assert "is damaged: its SHA-256 is" in found
    assert everything(connection) == before


def test_a_file_of_another_program_or_database_is_refused(
    server: Server, month: str, connection: Connection, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "theirs.parquet")
    assert "is not one that was written here" in refused(
        month, "restore", tmp_path / "theirs.parquet", "--yes"
    )
    assert "does not exist" in refused(month, "restore", tmp_path / "none.parquet", "--yes")
    assert "is a directory" in refused(month, "restore", tmp_path, "--yes")
    assert radmeter(month, "partitions", *map(str, archive(tmp_path))).exit_code == 0
    with server.clone() as other:
        assert "is not one that was written here" in refused(other, "restore", tmp_path / FILE, "--yes")
    assert ours_left(connection) == []
