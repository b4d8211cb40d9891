"""`radmeter billing issuers`: who issues documents, and what their numbers look like."""

from typing import Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import TEXT, emit, existing_database, list_options, reading_database, with_settings
from radmeter.cli.groups import group
from radmeter.config import Settings

COLUMNS = (
    "id",
    "name",
    "legal_name",
    "address",
    "tax_id",
    "number_format",
    "credit_format",
    "yearly",
    "tenants",
    "created_at",
)
SHORT = ("name", "legal_name", "number_format", "credit_format", "yearly", "tenants")

_GIVEN = (
    click.option("--legal-name", type=TEXT, help="The name on documents."),
    click.option("--address", type=TEXT, help="The address on documents, with ends of lines."),
    click.option("--tax-id", type=TEXT, help="The issuer's number for value added tax."),
    click.option(
        "--number-format",
        type=TEXT,
        metavar="FORMAT",
        help="Numbers of invoices: {number} or {number:06} is the next one, {year} that of the issue.",
    ),
    click.option("--credit-format", type=TEXT, metavar="FORMAT", help="Numbers of credit notes."),
    click.option(
        "--yearly/--running", "yearly", default=None, help="Numbers begin with 1 again each year, or run on."
    ),
)


def issuer_options(command: Any) -> Any:
    """Add the options for an issuer's address and numbers."""
    for option in reversed(_GIVEN):
        command = option(command)
    return command


@group(epilog="Example: radmeter billing issuers set default --legal-name 'Example Ltd'")
def issuers() -> None:
    """Say who issues documents. Each issuer has numbers of its own, without gaps.

    There is one, `default`. Tenants have it unless `radmeter tenants set --issuer` names another.
    """


@issuers.command("list", epilog="Example: radmeter billing issuers list")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(settings: Settings, output_format: str) -> None:
    """List issuers by name, and how many tenants each has."""
    from radmeter.billing.issuers import list_issuers
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        rows = list_issuers(connection)
    emit(rows, output_format, columns=COLUMNS, short=SHORT)


@issuers.command("add", epilog="Example: radmeter billing issuers add south --number-format 'S-{number:05}'")
@click.argument("name", type=TEXT)
@issuer_options
@with_settings("state", "dsn")
def add(settings: Settings, name: str, **given: Any) -> None:
    """Add the issuer NAME. No two issuers have the same format of numbers."""
    from radmeter.billing import issuers as write
    from radmeter.database.operator import connect_as_operator

    values = {column: value for column, value in given.items() if value is not None}
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        issuer_id = write.add(connection, name, values)
    output.say(f"added issuer #{issuer_id} {name!r}")


@issuers.command("set", epilog="Example: radmeter billing issuers set default --legal-name 'Example Ltd'")
@click.argument("issuer", metavar="NAME", type=TEXT)
@click.option("--name", type=TEXT, metavar="NEW", help="Its new name.")
@issuer_options
@with_settings("state", "dsn")
def set_(settings: Settings, issuer: str, **given: Any) -> None:
    """Change the issuer NAME. What is not given stays; an empty value removes it. Issued documents stay as they are.

    --yearly and --running only hold before the first number: later, numbers would come again.
    """
    from radmeter.billing import issuers as write
    from radmeter.database.operator import connect_as_operator

    changes = {column: value or (False if value is False else None) for column, value in given.items()
               if value is not None}  # fmt: skip
    if not changes:
        raise click.UsageError("give at least one value to change, such as --legal-name 'Example Ltd'")
    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        changed = write.change(connection, issuer, changes)
    output.say(f"issuer {changes.get('name', issuer)!r} is {'changed' if changed else 'as before'}")
