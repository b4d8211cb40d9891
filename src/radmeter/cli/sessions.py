"""`radmeter sessions`: who is or was online, at which router, and with how many octets."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    Row,
    emit,
    is_short,
    list_options,
    named_routers,
    reading_database,
    require_extra,
    with_settings,
)
from radmeter.cli.pseudonymised import pseudonym_options
from radmeter.config import Settings

if TYPE_CHECKING:
    from radmeter.people.pseudonyms import Pseudonyms

SHORT = ("username", "router", "started_at", "stopped_at", "bytes_in", "bytes_out")
COLUMNS = (
    "id",
    "username",
    "router_id",
    "router",
    "router_mac",
    "started_at",
    "updated_at",
    "stopped_at",
    "session_seconds",
    "bytes_in",
    "bytes_out",
    "calling_station_id",
    "framed_ip",
    "terminate_cause",
    "closed_by",
    "session_id",
    "unique_id",
)


@click.command(
    epilog="""\b
Examples: radmeter sessions --open --router lobby
          radmeter sessions --user alice --limit 200 --format csv
          radmeter sessions --user alice --archived
          radmeter sessions --limit 100000 --format csv \\
              --pseudonym-key study.key"""
)
@click.option("--open", "open_only", is_flag=True, help="Only open sessions.")
@click.option("--archived", is_flag=True, help="Also the sessions of archived months, from their files.")
@click.option("--user", "username", metavar="NAME", type=TEXT, help="Only sessions of this user.")
@click.option("--router", metavar="NAME|MAC|#ID", type=TEXT, help="Only sessions at this router.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many.")
@click.option("--before", metavar="ID", type=click.IntRange(0, 2**63 - 1), help="Go on after the session ID.")
@pseudonym_options
@list_options
@with_settings("state", "dsn", "read_dsn", "archive_directory")
def sessions(
    settings: Settings,
    open_only: bool,
    archived: bool,
    username: str | None,
    router: str | None,
    limit: int,
    before: int | None,
    output_format: str,
    pseudonyms: "Pseudonyms | None",
) -> None:
    """List sessions, newest first, a page at a time.

    If there are more, a note on standard error says how to go on.

    With --archived, the files of archived months are read where they are (DuckDB, the extra `archive`).
    Each is compared with its checksum first. A file has the names of the time when it was written, also of people who
    were erased since.
    """
    if archived and open_only:
        raise click.UsageError("--open and --archived exclude each other: no open session is archived")
    if archived:
        require_extra("duckdb", "archive")
    from radmeter.database.views import reading
    from radmeter.routers.lookup import find_router
    from radmeter.usage import counters
    from radmeter.usage.sessions import archived_files, sessions

    with ExitStack() as stack:
        connection = stack.enter_context(reading(stack.enter_context(reading_database(settings))))
        times.use_zone(connection)
        router_id = None if router is None else find_router(connection, router).id
        if username is not None and not archived:
            counters.current_period(connection, username)  # an unknown user is an error, not an empty page
        files = None
        if archived:
            from radmeter.partitions.archived_sessions import opened

            files = stack.enter_context(opened(archived_files(connection), settings.archive_directory))
        rows, more = sessions(
            connection,
            archived=files,
            open_only=open_only,
            username=username,
            router_id=router_id,
            before=before,
            limit=limit,
        )
        if username is not None and archived and not rows:
            # Only now: of somebody who was erased, only a file may know the name.
            counters.current_period(connection, username)
        shown = named_routers(connection, rows, output_format)
    if pseudonyms is not None:
        shown = [pseudonyms.applied(row) for row in shown]
    if is_short(output_format):
        shown = [{**row, "stopped_at": shown_stop(row)} for row in shown]
    # Of open sessions every stop is the same, and names are long.
    short = [name for name in SHORT if name != "stopped_at" or not open_only]
    emit(shown, output_format, columns=COLUMNS, short=short)
    if more:
        output.say(f"There are more: go on with --before {rows[-1]['id']}", err=True)


def shown_stop(row: Row) -> str:
    """Return when a session stopped, without the date if it is that of the start."""
    if row["stopped_at"] is None:
        return "open"
    date, time = times.to_the_minute(row["stopped_at"]).split()
    began = None if row["started_at"] is None else times.to_the_minute(row["started_at"]).split()[0]
    return time if began == date else f"{date} {time}"
