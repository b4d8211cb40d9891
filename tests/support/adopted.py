"""A database that was adopted from FreeRADIUS, with sessions that are older than the triggers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from support.servers import Connection

LEGACY = """
DO $$
DECLARE
    v_next text := to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY-MM-DD')
                   || ' 00:00:00+00';
    v_month regclass;
BEGIN
    FOR v_month IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'public.radacct'::regclass
        AND inhrelid::regclass::text < 'radacct_' || to_char(v_next::timestamptz AT TIME ZONE 'UTC', 'YYYY_MM')
        AND inhrelid::regclass::text ~ '^radacct_2' LOOP
        EXECUTE format('DROP TABLE %s', v_month);
    END LOOP;
    CREATE TABLE public.radacct_legacy (LIKE public.radacct INCLUDING DEFAULTS);
    CREATE UNIQUE INDEX ON public.radacct_legacy (radacctid);
    CREATE INDEX ON public.radacct_legacy (acctuniqueid);
    CREATE INDEX ON public.radacct_legacy (username, acctstarttime);
    CREATE INDEX ON public.radacct_legacy (router_id, acctstarttime) WHERE router_id IS NOT NULL;
    EXECUTE format('ALTER TABLE public.radacct ATTACH PARTITION public.radacct_legacy '
                   'FOR VALUES FROM (MINVALUE) TO (%L)', v_next);
    DELETE FROM radmeter.session_month;
END;
$$
"""


def make_legacy(connection: Connection) -> None:
    """Attach a partition for all times up to the end of this month, as adoption does."""
    connection.execute(LEGACY)


def put(
    connection: Connection,
    uniqueid: str,
    *,
    username: str | None = "alice",
    station_id: str | None = "02-00-00-00-00-01:hotel",
    address: str = "10.0.0.1",
    start: datetime | None = None,
    update: datetime | None = None,
    stop: datetime | None = None,
    octets: Sequence[int | None] = (0, 0),
    **columns: Any,
) -> int:
    """Insert a session as it was before radmeter, past the triggers; return its radacctid."""
    table = "radacct_open" if stop is None else "radacct_legacy"
    given = {
        "acctuniqueid": uniqueid,
        "acctsessionid": uniqueid,
        "username": username,
        "calledstationid": station_id,
        "nasipaddress": address,
        "acctstarttime": start,
        "acctupdatetime": update,
        "acctstoptime": stop,
        "acctinputoctets": octets[0],
        "acctoutputoctets": octets[1],
        "adopted": True,
        **columns,
    }
    row = connection.execute(
        f"INSERT INTO public.{table} ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) "
        "RETURNING radacctid",
        tuple(given.values()),
    ).fetchone()
    assert row is not None
    return int(row[0])
