"""Check of the sessions' values: some that other programs write cannot come from a router."""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller, first_of
from radmeter.units import counted, verb

tell = Teller("values")

SHOWN = "radacctid, username, acctinputoctets, acctoutputoctets, acctstarttime, acctupdatetime, acctstoptime"
# Adopted sessions are left out: the backfill reads every one of them and sets the bad ones aside, and the check of the
# adoption tells of those. The table is read, not its partitions: readers may do that.
_BAD = """
SELECT radacctid, CASE WHEN least(acctinputoctets, acctoutputoctets) < 0 THEN 'negative octets'
                       ELSE 'an infinite time' END, count(*) OVER ()
FROM public.radacct
WHERE (acctstoptime IS NULL OR acctstoptime > now() - interval '31 days' OR acctstoptime = '-infinity')
  AND adopted IS NOT TRUE
  AND (acctinputoctets < 0 OR acctoutputoctets < 0 OR NOT isfinite(acctstarttime) OR NOT isfinite(acctupdatetime)
       OR NOT isfinite(acctstoptime))
ORDER BY radacctid LIMIT 10"""


def check(context: Context) -> Findings:
    """Find open sessions, and those of the last month, with negative octets or infinite times."""
    rows = context.rows(_BAD)
    found, number = [(radacctid, reason) for radacctid, reason, _ in rows], rows[0][2] if rows else 0
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
