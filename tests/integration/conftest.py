"""What integration tests share: a server of each version at hand, and a database of its own for each test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/servers.py, which acceptance tests use too

from servers import Connection, Server, installed


@pytest.fixture(scope="session", params=installed().items(), ids=lambda item: item[0])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A PostgreSQL server, each of those at hand in turn, with the newest schema as a template."""
    _, programs = request.param
    with Server(programs) as running:
        running.make_template()
        yield running


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """The connection string of a database with the newest schema that nobody has used before."""
    with server.clone() as dsn:
        yield dsn


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """An autocommit connection to `database`."""
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened
