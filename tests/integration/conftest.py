"""What integration tests share: a server of each version at hand, and a database of its own for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from support.servers import Connection, Server, installed

from radmeter.database.far_times import load_far_times_as_none


@pytest.fixture(scope="session")
def running() -> Iterator[Callable[[Path], Server]]:
    """Starts a server when it is first asked for; it goes on until the end, whatever other tests want meanwhile."""
    servers: dict[Path, Server] = {}
    with ExitStack() as stack:

        def start(programs: Path) -> Server:
            if programs not in servers:
                servers[programs] = stack.enter_context(Server(programs))
                servers[programs].make_template()
            return servers[programs]

        yield start


@pytest.fixture(scope="session", params=installed().items(), ids=lambda item: item[0])
def server(request: pytest.FixtureRequest, running: Callable[[Path], Server]) -> Server:
    """A PostgreSQL server, each of those at hand in turn, with the newest schema as a template."""
    _, programs = request.param
    return running(programs)


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """The connection string of a database with the newest schema that nobody has used before."""
    with server.clone() as dsn:
        yield dsn


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """An autocommit connection to `database`."""
    with psycopg.connect(database, autocommit=True) as opened:
        load_far_times_as_none(opened)
        yield opened


@pytest.fixture
def small_disk(server: Server) -> Iterator[Path]:
    """A directory of the server's user on a file system of 4 MB."""
    with ExitStack() as stack:
        try:
            place = stack.enter_context(server.small_disk(4))
        except PermissionError as error:
            pytest.skip(str(error))
        yield place
