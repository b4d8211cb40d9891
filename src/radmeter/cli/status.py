"""`radmeter status`: show whether packets get from the journal into the counters, and how fast."""

import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import click

from radmeter import output, waits
from radmeter.cli import times
from radmeter.cli.common import (
    cell,
    emit_csv,
    emit_json,
    format_option,
    reading_database,
    utc_option,
    with_settings,
)
from radmeter.config import Settings
from radmeter.errors import JournalError, StoreError
from radmeter.plugin.journal.locks import WRITER
from radmeter.plugin.journal.reader import JournalDepth, JournalReader
from radmeter.units import counted, disk_size, duration, verb

if TYPE_CHECKING:
    from radmeter.database.connection import Connection

State = dict[str, Any]
RETRY = "retry"
# The nodes of `radmeter replay`.
DETAIL = "detail:"


@click.command(epilog="Example: radmeter status --sample 5 --format json")
@click.option(
    "--sample",
    metavar="SECONDS",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    help="How long to measure packets per second. 0: do not measure.",
)
@utc_option
@format_option
@with_settings("state", "dsn", "read_dsn", "journal", "kept_hours", "kept_bytes")
def status(settings: Settings, sample: float, output_format: str) -> None:
    """Show what is in the journal, how far and how fast each node is ingested, and what an operator has to do.

    An operator looks after rejected packets and discovered routers. If FreeRADIUS uses another journal than this one, a
    line names it. If the shipper runs and gets nowhere, its line says so. Exit code 1 if the journal or the database
    cannot be reached; the other one is shown.
    """
    problems: list[str] = []
    database = _database(settings, sample, problems)
    journal = _journal(settings, database, problems)
    kept = journal.pop("kept")  # in words
    database.pop("segments")
    database.pop("heard")
    state: State = {"journal": journal, **database, "problems": problems}
    if output_format == "json":
        emit_json(state)
    elif output_format == "csv":
        emit_csv(_flat("", state), columns=("name", "value"))
    else:
        _print(state, kept)
    if problems:
        sys.exit(1)


def _database(settings: Settings, sample: float, problems: list[str]) -> State:
    from radmeter.database.standby import standby
    from radmeter.database.views import reading
    from radmeter.ingest import shipper_state, waiting_packets
    from radmeter.usage import ingest_state

    state: State = {"packets_per_second": None, "nodes": None}
    state |= {"rejected_packets": None, "discovered_routers": None, "open_sessions": None}
    state |= {"rejected_bytes": None, "anomalies": None, "anomaly_bytes": None, "left_out_today": None}
    state |= {"standby": None, "standby_behind_seconds": None}
    state |= {"ignored_packets": None, "personal_cleared_at": None, "discovery_limits": None}
    state |= {"incidents": None, "segments": None, "archive_by_age": None, "requests": None}
    state |= {"heard": None, "billing": None, "alerts": None}
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(reading(stack.enter_context(reading_database(settings))))
            times.use_zone(connection)
            if found := standby(connection):
                state |= {"standby": True, "standby_behind_seconds": found.behind_seconds}
            else:
                state["standby"] = False
            before = {row["node"]: row for row in ingest_state.nodes(connection)}
            state |= ingest_state.totals(connection)
            state["incidents"] = ingest_state.incidents(connection)
            state["requests"] = ingest_state.requests(connection)
            state["billing"] = _due(connection)
            state["alerts"] = _watch(connection)
            state["archive_by_age"] = ingest_state.job_result(connection, "archive")
            state["discovery_limits"] = ingest_state.discovery_limits(connection)
            if sample:
                connection.rollback()  # else the second reading would see the same as the first
                with waits.waiting_for(f"packets to measure, for {sample:g} s (--sample)"):
                    time.sleep(sample)
            nodes = ingest_state.nodes(connection)
            # Last, since the journal is read next: what was shipped while we measured must not seem to wait.
            try:
                state["segments"] = waiting_packets.progress(connection, settings.journal)
                if not state["standby"]:
                    state["heard"] = shipper_state.heard(connection, settings.journal)
            except JournalError:  # `_journal` says that it cannot be read
                state["segments"] = {}
    except StoreError as error:
        problems.append(f"database: {error}")
        return state
    for row in nodes:
        row["packets_per_second"] = _rate(before.get(row["node"]), row) if sample else None
    if sample:
        state["packets_per_second"] = round(sum(row["packets_per_second"] for row in nodes), 1)
    return state | {"nodes": [{k: v for k, v in row.items() if k != "read_at"} for row in nodes]}


def _rate(before: State | None, after: State) -> float:
    if before is None:  # its first packets came after our first reading
        return 0.0
    seconds: float = (after["read_at"] - before["read_at"]).total_seconds()
    records: int = after["records"] - before["records"]
    return round(records / seconds, 1)


def _journal(settings: Settings, database: State, problems: list[str]) -> State:
    from radmeter.freeradius import journal_in_use
    from radmeter.ingest import kept_figures, waiting_packets

    state: State = {"directory": str(settings.journal), "node": None, "waiting_records": None}
    state["used_instead"] = [each.shown for each in journal_in_use.elsewhere(settings.journal)]
    state |= {"oldest_waiting_seconds": None, "segments": None, "bytes_on_disk": None}
    state |= {"kept_segments": None, "kept_bytes": None, "kept_since": None, "kept": None}
    state |= _radiusd(settings)
    state |= {"shipper": None, "shipper_stuck_seconds": None}
    reader = JournalReader(settings.journal)
    try:
        node = reader.node()
        progress = database["segments"]
        known = progress is not None
        depth = reader.depth(progress if known else waiting_packets.progress(None, settings.journal))
        kept = kept_figures.kept(settings.journal)
    except JournalError as error:
        problems.append(f"journal: {error}")
        return state
    finally:
        reader.close()
    problems += [f"journal: the segment {path} cannot be read" for path in depth.unreadable]
    state |= {"node": node, "segments": depth.segments, "bytes_on_disk": depth.size_bytes}
    state |= {"kept_segments": kept.segments, "kept_bytes": kept.size_bytes, "kept_since": kept.since}
    state["kept"] = kept_figures.kept_line(settings, kept)
    if not known:
        problems.append(
            f"journal: {counted(depth.records, 'record')}; only the database knows how many of them are shipped"
        )
        return state
    oldest = depth.oldest_received_at_us
    if oldest is not None:
        age = datetime.now(UTC).timestamp() - oldest / 1e6
        state["oldest_waiting_seconds"] = round(max(0.0, age), 3)
    return state | {"waiting_records": depth.records} | _shipper(settings, database, depth)


def _shipper(settings: Settings, database: State, depth: JournalDepth) -> State:
    """Return who ships the journal, and for how long that process has got nowhere."""
    from radmeter.ingest.shipper_state import shipper_state

    try:
        found = shipper_state(database["heard"], settings.journal, depth)
    except PermissionError:
        return {}
    if found is None:
        return {}
    stuck = found.stuck_seconds
    return {"shipper": found.process, "shipper_stuck_seconds": None if stuck is None else round(stuck, 3)}


def _radiusd(settings: Settings) -> State:
    """Return who writes the journal, and whether a radiusd runs on this machine. None: not known, or not installed."""
    from radmeter.freeradius import installed
    from radmeter.ingest.holders import holder

    try:
        writer = holder(settings.journal, WRITER)
    except OSError:
        writer = None
    runs = writer is not None or bool(installed.running())
    if not runs and (installed.program() is None or not installed.sees_others()):
        return {"radiusd": None, "radiusd_runs": None}
    return {"radiusd": writer, "radiusd_runs": runs}


def _print(state: State, kept: str | None) -> None:
    journal = state["journal"]
    oldest = journal["oldest_waiting_seconds"]
    waiting = "-" if journal["waiting_records"] is None else counted(journal["waiting_records"], "record")
    lines = [
        *([("read from", _standby(state))] if state["standby"] else ()),
        ("journal", journal["directory"]),
        *((("  used instead", _used_instead(journal["used_instead"])),) if journal["used_instead"] else ()),
        *((("  radiusd", _writer(journal)),) if journal["radiusd_runs"] is not None else ()),
        ("  shipper", _reader(journal)),
        ("  node", journal["node"]),
        ("  waiting", waiting + (f", the oldest {oldest:.1f} s old" if oldest is not None else "")),
        ("  on disk", _on_disk(journal)),
        ("  kept", kept),
        ("incidents", _incidents(state["incidents"])),
        ("packets per second", state["packets_per_second"]),
        ("open sessions", state["open_sessions"]),
        ("rejected packets", _sized(state["rejected_packets"], state["rejected_bytes"])),
        ("left out, last day", state["left_out_today"]),
        ("ignored packets", state["ignored_packets"]),
        ("anomalies", _sized(state["anomalies"], state["anomaly_bytes"])),
        ("attributes cleared", state["personal_cleared_at"]),
        *([("archived by age", _job(state["archive_by_age"]))] if state["archive_by_age"] else ()),
        ("discovered routers", state["discovered_routers"]),
        ("requests to routers", _requests(state["requests"])),
        *([("billing", _billing(state["billing"]))] if _billing(state["billing"]) else ()),
        ("alerts", _alerts(state["alerts"])),
        *(("discovery limit", _reached(row)) for row in state["discovery_limits"] or ()),
    ]
    files = [row for row in state["nodes"] or () if row["node"].startswith(DETAIL)]
    if files:
        lines.append(("replayed files", _replayed(files)))
    for row in state["nodes"] or ():
        if row in files:
            continue
        lines += [
            # Its records are rejected packets that were counted by `radmeter rejected retry`, and have no journal.
            ("node", row["node"] if row["node"] != RETRY else "(rejected retry)"),
            ("  role", row["role"]),
            ("  last packet", row["last_received_at"]),
            ("  ingested", row["updated_at"]),
            (
                "  records",
                f"{row['records']}, {row['rejected']} of them rejected, {row['ignored']} ignored, "
                f"last number {row['last_seq']}",
            ),
            ("  packets per second", row["packets_per_second"]),
        ]
    for name, value in lines:
        output.say(f"{name:<22}{cell(name, value)}")
    for problem in state["problems"]:
        output.say(f"problem: {problem}", err=True)


def _replayed(files: list[State]) -> str:
    """Return in one line what was replayed. `radmeter status --format json` has each file."""
    records, rejected = (sum(row[name] for row in files) for name in ("records", "rejected"))
    line = f"{counted(len(files), 'file')}, {counted(records, 'record')}, {rejected:,} of them rejected"
    last = max((row["updated_at"] for row in files if row["updated_at"]), default=None)
    if last is not None:
        line += f", the last {cell('', last)}"
    rate = sum(row["packets_per_second"] or 0 for row in files)
    return line + (f", {rate:g} packets/s now" if rate else "")


def _standby(state: State) -> str:
    from radmeter.database.standby import Standby

    return f"a standby, {Standby(state['standby_behind_seconds'])}"


def _used_instead(journals: list[str]) -> str:
    """Return which journals the running radiusds use instead of this one."""
    return f"{'; '.join(journals)}, which nobody ships. See `radmeter doctor`"


def _writer(journal: State) -> str:
    if not journal["radiusd_runs"]:
        return "does not run"
    return (
        f"writes, {journal['radiusd']}" if journal["radiusd"] else "runs, and does not write this journal now"
    )


def _reader(journal: State) -> str | None:
    stuck = journal["shipper_stuck_seconds"]
    if journal["shipper"] is None or stuck is None:
        return cast("str | None", journal["shipper"])
    return f"{journal['shipper']}, has got nowhere for {duration(stuck)}. See `radmeter doctor`"


def _on_disk(journal: State) -> str | None:
    if journal["segments"] is None:
        return None
    return f"{disk_size(journal['bytes_on_disk'])} in {counted(journal['segments'], 'segment')}"


def _incidents(kinds: list[State] | None) -> str | None:
    """Return what waits for somebody: how many incidents of each kind."""
    if not kinds:
        return None if kinds is None else "0"
    named = ", ".join(f"{row['incidents']:,} {row['kind']}" for row in kinds)
    return f"{named}. See `radmeter journal incidents`"


def _requests(row: State | None) -> str | None:
    """Return how many requests to routers are under way and failed, and how many routers are silent."""
    if row is None:
        return None
    line = f"{row['under_way']} under way"
    if row["under_way"]:
        line += f", the oldest {duration(row['oldest_seconds'])} old"
    if row["failed_today"]:
        line += f", {row['failed_today']} failed within a day"
    if row["silent_routers"]:
        line += f", {counted(row['silent_routers'], 'router')} {verb(row['silent_routers'], 'does', 'do')} not answer"
    return line + (". See `radmeter doctor`" if row["failed_today"] or row["silent_routers"] else "")


def _due(connection: "Connection") -> State:
    """Return which month is to be closed, and how many drafts wait."""
    from radmeter.billing.due import due

    found = due(connection)
    return {"to_close": None if found.to_close is None else str(found.to_close), "drafts": found.drafts}


def _billing(row: State | None) -> str | None:
    if row is None or not (row["to_close"] or row["drafts"]):
        return None
    parts = [f"{row['to_close']} has ended and is not closed"] if row["to_close"] else []
    if row["drafts"]:
        parts.append(f"{counted(row['drafts'], 'draft')} {verb(row['drafts'], 'waits', 'wait')} to be issued")
    return f"{'; '.join(parts)}. See `radmeter doctor`"


def _watch(connection: "Connection") -> State:
    """Return how many alerts are open, and whether people can be told."""
    from radmeter.alerts.store import state

    found = state(connection)
    names = ("open", "critical", "rules_error", "mails_waiting", "mails_dead", "mail_error")
    return {name: found[name] for name in names}


def _alerts(row: State | None) -> str | None:
    """Return what is wrong, in a line."""
    if row is None:
        return None
    parts = [f"{row['open']} open"]
    if row["critical"]:
        parts.append(f"{row['critical']} of them critical and not acknowledged")
    if row["rules_error"]:
        parts.append("the file of rules cannot be used")
    if row["mail_error"]:
        parts.append(
            f"e-mail fails, {counted(row['mails_waiting'], 'mail')} {verb(row['mails_waiting'], 'waits', 'wait')}"
        )
    see = "alerts list" if row["open"] and len(parts) <= 2 else "doctor"
    return ", ".join(parts) + (f". See `radmeter {see}`" if row["open"] or len(parts) > 1 else "")


def _job(row: State) -> str:
    last = f"last succeeded {cell('', row['succeeded_at'])}" if row["succeeded_at"] else "not yet"
    return last if row["error"] is None else f"{last}; failed {cell('', row['failed_at'])}: {row['error']}"


def _reached(row: State) -> str:
    return (
        f"reached by client {row['client']}: about {counted(row['keys'], 'router')} beyond it, whose usage went to "
        f"#{row['router_id']}, last at {cell('', row['beyond_until'])}. See `radmeter doctor`"
    )


def _sized(rows: int | None, size_bytes: int | None) -> str | None:
    return None if rows is None else f"{rows}, in {disk_size(size_bytes)}"


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """Return nested values with dotted names. Rows of a list are named by their node, client, kind or number."""
    if isinstance(value, dict):
        return [pair for name, each in value.items() for pair in _flat(f"{prefix}.{name}".strip("."), each)]
    if isinstance(value, list):
        return [
            pair
            for number, each in enumerate(value)
            for pair in _flat(f"{prefix}.{_named(each) if isinstance(each, dict) else number}", each)
        ]
    return [(prefix, value)]


def _named(row: State) -> Any:
    return next((row[name] for name in ("node", "client", "kind") if name in row), None)
