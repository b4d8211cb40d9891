"""`radmeter billing reconcile|settings`: compares documents with their files, and what all documents go by."""

import click

from radmeter import output
from radmeter.cli.billing_common import issued_files, yes_option
from radmeter.cli.common import (
    TEXT,
    confirm,
    emit,
    existing_database,
    list_options,
    reading_database,
    with_settings,
)
from radmeter.config import Settings
from radmeter.errors import RadmeterError
from radmeter.units import counted

SETTING_COLUMNS = ("name", "value", "default", "meaning")


class Disagree(RadmeterError):
    """Files and the database do not agree. The lines say about which documents."""


@click.command("reconcile", epilog="Example: radmeter billing reconcile --dry-run")
@click.option("--dry-run", is_flag=True, help="Only compare.")
@yes_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def reconcile(settings: Settings, dry_run: bool, yes: bool) -> None:
    """Compare the issued documents in the directory with the database, and bring each what it lacks.

    Run it after the database was restored from a dump: documents that were issued since then are taken back from their
    signed files, so that no number is given twice. Files that are missing are written again.

    To take documents back, the database role needs radmeter_owner.
    """
    from radmeter.billing import origin, reconciling
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        result = reconciling.reconcile(connection, issued_files(settings), dry_run=True)
        moved = origin.has_moved(origin.origin(connection), settings.billing_directory)
        if not dry_run and (result.restored or result.written or moved):
            if moved:
                output.say(
                    f"note: {settings.billing_directory} was last used by a database of the same identity in another "
                    "place. Go on only if this one replaces it, and that one is not used any more.",
                    err=True,
                )
            confirm(
                f"Restore {counted(len(result.restored), 'document')} from files into the database, and write "
                f"{counted(len(result.written), 'missing file')}?",
                yes,
            )
            result = reconciling.reconcile(connection, issued_files(settings))
    would = "would be " if dry_run else ""
    output.say(
        f"{counted(result.same, 'document')} are the same in {settings.billing_directory} and in the database"
    )
    for numbers, what in ((result.restored, "restored"), (result.written, "written as a file")):
        for number in numbers:
            output.say(f"{number} {would}{what}")
    if result.faults:
        raise Disagree(f"{counted(len(result.faults), 'document')} could not be reconciled:", *result.faults)


@click.command("settings", epilog="Example: radmeter billing settings --rounding half-even")
@click.option("--currency", type=TEXT, metavar="CODE", help="Of users who belong to no tenant (ISO 4217).")
@click.option(
    "--rounding", type=click.Choice(["half-up", "half-even"]), help="How a line is rounded to the currency."
)
@click.option(
    "--settling-hours", type=TEXT, metavar="HOURS", help="From the end of a month until it can be closed."
)
@click.option(
    "--tax", type=click.Choice(["sum", "line"]), help="Where tax is rounded: for each rate, or each line."
)
@click.option("--users-tax-rate", type=TEXT, metavar="PERCENT", help="Tax on what users pay.")
@click.option("--users-tax-rule", type=TEXT, metavar="TEXT", help="Why it is this rate, for their documents.")
@click.option("--zero", type=click.Choice(["skip", "draft"]), help="What becomes of documents about nothing.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def show_settings(settings: Settings, output_format: str, **given: str | None) -> None:
    """Show the settings of billing, or set those that are given. Documents that are there stay as they are."""
    from radmeter.billing import settings as billing_settings
    from radmeter.billing.currencies import currency
    from radmeter.database.operator import operating
    from radmeter.database.views import reading

    changes = {name: value for name, value in given.items() if value is not None}
    if "currency" in changes:
        changes["currency"] = currency(changes["currency"]).code
    if changes:
        with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as writing:
            for name, value in changes.items():
                changed = billing_settings.set_setting(writing, name, value)
                output.say(f"{name}: {value}" + ("" if changed else ", as before"))
        return
    with reading_database(settings) as dsn, reading(dsn) as connection:
        rows = billing_settings.settings(connection)
    emit(rows, output_format, columns=SETTING_COLUMNS)
