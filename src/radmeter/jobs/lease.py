"""The lease of the jobs: a row of the database that says which process runs them, and until when.

An advisory lock belongs to a session of the server. Behind a pooler that is not the session of the process: two would
run at once, and after that none. A lease belongs to the process, by a random id. Each transaction of the jobs begins
with a check that the process still has it, and keeps the row locked to its end.
"""

import os
import socket
import uuid

from radmeter.database.connection import explained_errors
from radmeter.database.transactions import TransactionsConnection

JOBS = "jobs"
# A thread of the same process has its own, since each transaction of a lease keeps its row locked.
QUOTAS = "quotas"
ALERTS = "alerts"
# After so long without a sign of its holder another process takes the lease.
LEASE_SECONDS = 30
RENEW_SECONDS = 10.0


class Lease:
    """A lease on one connection, which is used for nothing else.

    `holder` is the id of the process. After a lost connection it takes its own lease again at once.
    """

    def __init__(self, connection: TransactionsConnection, holder: uuid.UUID, name: str = JOBS) -> None:
        self._connection = connection
        self._name = name
        self._holder = holder

    def take(self) -> bool:
        """Take the lease unless another process has it. Then each transaction of the connection checks it."""
        with explained_errors("radmeter_owner"):
            row = self._connection.execute(
                "SELECT radmeter.take_lease(%s, %s, %s, %s)",
                (self._name, self._holder, f"{socket.gethostname()}, process {os.getpid()}", LEASE_SECONDS),
            ).fetchone()
        taken = row == (True,)
        if taken:
            self._connection.begin_with += (
                f"SELECT radmeter.hold_lease('{self._name}', '{self._holder}', {LEASE_SECONDS})",
            )
            # A process that is stopped within a transaction must not keep the others out for ever.
            with explained_errors("radmeter_owner"):
                self._connection.execute(f"SET idle_in_transaction_session_timeout = '{LEASE_SECONDS}s'")
        return taken

    def renew(self) -> None:
        """Renew the lease between two works.

        Raises
        ------
        StoreError
            Another process has taken it over.
        """
        with explained_errors("radmeter_owner"):
            self._connection.execute("SELECT")

    def end(self) -> None:
        """Let another process take the lease at once."""
        with explained_errors("radmeter_owner"):
            self._connection.execute("SELECT radmeter.end_lease(%s, %s)", (self._name, self._holder))
