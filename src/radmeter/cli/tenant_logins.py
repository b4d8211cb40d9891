"""`radmeter tenants login|logins`: which database roles see the rows of one tenant only."""

import click

from radmeter import output
from radmeter.cli.common import (
    TEXT,
    emit,
    existing_database,
    list_options,
    reading_database,
    with_settings,
)
from radmeter.config import Settings

COLUMNS = ("role", "tenant", "sees", "changed_at")


@click.command(
    "login",
    epilog="""\b
Example, as a superuser in psql, then with radmeter:
  CREATE ROLE acme_web LOGIN PASSWORD '...';
  GRANT radmeter_tenant TO acme_web;
  radmeter tenants login acme_web --tenant acme
""",
)
@click.argument("role", type=TEXT)
@click.option(
    "--tenant", type=TEXT, metavar="TENANT", help="Whose rows the role sees: a tenant, by name or number."
)
@click.option("--remove", is_flag=True, help="It sees no rows of a tenant any more. The role stays.")
@with_settings("state", "dsn")
def login(settings: Settings, role: str, tenant: str | None, remove: bool) -> None:
    """Bind the database role ROLE to a tenant: it sees the rows of that tenant only.

    The role itself is made in PostgreSQL. It reads nothing before radmeter_tenant is granted to it, and it may be in no
    other group of radmeter's.
    """
    from radmeter.billing import logins
    from radmeter.database.operator import connect_as_operator

    if (tenant is None) is not remove:
        raise click.UsageError("give --tenant or --remove")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        if tenant is None:
            was = logins.unbind(connection, role)
            output.say(f"{role}: {'sees no rows of a tenant any more' if was else 'was bound to no tenant'}")
            return
        to_grant = logins.bind(connection, role, tenant)
    output.say(f"{role}: sees the rows of {tenant}")
    if to_grant:
        output.say(f"It reads nothing yet. As a superuser: {to_grant}", err=True)


@click.command("logins", epilog="Example: radmeter tenants logins --format json")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_logins(settings: Settings, output_format: str) -> None:
    """List the database roles that are bound to a tenant, and what each sees."""
    from radmeter.billing import logins
    from radmeter.database.connection import connect

    with reading_database(settings) as dsn, connect(dsn, any_pooler=True) as connection:
        rows = logins.bound(connection)
    emit(rows, output_format, columns=COLUMNS, short=COLUMNS[:-1])
