"""`radmeter backfill` and doctor while an adoption, or its undoing, is not finished."""

from collections.abc import Iterator

import psycopg
import pytest
from support import stock
from support.commands import radmeter
from support.doctoring import ask, faults, one
from support.servers import Server

from radmeter.adoption import adopt, states, undo
from radmeter.adoption.operation import Operation
from radmeter.adoption.state import Adoption
from radmeter.adoption.states import Step


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            stock.fill(connection, 50, open_sessions=10)
        yield dsn


def test_before_the_swap_it_refuses_and_afterwards_it_counts(radius: str) -> None:
    assert "first: `radmeter adopt --from radacct`" in radmeter(radius, "backfill", "--yes").errors
    assert radmeter(radius, "adopt", "--from", "radacct", "--yes", "--postpone-swap").exit_code == 0
    for arguments in ((), ("--status",), ("--redo",), ("--rejected",), ("--leave", "all")):
        refused = radmeter(radius, "backfill", "--yes", *arguments)
        assert refused.exit_code == 1, arguments
        assert "first: `radmeter adopt --swap`" in refused.errors
    assert radmeter(radius, "adopt", "--swap", "--yes").exit_code == 0
    assert radmeter(radius, "backfill", "--yes", "--only", "counters").exit_code == 0
    status = radmeter(radius, "backfill", "--status", "--format", "csv")
    assert (status.exit_code, "done: counters" in status.output) == (3, True)
    assert radmeter(radius, "backfill", "--yes").exit_code == 0
    with psycopg.connect(radius, autocommit=True) as connection:
        total = "SELECT sum(bytes_in) FROM user_quota_usage"
        counted = connection.execute(total).fetchone()
        in_radacct = "SELECT sum(acctinputoctets) FROM radacct WHERE username <> ''"
        assert counted == connection.execute(in_radacct).fetchone()
        # A backfill that has seen no session, as one was before the swap: doctor says so, and it begins again.
        connection.execute(
            """UPDATE radmeter.backfill SET counted_rows = 0, filled_rows = 0;
               TRUNCATE user_quota_usage, router_daily_usage"""
        )
        (found,) = faults(radius, "adoption")
        assert (found.level, found.remedy) == ("red", "radmeter backfill")
        assert "no session of it was counted" in found.said
        assert radmeter(radius, "backfill", "--yes").exit_code == 0
        assert connection.execute(total).fetchone() == counted
    assert not faults(radius, "adoption")


def test_doctor_asks_for_nothing_that_the_adoption_refuses(radius: str) -> None:
    assert radmeter(radius, "adopt", "--from", "radacct", "--yes", "--postpone-swap").exit_code == 0
    assert not [line for line in ask(radius) if "Errno" in line.said]
    (swap,) = faults(radius, "migrations", "jobs", "adoption")
    assert (swap.check, swap.remedy) == ("adoption", "radmeter adopt --swap")
    # Nobody closes sessions meanwhile, and doctor says that it does not judge them.
    assert {line.level for line in faults(radius, "sessions")} <= {"unknown"}
    assert radmeter(radius, "adopt", "--undo", "--yes").exit_code == 0
    assert "undone" in one(ask(radius, "--only=adoption"), "adoption").said
    (adopt_again,) = faults(radius, "migrations", "jobs", "adoption")
    assert (adopt_again.check, adopt_again.remedy) == ("migrations", "radmeter adopt --from radacct")


def test_in_every_other_state_it_refuses_and_says_what_is_first(
    radius: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, refused = states.take, []

    def take(step: Step, operation: Operation, adoption: Adoption) -> None:
        if adoption.state != "done":
            said = radmeter(radius, "backfill", "--yes").errors
            way = "--from radacct" if adoption.state in states.ADOPT else "--undo"
            assert f"first: `radmeter adopt {way}`" in said, (adoption.state, said)
            refused.append(adoption.state)
        taken(step, operation, adoption)

    monkeypatch.setattr(states, "take", take)
    with psycopg.connect(radius, autocommit=True) as connection:
        adopt.adopt(Operation(connection))
        connection.execute("UPDATE radmeter.adoption SET state = 'undoing'")
        with pytest.raises(psycopg.DatabaseError, match=r"not finished \(undoing\)"):
            connection.execute("SELECT radmeter.backfill_begin()")
        connection.execute("UPDATE radmeter.adoption SET state = 'done'")
        undo.undo(Operation(connection))
    assert set(refused) == {state.name for state in states.STATES} - {"done", "undone"}
    # FreeRADIUS's own table again: --status does not ask for `migrate up`, which refuses.
    said = radmeter(radius, "backfill", "--status").errors
    assert "first: `radmeter adopt --from radacct`" in said
