"""`radmeter disconnect`: end sessions at their routers."""

import click

from radmeter import output
from radmeter.cli.common import TEXT, existing_database, with_settings
from radmeter.config import Settings
from radmeter.units import counted


@click.command(
    epilog="""\b
Examples:
  radmeter disconnect alice --reason "lost phone"
  radmeter disconnect --session 80a00001 --reason test
"""
)
@click.argument("user", metavar="[USER]", type=TEXT, required=False)
@click.option(
    "--session",
    "session",
    metavar="ID",
    type=TEXT,
    help="One session: its Acct-Session-Id, or # and its radacctid.",
)
@click.option("--reason", type=TEXT, required=True, help="Why; audit_log keeps it.")
@with_settings("state", "dsn")
def disconnect(settings: Settings, user: str | None, session: str | None, reason: str) -> None:
    """End the open sessions of USER, or one session, at their routers.

    `radmeter jobs run` sends the requests; `radmeter queue list` shows what became of them. The user may log in again
    unless a limit forbids it.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.database.views import reading
    from radmeter.quotas import operations

    if (user is None) == (session is None):
        raise click.UsageError("give USER or --session" + ("" if user is None else ", not both"))
    with existing_database(settings) as dsn:
        radacctid = None
        if session is not None:
            with reading(dsn) as reader:
                radacctid = operations.open_session(reader, session)
        with connect_as_operator(dsn) as connection:
            made = operations.disconnect(connection, username=user, radacctid=radacctid, reason=reason)
            left = operations.unreached(connection, user, radacctid)
    output.say(f"{counted(made, 'request')} queued" if made else "a request is queued already")
    for line in left:
        output.say(f"warning: {line}", err=True)
