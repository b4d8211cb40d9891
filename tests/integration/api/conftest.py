"""What the tests of the API share: a database with the rows of two tenants, the real server, and a key of each role."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.http_server import HttpServer, add_key, serving
from support.logins import as_role, login_role
from support.servers import Connection
from support.two_tenants import ROWS

ROLES = ("reader", "noc", "billing", "tenant:acme", "tenant:bolt")


@pytest.fixture
def tenants(connection: Connection) -> Connection:
    """A connection to a database with the rows of two tenants."""
    connection.execute(ROWS.encode())
    return connection


@pytest.fixture
def api_dsn(tenants: Connection, database: str) -> Iterator[str]:
    """The connection string of a login that may serve, and nothing else."""
    with login_role(tenants, "radmeter_api") as login:
        yield as_role(database, login)


@pytest.fixture
def api(api_dsn: str, tmp_path: Path) -> Iterator[HttpServer]:
    """The server."""
    with serving(api_dsn, tmp_path) as server:
        yield server


@pytest.fixture
def keys(tenants: Connection) -> Mapping[str, str]:
    """A key of each role."""
    return {role: add_key(tenants, role.replace(":", " "), role) for role in ROLES}
