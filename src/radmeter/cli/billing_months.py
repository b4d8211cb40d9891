"""`radmeter billing close|discard|issue`: a month, from counters to issued documents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from radmeter import output
from radmeter.cli.billing_common import issued_files, listed, month_argument, tenants_option, yes_option
from radmeter.cli.common import confirm, emit, existing_database, format_option, with_settings
from radmeter.config import Settings
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.billing.closing import Result
    from radmeter.billing.months import Month
    from radmeter.billing.overlooked import Lacking

CLOSED_COLUMNS = ("tenant", "username", "currency", "usage_bytes", "net", "tax", "gross", "lines")


@click.command(
    "close",
    epilog="""\b
Examples:
  radmeter billing close 2026-10 --dry-run
  radmeter billing close 2026-10 --yes
""",
)
@month_argument
@tenants_option
@click.option("--dry-run", is_flag=True, help="Do everything, show it, and take it back.")
@yes_option
@format_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def close_month(
    settings: Settings,
    month: "Month",
    tenants: Sequence[str],
    dry_run: bool,
    yes: bool,
    output_format: str,
) -> None:
    """Close the month of all tenants and users, and write what they owe as drafts.

    What counts is frozen then. What comes later for the month is a line of its own in the next document. A month can be
    closed when it has ended in the time zone of each tenant and of each of the tenant's routers, and has settled
    (`radmeter billing settings`). What is closed already is left as it is. But for a tenant that is named, a month is
    closed anew once its document is void, so that a wrong rate is corrected at once. The database role needs
    radmeter_billing.
    """
    from radmeter.billing import wording
    from radmeter.billing.closing import close, sums
    from radmeter.billing.issuing import refuse_unreconciled
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        refuse_unreconciled(connection, issued_files(settings), both=False)
        if not dry_run and not yes:
            planned = close(connection, month, tenants, dry_run=True)
            _warn(month, planned)
            worth = wording.sums(sums(planned.drafts))
            confirm(f"Close {month}: {counted(len(planned.drafts), 'draft')} of {worth}. Go on?", yes)
        result = close(connection, month, tenants, dry_run=dry_run)
        if dry_run or yes:
            _warn(month, result)
    rows = [listed(draft._asdict(), output_format) for draft in result.drafts]
    if output_format == "table":
        for note in result.notes:
            output.say(f"note: {note}", err=True)
        if result.before:
            output.say(
                f"note: {month} was closed before for {counted(len(result.before), 'tenant')}: "
                f"{', '.join(result.before[:5])}{', ..' if len(result.before) > 5 else ''}",
                err=True,
            )
        if result.users_before:
            output.say(f"note: {month} was closed before for users", err=True)
    emit(rows, output_format, columns=CLOSED_COLUMNS)
    if output_format == "table":
        did = "would be closed" if dry_run else "is closed"
        output.say(f"{month} {did}: {counted(len(rows), 'draft')} of {wording.sums(sums(result.drafts))}")
        if rows and not dry_run:
            output.say(
                f"Look at them: radmeter billing list --period {month}. Then: radmeter billing issue {month}"
            )


def _warn(month: "Month", result: "Result") -> None:
    if result.earlier is not None:
        output.say(
            f"warning: {result.earlier} has usage to bill and is open, and {month} does not bill it: run `radmeter "
            f"billing close {result.earlier}`, too",
            err=True,
        )
    _warn_of_lacking(result.lacking)


def _warn_of_lacking(lacking: "Sequence[Lacking]") -> None:
    for what, remedy in lacking:
        output.say(f"warning: {what}: {remedy}", err=True)


@click.command("discard", epilog="Example: radmeter billing discard 2026-10 --tenant acme")
@month_argument
@tenants_option
@yes_option
@with_settings("state", "dsn")
def discard(settings: Settings, month: "Month", tenants: Sequence[str], yes: bool) -> None:
    """Remove the drafts of a month and open it again, so that it can be closed anew. Issued documents stay."""
    from radmeter.billing import documents, wording
    from radmeter.billing.discarding import discard as remove
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        found = documents.documents(connection, month=month, tenants=tenants, status="draft")
        worth = wording.sums(documents.sums(found))
        confirm(f"Discard {counted(len(found), 'draft')} of {worth}, and open {month} again?", yes)
        closes, drafts = remove(connection, month, tenants)
    if not closes:
        output.say(f"{month} is not closed: nothing to do")
    else:
        # A recipient without a draft was closed, too, and nobody knows of it.
        output.say(f"{month} is open again; {counted(drafts, 'draft')} removed")


@click.command("issue", epilog="Example: radmeter billing issue 2026-10")
@month_argument
@tenants_option
@yes_option
@with_settings("state", "dsn", "billing_directory", "billing_key_file")
def issue(settings: Settings, month: "Month", tenants: Sequence[str], yes: bool) -> None:
    """Issue the drafts of a month: each gets its number, and never changes from then on.

    Each document is also written as signed JSON into the directory of the setting billing_directory, outside of the
    database. Back that up, too, with the key. The database role needs radmeter_billing.
    """
    from radmeter.billing import documents, issuing, overlooked, wording
    from radmeter.database.operator import operating

    with existing_database(settings) as dsn, operating(dsn, "radmeter_billing") as connection:
        found = documents.documents(connection, month=month, tenants=tenants, status="draft")
        if not found:
            output.say(f"{month} has no drafts: nothing to do")
            return
        _warn_of_lacking(overlooked.lacking(connection, month))
        worth = wording.sums(documents.sums(found))
        confirm(f"Issue {counted(len(found), 'document')} of {worth}? They never change then.", yes)
        issued = issuing.issue(connection, issued_files(settings), [row["id"] for row in found])
    first, last = issued[0]["number"], issued[-1]["number"]
    numbers = first if len(issued) == 1 else f"{first} to {last}"
    output.say(
        f"issued {counted(len(issued), 'document')} of {wording.sums(documents.sums(found))}: {numbers}"
    )
