"""From a router's packets to exact counters, on the way that production takes."""

import datetime
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from pyrad.client import Client
from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingResponse
from support.processes import Database, FreeRadius, Line, Shipper, eventually
from support.wire import SECRET, Router, Value

GIB = 1 << 30
MAC = "aa:bb:cc:dd:ee:ff"


def test_a_session_is_counted_to_the_byte(line: Line, router: Router) -> None:
    yesterday = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)
    noon = int(datetime.datetime.combine(yesterday, datetime.time(12), datetime.UTC).timestamp())
    session: dict[str, Value] = {
        "User-Name": "alice",
        "Acct-Session-Id": "0000-1",
        "NAS-IP-Address": bytes([10, 0, 0, 1]),
        "Called-Station-Id": "AA-BB-CC-DD-EE-FF:Hotel",
    }
    assert router.send({**session, "Acct-Status-Type": "Start", "Event-Timestamp": noon})
    assert router.send(
        {
            **session,
            "Acct-Status-Type": "Interim-Update",
            "Event-Timestamp": noon + 60,
            "Acct-Session-Time": 60,
            "Acct-Input-Octets": 1000,
            "Acct-Output-Octets": 5,
            "Acct-Output-Gigawords": 1,
        }
    )
    eventually(lambda: line.database.user("alice"), [(1000, 4 * GIB + 5)])

    assert router.send(
        {
            **session,
            "Acct-Status-Type": "Stop",
            "Event-Timestamp": noon + 90,
            "Acct-Session-Time": 90,
            "Acct-Input-Octets": 1234,
            "Acct-Output-Octets": 6,
            "Acct-Output-Gigawords": 1,
            "Acct-Terminate-Cause": 1,
        }
    )
    eventually(lambda: line.database.user("alice"), [(1234, 4 * GIB + 6)])
    assert line.database.router(MAC) == [(yesterday, 1234, 4 * GIB + 6)]
    assert line.database.rows(
        "SELECT username, acctinputoctets, acctoutputoctets, acctsessiontime, acctterminatecause, "
        "host(nasipaddress), extract(epoch FROM acctstarttime)::int, extract(epoch FROM acctstoptime)::int FROM radacct"
    ) == [("alice", 1234, 4 * GIB + 6, 90, "User-Request", "10.0.0.1", noon, noon + 90)]


def test_pyrad_is_answered_and_counted(line: Line) -> None:
    with files("radmeter.freeradius").joinpath("dictionary").open() as dictionary:
        client = Client(
            line.server.address[0],
            acctport=line.server.address[1],
            secret=SECRET,
            dict=Dictionary(dictionary),
        )
    client.retries, client.timeout = 1, 5
    packet = client.CreateAcctPacket()
    packet["Acct-Status-Type"] = "Stop"
    packet["User-Name"] = "bob"
    packet["Acct-Session-Id"] = "s-1"
    packet["NAS-IP-Address"] = "10.0.0.2"
    packet["Acct-Input-Octets"] = 7
    packet["Acct-Output-Octets"] = 8
    try:
        assert client.SendPacket(packet).code == AccountingResponse
    finally:
        client._CloseSocket()
    eventually(lambda: line.database.user("bob"), [(7, 8)])


def test_radclient_is_answered_and_counted(line: Line) -> None:
    host, port = line.server.address
    attributes = {
        "Acct-Status-Type": "Stop",
        "User-Name": "carol",
        "Acct-Session-Id": "s-1",
        "Acct-Input-Octets": 9,
        "Acct-Output-Octets": 10,
    }
    subprocess.run(
        ["radclient", "-q", "-r", "1", "-t", "5", f"{host}:{port}", "acct", SECRET.decode()],
        input=", ".join(f"{name} = {value}" for name, value in attributes.items()).encode(),
        check=True,
    )
    eventually(lambda: line.database.user("carol"), [(9, 10)])


def test_retransmissions_count_once(line: Line, router: Router) -> None:
    stop: dict[str, Value] = {
        "Acct-Status-Type": "Stop",
        "User-Name": "dave",
        "Acct-Session-Id": "s",
        "Acct-Input-Octets": 100,
    }
    same = router.packet(stop)
    for _ in range(3):
        router.insist(same)
    assert router.send(
        {**stop, "Acct-Delay-Time": 3}
    )  # RFC 2866 section 5.2: then with an identifier of its own
    assert router.send({**stop, "User-Name": "last"})
    eventually(lambda: line.database.user("last"), [(100, 0)])
    assert line.database.user("dave") == [(100, 0)]


def test_without_a_nas_address_the_source_address_tells_the_router(line: Line, router: Router) -> None:
    assert router.send(
        {"Acct-Status-Type": "Stop", "User-Name": "erin", "Acct-Session-Id": "s", "Acct-Input-Octets": 1}
    )
    eventually(lambda: line.database.user("erin"), [(1, 0)])
    assert line.database.rows("SELECT host(nasipaddress) FROM radacct") == [("127.0.0.1",)]


def test_a_router_with_an_ipv6_address(tmp_path: Path, database: Database) -> None:
    try:
        server = FreeRadius(tmp_path / "run", tmp_path / "journal", host="::1")
    except OSError:
        pytest.skip("this machine has no ::1")
    with server.start(), Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper:
        shipper.start()
        with Router(server.address) as router:
            for user in ("frank", b"fr\xe4nk"):  # in either form of the request
                assert router.send(
                    {
                        "Acct-Status-Type": "Stop",
                        "User-Name": user,
                        "Acct-Session-Id": "s",
                        "Acct-Input-Octets": 1,
                    }
                )
        eventually(lambda: database.user("frank"), [(1, 0)])
        assert database.rows("SELECT DISTINCT host(nasipaddress) FROM radacct") == [("::1",)]


def test_accounting_on_is_answered(line: Line, router: Router) -> None:
    assert router.send({"Acct-Status-Type": "Accounting-On", "NAS-IP-Address": bytes([10, 0, 0, 3])})
    eventually(lambda: line.database.rows("SELECT records, rejected FROM radmeter.nodes"), [(1, 0)])
