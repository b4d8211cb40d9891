"""`radmeter keys`: who may use the HTTP API, and for what."""

from datetime import datetime, timedelta

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
    "name",
    "role",
    "tenant",
    "state",
    "rate",
    "last_used_at",
    "expires_at",
    "created_at",
    "created_by",
    "rotated_at",
    "revoked_at",
)
SHORT = ("name", "role", "tenant", "state", "rate", "last_used_at", "expires_at")
SPANS = {"m": "minutes", "h": "hours", "d": "days"}


class Span(click.ParamType[timedelta]):
    """A length of time, such as 30m, 24h or 90d."""

    name = "span"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return it, or end with a usage error."""
        if isinstance(value, timedelta):
            return value
        text = str(value)
        number, unit = text[:-1], text[-1:]
        if unit not in SPANS or not (number.isascii() and number.isdigit() and len(number) <= 5):
            self.fail(f"{text!r} is not a length of time, such as 30m, 24h or 90d", param, ctx)
        return timedelta(**{SPANS[unit]: int(number)})


@group(epilog="Example: radmeter keys add grafana --role reader")
def keys() -> None:
    """Add, list, rotate and revoke keys of the HTTP API.

    A key is shown once, when it is made. The database keeps the SHA-256 of its secret. audit_log keeps the changes.
    """


@keys.command(
    "add",
    epilog="""\b
Examples:
  radmeter keys add grafana --role reader
  radmeter keys add portal --role tenant:acme --rate 60/min --expires 365d
""",
)
@click.argument("name", type=TEXT)
@click.option(
    "--role",
    type=TEXT,
    required=True,
    metavar="ROLE",
    help="reader: reads; noc: also disconnects, tops up, claims and acknowledges; billing: usage, plans, tenants and "
    "documents; tenant:NAME: reads the rows of one tenant.",
)
@click.option(
    "--rate",
    type=TEXT,
    default="300/min",
    show_default=True,
    metavar="N/UNIT",
    help="Most requests: s, min, h or d.",
)
@click.option(
    "--expires", type=Span(), metavar="SPAN", help="After this time, such as 90d.  [default: never]"
)
@with_settings("state", "dsn")
def add(settings: Settings, name: str, role: str, rate: str, expires: timedelta | None) -> None:
    """Add the key NAME, and print it. Nobody can show it again.

    Members of radmeter_noc add keys with the role reader. Others need a member of radmeter_owner.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.keys import store

    role_name, tenant = store.role(role)
    limit = store.rate(rate)
    ends = None if expires is None else datetime.now().astimezone() + expires
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        key = store.add(connection, name, role_name, tenant, limit, ends)
    _show(name, key.text)


@keys.command("list", epilog="Example: radmeter keys list --all --format json")
@click.option("--all", "all_keys", is_flag=True, help="Also those that were revoked or have expired.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(settings: Settings, all_keys: bool, output_format: str) -> None:
    """List the keys by name: what each may do, and when it was last used, to a minute."""
    from radmeter.database.views import reading
    from radmeter.keys import store

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = store.list_keys(connection, all_keys=all_keys)
    emit(rows, output_format, columns=COLUMNS, short=SHORT)


@keys.command("rotate", epilog="Example: radmeter keys rotate portal --overlap 48h")
@click.argument("name", type=TEXT)
@click.option(
    "--overlap",
    type=Span(),
    default="24h",
    show_default=True,
    metavar="SPAN",
    help="So long the old key holds yet. 0h: it ends at once.",
)
@with_settings("state", "dsn")
def rotate(settings: Settings, name: str, overlap: timedelta) -> None:
    """Put a new key in the place of NAME, and print it. Until the overlap is over, both hold."""
    from radmeter.database.operator import connect_as_operator
    from radmeter.keys import store

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        times.use_zone(connection)
        key, until = store.rotate(connection, name, overlap)
    _show(name, key.text)
    output.say(f"the old key holds until {times.shown(until)}", err=True)


@keys.command("revoke", epilog="Example: radmeter keys revoke portal --yes")
@click.argument("name", type=TEXT)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn")
def revoke(settings: Settings, name: str, yes: bool) -> None:
    """End the keys of NAME for good. Who uses one is refused within a second.

    Members of radmeter_noc end keys with the role reader. Others need a member of radmeter_owner.
    """
    from radmeter.database.operator import connect_as_operator
    from radmeter.keys import store

    confirm(f"End the keys {name!r}? Who uses them is refused from now on.", yes)
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        ended = store.revoke(connection, name)
    output.say(f"{counted(ended, 'key')} {name!r} revoked")


def _show(name: str, text: str) -> None:
    """Print a key on standard output, alone, so that a script can keep it."""
    output.say(f"the key {name!r}. It is shown this once:", err=True)
    output.say(text)
