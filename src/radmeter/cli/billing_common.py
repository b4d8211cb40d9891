"""What the commands of `radmeter billing` share: options, the directory of documents, and exact amounts."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from radmeter.cli.common import TEXT, Figure
from radmeter.cli.months import CALENDAR_MONTH
from radmeter.config import Settings

if TYPE_CHECKING:
    from radmeter.billing.issued_files import IssuedFiles

month_argument = click.argument("month", metavar="MONTH", type=CALENDAR_MONTH)
tenants_option = click.option(
    "--tenant",
    "tenants",
    type=TEXT,
    multiple=True,
    metavar="TENANT",
    help="Only this tenant, by name or number. May be repeated.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
issuer_option = click.option(
    "--issuer", type=TEXT, metavar="ISSUER", help="Whose number it is, if several issuers have given it."
)


def issued_files(settings: Settings) -> "IssuedFiles":
    """Return the directory of issued documents, with its key."""
    from radmeter.billing.issued_files import IssuedFiles

    return IssuedFiles(settings.billing_directory, settings.billing_key_file)


def exact(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose amounts keep all digits of the currency: 12.00 is not 12."""
    return {name: _exact_value(value) for name, value in row.items()}


def listed(row: Mapping[str, Any], output_format: str) -> dict[str, Any]:
    """Return such a row for a list. In a table octets are exact, too: GiB beside a price per GB would mislead."""
    found = exact(row)
    if output_format == "table" and found["usage_bytes"] is not None:
        found["usage_bytes"] = Figure(f"{found['usage_bytes']:,}")
    return found


def _exact_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return Figure(f"{value:f}")
    if isinstance(value, Mapping):
        return exact(value)
    if isinstance(value, list | tuple):
        return [_exact_value(inner) for inner in value]
    return value
