"""Each command with --patience ends when its patience does, whatever lock another transaction holds."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import click
import psycopg
import pytest
from support import stock
from support.adoption import killed_before
from support.commands import radmeter
from support.load_factor import load_factor
from support.servers import Server, installed

from radmeter.adoption import adopt, bounding, opening, operation, preparing, return_rows, undo
from radmeter.cli.main import cli
from radmeter.schema import upgrade

# A command that waits as long as the lock is held is told apart from one that ends before.
HELD_SECONDS = 120.0


def commands(group: click.Group, *above: str) -> Iterator[str]:
    """Yield the commands that have --patience."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        elif any("--patience" in option.opts for option in command.params):
            yield " ".join((*above, name))


def run(connection: psycopg.Connection, undoing: bool = False) -> None:
    if undoing:
        undo.undo(operation.Operation(connection))
    else:
        adopt.adopt(operation.Operation(connection))


def stands_before(step: Callable[..., None], undoing: bool = False) -> Callable[[str], None]:
    """Return what brings a database with FreeRADIUS's own radacct up to a step."""

    def bring(dsn: str) -> None:
        if undoing:
            with psycopg.connect(dsn, autocommit=True) as connection:
                run(connection)
        killed_before(dsn, step, lambda connection: run(connection, undoing))

    return bring


def adopted(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        run(connection)


def migrated(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE radacct")
    upgrade.upgrade(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TRIGGER _100_count_updated ON radacct")


# What brings the database there, the command, and what somebody has locked in which modes.
RADACCT, TABLES = "public.radacct", "public.radacct, public.routers"
EXCLUSIVE, ORDINARY = "ACCESS EXCLUSIVE", "ROW EXCLUSIVE"
CASES: dict[str, tuple[Callable[[str], None], str, str, str]] = {
    "a new adoption": (lambda dsn: None, "adopt --from radacct --yes", RADACCT, EXCLUSIVE),
    "a new adoption beside a writer": (lambda dsn: None, "adopt --from radacct --yes", RADACCT, ORDINARY),
    "the plan": (lambda dsn: None, "adopt --from radacct --plan", RADACCT, EXCLUSIVE),
    "indexes": (stands_before(preparing.make_indexes), "adopt --from radacct --yes", RADACCT, ORDINARY),
    "open sessions": (stands_before(opening.move_open), "adopt --from radacct --yes", TABLES, EXCLUSIVE),
    "validating": (stands_before(bounding.validate), "adopt --from radacct --yes", TABLES, EXCLUSIVE),
    "routers": (stands_before(bounding.find_routers), "adopt --from radacct --yes", "public.routers", EXCLUSIVE),
    "the swap": (stands_before(bounding.swap_tables), "adopt --from radacct --yes", TABLES, ORDINARY),
    "undoing": (adopted, "adopt --undo --yes", TABLES, EXCLUSIVE),
    "returning": (stands_before(return_rows.return_rows, True), "adopt --undo --yes", TABLES, EXCLUSIVE),
    "an upgrade": (migrated, "migrate up --yes --reapply", TABLES, EXCLUSIVE),
    "an upgrade beside a writer": (migrated, "migrate up --yes --reapply", TABLES, ORDINARY),
}  # fmt: skip


@pytest.fixture
def radius(running: Callable[[Path], Server]) -> Iterator[str]:
    # How the client waits does not depend on the version of the server.
    with running(next(iter(installed().values()))).clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            stock.fill(connection, 50, open_sessions=20)
        yield dsn


@contextmanager
def locked(dsn: str, tables: str, mode: str) -> Iterator[threading.Event]:
    """Hold a lock. After `HELD_SECONDS` it is let go of, and the event is set."""
    released = threading.Event()
    with psycopg.connect(dsn, application_name="nightly-report") as holder:
        holder.execute(f"LOCK TABLE {tables} IN {mode} MODE".encode())

        def release() -> None:
            released.set()
            holder.rollback()

        timer = threading.Timer(HELD_SECONDS, release)
        timer.start()
        try:
            yield released
        finally:
            timer.cancel()
            timer.join()


def test_every_command_with_a_patience_has_a_case() -> None:
    tried = {command for _, command, _, _ in CASES.values()}
    for command in commands(cli):
        assert any(each.startswith(command) for each in tried), command


@pytest.mark.parametrize("case", CASES)
def test_it_ends_when_its_patience_does_and_says_who_holds_the_lock(radius: str, case: str) -> None:
    bring, command, tables, mode = CASES[case]
    bring(radius)
    patience = ceil(load_factor() / 2)  # another connection finds out meanwhile who holds the lock
    with locked(radius, tables, mode) as released:
        done = radmeter(radius, *command.split(), "--patience", str(patience))
        assert not released.is_set(), done.errors
    assert done.exit_code == 1, done.output + done.errors
    assert f"could not get the lock within {patience} s: it is held by process" in done.errors
    assert "nightly-report" in done.errors
