"""node-exporter's file is whole at any moment, and others may read it."""

import os
import stat
import threading
from pathlib import Path

import pytest

from radmeter.metrics import textfile


def test_it_is_replaced_at_once(tmp_path: Path) -> None:
    """A reader that never stops sees whole files only."""
    path = tmp_path / "radmeter.prom"
    texts = [letter * 200_000 for letter in (b"a", b"b")]
    textfile.write(path, texts[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(60):
            textfile.write(path, texts[turn % 2])
    finally:
        done.set()
        reader.join()
    assert seen <= set(texts)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_every_user_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        textfile.write(tmp_path / "radmeter.prom", b"x 1\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "radmeter.prom").stat().st_mode) == 0o644


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    (tmp_path / "radmeter.prom").mkdir()
    with pytest.raises(OSError, match="radmeter"):
        textfile.write(tmp_path / "radmeter.prom", b"x 1\n")
    assert [each.name for each in tmp_path.iterdir()] == ["radmeter.prom"]
