"""The columns of radacct: FreeRADIUS's, then radmeter's own, as the first revision makes them."""

import re
from typing import NamedTuple

from radmeter.database.revision_constants import constant

RADACCT: str = constant("0001_tables", "RADACCT")
_LATER: tuple[tuple[str, str, str], ...] = constant("0019_repeated_stops", "COLUMNS")

# A table without one of these is refused. Other stock columns, which an older FreeRADIUS did not have, are added.
ESSENTIAL = frozenset(
    {
        "radacctid", "acctsessionid", "acctuniqueid", "username", "nasipaddress", "acctstarttime", "acctstoptime",
        "acctsessiontime", "acctinputoctets", "acctoutputoctets", "calledstationid", "callingstationid",
        "acctterminatecause",
    }
)  # fmt: skip
# radmeter never writes NULL into these columns. Every other column may be NULL.
NEVER_NULL = frozenset({"radacctid", "acctsessionid", "acctuniqueid", "nasipaddress"})
# Columns that an interim changes. With an index on one of these, every packet would write all indexes again.
CHANGED_BY_INTERIMS = frozenset(
    {
        "acctupdatetime", "acctinterval", "acctsessiontime", "acctinputoctets", "acctoutputoctets", "framedipaddress",
        "framedipv6address", "framedipv6prefix", "framedinterfaceid", "delegatedipv6prefix", "arrived_at", "counted_at",
        "usage_date", "period_start", "input_offset", "output_offset", "interim_interval", "clock_skew_seconds",
        "late_start_at", "router_mac",
    }
)  # fmt: skip


class AddedColumn(NamedTuple):
    """A column: its name, its type as PostgreSQL shows it, and its whole definition."""

    name: str
    kind: str
    definition: str


SHOWN = {"timestamptz": "timestamp with time zone"}


def _columns() -> list[AddedColumn]:
    body = RADACCT[RADACCT.index("CREATE TABLE public.radacct (") : RADACCT.index(") PARTITION BY")]
    found = re.findall(r"^    (\w+) +(\w+)(.*?),?$", body, re.MULTILINE)
    return [AddedColumn(name, SHOWN.get(kind, kind), kind + rest) for name, kind, rest in found]


def _later_columns() -> list[AddedColumn]:
    return [AddedColumn(name, SHOWN.get(kind, kind), kind) for name, kind, _ in _LATER]


_ALL = _columns()
_LAST = [column.name for column in _ALL].index("class")
STOCK = _ALL[: _LAST + 1]
# A new column's default is the value of all existing rows. PostgreSQL keeps it in the catalog and writes no row.
OURS = [*_ALL[_LAST + 1 :], AddedColumn("adopted", "boolean", "boolean DEFAULT true"), *_later_columns()]
COMMENTS: list[tuple[str, str]] = [
    *re.findall(r"COMMENT ON COLUMN public\.radacct\.(\w+) IS\s+'((?:[^']|'')*)';", RADACCT),
    *re.findall(
        r"COMMENT ON COLUMN public\.radacct\.(\w+) IS\s+'((?:[^']|'')*)';",
        constant("0005_adoption", "ADOPTED"),
    ),
    *((name, comment) for name, _, comment in _LATER),
]
