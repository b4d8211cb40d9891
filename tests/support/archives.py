"""Sessions of past months, and all data of theirs and of the counters, for tests that archive and restore them."""

import secrets
import time
from typing import Any

import psycopg

from support.commands import Packets
from support.servers import Connection

DAY = 86_400

# Columns that an operator may have added to radacct, with values that a careless file format would change.
HOME_MADE = """
ALTER TABLE public.radacct
    ADD COLUMN note text, ADD COLUMN price numeric(10,3), ADD COLUMN ratio double precision, ADD COLUMN tags text[],
    ADD COLUMN about jsonb, ADD COLUMN "Room No" smallint, ADD COLUMN paid boolean, ADD COLUMN local timestamp,
    ADD COLUMN until date, ADD COLUMN badge bytea;
"""
STRANGE = """
UPDATE public.radacct SET
    note = (ARRAY[E'a\\r\\nb', '', NULL, '\\N', E'"q","r"', E'\\\\.', ' x ', E'caf\\u00e9\\t|', 'NULL']
           )[radacctid % 9 + 1],
    price = (ARRAY[1.5, NULL, 'NaN', -0.001, 0]::numeric[])[radacctid % 5 + 1],
    ratio = (ARRAY[0.1, NULL, 'NaN', 'Infinity', 1e-320, 1e22, 123456789.125])[radacctid % 7 + 1],
    tags = (ARRAY['{}', NULL, '{a,"b,c",NULL}'])[radacctid % 3 + 1]::text[],
    about = (ARRAY['{"a": [1, "x,y"]}', 'null', NULL])[radacctid % 3 + 1]::jsonb,
    "Room No" = radacctid % 7 - 3,
    paid = (ARRAY[true, false, NULL])[radacctid % 3 + 1],
    local = timestamp '2026-01-01 00:00:00.000001' - radacctid * interval '1 year',
    until = date '0001-01-01' + radacctid::integer,
    badge = decode(lpad(to_hex(radacctid), 8, '0'), 'hex'),
    acctstarttime = acctstarttime - interval '0.123450 s' * (radacctid % 3),
    framedipv6prefix = (ARRAY['2001:db8::/56', NULL])[radacctid % 2 + 1]::inet
WHERE acctstoptime IS NOT NULL;
"""


def stop_at(connection: Connection, text: str) -> float:
    """Return how many seconds ago a time was."""
    row = connection.execute("SELECT extract(epoch FROM %s::timestamptz)::float8", (text,)).fetchone()
    assert row is not None
    return time.time() - float(row[0])


def sessions_of(database: str, connection: Connection, month: str, count: int = 40) -> None:
    """Make sessions that stop in a month, and open ones of today. Every fourth lasts over midnight and has a slice."""
    ago = stop_at(connection, f"{month}-10T12:00Z")
    # A journal of its own, as of a host that was away: its arrivals are older than what others have sent since.
    with Packets(database, f"archives-{secrets.token_hex(4)}") as packets:
        for number in range(count):
            name, long = f"{month}-{number}", number % 4 == 0
            about: dict[str, Any] = {"User_Name": f"user{number % 7}", "NAS_Identifier": f"site{number % 3}"}
            if long:
                octets: dict[str, Any] = {"Acct_Input_Octets": 100 + number, "Acct_Session_Time": 600}
                packets.add("Interim-Update", name, ago=ago + DAY, **about, **octets)
            octets = {"Acct_Input_Octets": 1000 + number, "Acct_Output_Octets": number}
            packets.add("Stop", name, ago=ago, Acct_Session_Time=600 + DAY * long, **about, **octets)
        for number in range(3):
            packets.add("Interim-Update", f"open-{month}-{number}", User_Name="user0", NAS_Identifier="site0",
                        Acct_Input_Octets=5)  # fmt: skip


def everything(connection: Connection) -> dict[str, Any]:
    """Return every session, slice, adoption baseline and counter there is, as text."""
    queries = {
        "sessions": "SELECT tableoid::regclass::text, session::text FROM radacct AS session",
        "slices": "SELECT slice::text FROM radmeter.session_slice AS slice",
        "parts": "SELECT part::text FROM radmeter.adoption_baseline AS part",
        "users": "SELECT usage::text FROM user_quota_usage AS usage",
        "routers": "SELECT usage::text FROM router_daily_usage AS usage",
        "indexes": "SELECT indexdef FROM pg_indexes WHERE tablename ~ '^radacct'",
        "partitions": "SELECT name, from_at::text, to_at::text FROM radmeter.partitions",
        "complete": "SELECT radmeter.sessions_complete_from()::text",
    }
    return {
        name: sorted(connection.execute(query.encode()).fetchall(), key=str)
        for name, query in queries.items()
    }


def counters(connection: Connection) -> dict[str, Any]:
    """Return the counters."""
    found = everything(connection)
    return {"users": found["users"], "routers": found["routers"]}


def ours_left(connection: Connection) -> list[Any]:
    """Return the objects that exist only while an archive or restore is unfinished."""
    return connection.execute(
        """SELECT relname FROM pg_class WHERE relnamespace = 'radmeter'::regnamespace
                 AND relname ~ '^(archived|restoring)_[0-9]'
           UNION ALL SELECT tgname FROM pg_trigger WHERE tgname = 'radmeter_note_archive_change'
           UNION ALL SELECT 'a change' FROM radmeter.archive_change
           UNION ALL SELECT conname FROM pg_constraint WHERE conname = 'radmeter_restored_span'"""
    ).fetchall()


def terminated(database: str, pid: int) -> None:
    """Let the server end a database session."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
