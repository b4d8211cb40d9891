"""`radmeter routers`: list, show, add, claim and import routers."""

import os
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    Row,
    emit,
    emit_json,
    emit_one,
    existing_database,
    format_option,
    is_short,
    list_options,
    plain,
    reading_database,
    utc_option,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.router_assign import assign
from radmeter.cli.router_changes import given_options, merge, qualify, rename, retire, set_
from radmeter.cli.router_coa import WHICH, coa_key, test_coa
from radmeter.config import Settings
from radmeter.errors import RadmeterError
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.routers.changes import Outcome as ImportOutcome
    from radmeter.routers.changes import RouterWriter
    from radmeter.routers.inventory import Line

COLUMNS = (
    "id",
    "name",
    "mac",
    "nas_identifier",
    "ip_address",
    "timezone",
    "status",
    "tenant_id",
    "tenant",
    "site",
)
SHORT = ("id", "name", "mac", "ip_address", "status")
DETAILS = (
    *COLUMNS,
    "clients",
    "plausible_mbit_per_second",
    "networks",
    "discovery_key",
    "aliases",
    "merged_into",
    "merged_at",
    "created_at",
    "updated_at",
    "open_sessions",
    "last_packet_at",
    "interim_seconds",
    "stale_after_seconds",
    "clock_skew_seconds",
    "clock_median_seconds",
    "clock_spread_seconds",
    "clock_sessions",
    "unbelievable_clock_sessions",
    "bytes_today",
    "vendor",
    "coa_address",
    "coa_port",
    "coa_secret",
    "coa_source",
    "message_authenticator",
    "swapped",
    "takes_coa",
    "coa_silent_since",
    "coa_last_answer_at",
    "coa_last_error",
)
ALIAS = ("id", "name", "mac", "nas_identifier", "ip_address", "discovery_key", "merged_at")
USAGE = ("usage_date", "bytes_in", "bytes_out", "bytes_total", "last_updated")
ASSIGNMENT = ("from_day", "until_day", "tenant_id", "tenant", "assigned_at")
LISTS = ("aliases", "assignments", "usage")
BATCH_LINES = 5000
LONG_FILE_BYTES = 1 << 17
OUTCOMES = ("added", "claimed", "updated", "unchanged", "refused")


@group(epilog="Example: radmeter routers list --status discovered")
def routers() -> None:
    """List, add, claim, import, change and merge routers.

    The first packet of an unknown router discovers it, so that its usage is kept. Claim a discovered router to give it
    a name, or merge it if it is another row of a known router. Routers are recognised by MAC, then by NAS-Identifier,
    then by address. audit_log keeps the changes of rename, set, retire and merge.
    """


for command in (rename, set_, assign, retire, merge, qualify, coa_key, test_coa):
    routers.add_command(command)


@routers.command("list", epilog="Example: radmeter routers list --status discovered")
@click.option(
    "--status", type=click.Choice(["active", "discovered", "retired"]), help="Only routers with this status."
)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="How many.")
@click.option(
    "--after", metavar="ID", type=click.IntRange(0, 2**63 - 1), default=0, help="Go on after this id."
)
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(settings: Settings, status: str | None, limit: int, after: int, output_format: str) -> None:
    """List routers in the order of their ids."""
    from radmeter.database.views import reading
    from radmeter.routers.lookup import list_routers

    with reading_database(settings) as dsn, reading(dsn) as connection:
        rows, more = list_routers(connection, status=status, after=after, limit=limit)
    if is_short(output_format):
        # A discovered router is named by its MAC, which has a column of its own.
        rows = [{**row, "name": _sent(row) or row["name"]} for row in rows]
    columns = (*COLUMNS, "clients") if output_format == "json" else COLUMNS
    emit(rows, output_format, columns=columns, short=SHORT)
    if more:
        output.say(f"There are more: go on with --after {rows[-1]['id']}", err=True)


def _sent(row: Row) -> str | None:
    """Return the name that a discovered router sends."""
    return row["nas_identifier"] if row["status"] == "discovered" else None


@routers.command("show", epilog="Example: radmeter routers show lobby --days 30")
@click.argument("router", metavar=WHICH, type=TEXT)
@click.option(
    "--days",
    type=click.IntRange(1, 10_000),
    default=7,
    show_default=True,
    help="How many days of usage, today included.",
)
@utc_option
@format_option
@with_settings("state", "dsn", "read_dsn")
def show(settings: Settings, router: str, days: int, output_format: str) -> None:
    """Show everything about a router: its keys, its open sessions, its clock, its usage.

    clock_skew_seconds is how far its clock was ahead in the latest packet. Median and spread (of the middle half) are
    over its open sessions and the sessions of the last two days. A clock is unbelievable if it is more than 5 minutes
    ahead or 7 days behind. Then the arrival counts as the time of the event.

    plausible_mbit_per_second is more than one of its users can use in a direction. Without one, the limit of that name
    holds (`radmeter limits list`).

    vendor, and what begins with coa, say how Disconnect- and CoA-Requests reach it. coa_secret is whether it has one.

    tenant is the tenant to whom it belongs today. assignments say whose it was, is and will be; until_day is the first
    day that is another's (`radmeter routers assign`).

    clients are the RADIUS clients whose packets may name it. networks are those from which its packets came lately.
    """
    from radmeter.billing import assignments
    from radmeter.database.views import reading
    from radmeter.routers import lookup as routers
    from radmeter.usage import counters

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        found = routers.find_router(connection, router)
        used = counters.router_usage(connection, found, days)
        clock = routers.clock(connection, found)
        aliases = routers.merged_routers(connection, found)
        networks = routers.networks(connection, found)
        reached = routers.requests(connection, found)
        owners = assignments.history(connection, found.id)
        row = {**vars(found), **routers.activity(connection, found)}
    (today, *_) = [each for each in used if each["usage_date"] == found.today]
    row |= {
        "interim_seconds": found.interim_interval,
        "clock_median_seconds": clock["median_seconds"],
        "clock_spread_seconds": clock["spread_seconds"],
        "clock_sessions": clock["stamped_sessions"],
        "unbelievable_clock_sessions": clock["unbelievable_sessions"],
        "aliases": "; ".join(map(str, aliases)) or None,
        "bytes_today": today["bytes_total"],
        **reached,
        "networks": networks,
    }
    if output_format == "json":
        row["aliases"] = [{name: plain(getattr(each, name)) for name in ALIAS} for each in aliases]
        row["usage"] = [{name: plain(each[name]) for name in USAGE} for each in used]
        row["assignments"] = [{name: plain(each[name]) for name in ASSIGNMENT} for each in owners]
        names = (*DETAILS, "assignments", "usage")
        values = {name: row[name] if name in LISTS else plain(row[name]) for name in names}
        emit_json(values)
        return
    if output_format == "table":
        row["name"] = found.by_mac
    row["clients"] = ", ".join(map(str, found.clients or ())) or "any"
    row["networks"] = ", ".join(networks) or None
    # A closed session's time of update can be older or newer than the last packet, so only open ones are asked.
    labels = {"last_packet_at": "last packet of open sessions"}
    emit_one(row, output_format, columns=DETAILS, labels=labels)
    if output_format == "table":
        if owners:
            output.say()
            emit(owners, output_format, columns=ASSIGNMENT[:2] + ASSIGNMENT[3:])
        output.say()
        emit(used, output_format, columns=USAGE)


@routers.command(
    "add",
    epilog="""\b
Example:
  radmeter routers add --name lobby --mac AA-BB-CC-DD-EE-FF \\
      --timezone Europe/Berlin
""",
)
@click.argument("given_name", metavar="[NAME]", type=TEXT, required=False)
@click.option("--name", type=TEXT, help="Its name. No other router may have it.")
@given_options
@with_settings("state", "dsn")
def add(settings: Settings, given_name: str | None, name: str | None, **given: str | None) -> None:
    """Add a router that has not been discovered yet. NAME is the same as --name."""
    from radmeter.csv_lines import BadLine
    from radmeter.routers.changes import writing
    from radmeter.routers.inventory import Line

    if (given_name is None) == (name is None):
        raise click.UsageError("give its name once: NAME or --name")
    name = given_name or name
    with existing_database(settings) as dsn, writing(dsn) as writer:
        line = Line.checked({"name": name, **given}, writer.timezones() if given["timezone"] else {})
        if line.name is None:
            raise BadLine("the name is empty: give one with --name")
        router_id = writer.add(line)
    output.say(f"added router #{router_id} {line.name!r}")


@routers.command("claim", epilog="Example: radmeter routers claim AA-BB-CC-DD-EE-FF --name lobby")
@click.argument("router", metavar=WHICH, type=TEXT)
@click.option("--name", type=TEXT, help="Its new name.  [default: the name it was discovered with]")
@given_options
@with_settings("state", "dsn")
def claim(settings: Settings, router: str, name: str | None, **given: str | None) -> None:
    """Register a discovered router. Its usage is kept.

    From then on its address finds it, too, if no other registered router has the address. Packets of a router that is
    not known yet count for it if they show the same address: no router is discovered there. If several routers send
    from one address, take it off: `radmeter routers set lobby --ip ''`. MAC and NAS-Identifier still find it.
    """
    from radmeter.database.views import reading
    from radmeter.routers.changes import writing
    from radmeter.routers.inventory import Line
    from radmeter.routers.lookup import find_router, sole_address

    with existing_database(settings) as dsn:
        with reading(dsn) as connection:
            found = find_router(connection, router, status="discovered")
        with writing(dsn) as writer:
            line = Line.checked({"name": name, **given}, writer.timezones() if given["timezone"] else {})
            writer.claim(found.id, line)
        with reading(dsn) as connection:
            address = sole_address(connection, found.id)
    output.say(f"claimed router #{found.id} {line.name or found.name!r}")
    if address is not None:
        output.say(
            f"packets of new routers that show {address} count for it from now on: none is discovered there. If others "
            f"send from that address: `radmeter routers set '#{found.id}' --ip ''`",
            err=True,
        )


@routers.command(
    "import",
    epilog="""\b
The file begins with this header, in one line:
  name,mac,nas_identifier,ip_address,timezone,clients,
  plausible_mbit_per_second,site,vendor,coa_address,
  coa_port
Example: radmeter routers import inventory.csv --dry-run""",
)
@click.argument("file", metavar="CSV", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@with_settings("state", "dsn")
def import_(settings: Settings, file: BinaryIO, dry_run: bool) -> None:
    """Import an inventory: add new routers, claim discovered ones, and update registered ones.

    An import that is run twice changes nothing the second time. A line is refused if its MAC or name is another
    router's, or if it cannot be read. Refused lines are shown with their number and the reason. The others are
    imported. Empty fields change nothing. `radmeter routers set` gives each router its secret for requests.

    Exit code 1 if any line was refused.
    """
    from radmeter.routers import inventory
    from radmeter.routers.changes import writing

    counts = dict.fromkeys(OUTCOMES, 0)

    def refuse(number: int, reason: str | None) -> None:
        output.say(f"line {number}: {reason}", err=True)
        counts["refused"] += 1

    with existing_database(settings) as dsn, writing(dsn) as writer:
        entries = inventory.read(_with_progress(file), writer.timezones())
        vendors = writer.vendors()
        while batch := list(islice(entries, BATCH_LINES)):
            bad = [entry for entry in batch if not isinstance(entry, inventory.Line)]
            lines = [entry for entry in batch if isinstance(entry, inventory.Line)]
            bad += [
                (line.number, f"the vendor {line.vendor!r} is not known: give one of {', '.join(vendors)}")
                for line in lines
                if line.vendor is not None and line.vendor not in vendors
            ]
            lines = [line for line in lines if line.vendor is None or line.vendor in vendors]
            try:
                outcomes = writer.import_lines(lines, dry_run=dry_run) if lines else []
                outcomes = _with_requests(writer, lines, outcomes, dry_run=dry_run)
            except RadmeterError:
                done = sum(counts.values()) - counts["refused"]
                output.say(
                    f"stopped: {counted(done, 'line')} imported. Import the file again to go on.", err=True
                )
                raise
            refused = [(each.line, each.reason) for each in outcomes if each.outcome == "refused"]
            for number, reason in sorted(bad + refused):
                refuse(number, reason)
            for each in outcomes:
                counts[each.outcome] += each.outcome != "refused"
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "nothing"
    output.say(
        f"{'dry run, nothing is changed: ' if dry_run else ''}{counted(sum(counts.values()), 'line')}: {told}"
    )
    if counts["refused"]:
        sys.exit(1)


def _with_requests(
    writer: "RouterWriter", lines: "list[Line]", outcomes: "list[ImportOutcome]", *, dry_run: bool
) -> "list[ImportOutcome]":
    """Set how requests reach the routers of some lines; return the outcomes of the lines with that."""
    requests = {line.number: line.requests for line in lines if line.requests}
    found = []
    for each in outcomes:
        changes = requests.get(each.line)
        if (
            changes
            and each.outcome != "refused"
            and each.router_id is not None
            # A dry run has not made the router.
            and not (dry_run and each.outcome == "added")
            and writer.set_requests(each.router_id, changes, dry_run=dry_run)
            and each.outcome == "unchanged"
        ):
            found.append(each._replace(outcome="updated"))
        else:
            found.append(each)
    return found


def _with_progress(file: BinaryIO) -> Iterator[bytes]:
    """Yield the file's lines, bounded. Show the progress if the file is long."""
    from radmeter.csv_lines import lines_of

    size = file.seek(0, os.SEEK_END) if file.seekable() else 0
    if size:
        file.seek(0)
    if size < LONG_FILE_BYTES:
        yield from lines_of(file)
        return
    from radmeter.progress import progress

    with progress("importing", size, "bytes") as bar:
        for number, line in enumerate(lines_of(file), start=1):
            yield line
            if number % 1000 == 0:
                bar.completed = file.tell()
        bar.completed = size
