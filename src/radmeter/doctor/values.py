"""Check of the sessions' values: some that other programs write cannot come from a router."""

from psycopg import sql

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller, first_of
from radmeter.units import counted, verb

tell = Teller("values")

# Adopted sessions are left out: the backfill reads every one of them and sets the bad ones aside, and the check of the
# adoption tells of those.
_TABLES = """
SELECT name FROM radmeter.radacct_partitions()
WHERE from_at IS NULL OR isfinite(from_at) AND from_at <= now() AND to_at > now() - interval '31 days' ORDER BY 1"""

SHOWN = "radacctid, username, acctinputoctets, acctoutputoctets, acctstarttime, acctupdatetime, acctstoptime"
_BAD = """
SELECT radacctid, CASE WHEN least(acctinputoctets, acctoutputoctets) < 0 THEN 'negative octets'
                       ELSE 'an infinite time' END, count(*) OVER ()
FROM public.{table}
WHERE adopted IS NOT TRUE
  AND (acctinputoctets < 0 OR acctoutputoctets < 0 OR NOT isfinite(acctstarttime) OR NOT isfinite(acctupdatetime)
       OR NOT isfinite(acctstoptime))
ORDER BY radacctid LIMIT 10"""


def check(context: Context) -> Findings:
    """Find open sessions, and those of the last month, with negative octets or infinite times."""
    found, number = [], 0
    for (name,) in context.rows(_TABLES):
        query = sql.SQL(_BAD).format(table=sql.Identifier(name))
        rows = context.database.execute(query).fetchall()
        found += [(radacctid, reason) for radacctid, reason, _ in rows]
        number += rows[0][2] if rows else 0
    if not found:
        yield tell.green("no session has negative octets or infinite times")
        return
    ids = ", ".join(str(radacctid) for radacctid, _ in found)
    yield tell.red(
        f"{counted(number, 'session')} {verb(number, 'has', 'have')} values that no router can report, so another "
        "program wrote them: " + first_of([f"{radacctid} ({reason})" for radacctid, reason in found], number),
        context.remedy.psql(f"SELECT {SHOWN} FROM public.radacct WHERE radacctid IN ({ids})"),  # noqa: S608 # numbers
        *(f"radacctid {radacctid}: {reason}" for radacctid, reason in found),
    )
