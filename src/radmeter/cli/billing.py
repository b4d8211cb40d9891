"""`radmeter billing`: close months, issue documents, and export them."""

from radmeter.cli.billing_export import export
from radmeter.cli.groups import group


@group(epilog="Example: radmeter billing export --period 2026-10 --what invoices -o -")
def billing() -> None:
    """Close months, issue documents, and export them."""


billing.add_command(export)
