"""Months of sessions taken out into files and brought back: every value, and no counter moves."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from support.archives import HOME_MADE, STRANGE, counters, everything, ours_left, sessions_of
from support.commands import radmeter
from support.functions import value
from support.ledger import believe_old_arrivals
from support.servers import Connection

MONTHS = ("2026-02", "2026-03", "2026-04")


def archive(database: str, before: str, directory: Path) -> None:
    done = radmeter(database, "partitions", "archive", "--before", before, "--to", directory, "--yes")
    assert done.exit_code == 0, done.errors


def restore(database: str, file: Path) -> str:
    done = radmeter(database, "partitions", "restore", file, "--yes")
    assert done.exit_code == 0, done.errors
    return done.output


def test_round_trip_brings_back_every_value_and_moves_no_counter(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute(HOME_MADE.encode())
    for month in MONTHS:
        sessions_of(database, connection, month)
    connection.execute(STRANGE.encode())
    before = everything(connection)
    assert len(before["slices"]) == 30

    archive(database, "2026-04", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "radacct_2026_02.parquet",
        "radacct_2026_03.parquet",
    ]
    archived = everything(connection)
    assert len(before["sessions"]) - len(archived["sessions"]) == 80
    assert len(archived["slices"]) == 10
    assert counters(connection) == {"users": before["users"], "routers": before["routers"]}
    assert archived["complete"] == [("2026-04-01 00:00:00+00",)]
    assert ours_left(connection) == []
    verified = radmeter(database, "verify")
    assert verified.exit_code == 0
    assert "sessions that stopped before 2026-04-01 were dropped or archived" in verified.errors

    for name in ("radacct_2026_03", "radacct_2026_02"):
        restore(database, tmp_path / f"{name}.parquet")
        assert radmeter(database, "verify").exit_code == 0
    after = everything(connection)
    for name, rows in before.items():
        assert after[name] == rows, name
    assert ours_left(connection) == []
    audited = connection.execute("SELECT action, detail->>'partition' FROM audit_log ORDER BY id").fetchall()
    assert audited == [
        ("partitions archive", "radacct_2026_02"),
        ("partitions archive", "radacct_2026_03"),
        ("partitions restore", "radacct_2026_03"),
        ("partitions restore", "radacct_2026_02"),
    ]


def test_the_file_has_types_that_other_programs_read(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    archive(database, "2026-04", tmp_path)
    file = pq.ParquetFile(tmp_path / "radacct_2026_03.parquet")
    types = {field.name: field.type for field in file.schema_arrow}
    assert types["radacctid"] == pa.int64()
    assert types["nasipaddress"] == pa.string()
    assert types["acctstoptime"] == pa.timestamp("us", tz="UTC")
    assert types["usage_date"] == pa.date32()
    assert types["adopted"] == pa.bool_()
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    rows = sorted(file.read().to_pylist(), key=lambda row: row["acctinputoctets"])
    assert rows[0]["acctstoptime"] == datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert rows[0]["session_slice"] == [
        {
            "usage_date": date(2026, 3, 9),
            "period_start": date(2026, 3, 1),
            "bytes_in": 100,
            "bytes_out": 0,
        }
    ]
    about = json.loads(file.metadata.metadata[b"radmeter"])
    assert (about["partition"], about["from_at"], about["session_rows"], about["slice_rows"]) == (
        "radacct_2026_03",
        "2026-03-01T00:00:00Z",
        8,
        2,
    )
    assert {"name": "nasipaddress", "type": "inet"} in about["columns"]


def test_what_an_adopted_session_had_goes_with_it(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    connection.execute(
        """INSERT INTO radmeter.adoption_baseline
           SELECT radacctid, 'a,"b' || chr(10), 1, 'x;y', '10.0.0.1', acctstarttime, 5, 6
           FROM radacct_2026_03 WHERE radacctid % 3 = 0"""
    )
    before = everything(connection)
    assert len(before["parts"]) > 1
    archive(database, "2026-04", tmp_path)
    assert everything(connection)["parts"] == []
    restore(database, tmp_path / "radacct_2026_03.parquet")
    assert everything(connection) == before


def test_an_empty_month_goes_and_comes_back(database: str, connection: Connection, tmp_path: Path) -> None:
    connection.execute("SELECT radmeter.ensure_partition('2026-03-01')")
    before = everything(connection)
    archive(database, "2026-04", tmp_path)
    assert "0 sessions are back" in restore(database, tmp_path / "radacct_2026_03.parquet")
    assert everything(connection) == before


def test_this_month_and_the_open_sessions_stay_whatever_month_is_given(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    before = everything(connection)
    done = radmeter(database, "partitions", "archive", "--before", "2199-01", "--to", tmp_path, "--yes")
    assert (done.exit_code, done.output) == (
        0,
        "nothing to archive: no partition ends at or before 2199-01\n",
    )
    assert everything(connection) == before


def test_sessions_come_back_into_a_month_that_late_packets_made_again(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    archive(database, "2026-04", tmp_path)
    sessions_of(database, connection, "2026-03", 2)
    late = everything(connection)
    assert value(connection, "isfinite(radmeter.sessions_complete_from())") is True
    assert radmeter(database, "verify").exit_code == 0

    assert "radacct_2026_03: 8 sessions are back" in restore(database, tmp_path / "radacct_2026_03.parquet")
    after = everything(connection)
    assert counters(connection) == {"users": late["users"], "routers": late["routers"]}
    assert len([row for row in after["sessions"] if row[0] == "radacct_2026_03"]) == 10
    assert value(connection, "isfinite(radmeter.sessions_complete_from())") is False
    assert ours_left(connection) == []
    verified = radmeter(database, "verify")
    assert (verified.exit_code, "not judged" in verified.errors) == (0, False)

    again = radmeter(database, "partitions", "restore", tmp_path / "radacct_2026_03.parquet", "--yes")
    assert "is restored already: its sessions are in radacct_2026_03" in again.output
    assert everything(connection) == after


def test_a_month_that_was_archived_twice_is_complete_when_both_files_are_back(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    archive(database, "2026-04", tmp_path)
    sessions_of(database, connection, "2026-03", 2)
    archive(database, "2026-04", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "radacct_2026_03-2.parquet",
        "radacct_2026_03.parquet",
    ]
    restore(database, tmp_path / "radacct_2026_03-2.parquet")
    assert value(connection, "isfinite(radmeter.sessions_complete_from())") is True
    restore(database, tmp_path / "radacct_2026_03.parquet")
    assert value(connection, "isfinite(radmeter.sessions_complete_from())") is False
    assert len([row for row in everything(connection)["sessions"] if row[0] == "radacct_2026_03"]) == 10
    verified = radmeter(database, "verify")
    assert (verified.exit_code, "not judged" in verified.errors) == (0, False)


def test_the_oldest_partition_of_an_adopted_table_goes_and_takes_back_the_months_made_since(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute(
        """CREATE TABLE public.radacct_legacy (LIKE public.radacct INCLUDING DEFAULTS);
           ALTER TABLE public.radacct_legacy ADD PRIMARY KEY (radacctid);
           CREATE INDEX mine ON public.radacct_legacy (lower(username)) WHERE username IS NOT NULL;
           ALTER TABLE public.radacct ATTACH PARTITION public.radacct_legacy
           FOR VALUES FROM (MINVALUE) TO ('2026-04-01Z');
           INSERT INTO radmeter.session_month (month) VALUES ('2026-03-01')"""
    )
    believe_old_arrivals(connection)
    for month in ("2024-07", "2026-03"):
        sessions_of(database, connection, month, 8)
    before = everything(connection)
    done = radmeter(database, "partitions", "archive", "--before", "2026-03", "--to", tmp_path, "--yes")
    assert "nothing to archive" in done.output
    archive(database, "2026-04", tmp_path)
    assert value(connection, "radmeter.sessions_complete_from()") == datetime(2026, 4, 1, tzinfo=UTC)
    assert radmeter(database, "verify").exit_code == 0
    for month in ("2026-03", "2025-01"):
        sessions_of(database, connection, month, 2)
    late = everything(connection)

    assert "radacct_legacy: 16 sessions are back" in restore(database, tmp_path / "radacct_legacy.parquet")
    after = everything(connection)
    assert after["partitions"] == before["partitions"]
    assert after["indexes"] == before["indexes"]
    assert counters(connection) == {"users": late["users"], "routers": late["routers"]}
    assert len([row for row in after["sessions"] if row[0] == "radacct_legacy"]) == 20
    legacy = [row for row in before["sessions"] if row[0] == "radacct_legacy"]
    assert len(legacy) == 16
    assert set(legacy) <= set(after["sessions"])
    assert value(connection, "isfinite(radmeter.sessions_complete_from())") is False
    verified = radmeter(database, "verify")
    assert (verified.exit_code, "not judged" in verified.errors) == (0, False)


def test_columns_added_since_are_empty_and_columns_gone_or_changed_are_named_and_refused(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    connection.execute(
        "ALTER TABLE radacct ADD COLUMN gone text, ADD COLUMN changed integer, ADD COLUMN kept text"
    )
    sessions_of(database, connection, "2026-03", 8)
    archive(database, "2026-04", tmp_path)
    connection.execute(
        """ALTER TABLE radacct DROP COLUMN gone, DROP COLUMN changed, ADD COLUMN changed bigint,
                               ADD COLUMN added text, ADD COLUMN defaulted text NOT NULL DEFAULT 'x'"""
    )
    before = everything(connection)
    file = tmp_path / "radacct_2026_03.parquet"
    refused = radmeter(database, "partitions", "restore", file, "--yes")
    assert refused.exit_code == 1
    assert "gone (text), changed (integer), which is bigint in radacct" in refused.errors
    assert everything(connection) == before
    connection.execute(
        "ALTER TABLE radacct ADD COLUMN gone text, DROP COLUMN changed, ADD COLUMN changed integer"
    )
    restore(database, file)
    rows = connection.execute("SELECT DISTINCT added, defaulted FROM radacct_2026_03").fetchall()
    assert rows == [(None, "x")]


def test_inserting_into_a_partition_by_its_name_counts_nothing(database: str, connection: Connection) -> None:
    """PostgreSQL fires the statement triggers of the table that is named: restore counts on it."""
    sessions_of(database, connection, "2026-03", 4)
    before = counters(connection)
    connection.execute(
        """CREATE TEMPORARY TABLE copied AS SELECT * FROM radacct_2026_03;
           UPDATE copied SET radacctid = radacctid + 1000;
           INSERT INTO radacct_2026_03 SELECT * FROM copied"""
    )
    assert counters(connection) == before
