"""The export of sessions: which ones a month has, whose they are, and that they add up to the routers' days."""

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from support.archives import sessions_of, stop_at
from support.commands import Packets, radmeter
from support.exported import FORMATS, export, exported, manifest, read
from support.servers import Connection

TENANTS = """
INSERT INTO radmeter.tenants (id, name, currency, digits, timezone, issuer_id)
VALUES (1, 'acme', 'EUR', 2, 'UTC', 1), (2, 'other', 'EUR', 2, 'UTC', 1);
INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
SELECT id, '2020-01-01', 1 FROM public.routers WHERE name <> 'site2'"""
# Sessions name these routers with these zones.
ROUTERS = """
INSERT INTO public.routers (name, nas_identifier, timezone) VALUES
    ('site0', 'site0', 'Pacific/Kiritimati'), ('site1', 'site1', 'America/New_York'), ('site2', 'site2', 'UTC')"""


@pytest.fixture
def sites(database: str, connection: Connection) -> str:
    connection.execute(ROUTERS)
    return database


def session(
    database: str,
    connection: Connection,
    name: str,
    router: str,
    *reports: tuple[str, int],
    stops: bool = True,
) -> None:
    """Send what a router reports: times, and the octets of the session at each. The last one is its Stop."""
    with Packets(database, f"exports-{name}-{time.monotonic_ns()}") as packets:
        began = stop_at(connection, reports[0][0])
        for place, (at, octets) in enumerate(reports):
            last, ago = stops and place == len(reports) - 1, stop_at(connection, at)
            packets.add("Stop" if last else "Interim-Update", name, ago=ago, User_Name="alice", NAS_Identifier=router,
                        Acct_Session_Time=60 + round(began - ago), Acct_Input_Octets=octets,
                        Acct_Output_Octets=2 * octets)  # fmt: skip


def rows(database: str, directory: Path, *options: str) -> list[dict[str, Any]]:
    return read(exported(database, "sessions", "csv", directory / "x.csv", *options))


def octets(found: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    return {row["session_id"]: (int(row["bytes_in"]), int(row["bytes_out"])) for row in found}


def test_a_month_has_the_octets_of_its_days_in_the_routers_zone(
    sites: str, connection: Connection, tmp_path: Path
) -> None:
    """New York is 4 hours behind UTC then, and Kiritimati 14 before it."""
    session(sites, connection, "whole", "site2", ("2026-10-10 12:00Z", 10))
    session(sites, connection, "into", "site2", ("2026-09-30 23:00Z", 100), ("2026-10-01 01:00Z", 130))
    session(sites, connection, "out of", "site2", ("2026-10-31 23:00Z", 1000), ("2026-11-01 01:00Z", 1300))
    session(sites, connection, "through", "site2", ("2026-09-30 23:00Z", 1), ("2026-10-15 12:00Z", 3),
            ("2026-11-01 01:00Z", 7))  # fmt: skip
    session(sites, connection, "before", "site2", ("2026-09-30 23:59Z", 5))
    session(sites, connection, "after", "site2", ("2026-11-01 00:01Z", 5))
    session(sites, connection, "still September", "site1", ("2026-10-01 03:00Z", 5))
    session(sites, connection, "October there", "site1", ("2026-11-01 03:00Z", 6))
    session(sites, connection, "October already", "site0", ("2026-09-30 11:00Z", 7))
    session(sites, connection, "November already", "site0", ("2026-10-31 11:00Z", 8))
    session(sites, connection, "open", "site2", ("2026-10-20 12:00Z", 9), stops=False)
    found = rows(sites, tmp_path)
    assert octets(found) == {
        "whole": (10, 20),
        "into": (30, 60),
        "out of": (1000, 2000),
        "through": (2, 4),
        "October there": (6, 12),
        "October already": (7, 14),
        "open": (9, 18),
    }
    assert [int(row["id"]) for row in found] == sorted(int(row["id"]) for row in found)
    whole = {row["session_id"]: row["session_bytes_in"] for row in found}
    assert whole["through"] == "7"
    assert {row["session_id"] for row in found if row["stopped_at"] is None} == {"open"}


def test_sessions_add_up_to_the_days_of_each_router(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    """Some are over midnight, some over the end of the month, and some are open."""
    for month in ("2026-09", "2026-10"):
        sessions_of(database, connection, month)
    for number in range(12):
        session(database, connection, f"s{number}", f"site{number % 3}",
                (f"2026-{9 + number % 2}-28 12:00Z", 10 + number), ("2026-10-31 23:30Z", 1000 + number),
                ("2026-11-02 00:30Z", 3000 + number))  # fmt: skip
    connection.execute(TENANTS)
    for first, last in (
        ("2026-09-01", "2026-09-30"),
        ("2026-10-01", "2026-10-31"),
        ("2026-10-05", "2026-10-10"),
    ):
        days = ("--from", first, "--to", last)
        found: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0])
        for row in rows(database, tmp_path, *days):
            found[row["router"], row["tenant"]][0] += int(row["bytes_in"])
            found[row["router"], row["tenant"]][1] += int(row["bytes_out"])
        counted: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0])
        for row in read(exported(database, "router-days", "csv", tmp_path / "d.csv", *days)):
            counted[row["router"], row["tenant"]][0] += int(row["bytes_in"])
            counted[row["router"], row["tenant"]][1] += int(row["bytes_out"])
        assert counted
        assert found == counted
        totals = [manifest(tmp_path / name)["totals"] for name in ("x.csv", "d.csv")]
        assert (
            totals[0]
            == totals[1]
            == {
                "bytes_in": sum(each[0] for each in counted.values()),
                "bytes_out": sum(each[1] for each in counted.values()),
            }
        )


def test_a_router_that_changes_hands_divides_its_sessions(
    sites: str, connection: Connection, tmp_path: Path
) -> None:
    session(sites, connection, "one", "site2", ("2026-10-14 12:00Z", 1), ("2026-10-15 12:00Z", 11),
            ("2026-10-16 12:00Z", 111), ("2026-10-20 12:00Z", 1111))  # fmt: skip
    connection.execute(TENANTS)
    connection.execute("""INSERT INTO radmeter.router_tenant SELECT id, day, tenant
        FROM public.routers, (VALUES (date '2026-10-15', 1), ('2026-10-16', 2), ('2026-10-18', NULL)) AS d (day, tenant)
        WHERE name = 'site2'""")
    found = rows(sites, tmp_path)
    assert [(row["tenant"], row["bytes_in"]) for row in found] == [
        (None, "1"), ("acme", "10"), ("other", "100"), (None, "1000")]  # fmt: skip
    assert {row["session_bytes_in"] for row in found} == {"1111"}
    assert [row["bytes_in"] for row in rows(sites, tmp_path, "--tenant", "other")] == ["100"]
    assert manifest(tmp_path / "x.csv")["tenant"] == "other"


def archive(database: str, before: str, directory: Path) -> None:
    done = radmeter(database, "partitions", "archive", "--before", before, "--to", directory, "--yes")
    assert done.exit_code == 0, done.errors


@pytest.mark.parametrize("form", FORMATS)
def test_archived_sessions_are_the_same_to_the_byte(
    database: str, connection: Connection, tmp_path: Path, form: str
) -> None:
    for month in ("2026-02", "2026-03", "2026-04"):
        sessions_of(database, connection, month)
    # From one archived month into the next, and from an archived month into one that is not.
    session(database, connection, "over", "site0", ("2026-02-27 12:00Z", 5), ("2026-03-02 12:00Z", 9))
    session(database, connection, "long", "site1", ("2026-03-30 12:00Z", 5), ("2026-04-02 12:00Z", 9))
    connection.execute(TENANTS)
    connection.execute(
        "INSERT INTO radmeter.router_tenant SELECT id, '2026-03-10', 2 FROM routers WHERE name = 'site1'"
    )
    connection.execute(b"""
        UPDATE public.radacct SET
        acctstarttime = acctstarttime - interval '0.123450 s' * (radacctid % 3),
        callingstationid = (ARRAY[NULL, '', ' ', 'a,b', 'a"b', E'a\\nb', E'\\u007f\\u2028\\u00e9\\u4e2d', '=1+1',
                                  E'\\\\\\t'])[radacctid % 9 + 1],
        acctterminatecause = CASE WHEN radacctid % 4 = 0 THEN E'\\u0001' END,
        framedipaddress = (ARRAY['10.0.0.1', '10.0.0.0/8', '2001:db8::1', NULL]::inet[])[radacctid % 4 + 1],
        acctsessiontime = NULLIF(acctsessiontime, 600) WHERE acctstoptime IS NOT NULL""")
    asked = [
        ("--period", f"2026-{month:02}", *tenant)
        for month in (2, 3, 4)
        for tenant in ((), ("--tenant", "acme"))
    ]
    before = [
        exported(database, "sessions", form, tmp_path / f"x.{form}", *each).read_bytes() for each in asked
    ]
    assert len(set(before)) == len(before)
    said = manifest(tmp_path / f"x.{form}")
    archive(database, "2026-04", tmp_path)
    assert connection.execute(
        "SELECT count(*) FROM radacct WHERE acctstoptime < '2026-04-01Z'"
    ).fetchone() == (0,)
    after = [
        exported(database, "sessions", form, tmp_path / f"x.{form}", *each).read_bytes() for each in asked
    ]
    assert after == before
    for key in ("rows", "totals", "sha256"):
        assert manifest(tmp_path / f"x.{form}")[key] == said[key]


def test_a_file_that_is_gone_is_named_and_nothing_is_exported(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 4)
    archive(database, "2026-04", tmp_path)
    (file,) = tmp_path.glob("*2026_03*.parquet")
    (tmp_path / "elsewhere").mkdir()
    moved = file.rename(tmp_path / "elsewhere" / file.name)
    asked = ("--period", "2026-03", "--what", "sessions", "-o", tmp_path / "x.csv")
    done = export(database, *asked)
    assert done.exit_code == 1
    assert str(file) in done.errors
    assert "RADMETER_ARCHIVE_DIRECTORY" in done.errors
    assert not (tmp_path / "x.csv").exists()
    assert export(database, *asked, RADMETER_ARCHIVE_DIRECTORY=str(moved.parent)).exit_code == 0
    # A month after the archived one does not need the file.
    moved.unlink()
    assert export(database, "--period", "2026-05", *asked[2:]).exit_code == 0


def test_a_router_that_was_merged_since_has_its_name_of_today(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    sessions_of(database, connection, "2026-03", 8)
    archive(database, "2026-04", tmp_path)
    connection.execute("""SELECT radmeter.claim_router(id, 'lobby', NULL, 'site0', NULL, NULL)
                          FROM routers WHERE name = 'site0'""")
    connection.execute("""SELECT radmeter.merge_router(here.id, there.id) FROM routers AS here, routers AS there
                          WHERE here.name = 'site1' AND there.name = 'lobby'""")
    found = rows(database, tmp_path, "--period", "2026-03")
    assert {row["router"] for row in found} == {"lobby", "site2"}
