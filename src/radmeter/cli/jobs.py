"""`radmeter jobs`: the periodic work."""

import logging

import click
from rich.progress import Progress

from radmeter import output, waits
from radmeter.alerts.worker import AlertWorker
from radmeter.cli import times
from radmeter.cli.common import ServiceCommand, emit, format_option, utc_option, with_settings
from radmeter.cli.groups import group
from radmeter.config import Settings
from radmeter.database.connection import connect
from radmeter.embedded.server import open_database
from radmeter.errors import ConfigurationError
from radmeter.interruption import set_by_signals
from radmeter.jobs import retention, runner, stale_sessions
from radmeter.jobs.archiving import ArchivingByAge
from radmeter.plugin.config_file import described
from radmeter.quotas.secrets import Keyring
from radmeter.quotas.worker import QuotaWorker
from radmeter.units import counted, verb
from radmeter.webhooks.sender import Sender

log = logging.getLogger(__name__)


@group(epilog="Example: radmeter jobs run")
def jobs() -> None:
    """Close stale sessions, make partitions ahead, archive, remove or clear what is too old."""


@jobs.command(
    "run", cls=ServiceCommand, epilog="Example: radmeter jobs run --jobs-seconds 60 --stale-minutes 30"
)
@with_settings(
    "state",
    "dsn",
    "stale_minutes",
    "jobs_seconds",
    "archive_after_months",
    "archive_directory",
    "coa_key_file",
    "webhook_networks",
    "log_format",
    "alerts_file",
)
def run(settings: Settings) -> None:
    """Run the jobs until SIGTERM or Ctrl-C. Several may be started: one works, the others stand by.

    The first stale sessions are closed after one interval, not at once. After an outage of the database the journals
    hold the packets that came meanwhile, and the shippers need that time to catch up.

    With --archive-after-months, months of sessions are archived once they ended so long ago, as by
    `radmeter partitions archive`. `radmeter status` says when that succeeded last.

    The one that works also sends Disconnect- and CoA-Requests to routers (`radmeter queue list`).
    It tells the endpoints of `radmeter webhooks` what happens to users' quotas, and what is wrong (`radmeter alerts`).
    """
    if settings.archive_after_months and settings.archive_directory is None:
        raise ConfigurationError(
            f"{settings.source('archive_after_months')}: to which directory? Set RADMETER_ARCHIVE_DIRECTORY"
        )
    stop = set_by_signals()
    log.info("%s", described(settings.file))
    with open_database(settings) as database:
        waits.use(None)  # the log says what it waits for
        runner.run(
            database.dsn,
            stop,
            interval_seconds=settings.jobs_seconds,
            stale_minutes=_least(settings),
            archiving=ArchivingByAge(
                database.dsn, settings.archive_after_months, settings.archive_directory, config=settings.file
            ),
            quotas=lambda: QuotaWorker(database.dsn, settings.coa_key_file),
            webhooks=Sender(database.dsn, lambda: Keyring(settings.coa_key_file), settings.webhook_networks),
            alerts=lambda lease_on: AlertWorker(database.dsn, settings.alerts_file, lease_on),
        )


@jobs.command("close-stale", epilog="Example: radmeter jobs close-stale --dry-run --stale-minutes 30")
@with_settings("state", "dsn", "stale_minutes")
@click.option("--dry-run", is_flag=True, help="List the stale sessions and close none.")
@utc_option
@format_option
def close_stale(settings: Settings, dry_run: bool, output_format: str) -> None:
    """Close sessions that were silent for too long: stop = last update, cause Admin-Reset.

    Too long is three missed interims, and at least the setting stale_minutes. The interim interval is the one that the
    router announced, else the one that was observed. While a shipper works through a backlog, sessions are judged as of
    the arrival that it has reached: their later interims may be in its journal. The command names that node.
    """
    with open_database(settings) as database, connect(database.dsn) as connection:
        if lagging := stale_sessions.held_back(connection):
            output.say(lagging, err=True)
        if dry_run:
            times.use_zone(connection, if_permitted=True)
            stale = stale_sessions.stale_sessions(connection, _least(settings))
            rows = [session._asdict() for session in stale]
            emit(rows, output_format, columns=stale_sessions.StaleSession._fields)
            return
        console = output.console(stderr=True)
        with (
            waits.covered(),
            Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("closing", total=None)
            closed = stale_sessions.close_stale(
                connection,
                _least(settings),
                lambda done, total: progress.update(task, completed=done, total=total),
            )
    output.say(f"{counted(closed, 'stale session')} closed")


@jobs.command("expire", epilog="Example: radmeter jobs expire --dry-run")
@with_settings("state", "dsn")
@click.option("--dry-run", is_flag=True, help="Show what would be removed and remove nothing.")
@format_option
def expire(settings: Settings, dry_run: bool, output_format: str) -> None:
    """Remove rejected packets and anomalies beyond the limits on their age and size, in small batches.

    When a month was dropped, it also removes what other tables had of its sessions; --dry-run does not count that.
    `radmeter limits` shows and sets the limits. `radmeter jobs run` does the same after each interval.
    """
    with open_database(settings) as database, connect(database.dsn) as connection:
        found = retention.would_expire(connection) if dry_run else retention.expire(connection)
    emit([each._asdict() for each in found], output_format, columns=retention.Expired._fields)


@jobs.command(
    "clear-personal",
    epilog="""\b
Examples:
  radmeter limits set personal_keep_days 90
  radmeter jobs clear-personal
""",
)
@with_settings("state", "dsn")
def clear_personal(settings: Settings) -> None:
    """Clear personal attributes of sessions that stopped more than `personal_keep_days` days ago.

    They are calling station id, framed addresses, connect info and class. The user name stays, and no counter changes.
    `radmeter jobs run` does this once a day. Without the limit nothing is cleared.
    """
    from radmeter.people.clearing import clear_old, keep_days

    with open_database(settings) as database, connect(database.dsn) as connection:
        days = keep_days(connection)
        cleared = clear_old(connection)
    if days is None:
        output.say("nothing to do: the limit personal_keep_days is off")
    else:
        output.say(
            f"{counted(cleared, 'session')} that stopped more than {counted(days, 'day')} ago "
            f"{verb(cleared, 'was', 'were')} cleared"
        )


def _least(settings: Settings) -> int | None:
    """Return the setting if it was given here, else the installation's setting in the database."""
    return settings.stale_minutes if settings.source("stale_minutes") != "default" else None
