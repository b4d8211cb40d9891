"""Adopting and giving back, killed at random moments, by SIGKILL and by the server: called again it goes on."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from support import stock
from support.adoption import Killed, Reader, assert_totals, dump, sessions, ship
from support.servers import Server

from radmeter.adoption import adopt, operation, states, undo
from radmeter.adoption.operation import Operation
from radmeter.adoption.state import Adoption
from radmeter.adoption.states import Step, Way

Connection = psycopg.Connection[Any]


@pytest.fixture
def radius(server: Server) -> Iterator[str]:
    with server.clone("template0") as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            connection.execute(
                "CREATE VIEW long_sessions AS SELECT * FROM radacct WHERE acctsessiontime > 3600"
            )
            stock.fill(connection, 2000, open_sessions=60, zombies=1500)
        yield dsn


def killed_after_each_step(
    dsn: str, monkeypatch: pytest.MonkeyPatch, ways: Mapping[str, Way], work: Callable[[Operation], Any]
) -> list[tuple[str, Step]]:
    """Do the work again and again, killed after each step once; return the steps that it was killed after."""
    taken = states.take
    killed: list[tuple[str, Step]] = []
    rows = len(sessions(dsn))

    def take(step: Step, operation: Operation, adoption: Adoption) -> None:
        taken(step, operation, adoption)
        if (adoption.state, step) not in killed:
            killed.append((adoption.state, step))
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(states, "take", take)
        for _ in range(sum(len(way.steps) for way in ways.values())):
            with psycopg.connect(dsn, autocommit=True) as connection, suppress(Killed):
                work(operation.Operation(connection))
                break
            assert len(sessions(dsn)) == rows
    return killed


def test_killed_after_each_step_it_goes_on(
    server: Server, radius: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition, before = dump(server, radius), sessions(radius)
    killed = killed_after_each_step(radius, monkeypatch, states.ADOPT, adopt.adopt)
    assert killed == [(name, step) for name, way in states.ADOPT.items() for step in way.steps]
    with psycopg.connect(radius) as connection:
        assert connection.execute("SELECT state FROM radmeter.adoption").fetchall() == [("done",)]
    back = {name: states.UNDO[name] for name in ("done", "undoing", "returning")}
    killed = killed_after_each_step(radius, monkeypatch, back, undo.undo)
    assert killed == [(name, step) for name, way in back.items() for step in way.steps]
    # The last step was done: it was killed in the moment after.
    assert (dump(server, radius), sessions(radius)) == (definition, before)


def run_killed(dsn: str, seed: int, *arguments: str) -> int:
    """Run the command again and again, killed while it works, each time a little later; return how often it died."""
    chance = random.Random(seed)
    environment = {**os.environ, "RADMETER_DSN": dsn, "RADMETER_STATE": "/nonexistent/state"}
    killed, alive_seconds = 0, 0.05
    for attempt in range(60):
        process = subprocess.Popen(
            [sys.executable, "-m", "radmeter", "adopt", *arguments, "--yes"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        with psycopg.connect(dsn, autocommit=True) as connection:
            # Where it is in its start does not matter: it is given its time from when the server knows it.
            at_work = """SELECT pid FROM pg_stat_activity
                         WHERE application_name = 'radmeter' AND datname = current_database()"""
            deadline = time.monotonic() + 120
            row = None
            while process.poll() is None and row is None and time.monotonic() < deadline:
                time.sleep(0.005)
                row = connection.execute(at_work.encode()).fetchone()
            try:
                output, _ = process.communicate(timeout=chance.uniform(0.2, 1) * alive_seconds)
            except subprocess.TimeoutExpired:
                alive_seconds *= 1.5
                killed += 1
                if attempt % 2 and row is not None:
                    connection.execute("SELECT pg_terminate_backend(%s)", row)
                    output, _ = process.communicate(timeout=60)
                    if process.returncode == 0:
                        return killed - 1
                    assert "Traceback" not in output
                else:
                    process.kill()
                    process.communicate(timeout=60)
                continue
        # It may have been killed in the moment after its last commit.
        assert process.returncode == 0 or "was given back" in output, output
        return killed
    raise AssertionError("it never came to its end")


def test_killed_at_random_moments_it_goes_on(server: Server, radius: str) -> None:
    definition, before = dump(server, radius), len(sessions(radius))
    traffic = stock.Traffic(radius)
    with Reader(radius) as reader:
        traffic.begin(pause_seconds=0.01)
        assert run_killed(radius, 3, "--from", "radacct") >= 1
        traffic.end()
        ship(radius, traffic)
        with psycopg.connect(radius) as connection:
            assert_totals(connection, traffic)
            assert connection.execute("SELECT state FROM radmeter.adoption").fetchall() == [("done",)]
            assert connection.execute(
                "SELECT count(*) FROM radacct_legacy WHERE acctstoptime IS NULL"
            ).fetchone() == (0,)
        assert run_killed(radius, 4, "--undo") >= 1
    assert not reader.faults
    assert dump(server, radius) == definition
    with psycopg.connect(radius) as connection:
        assert_totals(connection, traffic)
    assert len(sessions(radius)) == before + len({each.uid for each in traffic.sessions if each.uid})
