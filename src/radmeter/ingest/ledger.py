"""The shipper's own file about a journal: which segments it has seen, and how far it has shipped each.

The database says what is counted. The ledger says what was counted once, so the shipper can tell that the database, or
the journal's directory, is older than it was.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from radmeter.errors import JournalError
from radmeter.ingest import gone_segments
from radmeter.ingest.full_disk import FullDisk
from radmeter.ingest.kept_ages import KeptAges
from radmeter.ingest.known import Known, known_from_json
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Segment

log = logging.getLogger(__name__)

LEDGER = "ledger.json"
FORMAT = 1


def read_ledger(directory: Path) -> "Ledger":
    """Return the ledger of a journal, for others than its shipper. It is empty if there is none or it is damaged."""
    ledger = Ledger(directory)
    with suppress(JournalError, OSError):
        ledger.read()
    return ledger


class Ledger:
    """The ledger of a journal. Only the journal's shipper writes it. Read it once, with `load`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, Known] = {}
        self._changed = False
        self._disk = FullDisk()
        # Incidents about packets that the database lacks and that are shipped again.
        self.rewound: list[dict[str, Any]] = []
        self.ages = KeptAges()

    def give_way_with(self, make_room: Callable[[], bool]) -> None:
        """Let `make_room` delete something when the disk is full. It returns False if it cannot."""
        self._disk.give_way_with(make_room)

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
            rows, rewound = (
                [known_from_json(row) for row in content["segments"]],
                list(content.get("rewound", [])),
            )
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
        if not rows or not self._disk.written(
            "the ledger", lambda: gone_segments.append(self._directory, rows)
        ):
            return
        for row in rows:
            self._known.pop(row.id, None)
        self._changed = True
        self.save()

    def gone_segments(self) -> Iterator[Known]:
        """Yield the segments that are no longer kept, the oldest first."""
        return gone_segments.read(self._directory)

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
            self._changed = not self._disk.written("the ledger", lambda: self._write_all(durable=durable))

    def save_at_once(self) -> None:
        """Write what has changed, durably. Raises OSError also if the disk is full."""
        self._write_all(durable=True)
        self._changed = False

    def _write_all(self, *, durable: bool) -> None:
        content = {
            "format": FORMAT,
            "rewound": self.rewound,
            "kept": self.ages.content(),
            "segments": [asdict(row) for row in self.all()],
        }
        path = self._directory / LEDGER
        files.replace_file(path, json.dumps(content).encode(), path.with_name(f".{LEDGER}"), durable=durable)
