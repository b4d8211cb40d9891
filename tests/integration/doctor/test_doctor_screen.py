"""`radmeter doctor` as a person sees it: one screen of 80 x 50, and commands that can be pasted."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from support.doctoring import faults, paste
from support.raddb import Raddb
from support.screens import screen

from radmeter.embedded.server import EmbeddedPostgresql
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.schema import upgrade

ROWS, COLUMNS = 50, 80


@pytest.fixture(scope="module")
def healthy() -> Iterator[tuple[Raddb, str, Path]]:
    """An installation in which everything is as it should be."""
    with ExitStack() as stack:
        # Not pytest's own: PostgreSQL's user may not pass through that.
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="radmeter-test-")))
        raddb = Raddb(directory)
        server = stack.enter_context(EmbeddedPostgresql(directory / "state" / "postgresql"))
        upgrade.upgrade(server.dsn())
        jobs = stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
        jobs.execute("SELECT radmeter.take_lease('jobs', gen_random_uuid(), 'radius1, process 7', 86400)")
        jobs.execute("UPDATE radmeter.alert_state SET ticked_at = now()")
        journal = JournalWriter(raddb.journal, limit_bytes=1 << 20)
        stack.callback(journal.close)
        journal.append(1, "[]")
        reader = JournalReader(raddb.journal)
        node = reader.node()
        stack.enter_context(reader.lock())
        (segment,) = reader.segments()
        jobs.execute(
            """INSERT INTO radmeter.journal_segment (id, node, role, format, first_seq, last_seq, last_received_at)
               VALUES (%s, %s, 'radmeter', 2, 1, 1000, now())""",
            (segment.id, node),
        )
        yield raddb, server.dsn(), directory / "state"


def show(healthy: tuple[Raddb, str, Path], *arguments: str) -> tuple[int, str]:
    """Run it on a terminal of 80 x 40; return its exit code and what it shows."""
    raddb, _, state = healthy
    with screen(
        None,
        "doctor",
        "--raddb",
        raddb.directory,
        *arguments,
        RADMETER_STATE=str(state),
        RADMETER_JOURNAL=str(raddb.journal),
        RADMETER_JOURNAL_LIMIT_BYTES=str(8 << 20),
    ) as terminal:
        terminal.child.setwinsize(ROWS, COLUMNS)
        code = terminal.end()
        return code, terminal.text


def test_all_well_fits_on_one_screen(healthy: tuple[Raddb, str, Path]) -> None:
    code, text = show(healthy, "--strict")
    # On a busy machine a check that takes long is named while it runs.
    lines = [line for line in text.rstrip("\n").split("\n") if not line.startswith("waiting for ")]
    assert code == 0, text
    assert len(lines) < ROWS, text
    assert max(map(len, lines)) <= COLUMNS, text
    assert all(line.startswith(("green", " ")) for line in lines[:-1]), text
    assert lines[-1].endswith(" green"), text
    assert ", by embedded, " in text


def test_a_command_is_one_line_however_long(healthy: tuple[Raddb, str, Path]) -> None:
    with psycopg.connect(healthy[1], autocommit=True) as connection:
        connection.execute("DROP INDEX radacct_open_username_idx")
        try:
            code, text = show(healthy)
        finally:
            connection.execute("CREATE INDEX radacct_open_username_idx ON radacct_open (username)")
    assert code == 3
    assert "red     schema       index radacct_open_username_idx" in text
    (command,) = [line for line in text.split("\n") if line.lstrip().startswith("run:")]
    assert len(command) > COLUMNS
    assert command.endswith("ON public.radacct_open USING btree (username)'")


def test_a_role_that_is_missing_is_named_and_made_with_its_rights(healthy: tuple[Raddb, str, Path]) -> None:
    # Here, and not on a server that other tests use: roles are the cluster's.
    raddb, dsn, state = healthy
    checks = ("roles", "schema")
    environment: dict[str, Any] = {"RADMETER_STATE": str(state), "RADMETER_JOURNAL": str(raddb.journal)}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP OWNED BY radmeter_billing")
        connection.execute("DROP ROLE radmeter_billing")
    (found,) = faults(None, *checks, **environment)
    assert found.said == "role radmeter_billing is missing"
    paste(found.remedy, **environment)
    assert faults(None, *checks, **environment) == []
