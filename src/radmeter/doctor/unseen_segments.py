"""Finds segments that are not all counted and that no shipper has any more: their journal is gone, or waits."""

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.printable import printable
from radmeter.units import counted, duration, verb

# A shipper that runs says each minute which segments it has.
UNSEEN_SECONDS = 3600

# An incident says more than this check does. When somebody has acknowledged it, all is said.
QUERY = """
SELECT node, count(*), extract(epoch FROM clock_timestamp() - max(seen_at))::float8
FROM radmeter.journal_segments AS segment
WHERE finished_at IS NULL AND seen_at < clock_timestamp() - %s * interval '1 second'
  AND NOT EXISTS (SELECT FROM radmeter.journal_incidents AS incident
                  WHERE incident.segment = segment.id AND kind = 'missing' AND settled_at IS NULL)
GROUP BY node ORDER BY node"""


def check(context: Context, tell: Teller) -> Findings:
    """Check that a shipper has each segment that is not all counted."""
    for node, segments, seconds in context.rows(QUERY, UNSEEN_SECONDS):
        # Not red: a host that is only off looks the same, and perhaps all is counted.
        yield tell.yellow(
            f"{node}: {counted(segments, 'segment')} {verb(segments, 'is', 'are')} not known to be all counted, and "
            f"no shipper has had {verb(segments, 'it', 'them')} for {duration(seconds)}: packets may wait in that "
            "journal, or be lost with its disk",
            context.remedy.service("ship"),
            note=f"Run it on {printable(node.rpartition('-')[0] or node)}, with that journal. If the journal is gone: "
            "'A machine that is gone' in docs/operators/recovery.md.",
        )
