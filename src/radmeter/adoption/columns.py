"""The columns of radacct: FreeRADIUS's, and radmeter's own behind them, as the first revision has them."""

import importlib
import re
from typing import Any, NamedTuple


def _version(name: str) -> Any:
    return importlib.import_module(f"radmeter.schema.migrations.versions.{name}")


RADACCT: str = _version("0001_tables").RADACCT

# Without these a table is no accounting table. Any other stock column that an older FreeRADIUS did not have is added.
ESSENTIAL = frozenset(
    {
        "radacctid", "acctsessionid", "acctuniqueid", "username", "nasipaddress", "acctstarttime", "acctstoptime",
        "acctsessiontime", "acctinputoctets", "acctoutputoctets", "calledstationid", "callingstationid",
        "acctterminatecause",
    }
)  # fmt: skip
# Never NULL in what radmeter writes; every other column may be.
NEVER_NULL = frozenset({"radacctid", "acctsessionid", "acctuniqueid", "nasipaddress"})
# What an interim changes: an index that names one of these would have to be written with every packet.
CHANGED_BY_INTERIMS = frozenset(
    {
        "acctupdatetime", "acctinterval", "acctsessiontime", "acctinputoctets", "acctoutputoctets", "framedipaddress",
        "framedipv6address", "framedipv6prefix", "framedinterfaceid", "delegatedipv6prefix", "arrived_at", "counted_at",
        "usage_date", "period_start", "input_offset", "output_offset", "interim_interval", "clock_skew_seconds",
    }
)  # fmt: skip


class AddedColumn(NamedTuple):
    """A column: its type as PostgreSQL shows it, and all of its definition."""

    name: str
    kind: str
    definition: str


SHOWN = {"timestamptz": "timestamp with time zone"}


def _columns() -> list[AddedColumn]:
    body = RADACCT[RADACCT.index("CREATE TABLE public.radacct (") : RADACCT.index(") PARTITION BY")]
    found = re.findall(r"^    (\w+) +(\w+)(.*?),?$", body, re.MULTILINE)
    return [AddedColumn(name, SHOWN.get(kind, kind), kind + rest) for name, kind, rest in found]


_ALL = _columns()
_LAST = [column.name for column in _ALL].index("class")
STOCK = _ALL[: _LAST + 1]
# PostgreSQL keeps the default of a column that is added as what all rows have that are there, without writing them.
OURS = [*_ALL[_LAST + 1 :], AddedColumn("adopted", "boolean", "boolean DEFAULT true")]
COMMENTS: list[tuple[str, str]] = [
    *re.findall(r"COMMENT ON COLUMN public\.radacct\.(\w+) IS\s+'((?:[^']|'')*)';", RADACCT),
    *re.findall(
        r"COMMENT ON COLUMN public\.radacct\.(\w+) IS\s+'((?:[^']|'')*)';", _version("0005_adoption").ADOPTED
    ),
]
