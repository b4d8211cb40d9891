"""`radmeter billing`: close months, issue documents, and make files of them."""

from radmeter.cli.billing_statement import statement
from radmeter.cli.groups import group


@group(
    epilog="""\b
Example:
  radmeter billing statement --period 2026-10 --tenant acme -o acme.pdf"""
)
def billing() -> None:
    """Bill tenants and users: close a month, issue its documents, and write them as files."""


billing.add_command(statement)
