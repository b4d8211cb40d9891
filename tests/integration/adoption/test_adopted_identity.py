"""Which packets are of a session that rlm_sql wrote before its table was adopted."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from support.adopted import make_legacy, put
from support.commands import Packets
from support.ledger import users
from support.model import unique_id
from support.servers import Connection

HOME = {"Called_Station_Id": "AA-BB-CC-DD-EE-01:Guests", "NAS_Identifier": "MikroTik", "User_Name": "anna"}
CLONE = {**HOME, "Called_Station_Id": "AA-BB-CC-DD-EE-02:Guests"}
PHONE, LAPTOP = "AA-BB-CC-00-00-01", "AA-BB-CC-00-00-02"


def rows(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        """SELECT callingstationid, acctstoptime IS NULL, acctinputoctets, acctoutputoctets FROM radacct
           ORDER BY radacctid"""
    ).fetchall()


def adopt(connection: Connection, calling: str, **more: Any) -> None:
    """A session of the phone at home, that has 4,000 and 6,000 octets of ten minutes ago."""
    make_legacy(connection)
    names = {"User-Name": "anna", "Acct-Session-Id": "s1", "NAS-IP-Address": "10.0.0.1"}
    heard = datetime.fromtimestamp(int(time.time()) - 600, UTC)
    put(
        connection,
        unique_id({**names, "NAS-Identifier": "MikroTik"}),
        acctsessionid="s1",
        username="anna",
        station_id=HOME["Called_Station_Id"],
        callingstationid=calling,
        start=heard - timedelta(seconds=600),
        update=heard,
        octets=(4000, 6000),
        **({"stop": heard} | more if more else {}),
    )


def interim(packets: Packets, ago: int, octets: tuple[int, int], **more: Any) -> None:
    packets.add(
        "Interim-Update",
        "s1",
        ago=ago,
        Acct_Session_Time=1200 - ago,
        Acct_Input_Octets=octets[0],
        Acct_Output_Octets=octets[1],
        **more,
    )


def test_the_address_changes_after_the_adoption(database: str, connection: Connection) -> None:
    adopt(connection, PHONE)
    with Packets(database) as packets:
        interim(packets, 300, (8000, 12_000), NAS_IP_Address="100.64.0.2", Calling_Station_Id=PHONE, **HOME)
        interim(packets, 60, (12_000, 18_000), NAS_IP_Address="100.64.0.3", Calling_Station_Id=PHONE, **HOME)
    assert rows(connection) == [(PHONE, True, 12_000, 18_000)]
    assert list(users(connection).values()) == [(8000, 12_000)]


def test_another_device_or_router_of_the_id_has_a_session_of_its_own(
    database: str, connection: Connection
) -> None:
    adopt(connection, PHONE)
    with Packets(database) as packets:
        interim(packets, 300, (70, 80), Calling_Station_Id=LAPTOP, **CLONE)
        interim(packets, 300, (8000, 12_000), Calling_Station_Id=PHONE, **HOME)
        interim(packets, 60, (90, 90), Calling_Station_Id=LAPTOP, **CLONE)
    assert rows(connection) == [(PHONE, True, 8000, 12_000), (LAPTOP, True, 90, 90)]
    assert list(users(connection).values()) == [(4090, 6090)]


def test_without_a_device_the_routers_mac_tells_it(database: str, connection: Connection) -> None:
    adopt(connection, "")
    with Packets(database) as packets:
        interim(packets, 300, (70, 80), **CLONE)
        interim(packets, 300, (8000, 12_000), **HOME)
    assert rows(connection) == [("", True, 8000, 12_000), (None, True, 70, 80)]
    assert list(users(connection).values()) == [(4070, 6080)]


def test_a_closed_session_is_found_by_its_id(database: str, connection: Connection) -> None:
    adopt(connection, PHONE, acctsessiontime=600)
    with Packets(database) as packets:
        interim(packets, 700, (3000, 5000), Calling_Station_Id=PHONE, **HOME)
        interim(packets, 650, (5000, 6000), Calling_Station_Id=PHONE, **HOME)
        interim(packets, 650, (70, 80), Calling_Station_Id=LAPTOP, **CLONE)
    assert rows(connection) == [(PHONE, False, 5000, 6000), (LAPTOP, True, 70, 80)]
    assert list(users(connection).values()) == [(1070, 80)]
