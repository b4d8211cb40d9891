"""A server of their own for the tests of one file: they stop it, or put a pooler before it."""

from collections.abc import Iterator

import pytest
from support.servers import Server, installed


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that the tests of one file may freeze. No other test uses it."""
    with Server(next(iter(installed().values()))) as server:
        server.make_template()
        yield server


@pytest.fixture
def own_database(own_server: Server) -> Iterator[str]:
    with own_server.clone() as dsn:
        yield dsn
