"""The state `swapped`: the partitions ahead are made, and the adoption is marked as done."""

import time

from radmeter.adoption import state
from radmeter.adoption.operation import Operation
from radmeter.adoption.state import Adoption
from radmeter.database.connection import Connection
from radmeter.partitions.months import MONTHS_AHEAD
from radmeter.schema.migration_log import note


def finish(operation: Operation, adoption: Adoption) -> None:
    """Make this month's partition and those ahead, and mark the adoption as done."""
    began = time.monotonic()
    for month in range(MONTHS_AHEAD + 1):

        def make(connection: Connection, month: int = month) -> None:
            connection.execute("SELECT radmeter.ensure_partition(now() + %s * interval '1 month')", (month,))

        operation.retried("making a partition", make)
    operation.connection.execute("ANALYZE public.radacct_open")

    def work(connection: Connection) -> None:
        connection.execute(
            "SELECT radmeter.audit('adopt', jsonb_build_object('table', 'radacct', 'last_id', last_id)) "
            "FROM radmeter.adoption WHERE undone_at IS NULL"
        )
        note(connection, "adoption", "done", time.monotonic() - began)
        state.go_on(connection, "done")

    operation.retried("finishing", work)
