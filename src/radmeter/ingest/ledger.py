"""The shipper's own file about a journal: which segments it has seen, and how far it has shipped each.

The database says what is counted. The ledger says what was counted once, so the shipper can tell that the database, or
the journal's directory, is older than it was.
"""

import contextlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from radmeter.errors import JournalError, os_reason
from radmeter.ingest.kept_ages import KeptAges
from radmeter.plugin.journal import files
from radmeter.plugin.journal.kept import is_full
from radmeter.plugin.journal.reader import Segment

log = logging.getLogger(__name__)

LEDGER = "ledger.json"
# Segments that are no longer kept, a line each. They are read only if the database lacks some.
GONE = "ledger-gone.jsonl"
# About 30,000 segments. 7 million packets a day fill 90.
MOST_GONE_BYTES = 8 << 20
FORMAT = 1


@dataclass
class Known:
    """What is known of a segment.

    `last_seq`, `digest`: how far it is shipped. `most_seq`: how far it ever was. `lost_seq`: the last number that is
    known to be lost. Arrivals are in microseconds since 1970, UTC. `ended`: all of it was shipped, and nothing is added
    to it; `ended_us`: when that was found. If nothing of it was shipped: when the segment was found to be gone.
    `shipped_as`: the id under which the records above `shipped_after` are shipped, if the segment was forked.
    """

    id: str
    name: str
    format: int
    node: str
    first_seq: int
    previous: str | None
    last_seq: int
    digest: int | None = 0
    most_seq: int = 0
    lost_seq: int = 0
    first_us: int | None = None
    last_us: int | None = None
    ended: bool = False
    ended_us: int | None = None
    damaged: bool = False
    shipped_as: str | None = None
    shipped_after: int = 0

    @property
    def end(self) -> int:
        """The last number that it is known to have had."""
        return max(self.most_seq, self.lost_seq)

    @property
    def records(self) -> int:
        """How many records were ever shipped. Numbers are contiguous in a segment."""
        return max(0, self.most_seq - self.first_seq + 1)

    @property
    def done_us(self) -> int | None:
        """When its shipper was done with it, as far as that is known."""
        return self.ended_us or self.last_us

    def shipped(self, seq: int, digest: int | None, first_us: int, last_us: int) -> None:
        """Note that a batch of the segment was counted: up to which number, and its arrivals."""
        self.last_seq, self.digest, self.most_seq = seq, digest, max(self.most_seq, seq)
        self.first_us = first_us if self.first_us is None else min(self.first_us, first_us)
        self.last_us = last_us if self.last_us is None else max(self.last_us, last_us)


class Ledger:
    """The ledger of a journal. Only the journal's shipper writes it. Read it once, with `load`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, Known] = {}
        self._changed = False
        # Shipping goes on when the disk is full: that is what makes room.
        self._make_room: Callable[[], bool] = lambda: False
        self._is_full = False
        # Incidents about packets that the database lacks and that are shipped again.
        self.rewound: list[dict[str, Any]] = []
        self.ages = KeptAges()

    def give_way_with(self, make_room: Callable[[], bool]) -> None:
        """Let `make_room` delete something when the disk is full. It returns False if it cannot."""
        self._make_room = make_room

    def load(self) -> None:
        """Read the ledger. One that is damaged is put aside and begins again: the database knows the progress."""
        path = self._directory / LEDGER
        try:
            self.read()
        except JournalError as error:
            put_aside = path.with_name(f"{LEDGER}.damaged")
            log.error("%s. It is kept as %s, and begins again", error, put_aside.name)
            path.rename(put_aside)
            self._known, self.rewound, self.ages = {}, [], KeptAges()

    def read(self) -> None:
        """Read the ledger, and change nothing on disk. Raises JournalError if it is damaged, and OSError."""
        path = self._directory / LEDGER
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows, rewound = [_known(row) for row in content["segments"]], list(content.get("rewound", []))
            if not all(isinstance(each, dict) for each in rewound):
                raise TypeError("an incident is no object")
            ages = KeptAges()
            ages.load(content.get("kept", {}))
        except FileNotFoundError:
            rows, rewound, ages = [], [], KeptAges()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise JournalError(f"the ledger {path} is damaged: {type(error).__name__}: {error}") from error
        self._known, self.rewound, self.ages = {row.id: row for row in rows}, rewound, ages
        self._changed = False

    def known(self, segment_id: str) -> Known | None:
        """Return what is known of a segment; None if it was never seen."""
        return self._known.get(segment_id)

    def forked(self, segment_id: str) -> Known | None:
        """Return what is known of a segment if it was forked; None if it was not."""
        known = self._known.get(segment_id)
        return known if known is not None and known.shipped_as is not None else None

    def named(self, name: str) -> Known | None:
        """Return what is known of the segment in a file of that name."""
        return next((row for row in self._known.values() if row.name == name), None)

    def all(self) -> list[Known]:
        """Return all segments that are not gone, in the order of their numbers."""
        return sorted(self._known.values(), key=lambda row: row.first_seq)

    def saw(self, segment: Segment, node: str) -> Known:
        """Return what is known of a segment. One that was never seen is noted, with nothing shipped."""
        header = segment.header
        row = self._known.get(header.id)
        if row is None:
            row = Known(
                header.id,
                segment.path.name,
                header.format,
                header.node or node,
                segment.first_seq,
                header.previous,
                segment.first_seq - 1,
            )
            self._known[header.id] = row
            self._changed = True
        return row

    def add(self, known: Known) -> None:
        """Note a segment that cannot be read."""
        self._known.setdefault(known.id, known)
        self._changed = True

    def change(self) -> None:
        """Note that a row was changed."""
        self._changed = True

    def gone(self, rows: list[Known]) -> None:
        """Note that segments are no longer kept. If the disk is full, they stay in the ledger until later."""
        if not rows or not self._unless_full(lambda: self._append_gone(rows)):
            return
        for row in rows:
            self._known.pop(row.id, None)
        self._changed = True
        self.save()

    def gone_segments(self) -> Iterator[Known]:
        """Yield the segments that are no longer kept, the oldest first. A line that a crash cut off is left out."""
        with (
            contextlib.suppress(FileNotFoundError),
            (self._directory / GONE).open(encoding="utf-8", errors="replace") as lines,
        ):
            for line in lines:
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    yield _known(json.loads(line))

    def note_rewound(self, incident: dict[str, Any]) -> None:
        """Note that packets are shipped again. It stays until the database has them."""
        same = ("segment", "first_seq")
        self.rewound = [
            each for each in self.rewound if any(each.get(name) != incident.get(name) for name in same)
        ]
        self.rewound.append(incident)
        self._changed = True

    def save(self, *, durable: bool = False) -> None:
        """Write what has changed. `durable`: it survives a power cut. On a full disk it is written later."""
        if self._changed:
            self._changed = not self._unless_full(lambda: self._write_all(durable=durable))

    def save_at_once(self) -> None:
        """Write what has changed, durably. Raises OSError also if the disk is full."""
        self._write_all(durable=True)
        self._changed = False

    def _unless_full(self, write: Callable[[], None]) -> bool:
        """Write something. Return False if the disk is full and nothing gives way."""
        while True:
            try:
                write()
            except OSError as error:
                if not is_full(error):
                    raise
                if self._make_room():
                    continue
                if not self._is_full:
                    log.warning("the ledger is not written: %s. Shipping goes on", os_reason(error))
                self._is_full = True
                return False
            self._is_full = False
            return True

    def _write_all(self, *, durable: bool) -> None:
        content = {
            "format": FORMAT,
            "rewound": self.rewound,
            "kept": self.ages.content(),
            "segments": [asdict(row) for row in self.all()],
        }
        self._write(self._directory / LEDGER, json.dumps(content).encode(), durable=durable)

    def _append_gone(self, rows: list[Known]) -> None:
        path = self._directory / GONE
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > MOST_GONE_BYTES:
                lines = path.read_bytes().splitlines(keepends=True)
                self._write(path, b"".join(lines[len(lines) // 2 :]))
        with os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab+"
        ) as file:
            os.fchmod(file.fileno(), files.file_mode(self._directory))
            end = file.seek(0, os.SEEK_END)
            if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
                file.write(b"\n")  # a crash or a full disk has cut the last line off
            for row in rows:
                file.write(json.dumps(asdict(row)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        files.replace_file(path, data, path.with_name(f".{path.name}"), durable=durable)


# By a field's name: the types it may have.
_FIELDS = {field.name: get_args(field.type) or (field.type,) for field in fields(Known)}


def _known(row: dict[str, Any]) -> Known:
    """Return a segment as a line of the ledger has it. Raises TypeError, ValueError or KeyError if that is damaged."""
    if not isinstance(row, dict):
        raise TypeError("a segment is no object")
    known = Known(**{name: value for name, value in row.items() if name in _FIELDS})
    for name, kinds in _FIELDS.items():
        if type(getattr(known, name)) not in kinds:  # not isinstance: a bool is an int, too
            raise TypeError(f"{name} is {getattr(known, name)!r:.40}")
    for each in (known.id, known.previous, known.shipped_as):
        if each is not None:
            uuid.UUID(each)
    return known
