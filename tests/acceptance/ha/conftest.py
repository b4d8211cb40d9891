"""Two FreeRADIUS nodes before three PostgreSQL servers under Patroni, all on the loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cluster import Cluster, missing_programs
from support.nodes import Nodes
from support.site import Site, archived_site

# Small segments, so that shipped ones are done with at once: what the database loses must be kept somewhere else.
SEGMENT_BYTES = 1 << 16


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """Fail, and never skip, if something is not installed: an untested failover is no failover."""
    assert missing_programs() == [], "run scripts/setup ha"


@contextmanager
def nodes_before(directory: Path, *, synchronous: bool, splittable: bool = False) -> Iterator[Nodes]:
    with (
        Cluster(synchronous=synchronous, splittable=splittable) as cluster,
        Nodes(cluster, directory, segment_bytes=SEGMENT_BYTES) as nodes,
    ):
        yield nodes


@pytest.fixture(scope="module")
def asynchronous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Nodes before a cluster whose commits wait for no standby."""
    with nodes_before(tmp_path_factory.mktemp("asynchronous"), synchronous=False) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def synchronous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Nodes before a cluster whose commits wait for one standby."""
    with nodes_before(tmp_path_factory.mktemp("synchronous"), synchronous=True) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def splittable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Nodes before an asynchronous cluster whose network can be cut."""
    directory = tmp_path_factory.mktemp("splittable")
    with nodes_before(directory, synchronous=False, splittable=True) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def synchronous_splittable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Nodes before a synchronous cluster whose network can be cut."""
    directory = tmp_path_factory.mktemp("synchronous-splittable")
    with nodes_before(directory, synchronous=True, splittable=True) as nodes:
        yield nodes


@pytest.fixture
def archived(tmp_path: Path) -> Iterator[tuple[Site, dict[str, str]]]:
    """A site whose server archives its WAL by pgBackRest, with one backup; and pgBackRest's environment variables."""
    with archived_site(tmp_path) as found:
        yield found
