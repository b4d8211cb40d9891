"""A directory of its own for each test: doctor looks at the journals beside the one that it judges."""

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Return a directory that is alone in its parent. pytest's own has those of all other tests beside it."""
    alone = tmp_path / "alone"
    alone.mkdir()
    return alone
