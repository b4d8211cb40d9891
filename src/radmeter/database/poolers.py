"""Finds out whether a pooler between a program and the server gives each transaction another process of the server.

With such a pooler (PgBouncer's ``pool_mode = transaction``) a setting, an advisory lock or a temporary table of a
session stays behind in a process that other programs use next.
"""

from contextlib import ExitStack

import psycopg

from radmeter.database.deadline import Deadline
from radmeter.database.waiting import WaitingConnection, same_server
from radmeter.errors import PoolsTransactions, StoreUnavailable
from radmeter.printable import one_line

# More than PgBouncer's default_pool_size.
CONNECTIONS = 25
ANSWER_SECONDS = 5.0

PID = "SELECT pg_catalog.pg_backend_pid()"
STARTED = """SELECT pg_catalog.pg_backend_pid(), EXTRACT(epoch FROM pg_catalog.clock_timestamp()), (
    SELECT EXTRACT(epoch FROM activity.backend_start) FROM pg_catalog.pg_stat_activity AS activity
    WHERE activity.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())"""


def refuse_transaction_pooling(connection: WaitingConnection) -> None:
    """Refuse a connection, just opened, through a pooler that pools transactions. It must be in autocommit mode.

    Other connections through the same pooler each keep a process of the server. If one of them gets the process of
    `connection`, or if that gets another one, transactions are pooled. If the pooler starts a new process, then it has
    no free one left, so that of `connection` is not free: sessions are pooled.

    Raises
    ------
    PoolsTransactions
        The pooler pools transactions, or statements.
    StoreUnavailable
        The pooler has no free process of the server, so nobody can tell.
    """
    try:
        before, asked_at, _ = connection.execute(STARTED.encode(), prepare=False).fetchall()[0]
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                beside = stack.enter_context(
                    WaitingConnection.connect(same_server(connection), autocommit=True)
                )
                beside.deadline = Deadline(ANSWER_SECONDS, ANSWER_SECONDS)
                beside.execute("BEGIN", prepare=False)
                pid, _, started_at = beside.execute(STARTED.encode(), prepare=False).fetchall()[0]
                ((now,),) = connection.execute(PID.encode(), prepare=False).fetchall()
                if pid == before or now != before:
                    raise PoolsTransactions(
                        "the connection goes through a pooler that pools transactions (PgBouncer: pool_mode = "
                        "transaction). This program keeps locks and settings from one transaction to the next. Name "
                        "the server itself in RADMETER_DSN, or a pool with pool_mode = session"
                    )
                if started_at > asked_at:
                    return
    except psycopg.Error as error:
        if "statement pooling" in str(error):
            raise PoolsTransactions(
                "the connection goes through a pooler that pools statements: radmeter needs transactions"
            ) from error
        raise StoreUnavailable(
            "the connection goes through a pooler that gives no second connection, so it is not known whether it pools "
            f"sessions or transactions: {one_line(str(error))}"
        ) from error
