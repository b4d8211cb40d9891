"""`radmeter routers`: what an operator types, and what is said to slips of the pen."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.commands import Packets, radmeter
from support.servers import Connection

HEADER = "name,mac,nas_identifier,ip_address,timezone\n"


def names(dsn: str, *arguments: str) -> list[str]:
    return [row["name"] for row in radmeter(dsn, "routers", "list", "--format", "csv", *arguments).csv()]


def discover(dsn: str, *station_ids: str) -> None:
    with Packets(dsn) as packets:
        for station_id in station_ids:
            packets.add("Stop", station_id, Called_Station_Id=station_id, Acct_Input_Octets=7)
            packets.ship()


def test_an_added_router_is_listed_and_shown(database: str) -> None:
    done = radmeter(database, "routers", "add", "--name", "lobby", "--mac", "AABB-CCDD-EEFF", "--nas-identifier",
                    "ap-1", "--ip", "2001:db8::0:1", "--timezone", "europe/berlin")  # fmt: skip
    assert (done.exit_code, done.output, done.errors) == (0, "added router #1 'lobby'\n", "")
    row = {
        "id": 1,
        "name": "lobby",
        "mac": "aa:bb:cc:dd:ee:ff",
        "nas_identifier": "ap-1",
        "ip_address": "2001:db8::1",
        "timezone": "Europe/Berlin",
        "status": "active",
        "tenant_id": None,
        "tenant": None,
        "site": None,
        "clients": None,
    }
    assert radmeter(database, "routers", "list", "--format", "json").json() == [row]
    shown = radmeter(database, "routers", "show", "lobby", "--format", "json").json()
    assert shown.items() >= {**row, "open_sessions": 0, "bytes_today": 0, "discovery_key": None}.items()


def test_a_router_without_a_zone_has_that_of_the_installation(database: str, connection: Connection) -> None:
    assert radmeter(database, "routers", "add", "--name", "lobby").exit_code == 0
    connection.execute("UPDATE radmeter.setting SET value = 'Africa/Cairo' WHERE name = 'timezone'")
    assert (
        radmeter(database, "routers", "show", "lobby", "--format", "json").json()["timezone"]
        == "Africa/Cairo"
    )


def test_show_tells_the_open_sessions_and_how_far_the_clock_is_off(database: str) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", ago=50, NAS_Identifier="ap-1", skew=-3)
        packets.add("Start", "s2", ago=10, NAS_Identifier="ap-1", skew=90)
        packets.add("Stop", "s3", NAS_Identifier="ap-1", skew=7, Acct_Output_Octets=3 << 30)
    shown = radmeter(database, "routers", "show", "ap-1", "--format", "json").json()
    assert (shown["open_sessions"], shown["clock_skew_seconds"]) == (2, 90)
    assert shown["bytes_today"] == 3 << 30
    assert re.search(r"^bytes today +3\.22 GB$", radmeter(database, "routers", "show", "ap-1").output, re.M)


def test_the_list_is_paged_by_id_and_chosen_by_status(database: str) -> None:
    discover(database, "02-00-00-00-00-01", "02-00-00-00-00-02", "02-00-00-00-00-03")
    assert radmeter(database, "routers", "claim", "2", "--name", "known").exit_code == 0
    assert names(database) == ["02:00:00:00:00:01", "known", "02:00:00:00:00:03"]
    assert names(database, "--status", "discovered") == ["02:00:00:00:00:01", "02:00:00:00:00:03"]
    done = radmeter(database, "routers", "list", "--limit", "2", "--format", "csv")
    assert [row["name"] for row in done.csv()] == ["02:00:00:00:00:01", "known"]
    assert done.errors == "There are more: go on with --after 2\n"
    assert names(database, "--after", "2", "--limit", "2") == ["02:00:00:00:00:03"]


@pytest.mark.parametrize("text", ["1", "#1", "02-00-00-00-00-01", "0200.0000.0001", "02:00:00:00:00:01"])
def test_a_discovered_router_is_claimed_by_id_mac_or_name(database: str, text: str) -> None:
    discover(database, "02-00-00-00-00-01:ssid")
    done = radmeter(database, "routers", "claim", text, "--name", "lobby", "--timezone", "Africa/Cairo")
    assert (done.exit_code, done.output) == (0, "claimed router #1 'lobby'\n")
    (row,) = radmeter(database, "routers", "list", "--format", "json").json()
    assert (row["name"], row["status"], row["timezone"]) == ("lobby", "active", "Africa/Cairo")
    # Its usage was counted on a day of UTC, and in Cairo it may be tomorrow.
    days = radmeter(database, "usage", "router", "lobby", "--days", "2", "--format", "json").json()
    assert sum(day["bytes_in"] for day in days) == 7


@pytest.mark.parametrize("mac", [{}, {"Called_Station_Id": "02-00-00-00-00-01"}])
def test_a_claim_says_that_new_routers_at_its_address_count_for_it_and_how_they_do_not(
    database: str, mac: dict[str, Any]
) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", NAS_Identifier="lobby", **mac)
        packets.add("Start", "s2", NAS_Identifier="far", NAS_IP_Address="192.0.2.9")
    done = radmeter(database, "routers", "claim", "#1", "--name", "lobby")
    command = "radmeter routers set '#1' --ip ''"
    assert "packets of new routers that show 10.0.0.1 count for it" in done.errors
    assert f"`{command}`" in done.errors
    with Packets(database) as packets:
        packets.add("Start", "s3", NAS_Identifier="sauna")
        packets.add("Start", "s4", NAS_Identifier="attic", Called_Station_Id="02-00-00-00-00-02")
    assert names(database) == ["lobby", "far"]
    assert radmeter(database, *shlex.split(command)[1:]).exit_code == 0
    with Packets(database) as packets:
        packets.add("Start", "s5", NAS_Identifier="lobby", **mac)
        packets.add("Start", "s6", NAS_Identifier="sauna")
        packets.add("Start", "s7", NAS_Identifier="attic", Called_Station_Id="02-00-00-00-00-02")
    assert names(database) == ["lobby", "far", "sauna", "02:00:00:00:00:02"]
    # An address that another registered router has finds neither.
    assert radmeter(database, "routers", "add", "--name", "pool", "--ip", "192.0.2.9").exit_code == 0
    done = radmeter(database, "routers", "claim", "#2")
    assert (done.output, done.errors) == ("claimed router #2 'far'\n", "")


def test_a_claim_without_a_name_keeps_the_discovered_one(database: str) -> None:
    with Packets(database) as packets:
        packets.add("Start", "s1", NAS_Identifier="lobby-ap")
    assert radmeter(database, "routers", "claim", "lobby-ap").output == "claimed router #1 'lobby-ap'\n"


def test_a_claim_by_a_name_that_several_have_is_told_with_their_ids(
    database: str, connection: Connection
) -> None:
    discover(database, "02-00-00-00-00-01", "02-00-00-00-00-02")
    connection.execute("UPDATE routers SET name = 'MikroTik'")
    done = radmeter(database, "routers", "claim", "MikroTik", "--name", "lobby")
    assert done.exit_code == 1
    assert done.errors == (
        "error: 'MikroTik' is more than one router: #1 'MikroTik' (discovered, 02:00:00:00:00:01), "
        "#2 'MikroTik' (discovered, 02:00:00:00:00:02). Name it by its id, such as '#1'\n"
    )
    # Of two namesakes only the discovered one can be claimed.
    assert radmeter(database, "routers", "claim", "#1").exit_code == 0
    assert radmeter(database, "routers", "claim", "MikroTik", "--name", "lobby").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "--name", "new", "--mac", "zz"], "'zz' is not a MAC address, such as AA-BB-CC-DD-EE-FF"),
        (["add", "--name", "new", "--timezone", "Berlin"],
         "there is no time zone 'Berlin': give an IANA name, such as UTC or Europe/Berlin"),
        (["add", "--name", "new", "--ip", "10.0.0"], "'10.0.0' is not an IPv4 or IPv6 address"),
        (["add", "--name", " "], "the name is empty: give one with --name"),
        (["add", "--name", "lobby"], 'there is a router "lobby" already: #1'),
        (["add", "--name", "new", "--mac", "02-00-00-00-00-01"],
         'the MAC 02:00:00:00:00:01 belongs to router #1 "lobby"'),
        (["add", "--name", "new", "--mac", "02-00-00-00-00-02"],
         "this router was discovered as #2 and has usage: claim it with \"radmeter routers claim '#2'\""),
        (["claim", "nowhere", "--name", "x"],
         "there is no discovered router 'nowhere': `radmeter routers list --status discovered` lists them. "
         "Its packets may count for a registered router of its address"),
        (["claim", "#2", "--name", "lobby"],
         'the name "lobby" is taken by the active router #1: choose another with --name'),
        (["show", "nowhere"], "there is no router 'nowhere': `radmeter routers list` lists them"),
    ],
)  # fmt: skip
def test_a_slip_of_the_pen_is_one_line_that_names_it(
    database: str, arguments: list[str], message: str
) -> None:
    assert (
        radmeter(database, "routers", "add", "--name", "lobby", "--mac", "02-00-00-00-00-01").exit_code == 0
    )
    discover(database, "02-00-00-00-00-02")
    done = radmeter(database, "routers", *arguments)
    code = 1 if "router" in message else 2  # 2: the value is wrong in itself
    assert (done.exit_code, done.output, done.errors) == (code, "", f"error: {message}\n")
    assert names(database) == ["lobby", "02:00:00:00:00:02"]


def test_an_import_tells_each_bad_line_and_the_good_ones_go_in(database: str, tmp_path: Path) -> None:
    radmeter(database, "routers", "add", "--name", "lobby", "--mac", "02-00-00-00-00-01")
    radmeter(database, "routers", "add", "--name", "tower", "--mac", "02-00-00-00-00-09")
    discover(database, "02-00-00-00-00-02")
    file = tmp_path / "inventory.csv"
    file.write_text(
        HEADER
        + "lobby,0200.0000.0001,,,UTC\n"
        + "cafe,02-00-00-00-00-02,,,\n"
        + "garden,,,,Mars/Base\n"
        + "annex,02-00-00-00-00-09,,,\n"
        + "roof,02-00-00-00-00-03,,,\n"
    )
    errors = (
        "line 4: there is no time zone 'Mars/Base': give an IANA name, such as UTC or Europe/Berlin\n"
        'line 5: the MAC 02:00:00:00:00:09 belongs to router #2 "tower"\n'
    )
    told = "5 lines: 1 added, 1 claimed, 1 updated, 2 refused\n"
    dry = radmeter(database, "routers", "import", file, "--dry-run")
    assert (dry.exit_code, dry.output, dry.errors) == (1, f"dry run, nothing is changed: {told}", errors)
    assert names(database) == ["lobby", "tower", "02:00:00:00:00:02"]
    done = radmeter(database, "routers", "import", file)
    assert (done.exit_code, done.output, done.errors) == (1, told, errors)
    assert names(database) == ["lobby", "tower", "cafe", "roof"]
    again = radmeter(database, "routers", "import", file)
    assert (again.exit_code, again.output, again.errors) == (1, "5 lines: 3 unchanged, 2 refused\n", errors)


def test_an_import_says_how_requests_reach_the_routers(database: str, tmp_path: Path) -> None:
    file = tmp_path / "inventory.csv"
    file.write_text(
        "name,vendor,coa_address,coa_port\n"
        "lobby,MikroTik,192.0.2.7,3800\nroof,acme,,\nbar,,,0\nattic,mikrotik,,\n"
    )
    told = "4 lines: 2 added, 2 refused\n"
    dry = radmeter(database, "routers", "import", file, "--dry-run")
    assert (dry.exit_code, dry.output) == (1, f"dry run, nothing is changed: {told}")
    done = radmeter(database, "routers", "import", file)
    assert (done.exit_code, done.output) == (1, told)
    assert "line 3: the vendor 'acme' is not known: give one of " in done.errors
    assert "line 4: the coa_port '0' is not a whole number from 1 to 65535" in done.errors
    shown = radmeter(database, "routers", "show", "lobby", "--format", "json").json()
    assert (shown["vendor"], shown["coa_address"], shown["coa_port"]) == ("mikrotik", "192.0.2.7", 3800)
    assert radmeter(database, "routers", "import", file).output == "4 lines: 2 unchanged, 2 refused\n"
    file.write_text("name,coa_port\nlobby,3801\nattic,\n")
    for options in (("--dry-run",), ()):
        assert (
            "2 lines: 1 updated, 1 unchanged"
            in radmeter(database, "routers", "import", file, *options).output
        )
    shown = radmeter(database, "routers", "show", "lobby", "--format", "json").json()
    assert (shown["vendor"], shown["coa_address"], shown["coa_port"]) == ("mikrotik", "192.0.2.7", 3801)


def test_an_import_without_bad_lines_ends_with_0(database: str, tmp_path: Path) -> None:
    file = tmp_path / "inventory.csv"
    file.write_text(HEADER + "lobby,,,,\n")
    assert radmeter(database, "routers", "import", file).exit_code == 0
    file.write_text(HEADER)
    assert radmeter(database, "routers", "import", file).output == "0 lines: nothing\n"


def test_a_file_that_is_no_inventory_is_told(database: str, tmp_path: Path) -> None:
    file = tmp_path / "inventory.csv"
    file.write_bytes(b"\x89PNG\r\n\x1a\n")
    done = radmeter(database, "routers", "import", file)
    assert (done.exit_code, done.output) == (1, "")
    assert done.errors.startswith(f"error: the first line must be the header: {HEADER.strip()}")


def test_a_long_inventory_goes_in_by_batches(database: str, connection: Connection, tmp_path: Path) -> None:
    file = tmp_path / "inventory.csv"
    lines = [f"site-{n},02:00:00:00:{n >> 8:02x}:{n & 255:02x},,,UTC\n" for n in range(12_000)]
    lines[7000] = "site-1,,,,\n"  # said already, in an earlier batch
    file.write_text(HEADER + "".join(lines))
    done = radmeter(database, "routers", "import", file)
    assert done.output == "12,000 lines: 11999 added, 1 refused\n"
    assert done.errors == "line 7002: the name 'site-1' is on line 3 already\n"
    row = connection.execute("SELECT count(*), count(DISTINCT created_at) FROM routers").fetchone()
    assert row == (11_999, 3)
    assert (
        radmeter(database, "routers", "import", file).output == "12,000 lines: 11999 unchanged, 1 refused\n"
    )


def test_a_router_has_a_site(database: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "name,mac,site\nlobby,02-00-00-00-00-01,Hotel Adler\nattic,02-00-00-00-00-02,\n"
    )
    assert radmeter(database, "routers", "import", tmp_path / "list.csv").exit_code == 0
    assert "2 unchanged" in radmeter(database, "routers", "import", tmp_path / "list.csv").output
    assert radmeter(database, "routers", "set", "attic", "--site", "Camp").exit_code == 0
    assert radmeter(database, "routers", "set", "lobby", "--site", "").exit_code == 0
    rows = radmeter(database, "routers", "list", "--format", "json").json()
    assert {row["name"]: row["site"] for row in rows} == {"lobby": None, "attic": "Camp"}
    assert radmeter(database, "routers", "show", "attic", "--format", "json").json()["site"] == "Camp"
    long = radmeter(database, "routers", "set", "attic", "--site", "x" * 201)
    assert "the site has 201 characters, more than 200" in long.errors
    changes = radmeter(database, "audit", "list", "--format", "json").json()
    assert sum(each["action"] == "routers set" for each in changes) == 2
