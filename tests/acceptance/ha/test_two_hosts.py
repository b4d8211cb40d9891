"""Two FreeRADIUS hosts: on the router as two servers, and behind a FreeRADIUS proxy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.deploy import rendered
from support.nodes import wait_until_exact
from support.processes import Database, FreeRadius, Shipper, free_port, until
from support.radius_proxy import Radiusd, start_proxy
from support.routers_with_ledger import Load


@contextmanager
def proxy_before(directory: Path, servers: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Run the FreeRADIUS proxy of deploy/ha before two servers; yield its address."""
    directory.mkdir()
    port = free_port()
    changes = {
        "ipaddr = 192.0.2.20\n\t\tport = 1813": f"ipaddr = 127.0.0.1\n\t\tport = {port}",
        "secret = change-me-radius": "secret = testing123",
    }
    for address, (_, upstream) in zip(("192.0.2.21", "192.0.2.22"), servers, strict=True):
        changes[f"ipaddr = {address}\n\tport = 1813"] = f"ipaddr = 127.0.0.1\n\tport = {upstream}"
    with Radiusd(directory / "proxy.log") as proxy:
        start_proxy(proxy, directory, rendered("ha/freeradius-proxy.conf", changes))
        yield "127.0.0.1", port


@pytest.fixture
def hosts(tmp_path: Path, database: Database) -> Iterator[list[tuple[FreeRadius, Shipper]]]:
    """Two FreeRADIUS hosts with shippers into one database, running."""
    with (
        FreeRadius(tmp_path / "a" / "run", tmp_path / "a" / "journal") as first,
        FreeRadius(tmp_path / "b" / "run", tmp_path / "b" / "journal") as second,
        Shipper(tmp_path / "a.log", first.journal, database.dsn) as first_shipper,
        Shipper(tmp_path / "b.log", second.journal, database.dsn) as second_shipper,
    ):
        yield [(first.start(), first_shipper.start()), (second.start(), second_shipper.start())]


def by_node(database: Database) -> list[int]:
    """Return how many packets of each node are counted."""
    rows = database.rows("SELECT records FROM radmeter.nodes WHERE records > 0 ORDER BY node")
    return [int(records) for (records,) in rows]


def test_two_servers_on_the_router_and_one_dies(
    hosts: list[tuple[FreeRadius, Shipper]], database: Database
) -> None:
    (first, _), (second, _) = hosts
    with Load([first.address, second.address]) as load:
        until("traffic", load.more(200))
        until("both nodes ship", lambda: len(by_node(database)) == 2)
        first.kill()
        until("traffic to the other", load.more(200))
        first.start()
        until("traffic again", load.more(200))
    # What the dead one had recorded and not answered went to the other as well, and counts once.
    wait_until_exact([load], database, [shipper for _, shipper in hosts])


def test_a_proxy_keeps_a_router_on_one_host_while_that_lives(
    hosts: list[tuple[FreeRadius, Shipper]], tmp_path: Path, database: Database
) -> None:
    (first, _), (second, _) = hosts
    with proxy_before(tmp_path / "proxy", [first.address, second.address]) as address:
        with Load([address], unanswered_seconds=2.0) as load:
            until("traffic", load.more(200))
            until("both nodes ship", lambda: len(by_node(database)) == 2)
            # A router's sessions all come from the same node. The proxy is the client of all.
            assert clients_by_router(first) & clients_by_router(second) == set()
            second.kill()
            until("traffic to the other", load.more(200))
        wait_until_exact([load], database, [hosts[0][1], hosts[1][1]])


def clients_by_router(server: FreeRadius) -> set[str]:
    """Return the NAS-Identifiers in a journal."""
    found = set()
    for path in server.journal.rglob("segment-*.log"):
        for part in path.read_bytes().split(b'"NAS-Identifier"')[1:]:
            found.add(part.split(b'"')[1].decode())
    return found
