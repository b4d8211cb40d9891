"""What tests of the journal share: a directory for one, and its reader."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from radmeter.plugin.journal.reader import JournalReader


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def reader(directory: Path) -> Iterator[JournalReader]:
    reader = JournalReader(directory)
    yield reader
    reader.close()
