"""The shipper starts before radiusd has made the journal."""

import logging
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from radmeter.cli.ship import _wait_for_journal
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.writer import JournalWriter


def test_the_log_says_that_the_journal_has_come(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stop = threading.Event()
    journal = tmp_path / "journal"
    waiting = threading.Thread(target=_wait_for_journal, args=(JournalReader(journal), stop), daemon=True)
    waiting.start()
    deadline = time.monotonic() + 60
    try:
        while "waiting: there is no journal" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "the journal is there" not in caplog.text
        with closing(JournalWriter(journal)) as writer:
            writer.append(time.time_ns() // 1000, '[["User-Name","alice"]]')
        waiting.join(60)
        assert "the journal is there: shipping begins" in caplog.text
    finally:
        stop.set()
        waiting.join(60)
