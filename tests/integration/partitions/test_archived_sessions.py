"""Sessions of archived months are listed with the live ones, from their files, as if they had never been archived."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.archives import HOME_MADE, sessions_of
from support.commands import radmeter
from support.functions import value
from support.servers import Connection

from radmeter.partitions.archived_sessions import ArchivedFile, opened

MONTHS = ("2026-02", "2026-03", "2026-04")


def listed(database: str, *options: str | Path, **environment: str) -> list[dict[str, Any]]:
    done = radmeter(database, "sessions", "--format", "json", *options, **environment)
    assert done.exit_code == 0, done.errors
    rows = json.loads(done.output)
    assert isinstance(rows, list)
    return rows


def pages(database: str, *options: str) -> list[dict[str, Any]]:
    """List page by page, as the note on standard error says."""
    rows: list[dict[str, Any]] = []
    while True:
        go_on = ("--before", str(rows[-1]["id"])) if rows else ()
        page = listed(database, "--archived", "--limit", "7", *options, *go_on)
        rows += page
        if len(page) < 7:
            return rows


@pytest.fixture
def archived(database: str, connection: Connection, tmp_path: Path) -> Path:
    """A directory with two archived months; the third is in radacct. The second has columns that the first lacks."""
    for month in MONTHS:
        sessions_of(database, connection, month)
    # A session that another program wrote, without a start.
    connection.execute("UPDATE radacct SET acctstarttime = NULL WHERE acctuniqueid IN"
                       " (SELECT min(acctuniqueid) FROM radacct WHERE acctstoptime < '2026-03-01Z')")  # fmt: skip
    return tmp_path


def archive(database: str, before: str, directory: Path) -> None:
    done = radmeter(database, "partitions", "archive", "--before", before, "--to", directory, "--yes")
    assert done.exit_code == 0, done.errors


def test_the_listing_is_the_same_before_and_after_the_archive(
    database: str, connection: Connection, archived: Path
) -> None:
    router = value(connection, "'#' || router_id FROM radacct WHERE router_id IS NOT NULL LIMIT 1")
    choices = ((), ("--user", "user3"), ("--user", "user0"), ("--router", str(router)))
    before = {choice: listed(database, "--limit", "1000", *choice) for choice in choices}
    assert len(before[()]) == 3 * 43
    archive(database, "2026-03", archived)
    connection.execute(HOME_MADE.encode())
    archive(database, "2026-04", archived)
    for choice in choices:
        now = listed(database, "--limit", "1000", *choice)
        assert len(now) < len(before[choice])  # without --archived they are missing
        assert listed(database, "--archived", "--limit", "1000", *choice) == before[choice]
        assert pages(database, *choice) == before[choice]
    # The counters keep what archived sessions used.
    usage = radmeter(database, "usage", "user", "user3", "--periods", "10", "--format", "json")
    assert {row["period_start"][:7] for row in usage.json()} >= set(MONTHS)


def test_a_restored_month_is_listed_once_and_a_merged_router_by_its_name_now(
    database: str, connection: Connection, archived: Path
) -> None:
    before = listed(database, "--limit", "1000")
    archive(database, "2026-04", archived)
    done = radmeter(database, "partitions", "restore", archived / "radacct_2026_02.parquet", "--yes")
    assert done.exit_code == 0, done.errors
    assert listed(database, "--archived", "--limit", "1000") == before
    first, second = (
        row[0] for row in connection.execute("SELECT DISTINCT router_id FROM radacct ORDER BY 1 LIMIT 2")
    )
    done = radmeter(database, "routers", "merge", f"#{second}", f"#{first}", "--yes")
    assert done.exit_code == 0, done.errors
    rows = listed(database, "--archived", "--router", f"#{first}", "--limit", "1000")
    merged = [row for row in before if row["router_id"] in (first, second) and row["stopped_at"]]
    in_file = {row["id"] for row in merged if row["stopped_at"].startswith("2026-03")}
    assert in_file
    assert in_file <= {row["id"] for row in rows}
    assert {row["router_id"] for row in rows} == {first}


def test_a_file_that_is_gone_moved_or_another_is_said(database: str, archived: Path) -> None:
    archive(database, "2026-03", archived)
    file = archived / "radacct_2026_02.parquet"
    rows = listed(database, "--archived")
    elsewhere = archived / "moved"
    elsewhere.mkdir()
    file.rename(elsewhere / file.name)
    failed = radmeter(database, "sessions", "--archived")
    assert failed.exit_code == 1
    assert f"{file}, with the sessions of radacct_2026_02, is gone" in failed.errors
    assert listed(database, "--archived", "--archive-directory", elsewhere) == rows
    (elsewhere / file.name).rename(file)
    # Whole, and readable as Parquet, but not what was written.
    pq.write_table(pq.read_table(file), file)
    failed = radmeter(database, "sessions", "--archived")
    assert failed.exit_code == 1
    assert "is damaged or another file: its SHA-256 is" in failed.errors
    assert radmeter(database, "sessions").exit_code == 0
    refused = radmeter(database, "sessions", "--archived", "--open")
    assert refused.exit_code == 2


def test_a_file_keeps_the_name_or_the_pseudonym_that_it_was_written_with(
    database: str, archived: Path
) -> None:
    assert radmeter(database, "people", "erase", "user1", "--yes").exit_code == 0
    archive(database, "2026-03", archived)
    later = listed(database, "--archived", "--user", "user2", "--limit", "1000")
    assert radmeter(database, "people", "erase", "user2", "--yes").exit_code == 0
    names = {row["username"] for row in listed(database, "--archived", "--limit", "1000")}
    assert "user1" not in names
    in_file = [row for row in later if row["stopped_at"].startswith("2026-02")]
    assert listed(database, "--archived", "--user", "user2") == in_file != []
    unknown = radmeter(database, "sessions", "--archived", "--user", "user1")
    assert unknown.exit_code == 1
    assert "there is no user 'user1'" in unknown.errors


def test_the_filters_reach_the_files(database: str, connection: Connection, archived: Path) -> None:
    archive(database, "2026-03", archived)
    name, file, digest = connection.execute(
        "SELECT name, file, file_sha256 FROM radmeter.archives"
    ).fetchall()[0]
    with opened([ArchivedFile(name, Path(file), digest)]) as sessions:
        query, values = sessions._query("user3", [1, 2], (datetime(2026, 2, 10, tzinfo=UTC), 10**9), False)
        explained = sessions._connection.execute(f"EXPLAIN {query}", values).fetchall()
        plan = "\n".join(str(row[1]) for row in explained)
        scan = plan[plan.index("READ_PARQUET") :]
        assert "Filters" in scan
        assert "user3" in scan
        assert "router_id" in scan
        # Only the columns of the listing are read.
        assert "nasporttype" not in plan
