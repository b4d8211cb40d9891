"""`radmeter billing`: closes months, issues documents, credits them, and compares them with their files."""

from radmeter.cli.billing_credits import credit, void
from radmeter.cli.billing_documents import list_documents, show
from radmeter.cli.billing_export import export
from radmeter.cli.billing_issuers import issuers
from radmeter.cli.billing_months import close_month, discard, issue
from radmeter.cli.billing_statement import statement
from radmeter.cli.billing_upkeep import reconcile, show_settings
from radmeter.cli.groups import group


@group(epilog="Example: radmeter billing close 2026-10 && radmeter billing issue 2026-10")
def billing() -> None:
    """Close months, and issue, credit, print and export documents."""


for command in (
    close_month,
    discard,
    issue,
    list_documents,
    show,
    credit,
    void,
    reconcile,
    show_settings,
    export,
    issuers,
    statement,
):
    billing.add_command(command)
