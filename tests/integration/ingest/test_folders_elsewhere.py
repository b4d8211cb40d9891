"""Folders of a journal that are on another disk."""

import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.backups import backup
from support.journals import segments
from support.shipping import counted, fill, incidents, once, ship

from radmeter.plugin.journal import files

pytestmark = [
    pytest.mark.timeout(180, func_only=True),
    pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system"),
]


def test_shipped_segments_may_be_kept_on_another_disk(
    tmp_path: Path, database: str, connection: psycopg.Connection[Any]
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / files.SHIPPED).symlink_to(other)
        fill(tmp_path, range(100))
        with backup(database) as restore:
            ship(tmp_path, database)
            restore()
            fill(tmp_path, range(100, 300))
            ship(tmp_path, database)
        with psycopg.connect(database, autocommit=True) as connection:
            assert counted(connection) == once(range(300))
            assert [(kind, done) for kind, _, done in incidents(connection)] == [("rewound", True)]
        assert segments(Path(other))
