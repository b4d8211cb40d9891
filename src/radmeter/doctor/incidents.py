"""Checks of what the shippers found when they compared their journals with the database."""

import shlex
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from radmeter.doctor import unseen_segments
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller, first_of
from radmeter.ingest.incidents import LOST, SHOWN
from radmeter.plugin.journal import files
from radmeter.plugin.journal.headers import read_header
from radmeter.plugin.journal.segment_format import HeaderError
from radmeter.units import counted, duration, verb

tell = Teller("incidents")

QUERY = f"""
SELECT kind, count(*), sum(records)::bigint, bool_or(records IS NULL), array_agg(DISTINCT node ORDER BY node),
       min(from_at), max(to_at), extract(epoch FROM now() - max(found_at))::float8,
       count(*) FILTER (WHERE settled_at IS NULL) > 0
FROM radmeter.journal_incidents
WHERE {SHOWN} AND (kind <> ALL (%s) OR settled_at IS NULL)
GROUP BY kind ORDER BY kind"""  # noqa: S608 # a constant


class Incidents(NamedTuple):
    """All incidents of one kind. `records`: their packets, as far as that is known."""

    kind: str
    number: int
    records: int | None
    some_unknown: bool
    nodes: list[str]
    from_at: datetime | None
    to_at: datetime | None
    seconds_ago: float
    is_open: bool


def check(context: Context) -> Findings:
    """Check that no acknowledged packet is missing, and say which databases and journals stepped back."""
    rows = [Incidents(*row) for row in context.rows(QUERY, list(LOST))]
    if not any(row.kind in LOST for row in rows):
        yield tell.green("no acknowledged packet is known to be missing")
    for row in rows:
        yield _finding(context, row)
    yield from unseen_segments.check(context, tell)


def _finding(context: Context, row: Incidents) -> Finding:
    where, show = first_of(row.nodes), context.remedy.radmeter("journal incidents")
    if row.kind in LOST:
        return _lost(context, row, show)
    if row.kind == "rewound":
        state = "are being shipped again" if row.is_open else "were shipped again"
        return tell.yellow(
            f"the database lacked {counted(row.records or 0, 'packet')} of {where}, found "
            f"{duration(row.seconds_ago)} ago: they {state}",
            context.remedy.radmeter("journal status") if row.is_open else show,
        )
    if row.kind == "shorter":
        many = f"{counted(row.number, 'segment')} of {where} {verb(row.number, 'ends', 'end')}"
        return tell.yellow(
            f"{many} before what is counted: a power cut took records that were counted, or the machine was copied",
            show,
        )
    if row.kind == "forked":
        many = f"{counted(row.number, 'segment')} of {where} {verb(row.number, 'was', 'were')}"
        said = f"{many} continued by two machines"
    else:
        said = f"there are two journals named {where}: one was copied, or an older copy was put back"
    return tell.yellow(said, show)


def _lost(context: Context, row: Incidents, show: str) -> Finding:
    many = counted(row.records, "packet") if row.records else "packets"
    more = " and an unknown number of others" if row.records and row.some_unknown else ""
    times = [
        f"{word} {at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
        for word, at in (("from", row.from_at), ("to", row.to_at))
        if at is not None
    ]
    received = f", received {' '.join(times)}" if times else ""
    one = row.records == 1 and not more
    were, are = ("was", "is") if one else ("were", "are")
    saved = [shlex.quote(str(path)) for path in _salvageable(context.settings.journal)]
    return tell.red(
        f"{many}{more} of {first_of(row.nodes)} {were} acknowledged and {are} not counted ({row.kind}{received})",
        context.remedy.radmeter(f"journal salvage {' '.join(saved)}")
        if row.kind == "damaged" and saved
        else show,
    )


def _salvageable(journal: Path) -> list[Path]:
    """Return the segments of this machine that the shipper put aside because their header cannot be read."""
    found = []
    with suppress(OSError):
        for segment in files.segments(journal / files.DAMAGED):
            try:
                read_header(segment.path)
            except HeaderError:
                found.append(segment.path)
    return found
