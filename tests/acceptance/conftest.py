"""The whole line for real: FreeRADIUS with the plugin, the journal, the shipper and PostgreSQL, on loopback."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import Database, FreeRadius, Line, Shipper
from support.servers import Server, installed
from support.wire import Router

from radmeter import resources


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server with the newest schema as a template."""
    with Server(installed()["postgresql-18"]) as running:
        running.make_template()
        yield running


@pytest.fixture
def database(postgresql: Server) -> Iterator[Database]:
    """A database with the newest schema."""
    with postgresql.clone() as dsn:
        yield Database(dsn)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FreeRadius]:
    """FreeRADIUS, started, with a journal of its own."""
    with FreeRadius(tmp_path / "run", tmp_path / "journal") as server:
        yield server.start()


@pytest.fixture
def shipper(tmp_path: Path, server: FreeRadius, database: Database) -> Iterator[Shipper]:
    """The shipper of the server's journal, not started."""
    with Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper:
        yield shipper


@pytest.fixture
def line(server: FreeRadius, shipper: Shipper, database: Database) -> Line:
    """The whole line, running."""
    return Line(server, shipper.start(), database)


@pytest.fixture(scope="module")
def shared_line(postgresql: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """One running line for all tests of a module: they keep apart by the names of their users and routers."""
    base = tmp_path_factory.mktemp("line")
    with (
        postgresql.clone() as dsn,
        FreeRadius(base / "run", base / "journal") as server,
        Shipper(base / "ship.log", server.journal, dsn) as shipper,
    ):
        yield Line(server.start(), shipper.start(), Database(dsn))


@pytest.fixture
def router(server: FreeRadius) -> Iterator[Router]:
    """A router that sends to the server."""
    with Router(server.address) as router:
        yield router


@pytest.fixture
def two_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`radius/` with all of the loopback as clients, each address one of its own."""
    raddb = tmp_path / "raddb"
    shutil.copytree(resources.directory("radius"), raddb)
    clients = raddb / "clients.conf"
    text = clients.read_text()
    assert "ipaddr = 127.0.0.1\n" in text
    clients.write_text(text.replace("ipaddr = 127.0.0.1\n", "ipaddr = 127.0.0.0/8\n"))
    monkeypatch.setattr(resources, "directory", lambda name: raddb)
