"""A batch calls no function in SQL for each of its records: see support/called_functions.py."""

from support import called_functions
from support.commands import Packets
from support.servers import Connection

RECORDS = 60


def test_no_function_is_called_for_each_record(connection: Connection, database: str) -> None:
    with Packets(database) as packets:
        for number in range(RECORDS):
            add(packets, "Start", number, 0)
    called_functions.follow(connection)
    # Interims that are plain, those that bring another address, and Stops.
    with Packets(database) as packets:
        for number in range(RECORDS):
            add(packets, "Interim-Update", number, 300)
    with Packets(database) as packets:
        for number in range(RECORDS):
            add(packets, "Interim-Update", number, 600, address="2001:db8::9")
    with Packets(database) as packets:
        for number in range(RECORDS):
            add(packets, "Stop", number, 900)
    row = connection.execute("SELECT count(*), sum(acctinputoctets) FROM radacct").fetchone()
    assert row == (RECORDS, RECORDS * 9000)
    called = called_functions.calls(connection)
    assert called, "calls were not counted"
    assert {name: count for name, count in called.items() if count >= RECORDS} == {}


def add(packets: Packets, status: str, number: int, seconds: int, address: str = "2001:db8::1") -> None:
    packets.add(
        status,
        f"session-{number}",
        User_Name=f"user-{number}",
        Called_Station_Id=f"02-00-00-00-00-{number % 4:02d}:Guests",
        Calling_Station_Id=f"aa-00-00-00-00-{number:02d}",
        Acct_Session_Time=str(seconds),
        Acct_Input_Octets=str(10 * seconds),
        Acct_Output_Octets=str(20 * seconds),
        Framed_IPv6_Address=address,
        ago=1000 - seconds,
    )
