"""`radmeter explain`: from which sessions and corrections the usage of a user comes."""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    Figure,
    Row,
    emit,
    emit_json,
    format_option,
    is_short,
    named_routers,
    plain,
    reading_database,
    utc_option,
    wide_option,
    with_settings,
)
from radmeter.cli.sessions import shown_stop
from radmeter.config import Settings
from radmeter.errors import JournalError
from radmeter.units import counted, volume

if TYPE_CHECKING:
    from radmeter.usage.explanation import Explanation

PART_SHORT = ("session", "router", "started_at", "stopped_at", "bytes_total")
PART_WIDE = ("session", "router", "started_at", "stopped_at", "bytes_in", "bytes_out", "bytes_total")
CORRECTIONS = (
    "at",
    "kind",
    "session",
    "direction",
    "octets_before",
    "octets_after",
    "octets_otherwise",
    "who",
)
CORRECTION_SHORT = ("at", "kind", "session", "direction", "octets_after", "octets_otherwise")
PACKET_SHORT = ("session", "arrived_at", "status", "session_seconds", "reported_in", "reported_out")
# What a part is, where it is not simply what the packets of a session counted.
PARTS = {
    "history": "before the adoption",
    "to come": "found, not added yet",
    "dropped": "sessions not kept",
    "unexplained": "not explained",
}


class Period(click.types.StringParamType):
    """A day of a quota period, or the month in which it began: the day, and whether it stands for the month."""

    name = "period"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the day and whether a month was given, or end with a usage error."""
        if isinstance(value, tuple):
            return value
        for form in ("%Y-%m-%d", "%Y-%m"):
            try:
                day = datetime.datetime.strptime(value, form).replace(tzinfo=datetime.UTC).date()
            except ValueError:
                continue
            return day, form == "%Y-%m"
        self.fail(f"{value!r} is neither a day nor a month: write YYYY-MM-DD or YYYY-MM", param, ctx)


@click.command(
    epilog="""\b
Examples:
  radmeter explain alice
  radmeter explain alice --period 2026-10 --packets
  radmeter explain alice --period 2026-10-17 --format json"""
)
@click.argument("user", type=TEXT)
@click.option(
    "--period",
    type=Period(),
    metavar="MONTH|DAY",
    help="The quota period that began in the month, or that the day is in.  [default: the current one]",
)
@click.option(
    "--packets", is_flag=True, help="Also the packets, as far as this machine's journal still keeps them."
)
@utc_option
@wide_option
@format_option
@with_settings("state", "dsn", "read_dsn", "journal")
def explain(
    settings: Settings,
    user: str,
    period: tuple[datetime.date, bool] | None,
    packets: bool,
    output_format: str,
) -> None:
    """Show the sessions and corrections that make up what USER has used in a quota period.

    The numbers are exact, and their total is the counter. A session that reaches over the end of the period has only
    its part in it. Corrections are counters of routers that wrapped or restarted, with what the other reading would
    have given, and repairs by hand. They are in the numbers of the sessions already.

    Packets show what the router reported for the session so far. A segment is kept for RADMETER_KEPT_HOURS after it
    was shipped. csv has the parts, with --packets the packets.
    """
    from radmeter.database.views import reading
    from radmeter.usage import explanation

    day, is_month = period or (None, False)
    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        start = explanation.period_of(connection, user, day, is_month=is_month)
        found = explanation.explain(connection, user, start)
        shown = named_routers(connection, found.parts, output_format)
    sent = _packets(settings, found) if packets else None
    if output_format == "json":
        _as_json(found, sent)
    elif output_format == "csv":
        if not packets:
            emit(found.parts, output_format, columns=explanation.COLUMNS)
        else:
            emit(sent or [], output_format, columns=("session", *_packet_columns()))
    else:
        _as_tables(found, shown, sent)


def _packet_columns() -> Sequence[str]:
    from radmeter.ingest.kept_packets import COLUMNS

    return COLUMNS


def _packets(settings: Settings, found: "Explanation") -> list[Row] | None:
    """Return the packets of the period's sessions, in the order of their arrival; None if there is no journal."""
    from radmeter.ingest.kept_packets import packets_of
    from radmeter.usage.explanation import session_of

    sessions = [row for row in found.parts if row["session"] is not None]
    ids = {row["session_id"] for row in sessions if row["session_id"]}
    starts = [row["started_at"] for row in sessions]
    since = min(starts) if starts and None not in starts else None
    rows = []
    try:
        for packet in packets_of(settings.journal, found.username, ids, since):
            session = session_of(sessions, packet)
            if session is not None:
                rows.append({"session": session, **packet})
    except JournalError as error:
        output.say(f"note: no packets are shown: {error}", err=True)
        return None
    return sorted(rows, key=lambda row: row["arrived_at"])


def _as_json(found: "Explanation", packets: list[Row] | None) -> None:
    document: dict[str, Any] = {
        "username": found.username,
        "period_start": plain(found.period_start),
        "period_end": plain(found.period_end),
        "timezone": found.timezone,
        "bytes_in": found.bytes_in,
        "bytes_out": found.bytes_out,
        "bytes_total": found.bytes_in + found.bytes_out,
        "sessions_kept_from": plain(found.kept_from),
        "parts": [{name: plain(value) for name, value in row.items()} for row in found.parts],
        "corrections": [{name: plain(row[name]) for name in CORRECTIONS} for row in found.corrections],
    }
    if packets is not None:
        document["packets"] = [{name: plain(value) for name, value in row.items()} for row in packets]
    emit_json(document)


def _as_tables(found: "Explanation", parts: list[Row], packets: list[Row] | None) -> None:
    from radmeter.usage.explanation import COLUMNS

    end = "on" if found.period_end is None else f"to {found.period_end - datetime.timedelta(days=1)}"
    period = f"{found.period_start} {end} ({found.timezone})"
    if not found.of_todays_plan:
        period = f"{found.period_start}, of a plan that the user had before"
    sessions = {row["session"] for row in parts if row["session"] is not None}
    total = found.bytes_in + found.bytes_out
    title = [
        f"{found.username}, quota period from {period}:",
        f"{volume(total)} = {found.bytes_in:,} bytes in + {found.bytes_out:,} bytes out, of "
        f"{counted(len(sessions), 'session')}",
    ]
    short = is_short("table")
    rows = [
        {
            **row,
            "router": _named(row),
            "stopped_at": "" if row["session"] is None else shown_stop(row) if short else row["stopped_at"],
            "bytes_total": row["bytes_in"] + row["bytes_out"],
        }
        for row in parts
    ]
    figures = {"bytes_in": found.bytes_in, "bytes_out": found.bytes_out, "bytes_total": total}
    rows.append({**dict.fromkeys(COLUMNS, ""), "router": "total = counter", **figures})
    _exact(rows, *figures)
    emit(rows, "table", columns=PART_WIDE, short=PART_SHORT, title=title)
    if found.rest is not None:
        output.say("", *_about_the_rest(found))
    if found.corrections:
        output.say()
        corrections = [dict(row) for row in found.corrections]
        _exact(corrections, "octets_before", "octets_after", "octets_otherwise")
        if short:
            corrections = [{**row, "kind": row["kind"].removeprefix("counter ")} for row in corrections]
        emit(
            corrections,
            "table",
            columns=CORRECTIONS,
            short=CORRECTION_SHORT,
            title="Corrections, already in these numbers",
        )
    if packets == []:
        output.say("", "This machine's journal keeps no packet of these sessions.")
    elif packets is not None:
        output.say()
        zone = times.zone_name()
        shown = [{**row, "arrived_at": times.of_a_packet(row["arrived_at"])} for row in packets]
        _exact(shown, "session_seconds", "reported_in", "reported_out")
        kept = f"{counted(len(packets), 'packet')} that the journal keeps, as reported. Times in {zone}"
        emit(shown, "table", columns=("session", *_packet_columns()), short=PACKET_SHORT, title=kept)


def _named(row: Row) -> str:
    """Return the router of a part, and what the part is if it is not the session as such."""
    what = PARTS.get(row["part"])
    if what is None:
        return row["router"] or "unknown"
    return what if row["router"] is None else f"{row['router']} ({what})"


def _exact(rows: list[Row], *names: str) -> None:
    """Write numbers out, with separators: here each byte matters."""
    for row in rows:
        for name in names:
            row[name] = None if row[name] is None else Figure(f"{row[name]:,}")


def _about_the_rest(found: "Explanation") -> list[str]:
    assert found.rest is not None
    if found.rest["part"] == "dropped":
        return [
            f"Sessions that stopped before {times.shown(found.kept_from)} are not kept here."
            if found.kept_from is not None
            else "Some sessions are not kept in the database.",
            "`radmeter sessions --archived` reads those that were archived.",
        ]
    return [
        "The counter differs from the sum of the sessions: somebody has changed or deleted some by hand,",
        "or changed the counter. `radmeter verify` shows which counters differ.",
    ]
