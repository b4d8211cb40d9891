"""A lease: one holder at a time, whatever happens to it."""

import uuid

import psycopg
import pytest
from support.beside import Beside
from support.functions import value
from support.servers import Connection

ONE, TWO = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def take(connection: Connection, holder: str, seconds: int = 60) -> bool:
    return bool(value(connection, "radmeter.take_lease('jobs', %s, 'host', %s)", holder, seconds))


def hold(connection: Connection, holder: str, seconds: int = 60) -> None:
    connection.execute("SELECT radmeter.hold_lease('jobs', %s, %s)", (holder, seconds))


def expire(connection: Connection) -> None:
    connection.execute(
        "UPDATE radmeter.lease SET renewed_at = renewed_at - interval '1 hour', expires_at = now() - interval '1 s'"
    )


def test_a_lease_is_one_holders_until_it_ends_or_expires(connection: Connection) -> None:
    assert take(connection, ONE)
    assert take(connection, ONE)
    assert not take(connection, TWO)
    connection.execute("SELECT radmeter.end_lease('jobs', %s)", (TWO,))
    assert not take(connection, TWO)
    connection.execute("SELECT radmeter.end_lease('jobs', %s)", (ONE,))
    assert take(connection, TWO)
    assert not take(connection, ONE)
    expire(connection)
    assert take(connection, ONE)


def test_a_holder_that_lost_it_does_nothing_more(connection: Connection) -> None:
    take(connection, ONE)
    hold(connection, ONE)
    expire(connection)
    take(connection, TWO)
    with pytest.raises(psycopg.Error) as refused:
        hold(connection, ONE)
    assert refused.value.sqlstate == "RM006"


def test_a_lease_of_a_clock_that_was_set_back_is_taken_or_renewed(connection: Connection) -> None:
    later = "renewed_at = renewed_at + interval '1 day', expires_at = expires_at + interval '1 day'"
    set_back = f"UPDATE radmeter.lease SET {later}"
    take(connection, ONE)
    connection.execute(set_back)
    hold(connection, ONE)
    assert not take(connection, TWO)
    connection.execute(set_back)
    assert take(connection, TWO)
    assert connection.execute(
        "SELECT expires_at < now() + interval '2 minutes' FROM radmeter.lease"
    ).fetchone() == (True,)


def test_one_that_nobody_took_is_renewed_however_late(connection: Connection) -> None:
    take(connection, ONE)
    expire(connection)
    hold(connection, ONE)
    assert not take(connection, TWO)


def test_it_is_renewed_when_a_third_of_its_time_is_over_and_not_before(connection: Connection) -> None:
    take(connection, ONE)
    renewed = "SELECT renewed_at FROM radmeter.lease"
    first = connection.execute(renewed).fetchone()
    hold(connection, ONE)
    assert connection.execute(renewed).fetchone() == first
    connection.execute("UPDATE radmeter.lease SET renewed_at = renewed_at - interval '21 s'")
    hold(connection, ONE)
    assert connection.execute(f"SELECT ({renewed}) > %s".encode(), first).fetchone() == (True,)


def test_nobody_gets_it_while_a_transaction_of_its_holder_is_under_way(
    database: str, connection: Connection
) -> None:
    take(connection, ONE)
    expire(connection)
    with psycopg.connect(database) as working:
        # The time is not renewed: the lock on the row is what counts.
        working.execute("SELECT FROM radmeter.lease WHERE name = 'jobs' FOR NO KEY UPDATE")
        assert not take(connection, TWO)
    assert take(connection, TWO)


def test_the_check_waits_for_one_who_is_taking_it_over(database: str, connection: Connection) -> None:
    """The one who takes it over was first. So the other is refused."""
    take(connection, ONE)
    expire(connection)
    with psycopg.connect(database) as taking:
        assert take(taking, TWO)
        with Beside(database, lambda beside: hold(beside, ONE)) as holding:
            assert holding.waits_for(taking)
            taking.commit()
            with pytest.raises(psycopg.Error, match="another process has taken over"):
                holding.result()


def test_no_transaction_runs_while_somebody_holds_the_lock_of_the_jobs(
    database: str, connection: Connection
) -> None:
    """A runner of an older release holds it, or `adopt --undo`."""
    take(connection, ONE)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('radmeter.jobs', 0))")
        with pytest.raises(psycopg.Error, match="another session holds the lock"):
            hold(connection, ONE)
        other.execute("SELECT pg_advisory_unlock(hashtextextended('radmeter.jobs', 0))")
    hold(connection, ONE)
