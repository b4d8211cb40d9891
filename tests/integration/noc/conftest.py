"""What the tests of the pages share: a network in its state, the real server, keys, and a browser."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.browser import Browser, browser
from support.http_server import HttpServer, add_key, serving
from support.logins import as_role, login_role
from support.noc_scene import SCENE
from support.servers import Connection

ROLES = ("reader", "noc", "billing", "tenant:Hotel Adler")


@pytest.fixture
def scene(connection: Connection) -> Connection:
    """A connection to a database with a network."""
    connection.execute(SCENE.encode())
    return connection


@pytest.fixture
def pages_dsn(scene: Connection, database: str) -> Iterator[str]:
    """The connection string of a login that may serve, and nothing else."""
    with login_role(scene, "radmeter_api") as login:
        yield as_role(database, login)


@pytest.fixture
def pages(pages_dsn: str, tmp_path: Path) -> Iterator[HttpServer]:
    """The server."""
    with serving(pages_dsn, tmp_path) as server:
        yield server


@pytest.fixture
def keys(scene: Connection) -> Mapping[str, str]:
    """A key of each role."""
    return {role: add_key(scene, role.replace(":", " "), role) for role in ROLES}


@pytest.fixture
def chromium(pages: HttpServer) -> Iterator[Browser]:
    """A browser for the server."""
    with browser(f"http://127.0.0.1:{pages.port}") as opened:
        yield opened


@pytest.fixture
def noc(chromium: Browser, keys: Mapping[str, str]) -> Browser:
    """A browser that is logged in with a key of the role noc."""
    chromium.size(1280, 900)
    chromium.log_in(keys["noc"])
    return chromium
