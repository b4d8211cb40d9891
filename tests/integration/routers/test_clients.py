"""A router that is bound to RADIUS clients: packets of others change nothing, and can be counted later."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support import shipping
from support.commands import radmeter
from support.doctoring import ask, faults, one
from support.ledger import register
from support.servers import Connection

from radmeter.ingest.store import Progress, Store
from radmeter.plugin.journal.writer import JournalWriter

MAC, OTHER_MAC = "02-00-00-00-00-01", "02-00-00-00-00-02"
OURS, SAME_NETWORK, THEIRS = "192.0.2.7", "192.0.2.77", "203.0.113.9"


def pairs(session: str, client: str | None, status: str = "Interim-Update", **names: str) -> str:
    """Return the attributes of a packet, as the plugin writes them."""
    source = "Tmp-String-0" if client and ":" in client else "Tmp-IP-Address-0"
    attributes = {
        "Acct-Status-Type": status,
        "User-Name": "anna",
        "Acct-Session-Id": session,
        "Acct-Input-Octets": "1000",
        "Acct-Output-Octets": "1",
        **{name.replace("_", "-"): value for name, value in names.items()},
        **({source: client} if client else {}),
    }
    return json.dumps(list(attributes.items()))


class Counting(Store):
    """A store that notes how many batches were sent."""

    batches: ClassVar[list[int]] = []

    def ingest(
        self, segment_id: str, after: Progress, records: Sequence[dict[str, Any]], *rest: Any, **more: Any
    ) -> int:
        self.batches.append(len(records))
        return super().ingest(segment_id, after, records, *rest, **more)


def ship(journal: Path, dsn: str, *texts: str, at_us: int | None = None) -> None:
    """Append packets to a journal and ship it until it is empty."""
    writer = JournalWriter(journal, sync="interval")
    for text in texts:
        writer.append(at_us or time.time_ns() // 1000, text)
    writer.close()
    Counting.batches.clear()
    shipping.ship(journal, dsn, Counting, batch_records=1000)


def sessions(connection: Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT acctsessionid, router.name FROM radacct LEFT JOIN routers AS router ON router.id = router_id"
    )
    return dict(rows.fetchall())


def reasons(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT reason FROM rejected_packet ORDER BY seq")]


def number(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def bound(connection: Connection) -> int:
    """A router that is found in each way, bound to one network."""
    return register(
        connection,
        "harbour",
        mac=MAC,
        nas_identifier="harbour-ap",
        ip_address="10.0.0.1",
        discovery_key="nas:old-name",
        clients=["192.0.2.0/24"],
    )


WAYS: dict[str, dict[str, str]] = {
    "mac": {"Called_Station_Id": MAC, "NAS_IP_Address": "10.0.0.9"},
    "nas-identifier is the mac": {"NAS_Identifier": MAC},
    "nas-identifier": {"NAS_Identifier": "harbour-ap", "Called_Station_Id": OTHER_MAC},
    "name": {"NAS_Identifier": "harbour"},
    "address": {"NAS_IP_Address": "10.0.0.1", "NAS_Identifier": "unknown"},
    "discovery key": {"NAS_Identifier": "old-name"},
    "merged": {"Called_Station_Id": "02-00-00-00-00-03"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_packet_of_another_client_changes_nothing(
    tmp_path: Path, database: str, connection: Connection, bound: int, way: str
) -> None:
    register(connection, "other", ip_address="10.0.0.9")
    merged = {"status": "retired", "merged_into": bound, "merged_status": "active"}
    register(connection, "merged", mac="02-00-00-00-00-03", **merged)
    ship(tmp_path, database, pairs("open", OURS, Called_Station_Id=MAC))
    routers = number(connection, "SELECT count(*) FROM routers")
    ship(
        tmp_path,
        database,
        pairs("forged", THEIRS, **WAYS[way]),
        pairs("", THEIRS, "Accounting-Off", **WAYS[way]),
        pairs("good", SAME_NETWORK, **WAYS[way]),
        pairs("unknown", None, **WAYS[way]),
        pairs("mapped", f"::ffff:{SAME_NETWORK}", **WAYS[way]),
        pairs("forged", "2001:db8::1", "Stop", **WAYS[way]),
        pairs("elsewhere", THEIRS, NAS_IP_Address="10.0.0.9"),
    )
    assert sessions(connection) == {
        "open": "harbour",
        "good": "harbour",
        "mapped": "harbour",
        "elsewhere": "other",
    }
    assert number(connection, "SELECT count(*) FROM radacct WHERE acctstoptime IS NOT NULL") == 0
    assert number(connection, "SELECT count(*) FROM routers") == routers
    first, off, unknown, stop = reasons(connection)
    for part in (
        f'router #{bound} "harbour" is bound to the RADIUS clients 192.0.2.0/24',
        f"the packet came from {THEIRS}",
        f"radmeter routers set '#{bound}' --clients ..",
        "radmeter rejected retry",
    ):
        assert part in first
    assert off == first
    assert "does not say from which client it came" in unknown
    assert "2001:db8::1" in stop


DEVICE = {"Calling_Station_Id": "AA-BB-CC-00-00-01"}
ATTACKER = {"Called_Station_Id": "02-00-00-00-00-66:evil", **DEVICE}
HONEST = {"Called_Station_Id": MAC, "NAS_Identifier": "shared-name", **DEVICE}


def totals(connection: Connection) -> dict[str, tuple[str, int, bool]]:
    """Return each session's router and input octets, and whether it is open."""
    rows = connection.execute(
        """SELECT acctsessionid, router.name, acctinputoctets, acctstoptime IS NULL
           FROM radacct JOIN routers AS router ON router.id = router_id"""
    )
    return {session: (name, octets, is_open) for session, name, octets, is_open in rows}


@pytest.mark.parametrize("status", ["Start", "Interim-Update", "Stop"])
@pytest.mark.parametrize("when", ["open", "same batch", "closed", "bound later", "merged"])
def test_a_session_at_a_bound_router_is_touched_by_no_other_client(
    tmp_path: Path, database: str, connection: Connection, bound: int, when: str, status: str
) -> None:
    """The attacker has a router of its own, and sends user, session id, NAS-Identifier and device of a session."""
    register(connection, "evil", mac="02:00:00:00:00:66")
    opened = pairs("s", OURS, "Stop" if when == "closed" else "Interim-Update", **HONEST)
    forged = pairs("s", THEIRS, status, **ATTACKER, NAS_Identifier="shared-name", Acct_Input_Octets="5000000")
    now_us = time.time_ns() // 1000
    if when == "same batch":
        ship(tmp_path, database, opened, forged, forged, at_us=now_us)
    else:
        if when == "bound later":
            connection.execute("UPDATE routers SET clients = NULL")
        ship(tmp_path, database, opened, at_us=now_us)
        if when == "bound later":
            radmeter(database, "routers", "set", "harbour", "--clients", "192.0.2.0/24")
        if when == "merged":
            into = register(connection, "into", nas_identifier="into", clients=["192.0.2.0/24"])
            radmeter(database, "routers", "merge", f"#{bound}", f"#{into}", "--yes")
        # An unstamped packet belongs to a closed session for 60 s.
        ship(tmp_path, database, forged, forged, at_us=now_us + 1_000_000)
    owner = "into" if when == "merged" else "harbour"
    assert totals(connection) == {"s": (owner, 1000, when != "closed")}
    assert len(reasons(connection)) == 2
    assert "the session is at a bound router" in reasons(connection)[0]
    radmeter(database, "rejected", "retry", "--all")
    assert totals(connection) == {"s": (owner, 1000, when != "closed")}

    # The router's own client goes on.
    ship(tmp_path, database, pairs("s", SAME_NETWORK, "Stop", **HONEST, Acct_Input_Octets="1500"))
    assert totals(connection) == {"s": (owner, 1500, False)}
    assert len(reasons(connection)) == 2


KEYS: dict[str, dict[str, str]] = {
    "nas-identifier": {"NAS_Identifier": "harbour-ap"},
    "name": {"NAS_Identifier": "harbour"},
    "nas-identifier is the mac": {"NAS_Identifier": MAC},
    "address": {"NAS_IP_Address": "10.0.0.1"},
    "discovery key": {"NAS_Identifier": "old-name"},
    "merged": {"NAS_Identifier": "merged-ap"},
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("known", [True, False])
def test_no_key_of_a_packet_may_name_a_bound_router(
    tmp_path: Path, database: str, connection: Connection, bound: int, key: str, known: bool
) -> None:
    """Else the attacker opens a session first, and the honest client's octets go to the attacker's router."""
    if known:
        register(connection, "evil", mac="02:00:00:00:00:66")
    merged = {"status": "retired", "merged_into": bound, "merged_status": "active"}
    register(connection, "merged", nas_identifier="merged-ap", **merged)
    for status in ("Start", "Interim-Update", "Stop", "Accounting-On"):
        ship(tmp_path, database, pairs("s", THEIRS, status, **ATTACKER, **KEYS[key]))
    assert totals(connection) == {}
    assert len(reasons(connection)) == 4
    assert number(connection, "SELECT count(*) FROM routers WHERE status = 'discovered'") == 0
    ship(tmp_path, database, pairs("s", OURS, **HONEST | KEYS[key]))
    assert totals(connection) == {"s": ("harbour", 1000, True)}
    # A client of the bound router may show another MAC: it may be a controller of several.
    ship(tmp_path, database, pairs("t", OURS, **ATTACKER, **KEYS[key]))
    assert len(reasons(connection)) == 4
    ship(tmp_path, database, pairs("u", THEIRS, **ATTACKER))
    assert len(totals(connection)) == 3


def test_a_name_that_two_routers_have_binds_nobody(
    tmp_path: Path, database: str, connection: Connection, bound: int
) -> None:
    """It finds no router."""
    register(connection, "other", nas_identifier="harbour-ap")
    ship(tmp_path, database, pairs("s", THEIRS, **ATTACKER, NAS_Identifier="harbour-ap"))
    assert reasons(connection) == []
    assert len(totals(connection)) == 1


def test_a_flood_of_forged_packets_takes_two_calls_a_batch(
    tmp_path: Path, database: str, connection: Connection, bound: int
) -> None:
    texts = [pairs(f"s{n}", THEIRS if n % 2 else OURS, Called_Station_Id=MAC) for n in range(600)]
    ship(tmp_path, database, *texts)
    assert Counting.batches == [600, 600]
    assert len(sessions(connection)) == 300
    assert len(reasons(connection)) == 300


def test_only_the_first_batch_of_a_flood_is_an_error_for_postgresql(
    tmp_path: Path, database: str, connection: Connection, bound: int
) -> None:
    """PostgreSQL writes each error into its log, with the detail. The others are set aside in one call, in order."""
    connection.execute("SELECT radmeter.set_limit('rejected_per_client_hour', '700')")
    texts = [
        pairs(
            f"s{n}",
            THEIRS if n % 2 else OURS,
            "Subsystem-On" if n % 10 == 5 else "Stop",
            Called_Station_Id=MAC,
        )
        for n in range(2400)
    ]
    ship(tmp_path, database, *texts)
    assert Counting.batches == [1000, 1000, 1000, 400]
    assert len(sessions(connection)) == 1200
    rows = connection.execute("SELECT client, kept, left_out FROM radmeter.left_out").fetchall()
    assert rows == [(THEIRS, 700, 500)]
    kept = connection.execute("SELECT pairs::text FROM rejected_packet ORDER BY seq").fetchall()
    assert [json.loads(row[0]) for row in kept] == [json.loads(text) for text in texts[1:1400:2]]
    rows = connection.execute("SELECT records, rejected FROM radmeter.nodes").fetchall()
    assert rows == [(2400, 1200)]


def test_a_packet_is_counted_once_the_binding_allows_it(
    tmp_path: Path, database: str, connection: Connection, bound: int
) -> None:
    ship(tmp_path, database, pairs("moved", THEIRS, Called_Station_Id=MAC))
    assert sessions(connection) == {}
    result = radmeter(database, "rejected", "retry", "--all")
    assert sessions(connection) == {}, result.output
    assert THEIRS in reasons(connection)[0]
    assert number(connection, "SELECT last_seq FROM radmeter.nodes") > 0

    result = radmeter(database, "routers", "set", "harbour", "--clients", f"192.0.2.0/24,{THEIRS}")
    assert result.output == f"router #{bound} 'harbour' is changed\n"
    radmeter(database, "rejected", "retry", "--all")
    assert sessions(connection) == {"moved": "harbour"}
    assert reasons(connection) == []


def test_a_replayed_packet_is_judged_too(
    tmp_path: Path, database: str, connection: Connection, bound: int
) -> None:
    now = int(time.time())
    stanza = "\n".join(
        (
            time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(now)),
            "\tAcct-Status-Type = Interim-Update",
            '\tAcct-Session-Id = "{session}"',
            f'\tCalled-Station-Id = "{MAC}"',
            "\tAcct-Input-Octets = 7",
            "{client}",
            f"\tTimestamp = {now}",
            "\n",
        )
    )
    file = tmp_path / "detail"
    file.write_text(
        stanza.format(session="ours", client=f"\tPacket-Src-IP-Address = {OURS}")
        + stanza.format(session="theirs", client=f"\tClient-IP-Address = {THEIRS}")
        + stanza.format(session="unknown", client='\tUser-Name = "anna"')
    )
    result = radmeter(database, "replay", "--yes", file)
    assert sessions(connection) == {"ours": "harbour"}, result.output + result.errors
    assert len(reasons(connection)) == 2
    assert THEIRS in result.errors
    assert number(connection, "SELECT stanzas FROM radmeter.replayed_file") == 3


def test_networks_that_the_binding_shuts_out_are_named(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    register(connection, "harbour", mac=MAC)
    ship(
        tmp_path,
        database,
        *(pairs("s", each, Called_Station_Id=MAC) for each in (OURS, THEIRS, "2001:db8::1")),
    )
    for clients, outside in (
        (f"{OURS},{THEIRS},2001:db8::/32", ()),
        (OURS, ("203.0.113.0/24", "2001:db8::/48")),
        ("2001:db8::1,203.0.113.0/25", ("192.0.2.0/24",)),
        ("any", ()),
    ):
        result = radmeter(database, "routers", "set", "harbour", "--clients", clients)
        assert result.exit_code == 0
        assert bool(result.errors) == bool(outside)
        for network in ("192.0.2.0/24", "203.0.113.0/24", "2001:db8::/48"):
            assert (network in result.errors) == (network in outside)


def test_the_binding_is_set_shown_imported_and_taken_off(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    register(connection, "harbour", mac=MAC)
    radmeter(database, "routers", "set", "harbour", "--clients", "192.0.2.7, 198.51.100.0/24")
    shown = radmeter(database, "routers", "show", "harbour", "--format", "json").json()
    assert shown["clients"] == ["192.0.2.7/32", "198.51.100.0/24"]
    (listed,) = radmeter(database, "routers", "list", "--format", "json").json()
    assert listed["clients"] == shown["clients"]
    assert "192.0.2.7/32, 198.51.100.0/24" in radmeter(database, "routers", "show", "harbour").output
    again = radmeter(database, "routers", "set", "harbour", "--clients", "192.0.2.7,198.51.100.0/24")
    assert "is unchanged" in again.output
    audited = connection.execute(
        "SELECT detail -> 'after' -> 'clients' FROM audit_log WHERE action = 'routers set'"
    ).fetchall()
    assert audited == [(["192.0.2.7/32", "198.51.100.0/24"],)]

    file = tmp_path / "inventory.csv"
    for clients, outcome, stored in (
        ("", "unchanged", ["192.0.2.7/32", "198.51.100.0/24"]),
        ('"192.0.2.8,2001:db8::/48"', "updated", ["192.0.2.8/32", "2001:db8::/48"]),
        ("any", "updated", None),
        ("any", "unchanged", None),
    ):
        file.write_text(f"name,mac,clients\nharbour,{MAC},{clients}\n")
        result = radmeter(database, "routers", "import", file)
        assert f"1 {outcome}" in result.output, result.errors
        shown = radmeter(database, "routers", "show", "harbour", "--format", "json").json()
        assert shown["clients"] == stored
    file.write_text("name,clients\nnew,192.0.2.1\nopen,any\n")
    assert "2 added" in radmeter(database, "routers", "import", file).output
    assert connection.execute("SELECT name, clients IS NULL FROM routers ORDER BY id").fetchall() == [
        ("harbour", True),
        ("new", False),
        ("open", True),
    ]
    radmeter(database, "routers", "set", "new", "--clients", "any")
    assert "any" in radmeter(database, "routers", "show", "new").output
    refused = radmeter(database, "routers", "set", "new", "--clients", "192.0.2.7/24")
    assert refused.exit_code == 2
    assert "192.0.2.7/24" in refused.errors


@pytest.mark.parametrize(
    ("client", "clients", "may"),
    [
        ("192.0.2.7", None, True),
        (None, None, True),
        (None, ["0.0.0.0/0"], False),
        ("192.0.2.7", ["192.0.2.7/32"], True),
        ("192.0.2.8", ["192.0.2.7/32"], False),
        ("192.0.2.8", ["198.51.100.0/24", "192.0.2.0/24"], True),
        ("::ffff:192.0.2.8", ["192.0.2.0/24"], True),
        ("2001:db8::1", ["192.0.2.0/24"], False),
        ("2001:db8::1", ["2001:db8::/32"], True),
        ("192.0.2.8", ["::/0"], False),
    ],
)
def test_may_name_router(
    connection: Connection, client: str | None, clients: list[str] | None, may: bool
) -> None:
    row = connection.execute(
        "SELECT radmeter.may_name_router(%s::inet, %s::cidr[])", (client, clients)
    ).fetchone()
    assert row == (may,)


# --- the networks from which routers are named

HOUR_US = 3_600_000_000
HOURS = "extract(epoch FROM {} - now()) / 3600"


def networks(connection: Connection) -> list[tuple[str, int, int, bool]]:
    """Return each network with its first and last packet in hours from now, and whether another is used too."""
    return connection.execute(
        f"""SELECT network::text, round({HOURS.format("first_seen")})::integer,
                   round({HOURS.format("last_seen")})::integer, elsewhere_too
            FROM radmeter.router_networks ORDER BY first_seen, network""".encode()
    ).fetchall()


def heard(journal: Path, database: str, hours: float, *clients: str, mac: str = MAC) -> None:
    """Let packets of a router come from clients, some hours from now, by another shipper each time."""
    at_us = time.time_ns() // 1000 + int(hours * HOUR_US)
    ship(
        journal,
        database,
        *(pairs(f"s{hours}{n}", client, Called_Station_Id=mac) for n, client in enumerate(clients)),
        at_us=at_us,
    )


@pytest.fixture
def harbour(connection: Connection) -> int:
    return register(connection, "harbour", mac=MAC)


def advice(database: str) -> list[str]:
    return [line.said for line in faults(database, "routers")]


def test_a_router_named_from_two_networks_at_a_time_is_told(
    tmp_path: Path, database: str, connection: Connection, harbour: int
) -> None:
    heard(tmp_path, database, -5, OURS)
    heard(tmp_path, database, -3, SAME_NETWORK)
    assert networks(connection) == [("192.0.2.0/24", -5, -3, False)]
    assert advice(database) == []
    heard(tmp_path, database, -2, THEIRS)  # once is enough
    heard(tmp_path, database, -1.6, f"::ffff:{OURS}", "2001:db8:1::1", "2001:db8:1::2")
    assert networks(connection) == [
        ("192.0.2.0/24", -5, -2, True),
        ("203.0.113.0/24", -2, -2, True),
        ("2001:db8:1::/48", -2, -2, False),
    ]
    heard(tmp_path, database, 0, OURS)
    (said,) = advice(database)
    assert f"#{harbour} harbour" in said
    assert "192.0.2.0/24 and 203.0.113.0/24" in said
    (told,) = faults(database, "routers")
    assert "--clients" in told.note
    assert told.remedy == f"radmeter routers show '#{harbour}'"
    connection.execute("UPDATE routers SET clients = '{192.0.2.0/24}'")
    assert advice(database) == []


def test_a_site_whose_address_changes_is_not_told(
    tmp_path: Path, database: str, connection: Connection, harbour: int
) -> None:
    used = [(-40, OURS), (-38, OURS), (-37, THEIRS), (-20, THEIRS), (-16, THEIRS), (-14, THEIRS), (-13, OURS)]
    for hour, client in [*used, (-8, OURS), (-3, OURS), (-1, OURS)]:
        heard(tmp_path, database, hour, client)
    # A late packet from before the change, of another node.
    heard(tmp_path / "other", database, -12.9, THEIRS)
    assert networks(connection) == [
        ("203.0.113.0/24", -20, -13, False),
        ("192.0.2.0/24", -13, -1, False),
    ]
    assert advice(database) == []


def test_networks_are_noted_once_an_hour_and_eight_for_a_router(
    tmp_path: Path, database: str, connection: Connection, harbour: int
) -> None:
    heard(tmp_path, database, -60, "10.0.9.1")
    heard(tmp_path, database, -2, *(f"10.0.{n}.1" for n in range(20)))
    assert len(networks(connection)) == 8
    assert "10.0.9.0/24" not in [network for network, *_ in networks(connection)]  # forgotten after two days
    before = connection.execute("SELECT ctid FROM radmeter.router_network ORDER BY 1").fetchall()
    heard(tmp_path, database, -1.5, *(f"10.0.{n}.1" for n in range(20)))
    assert connection.execute("SELECT ctid FROM radmeter.router_network ORDER BY 1").fetchall() == before


def test_networks_follow_a_merge(tmp_path: Path, database: str, connection: Connection, harbour: int) -> None:
    heard(tmp_path, database, -5, OURS)
    heard(tmp_path, database, -4, SAME_NETWORK, THEIRS, mac=OTHER_MAC)
    row = connection.execute("SELECT id FROM routers WHERE status = 'discovered'").fetchone()
    assert row is not None
    radmeter(database, "routers", "merge", f"#{row[0]}", "harbour", "--yes")
    assert networks(connection) == [("192.0.2.0/24", -5, -4, False), ("203.0.113.0/24", -4, -4, False)]
    assert connection.execute("SELECT DISTINCT router_id FROM radmeter.router_network").fetchall() == [
        (harbour,)
    ]


def limits_in_status(database: str) -> list[dict[str, Any]]:
    output = radmeter(database, "status", "--sample", "0", "--format", "json").output
    return list(json.loads(output)["discovery_limits"])


def test_status_and_doctor_tell_of_a_reached_limit(
    tmp_path: Path, database: str, connection: Connection
) -> None:
    assert one(ask(database), "routers").level == "green"
    assert limits_in_status(database) == []
    radmeter(database, "limits", "set", "discoveries_per_client_hour", "1")
    ship(tmp_path, database, *(pairs(f"s{n}", THEIRS, NAS_Identifier=f"r{n}") for n in range(31)))
    (told,) = faults(database, "routers")
    assert f"{THEIRS} (about 30 routers)" in told.said
    assert "routers import" in told.note
    assert told.remedy.startswith("radmeter limits set discoveries_per_client_hour ")
    (row,) = limits_in_status(database)
    assert (row["client"], row["keys"]) == (THEIRS, 30)
    assert (
        f"reached by client {THEIRS}: about 30 routers"
        in radmeter(database, "status", "--sample", "0").output
    )
    assert (
        f"discovery_limits.{THEIRS}.keys,30"
        in radmeter(database, "status", "--sample", "0", "--format", "csv").output
    )
    connection.execute("UPDATE radmeter.discovery_count SET beyond_until = now() - interval '25 hours'")
    assert one(ask(database), "routers").level == "green"
