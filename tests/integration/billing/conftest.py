"""What tests of billing share: a database with tenants, routers and a directory of issued documents."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.books import Books


@pytest.fixture
def books(database: str, tmp_path: Path) -> Iterator[Books]:
    """An empty database and an empty directory of issued documents."""
    made = Books(database, tmp_path)
    try:
        yield made
    finally:
        made.connection.close()
