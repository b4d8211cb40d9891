"""A write whose answer nobody got is done once, of every kind: its retry gets the answer, or does it at once."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.frozen import stopped
from support.http_server import HttpServer, Response
from support.processes import until
from support.servers import Connection

from radmeter.api.routes import all_routes

LONG = os.environ.get("RADMETER_LONG") == "1"
ROWS = """
INSERT INTO routers (id, name, mac, status) VALUES (900, 'new', '02:00:00:00:cc:09', 'discovered');
INSERT INTO radmeter.journal_incident (id, kind, node, role, detail) OVERRIDING SYSTEM VALUE
VALUES (900, 'missing', 'radius1', 'shipper', '{}');
"""
# A COMMIT that keeps an answer waits for who holds the lock, however short the transaction's lock_timeout is.
WAIT_AT_COMMIT = """
CREATE FUNCTION public.wait_at_commit() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT OR UPDATE ON radmeter.api_requests
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.finished_at IS NOT NULL) EXECUTE FUNCTION public.wait_at_commit();
"""
# And the statement that keeps an answer, for another one.
WAIT_AT_END = """
CREATE FUNCTION public.wait_at_end() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
'BEGIN PERFORM pg_advisory_xact_lock_shared(8); RETURN new; END';
CREATE TRIGGER wait_at_end BEFORE UPDATE ON radmeter.api_requests FOR EACH ROW EXECUTE FUNCTION public.wait_at_end();
"""
COMMIT_LOCK, END_LOCK = 7, 8


@dataclass(frozen=True)
class Write:
    """A write of a kind."""

    route: str
    of: str
    body: Mapping[str, Any]
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, api: HttpServer, key: str) -> Response:
        """Send it. However often, it is the same."""
        path = f"/api/v1{self.route.replace('{name}', self.of).replace('{id}', self.of)}"
        headers = {"Idempotency-Key": f"cut off {self.route}", **self.headers}
        return api.request("POST", path, key, body=self.body, headers=headers)


WRITES = (
    Write("/users/{name}/top-ups", "alice", {"bytes": 11}, 201),
    Write("/users/{name}/disconnect", "alice", {"reason": "left"}, 202),
    Write("/sessions/{id}/disconnect", "4", {"reason": "left"}, 202),
    Write("/routers/{id}/claim", "900", {"name": "lobby 9"}, 200, {"If-Match": "*"}),
    Write("/incidents/{id}/acknowledge", "900", {"reason": "the disk was lost"}, 200),
)


def waiting(connection: Connection, statement: str) -> list[int]:
    """Return the server processes of writes that wait in a statement."""
    found = connection.execute(
        """SELECT pid FROM pg_stat_activity
           WHERE application_name = 'radmeter serve, write' AND wait_event_type = 'Lock' AND query LIKE %s
             AND datname = current_database()""",
        (statement,),
    ).fetchall()
    return [int(row[0]) for row in found]


def committing(connection: Connection) -> list[int]:
    """Return those that wait in their COMMIT."""
    return waiting(connection, "COMMIT")


def ending(connection: Connection) -> list[int]:
    """Return those that have done the write, and are about to keep its answer."""
    return waiting(connection, "SELECT radmeter.end_request(%")


def runs(connection: Connection, process: int) -> bool:
    """Return whether a server process runs."""
    found = connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (process,))
    return found.fetchone() is not None


def done(connection: Connection) -> tuple[int, ...]:
    """Return how much was done, and how many answers are kept."""
    row = connection.execute(
        """SELECT (SELECT count(*) FROM audit_log), (SELECT count(*) FROM top_ups),
                  (SELECT count(*) FROM radmeter.disconnect_queue),
                  (SELECT count(*) FROM radmeter.api_requests)"""
    ).fetchone()
    assert row is not None
    return row


@contextmanager
def held(database: str, lock: int) -> Iterator[None]:
    """Let no write go on where it takes a lock, for the block."""
    with psycopg.connect(database) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
        yield


@contextmanager
def sent(write: Write, api: HttpServer, key: str) -> Iterator[list[Response]]:
    """Send a write beside the block, and wait for its end. There is no answer if the server ends."""
    answers: list[Response] = []

    def send() -> None:
        with contextlib.suppress(OSError, HTTPException):
            answers.append(write.send(api, key))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield answers
    finally:
        sender.join()


@pytest.fixture
def waits(tenants: Connection) -> None:
    """What there is to claim and to acknowledge, and the two places at which a write waits."""
    for each in (ROWS, WAIT_AT_COMMIT, WAIT_AT_END):
        tenants.execute(each.encode())


def test_each_kind_is_here() -> None:
    assert {each.route for each in WRITES} == {route.path for route in all_routes() if route.writes}


@pytest.mark.usefixtures("waits")
def test_a_server_that_is_killed_between_the_commit_and_the_answer(
    api: HttpServer,
    keys: Mapping[str, str],
    tenants: Connection,
    database: str,
    api_dsn: str,
    tmp_path: Path,
) -> None:
    # A start of the server takes seconds.
    for write in WRITES if LONG else WRITES[:1]:
        before = done(tenants)
        with contextlib.ExitStack() as lock:
            lock.enter_context(held(database, COMMIT_LOCK))
            with sent(write, api, keys["noc"]) as answers:
                until("the COMMIT was sent", lambda: bool(committing(tenants)), 30)
                with stopped(api.pid):
                    lock.close()
                    until("it is done", lambda: done(tenants)[0] > before[0], 30)  # noqa: B023 # called at once
                    # It never hears of it.
                    api.kill()
        assert answers == []
        after = done(tenants)
        assert after[0] == before[0] + 1, write
        api.start(api_dsn, tmp_path)
        for _ in range(2):
            again = write.send(api, keys["noc"])
            assert (again.status, again.headers["idempotency-replayed"]) == (write.status, "true"), again
        assert done(tenants) == after, write


@pytest.mark.usefixtures("waits")
def test_a_server_that_is_killed_between_the_write_and_its_answer(
    api: HttpServer,
    keys: Mapping[str, str],
    tenants: Connection,
    database: str,
    api_dsn: str,
    tmp_path: Path,
) -> None:
    for write in WRITES if LONG else WRITES[:1]:
        before = done(tenants)
        with held(database, END_LOCK), sent(write, api, keys["noc"]) as answers:
            until("the write is done", lambda: bool(ending(tenants)), 30)
            assert done(tenants) == before, "it is committed without its answer"
            (process,) = ending(tenants)
            api.kill()
        assert answers == []
        until("PostgreSQL's process has ended", lambda: not runs(tenants, process), 30)  # noqa: B023 # called at once
        assert done(tenants) == before, write
        api.start(api_dsn, tmp_path)
        for replayed in (None, "true"):
            again = write.send(api, keys["noc"])
            assert (again.status, again.headers.get("idempotency-replayed")) == (write.status, replayed), (
                again
            )
            assert done(tenants)[0] == before[0] + 1, write


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(
    ("lock", "reached"),
    [(END_LOCK, ending), (COMMIT_LOCK, committing)],
    ids=["between the write and its answer", "in the commit"],
)
def test_a_process_of_postgresql_that_ends(
    api: HttpServer,
    keys: Mapping[str, str],
    tenants: Connection,
    database: str,
    lock: int,
    reached: Callable[[Connection], list[int]],
) -> None:
    for write in WRITES:
        before = done(tenants)
        with held(database, lock), sent(write, api, keys["noc"]) as answers:
            until("the write is there", lambda: bool(reached(tenants)), 30)
            (process,) = reached(tenants)
            assert tenants.execute("SELECT pg_terminate_backend(%s, 5000)", (process,)).fetchone() == (True,)
        assert [each.status for each in answers] == [503], write
        assert done(tenants) == before, write
        again = write.send(api, keys["noc"])
        assert (again.status, again.headers.get("idempotency-replayed")) == (write.status, None), again
        assert done(tenants)[0] == before[0] + 1, write
