"""A stock radacct as years of accidents leave it, and the things of others that are attached to it."""

from typing import Any

import psycopg

from support import stock

Connection = psycopg.Connection[Any]

# Ten forms in which access points and controllers write the same kind of address.
MACS = (
    "02-00-00-00-00-{0:02X}:hotspot",
    "02-00-00-00-00-{0:02x}",
    "02:00:00:00:00:{0:02X}",
    "02:00:00:00:00:{0:02x}:hotspot",
    "0200.0000.00{0:02x}",
    "0200.0000.00{0:02X}:hotspot",
    "0200000000{0:02x}",
    "0200000000{0:02X}:hotspot",
    "020000-0000{0:02X}",
    "02 00 00 00 00 {0:02X}",
)

ROWS = """
INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime, acctstoptime,
    acctsessiontime, acctinputoctets, acctoutputoctets, calledstationid, callingstationid)
SELECT 'dirty' || n, md5('dirty' || n),
       (ARRAY[NULL, '', 'alice', ' bob ', 'ümlaut'])[n % 5 + 1], '10.0.0.1'::inet + n % 7,
       (ARRAY[NULL, '-infinity', 'infinity', '1970-01-01Z', '2025-01-01Z'])[n / 2 % 5 + 1]::timestamptz,
       (ARRAY[NULL, '-infinity', 'infinity', '1970-01-01Z', '2025-01-02Z', '4713-01-01 BC', '294276-12-31'])
           [n / 3 % 7 + 1]::timestamptz,
       (ARRAY[NULL, '-infinity', '1970-01-01Z', '2025-01-03Z'])[n / 5 % 4 + 1]::timestamptz,
       (ARRAY[NULL, -1, 0, 9223372036854775807])[n / 7 % 4 + 1],
       (ARRAY[NULL, 0, -1, 1000, 9223372036854775807, -9223372036854775808])[n / 11 % 6 + 1],
       (ARRAY[NULL, 0, 7, 9223372036854775807])[n / 13 % 4 + 1],
       (ARRAY[NULL, '', 'hotspot', {macs}])[n % 13 + 1], (ARRAY[NULL, '', 'zz'])[n / 17 % 3 + 1]
FROM generate_series({first}, {last}) AS n"""

# What others have attached: a copy of two ids, a table that refers to sessions, a trigger, a rule, views.
OTHERS = """
ALTER TABLE radacct DROP CONSTRAINT radacct_acctuniqueid_key;
CREATE INDEX radacct_uniqueid_idx ON radacct (acctuniqueid);
INSERT INTO radacct (acctsessionid, acctuniqueid, nasipaddress, acctstoptime)
    SELECT acctsessionid, acctuniqueid, nasipaddress, '2025-01-01Z' FROM radacct ORDER BY radacctid LIMIT 2;
CREATE TABLE ticket (id integer, radacctid bigint REFERENCES radacct (radacctid));
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noted AFTER UPDATE ON radacct FOR EACH ROW EXECUTE FUNCTION note();
CREATE MATERIALIZED VIEW by_day AS SELECT acctstarttime::date, count(*) FROM radacct GROUP BY 1;
CREATE VIEW long_sessions AS SELECT * FROM radacct WHERE acctsessiontime > 3600;
UPDATE radacct SET acctstoptime = 'infinity' WHERE acctsessionid = 'dirty100'"""

# What the plan asks for: each obstacle's remedy.
REMEDIES = """
UPDATE radacct SET acctstoptime = '2025-01-01Z' WHERE acctstoptime = 'infinity';
DROP MATERIALIZED VIEW by_day;
DROP TRIGGER noted ON radacct;
ALTER TABLE ticket DROP CONSTRAINT ticket_radacctid_fkey;
UPDATE radacct AS each SET acctuniqueid = each.acctuniqueid || '-' || radacctid
    FROM (SELECT acctuniqueid, max(radacctid) AS latest FROM radacct GROUP BY 1 HAVING count(*) > 1) AS double
    WHERE each.acctuniqueid = double.acctuniqueid AND radacctid < latest;
DROP INDEX radacct_uniqueid_idx;
ALTER TABLE radacct ADD CONSTRAINT radacct_acctuniqueid_key UNIQUE (acctuniqueid)"""


def fill(connection: Connection, dirty: int, clean: int = 0) -> None:
    """Make a stock radacct with so many rows of both kinds, and 50 open sessions, and what others have attached."""
    connection.execute(stock.RADACCT)
    if clean:
        generated = stock.GENERATED.format(users=1000, routers=200, closed=clean, first=1, last=clean)
        connection.execute(generated.encode())
    macs = ", ".join(f"'{form.format(number + 1)}'" for number, form in enumerate(MACS))
    connection.execute(ROWS.format(macs=macs, first=1, last=dirty).encode())
    stock.fill(connection, 0, open_sessions=50)
    connection.execute(OTHERS)
    connection.execute("ANALYZE radacct")
