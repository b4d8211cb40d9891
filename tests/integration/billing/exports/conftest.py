"""Tests of exports run on one server: nothing here depends on its version."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.servers import Server, installed


@pytest.fixture(scope="session")
def server(running: Callable[[Path], Server]) -> Server:
    """One server."""
    return running(next(iter(installed().values())))
