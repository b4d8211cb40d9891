"""`radmeter up`: run everything on one machine."""

import sys

import click

from radmeter import output
from radmeter.cli.common import with_settings
from radmeter.config import Settings
from radmeter.trial import up as everything
from radmeter.trial.run import Traffic

COLUMNS_WITHOUT_TERMINAL = 160


@click.command(
    epilog="""\b
Examples:
  radmeter up
  radmeter up --seconds 20
  radmeter up --bare --port 1813
  ./scripts/run --clean        # in a checkout: removes what it left

\b
Exit codes:
  0    ended by Ctrl-C or SIGTERM; with --seconds: bytes sent and counted are
       equal
  1    something could not be started, or stopped working; the message says
       what
  2    wrong options or settings
  3    with --seconds: bytes sent and bytes counted differ
  130  interrupted before it was up, or before the comparison that --seconds
       asks for
"""
)
@with_settings("state", "dsn", "journal", "sync", "timezone", "secret", trial=True)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="UDP port for accounting.  [env: RADIUS_ACCT_PORT; default: 1813, or any free port if that is in use]",
)
@click.option(
    "--bare",
    is_flag=True,
    help="Send no traffic. Wait for the packets of others. Without a terminal: say nothing while all is well.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many seconds. Then compare bytes sent with bytes counted, for each user and router.",
)
@click.option(
    "--routers", default=5, show_default=True, type=click.IntRange(1, 65_536), help="How many routers send."
)
@click.option(
    "--users", default=24, show_default=True, type=click.IntRange(1, 65_536), help="How many users they have."
)
@click.option(
    "--rate", default=100.0, show_default=True, type=click.FloatRange(min=0.1), help="Packets a second."
)
@click.option(
    "--interim-seconds",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0.01),
    help="Time between two Interim-Updates of a user.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same traffic.")
def up(
    settings: Settings,
    port: int | None,
    bare: bool,
    seconds: float | None,
    routers: int,
    users: int,
    rate: float,
    interim_seconds: float,
    seed: int,
) -> None:
    """Run everything on this machine: PostgreSQL, FreeRADIUS, shipper, jobs, server, and simulated traffic.

    The server (`radmeter serve`) has the page of the NOC. Its address is shown; log in with the key RADMETER_HTTP_KEY,
    which is in the file radmeter.env of the state directory.

    PostgreSQL is embedded unless RADMETER_DSN or libpq's PG* variables name one. FreeRADIUS listens on loopback.
    Nothing is installed. Ctrl-C stops everything. The file of an installation, /etc/radmeter/radmeter.toml, is read
    only if --config names it: this is a try-out beside it.

    At the end it says what stays on the machine. In a checkout, `./scripts/run --clean` removes that.
    """
    if port is not None:
        settings = settings.override("--port", acct_port=port)
    traffic = Traffic(routers=routers, users=users, rate=rate, interim_seconds=interim_seconds, seed=seed)
    console = output.console(width=COLUMNS_WITHOUT_TERMINAL)
    sys.exit(everything.run(settings, None if bare else traffic, seconds, console))
