"""`radmeter billing`: closed months, documents, exports."""

from radmeter.cli.billing_issuers import issuers
from radmeter.cli.groups import group


@group(epilog="Example: radmeter billing issuers list")
def billing() -> None:
    """Close months, issue documents, and export what an accountant needs."""


billing.add_command(issuers)
