"""Opens a closed month again: its drafts go."""

from collections.abc import Sequence

from radmeter.billing.closing import alone
from radmeter.billing.months import Month
from radmeter.billing.settings import ROLE
from radmeter.database.connection import Connection, explained_errors
from radmeter.routers.tenants import ids


def discard(connection: Connection, month: Month, names: Sequence[str] = ()) -> tuple[int, int]:
    """Remove the drafts of a month, and open it again: for tenants by name or number, or for all and the users.

    Return for how many recipients it is open now, and how many drafts were removed.

    Raises
    ------
    StoreError
        A document of the month is issued.
    """
    with explained_errors(ROLE), alone(connection), connection.transaction():
        tenants = ids(connection, names) if names else None
        ((closes, drafts),) = connection.execute(
            "SELECT closes, drafts FROM radmeter.discard_drafts(%s, %s::bigint[])", (month.first, tenants)
        ).fetchall()
    return closes, drafts
