"""Checks of what the shippers found when they compared their journals with the database."""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller, first_of
from radmeter.units import counted, duration, verb

tell = Teller("incidents")

# Packets are lost until somebody says that this is all right.
LOST = ("missing", "damaged")
# What has settled by itself is shown for so long.
NEWS_DAYS = 7


def check(context: Context) -> Findings:
    """Check that no acknowledged packet is missing, and say which databases and journals stepped back."""
    rows = context.rows(
        """SELECT kind, count(*), sum(records)::bigint, bool_or(records IS NULL), array_agg(DISTINCT node),
                  min(from_at), max(to_at), extract(epoch FROM now() - max(found_at))::bigint,
                  count(*) FILTER (WHERE settled_at IS NULL)
           FROM radmeter.journal_incidents
           WHERE acknowledged_at IS NULL
             AND (kind IN ('missing', 'damaged', 'forked', 'copied') OR settled_at IS NULL AND kind <> 'shorter'
                  OR found_at > now() - %s * interval '1 day')
             AND (kind NOT IN ('missing', 'damaged') OR settled_at IS NULL)
           GROUP BY kind ORDER BY kind""",
        NEWS_DAYS,
    )
    if not rows:
        yield tell.green("no acknowledged packet is missing, as far as the shippers know")
    show = context.remedy.radmeter("journal incidents")
    for kind, count, records, some_unknown, nodes, from_at, to_at, ago, open_ in rows:
        where = first_of(nodes)
        if kind in LOST:
            many = counted(records, "packet") if records else "packets"
            more = " and an unknown number of others" if records and some_unknown else ""
            between = (
                f", received {from_at:%Y-%m-%d %H:%M} to {to_at:%Y-%m-%d %H:%M %Z}"
                if from_at and to_at
                else ""
            )
            yield tell.red(
                f"{many}{more} of {where} were acknowledged and are not counted ({kind}{between})",
                f"{show}  # then: {context.remedy.radmeter('journal acknowledge --all --reason ...', owner=True)}",
            )
        elif kind == "rewound":
            state = "are being shipped again" if open_ else "were shipped again"
            yield tell.yellow(
                f"the database lacked {counted(records or 0, 'packet')} of {where}, found {duration(ago)} ago: "
                f"they {state}",
                context.remedy.radmeter("journal status") if open_ else show,
            )
        elif kind == "shorter":
            yield tell.green(f"segments of {where} end before what is counted of them, as after a power cut")
        else:
            yield tell.yellow(
                f"{counted(count, 'segment')} of {where} {verb(count, 'was', 'were')} {kind}: two machines, or "
                f"two copies of "
                "a directory, went on with the same journal",
                show,
            )
