"""`radmeter queue`: the requests to routers."""

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    confirm,
    emit,
    existing_database,
    list_options,
    reading_database,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.config import Settings
from radmeter.units import counted

COLUMNS = (
    "id",
    "username",
    "session",
    "radacctid",
    "router",
    "act",
    "reason",
    "state",
    "attempts",
    "error_cause",
    "error",
    "requested_by",
    "created_at",
    "next_try_at",
    "sent_at",
    "answered_at",
    "ended_at",
)
SHORT = ("id", "username", "session", "act", "state", "attempts", "error_cause")
STATES = ("waiting", "sent", "acknowledged", "done", "failed", "dropped")
# Rows of a table for people, and rows at all.
SHOWN = 50
MOST = 1_000_000
LARGEST_ID = 2**63 - 1
ID = click.IntRange(1, LARGEST_ID)


@group(epilog="Example: radmeter queue list --status failed")
def queue() -> None:
    """Show the requests to routers, send them again, or give them up.

    Who comes to a limit gets a request for each open session: coa changes it, disconnect ends it. `radmeter jobs run`
    sends them. One that is acknowledged is done when the Stop is here.
    """


@queue.command("list", epilog="Example: radmeter queue list --user alice --format json")
@click.option("--user", "username", type=TEXT, help="Only requests for sessions of this user.")
@click.option("--status", type=click.Choice(STATES), help="Only requests in this state.")
@click.option(
    "--limit", type=click.IntRange(1, MOST), help=f"How many.  [default: {SHOWN} in a table, else {MOST:,}]"
)
@click.option("--before", type=ID, metavar="ID", help="Go on before this id.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(
    settings: Settings,
    username: str | None,
    status: str | None,
    limit: int | None,
    before: int | None,
    output_format: str,
) -> None:
    """List requests, the latest first."""
    limit = limit or (SHOWN if output_format == "table" else MOST)
    from radmeter.database.views import reading
    from radmeter.quotas.operations import Which, queue_page

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows, more = queue_page(connection, Which(username, status), before=before, limit=limit)
    emit(rows, output_format, columns=COLUMNS, short=SHORT)
    if more:
        output.say(f"There are more: go on with --before {rows[-1]['id']}", err=True)


@queue.command("retry", epilog="Example: radmeter queue retry 17 18")
@click.argument("ids", metavar="[ID]...", type=ID, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that have not ended, and all that failed.")
@with_settings("state", "dsn")
def retry(settings: Settings, ids: tuple[int, ...], everything: bool) -> None:
    """Send requests again, now. Routers that were silent are tried at once.

    A request whose session has ended, or that is done, stays as it is.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import operations

    if bool(ids) == everything:
        raise click.UsageError("name requests by their ids, or give --all")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        if ids:
            operations.check_ids(connection, ids)
        wanted = list(ids) if ids else operations.open_ids(connection, failed=True)
        again = operations.retry(connection, wanted) if wanted else 0
    output.say(f"{counted(again, 'request')} to send again")


@queue.command("drop", epilog="Example: radmeter queue drop 17")
@click.argument("ids", metavar="[ID]...", type=ID, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that have not ended.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def drop(settings: Settings, ids: tuple[int, ...], everything: bool, yes: bool) -> None:
    """Give requests up: they are not sent. It asks first. audit_log keeps which they were.

    A user who is over a limit gets a new request with the next packet: `users top-up` or `plans set` changes that.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.quotas import operations

    if bool(ids) == everything:
        raise click.UsageError("name requests by their ids, or give --all")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        if ids:
            operations.check_ids(connection, ids)
        wanted = list(ids) if ids else operations.open_ids(connection, failed=False)
        if wanted:
            confirm(f"Give up {counted(len(wanted), 'request')}? The sessions go on.", yes)
        dropped = operations.drop(connection, wanted) if wanted else 0
    output.say(f"{counted(dropped, 'request')} given up")
