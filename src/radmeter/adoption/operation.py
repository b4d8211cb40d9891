"""What the steps of an adoption and of its undoing share: how to do a step, and what both make or remove."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from radmeter.adoption import moves
from radmeter.adoption.state import LOCK_HELD
from radmeter.adoption.table import Table
from radmeter.database.connection import Connection
from radmeter.database.lock_retries import (
    LOCK_WAIT_MS,
    PATIENCE_SECONDS,
    VACUUM_GIVES_WAY_SECONDS,
    log,
    with_lock_retries,
)
from radmeter.database.pace import Pacer
from radmeter.errors import StoreError
from radmeter.progress import Listener, Progress, Say, no_progress
from radmeter.schema.migration_log import note

Work = Callable[[Connection], Any]

LEGACY_CHECK = "radacct_legacy_is_closed"
DIVERT = """
CREATE TRIGGER radmeter_divert BEFORE INSERT ON public.radacct FOR EACH ROW
WHEN (current_setting('radmeter.moving', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION radmeter.divert_session()"""


class Refused(StoreError):
    """The table cannot be adopted as it is, or not be given back. Nothing was changed."""


@dataclass
class Operation:
    """One run of the command: its connection, its listeners, and what its steps need to know.

    `owner` is the role that will own radacct. `table` is radacct as it was when the command began, read once: no step
    needs what an earlier step has added. A step that needs to know what others have changed reads the table again.
    """

    connection: Connection
    said: Say = log.info
    progress: Progress = no_progress
    patience_seconds: float = PATIENCE_SECONDS
    pacer: Pacer | None = None
    postpone: bool | None = None
    """Whether the swap waits until it is asked for. None: as the adoption has it."""
    owner: str = field(default="", init=False)
    table: Table = field(init=False)
    held: dict[str, list[float]] = field(default_factory=dict, init=False)
    """For how many seconds each step has kept others waiting, not yet in radmeter.migration_log."""
    last_held_seconds: float = field(default=0.0, init=False)
    """For how long the latest work that locked something has kept others waiting."""
    _locked_at: float | None = field(default=None, init=False)

    def retried(self, what: str, work: Work, lock: str | None = None, *, batch: bool = False) -> Any:
        """Do work in a short transaction, with lock retries. `what` names it in messages.

        Parameters
        ----------
        lock
            The mode in which radacct is locked first, so that writers wait.
        batch
            The work is one batch of many: rest after it.
        """

        def locked(connection: Connection) -> Any:
            self._locked_at = None
            if lock == "ACCESS EXCLUSIVE":
                self.exclusively(connection)
            elif lock is not None:
                connection.execute(f"LOCK TABLE ONLY public.radacct IN {lock} MODE".encode())
                self.locked()
            return work(connection)

        began = time.monotonic()
        done = with_lock_retries(
            self.connection, locked, what=what, patience_seconds=self.patience_seconds, said=self.said
        )
        if self._locked_at is not None:
            self.last_held_seconds = self.locked_seconds()
            self.held.setdefault(what, []).append(self.last_held_seconds)
        if batch:
            self.hold_back(time.monotonic() - began)
        return done

    def hold_back(self, worked_seconds: float = 0.0) -> None:
        """Rest as long as the pace says, and while replication or ingest is behind."""
        if self.pacer is not None:
            self.pacer.hold_back(worked_seconds)

    def exclusively(self, connection: Connection) -> None:
        """Lock radacct. Autovacuum gets the time to give way. Any other holder makes the transaction give up soon."""
        self.let_vacuum_give_way(connection, "ONLY public.radacct")
        connection.execute("LOCK TABLE ONLY public.radacct IN ACCESS EXCLUSIVE MODE")
        self.locked()

    def let_vacuum_give_way(self, connection: Connection, *tables: str) -> None:
        """Lock tables against changes of their definition. Readers and writers do not wait for that."""
        seconds = min(VACUUM_GIVES_WAY_SECONDS, max(self.patience_seconds, LOCK_WAIT_MS / 1000))
        connection.execute(f"SET LOCAL lock_timeout = {round(seconds * 1000)}".encode())
        for table in tables:
            connection.execute(f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE".encode())
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'")

    def locked(self) -> None:
        """Begin to measure: from here on others wait for the transaction."""
        self._locked_at = time.monotonic()

    def locked_seconds(self) -> float:
        """Return for how long others have waited for the transaction so far."""
        assert self._locked_at is not None
        return time.monotonic() - self._locked_at

    def note_locks(self) -> None:
        """Write down for how long others have waited, for each step the longest time."""
        for what, seconds in self.held.items():
            often = f", the longest of {len(seconds)} times" if len(seconds) > 1 else ""
            note(self.connection, "adoption", f"{LOCK_HELD}{what}{often}", max(seconds))
        self.held.clear()

    def move(self, title: str, origin: str, target: str, which: str, parameters: dict[str, Any]) -> int:
        """Move rows and show the progress. Return how many."""
        with self.progress(title, None, "sessions") as bar:
            return moves.move(
                self.connection,
                origin,
                target,
                which,
                parameters,
                retried=self.retried,
                found=lambda count: set_total(bar, count),
                moved=bar.advance,
            )


def has_constraint(connection: Connection, table: str, name: str) -> bool:
    """Tell whether a table has a constraint of this name, valid or not."""
    return (
        connection.execute(
            "SELECT FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s)", (name, table)
        ).fetchone()
        is not None
    )


def set_total(bar: Listener, total: int) -> None:
    """Tell a listener the total."""
    bar.total = total
