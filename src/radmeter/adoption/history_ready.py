"""Whether the history of radacct can be counted: not before it is partitioned, nor while it is being given back."""

from radmeter.adoption import state, states
from radmeter.database.connection import Connection, explained_errors
from radmeter.errors import StoreError


def refuse_unready(connection: Connection) -> None:
    """Refuse to count the history, or to say how far that is, while radacct is not radmeter's.

    Before the swap radmeter's functions read an empty table: a backfill would mark sessions that it has not seen.

    Raises
    ------
    StoreError
        radacct is FreeRADIUS's own table, or its adoption, or the undoing of it, is not finished.
    """
    with explained_errors("radmeter_owner"):
        adoption = state.in_force(connection)
        kind = connection.execute(
            "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('public.radacct')"
        ).fetchone()
    if adoption is not None and adoption.state != "done":
        raise StoreError(
            f"the history cannot be counted yet ({states.MEANS[adoption.state]}): "
            f"first: `radmeter {states.goes_on_with(adoption.state, adoption.swap_postponed_at is not None)}`"
        )
    if adoption is None and kind == (True,):
        raise StoreError(
            "radacct is FreeRADIUS's own table, so radmeter counts no history of it: "
            "first: `radmeter adopt --from radacct`"
        )
