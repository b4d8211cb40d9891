"""An adoption that rests between batches, pauses while ingest is behind, and swaps when it is told to."""

from collections.abc import Iterator

import psycopg
import pytest
from support import stock
from support.adoption import killed_before
from support.commands import radmeter
from support.doctoring import faults
from support.screens import screen
from support.servers import Server

from radmeter.adoption import adopt, opening, operation, undo
from radmeter.database.pace import Pace, Pacer


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    """FreeRADIUS's own radacct, with three batches of open sessions."""
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            stock.fill(connection, 200, open_sessions=1200)
        yield dsn


def state(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        (found,) = connection.execute(
            "SELECT state FROM radmeter.adoption ORDER BY id DESC LIMIT 1"
        ).fetchone() or ("",)
        return str(found)


def test_the_swap_waits_until_it_is_told(radius: str) -> None:
    assert "no adoption is under way" in radmeter(radius, "adopt", "--swap", "--yes").errors
    prepared = radmeter(radius, "adopt", "--from", "radacct", "--yes", "--postpone-swap")
    assert prepared.exit_code == 0, prepared.errors
    assert prepared.output.splitlines()[-1].endswith("rlm_sql goes on writing; next: `radmeter adopt --swap`")
    assert state(radius) == "bounding"
    # rlm_sql goes on, and the same command again does not swap either.
    traffic = stock.Traffic(radius)
    with psycopg.connect(radius, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for _ in range(50):
            session, status = traffic.choose()
            traffic.send(connection, status, traffic.packet(session, status))
    again = radmeter(radius, "adopt", "--from", "radacct", "--yes")
    assert "the swap is postponed since" in again.output
    assert state(radius) == "bounding"
    assert radmeter(radius, "adopt", "--status", "--format", "json").json()["swap_postponed_at"]
    (found,) = faults(radius, "adoption")
    assert (found.level, found.remedy) == ("yellow", "radmeter adopt --swap")
    swapped = radmeter(radius, "adopt", "--swap", "--yes")
    assert "the swap kept others waiting" in swapped.output, swapped.errors
    assert state(radius) == "done"
    with psycopg.connect(radius) as connection:
        assert connection.execute("SELECT count(*) FROM radacct").fetchone() == (
            1400 + len(traffic.sessions),
        )
    # The next adoption is not postponed.
    assert radmeter(radius, "adopt", "--undo", "--yes").exit_code == 0
    assert radmeter(radius, "adopt", "--from", "radacct", "--yes").exit_code == 0
    assert state(radius) == "done"


def test_it_rests_after_each_batch(radius: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(Pacer, "hold_back", lambda self, worked=0.0: rests.append(worked))
    with psycopg.connect(radius, autocommit=True) as connection:
        pacer = Pacer(radius, Pace(max_load=0.5))
        adopt.adopt(operation.Operation(connection, pacer=pacer))
        assert len([seconds for seconds in rests if seconds > 0]) == 3
        rests.clear()
        undo.undo(operation.Operation(connection, pacer=pacer))
        assert len([seconds for seconds in rests if seconds > 0]) >= 3


def test_it_pauses_while_ingest_is_behind_and_then_goes_on(radius: str) -> None:
    killed_before(radius, opening.move_open, lambda connection: adopt.adopt(operation.Operation(connection)))
    with psycopg.connect(radius, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO ingest_checkpoint (source, last_received_at, updated_at)
               VALUES ('slow', now() - interval '1 minute', now() + interval '5 minutes')"""
        )
        with screen(radius, "adopt", "--from", "radacct", "--yes", "--max-lag", "30") as shown:
            shown.expect("pausing: ingest is 360 s behind")
            assert state(radius) != "done"
            connection.execute("UPDATE ingest_checkpoint SET last_received_at = updated_at")
            shown.expect("going on: ")
            assert shown.end() == 0
    assert state(radius) == "done"
