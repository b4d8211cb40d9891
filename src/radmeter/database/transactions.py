"""A connection that begins each transaction with statements of its own, such as the check of a lease.

In autocommit mode each statement is then a transaction of its own, with those statements before it. So nothing that
runs on the connection can leave them out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from radmeter.database.tenant_roles import NotForTenants, Standing
from radmeter.database.waiting import WaitingConnection

T = TypeVar("T")


class BeginningCursor(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor of `Connection`. It begins transactions as the connection wants."""

    def execute(self, *args: Any, **kwargs: Any) -> Self:
        """Run a statement."""
        with _connection_of(self).begun():
            return super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        """Run a statement with several sets of parameters."""
        with _connection_of(self).begun():
            super().executemany(*args, **kwargs)

    @contextmanager
    def copy(self, *args: Any, **kwargs: Any) -> Iterator[psycopg.Copy]:
        """Run COPY."""
        with _connection_of(self).begun(), super().copy(*args, **kwargs) as copying:
            yield copying


class TransactionsConnection(WaitingConnection):
    """A connection that waits no longer than its deadline.

    `begin_with` is how each transaction begins. `behind_pooler`: settings of the session would get lost, or stay behind
    for other programs. `standing`: whose rows the role sees.
    """

    begin_with: tuple[str, ...] = ()
    behind_pooler: bool = False
    standing: Standing = Standing.EVERYBODY

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = BeginningCursor

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Run one of psycopg's generators, as each of its statements does.

        Raises
        ------
        NotForTenants
            A right is missing, and the login is a tenant's. It must not be told to grant itself that right.
        """
        try:
            return super().wait(gen, *args, **kwargs)
        except errors.InsufficientPrivilege:
            if self.standing is Standing.TENANT:
                raise NotForTenants from None
            raise

    @contextmanager
    def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> Iterator[psycopg.Transaction]:
        """Begin a transaction, or set a savepoint within one."""
        outermost = self._is_idle()
        with super().transaction(savepoint_name, force_rollback) as begun:
            if outermost:
                self._begin()
            yield begun

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Be in a transaction that began as it should. In autocommit mode the block is one, unless there is one."""
        if not self.begin_with or not self._is_idle():
            yield
        elif self.autocommit:
            with self.transaction():
                yield
        else:
            self._begin()
            yield

    def set(self, name: str, value: str) -> None:
        """Set a parameter of the server for all that this connection does."""
        if self.behind_pooler:
            self.begin_with += (f"SET LOCAL {name} = {value}",)
        else:
            self.execute(f"SET {name} = {value}".encode())

    def _is_idle(self) -> bool:
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    def _begin(self) -> None:
        if self.begin_with:
            # Not with a cursor of this connection: that would begin again.
            psycopg.Cursor(self).execute("; ".join(self.begin_with).encode(), prepare=False)


def _connection_of(cursor: psycopg.Cursor[Any]) -> TransactionsConnection:
    connection = cursor.connection
    assert isinstance(connection, TransactionsConnection)
    return connection
