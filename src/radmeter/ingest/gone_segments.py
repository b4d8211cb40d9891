"""The shipper's file of segments that are no longer kept. It is read only if the database lacks some of them."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from radmeter.ingest.known import Known, known_from_json
from radmeter.plugin.journal import files

# A line for each segment, the oldest first.
GONE = "ledger-gone.jsonl"
# About 30,000 segments. 7 million packets a day fill 90.
MOST_BYTES = 8 << 20


def read(journal: Path) -> Iterator[Known]:
    """Yield the segments of a journal that are no longer kept, the oldest first. Lines cut off by a crash are left out.

    Raises OSError, but not if there is no such file.
    """
    with (
        contextlib.suppress(FileNotFoundError),
        (journal / GONE).open(encoding="utf-8", errors="replace") as lines,
    ):
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                yield known_from_json(json.loads(line))


def append(journal: Path, rows: Sequence[Known]) -> None:
    """Add segments durably. The older half of the file is removed if it has become too large. Raises OSError."""
    path = journal / GONE
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > MOST_BYTES:
            lines = path.read_bytes().splitlines(keepends=True)
            files.replace_file(path, b"".join(lines[len(lines) // 2 :]), path.with_name(f".{GONE}"))
    with os.fdopen(files.open_or_create(path, os.O_APPEND), "ab+") as file:
        os.fchmod(file.fileno(), files.file_mode(journal))
        end = file.seek(0, os.SEEK_END)
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            file.write(b"\n")  # a crash or a full disk has cut the last line off
        for row in rows:
            file.write(json.dumps(asdict(row)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
