"""Whatever other programs wrote into a session, its packets are counted, and those behind them."""

import hashlib
from datetime import UTC, datetime
from itertools import product
from typing import Any

import psycopg
import pytest
from support.adopted import make_legacy, put
from support.commands import Packets, radmeter
from support.ledger import close_stale, users
from support.servers import Connection

from radmeter.database.connection import translated_errors
from radmeter.errors import RecordRefused

TIMES = ("-infinity", "infinity", "4714-11-24 00:00:00+00 BC", "294276-12-31 23:59:59+00", None)
OCTETS = ((1 << 63) - 1, -(1 << 63), None)
SECONDS = ((1 << 63) - 1, -(1 << 63), None)
LONG_AGO = datetime(2024, 3, 31, tzinfo=UTC)
STATION = "02-00-00-00-00-01:hotel"


@pytest.mark.parametrize("adopted", [True, False])
def test_no_impossible_value_of_a_session_keeps_its_packets_from_being_counted(
    database: str, connection: Connection, adopted: bool
) -> None:
    make_legacy(connection)
    connection.execute("ALTER TABLE radacct_legacy OWNER TO radmeter_owner")
    connection.execute(
        """INSERT INTO plans (name, quota_type, anchor_day, timezone) VALUES ('w', 'weekly', 3, 'Asia/Tokyo');
           INSERT INTO subscribers (username, plan_id) SELECT 'u1', id FROM plans"""
    )
    sessions = list(enumerate(product(TIMES, TIMES, (None, "-infinity"))))
    with Packets(database) as packets:
        for number, (start, update, stop) in sessions:
            user, octets, seconds = f"u{number}", OCTETS[number % 3], SECONDS[number // 3 % 3]
            unique = hashlib.md5(f"{user},{user},10.0.0.1,,,".encode(), usedforsecurity=False).hexdigest()
            table = "radacct_open" if stop is None else "radacct_legacy"
            given = put(connection, unique, username=user, acctsessionid=user, octets=(octets, 0), adopted=adopted,
                        stop=None if stop is None else LONG_AGO)  # fmt: skip
            connection.execute(
                f"""UPDATE {table} SET acctstarttime = %s, acctupdatetime = %s, acctsessiontime = %s,
                        acctstoptime = %s WHERE radacctid = %s""",
                (start, update, seconds, stop, given),
            )
            more: dict[str, Any] = {"User_Name": user, "Called_Station_Id": STATION, "Acct_Output_Octets": 9}
            if number % 2:
                more["Acct_Session_Time"] = 3600
            packets.add("Interim-Update", user, ago=200, Acct_Input_Octets=500, **more)
            packets.add("Interim-Update", user, ago=100, Acct_Input_Octets=700, **more)
    assert connection.execute("SELECT count(*), min(reason) FROM rejected_packet").fetchone() == (0, None)
    counted = {user: octets for (user, _), octets in users(connection).items()}
    if adopted:
        assert {user: octets for user, octets in counted.items() if octets != (700, 9)} == {}
    assert counted.keys() == {f"u{number}" for number, _ in sessions}
    close_stale(connection, connection.execute("SELECT now() + interval '2 days'").fetchall()[0][0])
    if adopted:  # the others were never counted
        assert radmeter(database, "verify").exit_code == 0


def test_a_number_that_no_integer_can_hold_is_an_error_of_the_value(connection: Connection) -> None:
    for text in ("infinity", "NaN"):
        with pytest.raises(RecordRefused), translated_errors():
            connection.execute("SELECT %s::numeric::bigint", (text,))
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        connection.execute("SELECT 'infinity'::numeric::bigint")
