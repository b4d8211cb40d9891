"""`radmeter jobs`: the periodic work."""

import signal
import threading

import click

from radmeter import jobs as periodic
from radmeter.cli.common import emit, format_option, with_settings
from radmeter.config import Settings
from radmeter.embedded import open_database
from radmeter.store import connect


@click.group()
def jobs() -> None:
    """Close stale sessions, make partitions ahead."""


@jobs.command("run", epilog="Example: radmeter jobs run --interval 300")
@with_settings("state", "dsn")
@click.option("--interval", default=300.0, show_default=True, help="Seconds between two runs.")
def run(settings: Settings, interval: float) -> None:
    """Run the jobs until SIGTERM. Any number may run: one works, the others stand by."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_database(settings) as database:
        periodic.run(database.dsn, stop, interval_seconds=interval)


@jobs.command("close-stale", epilog="Example: radmeter jobs close-stale --dry-run")
@with_settings("state", "dsn")
@click.option("--dry-run", is_flag=True, help="List the stale sessions and close none.")
@format_option
def close_stale(settings: Settings, dry_run: bool, output_format: str) -> None:
    """Close sessions that were not heard of for too long: stop = last update, cause Admin-Reset."""
    with open_database(settings) as database, connect(database.dsn) as connection:
        if dry_run:
            rows = connection.execute("SELECT * FROM radmeter.stale_sessions()").fetchall()
            columns = ["radacctid", "acctuniqueid", "username", "router_id", "last_update"]
            emit([dict(zip(columns, row, strict=True)) for row in rows], output_format, columns=columns)
            return
        closed = periodic.close_stale(connection)
    click.echo(f"{closed} stale sessions closed")
