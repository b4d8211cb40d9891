"""How far the shipper is in a segment."""

from dataclasses import dataclass

from radmeter.ingest.known import Known
from radmeter.ingest.store import Progress
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import Segment


@dataclass
class Position:
    """A segment that is not wholly counted, what is known of it, and how far the database has it."""

    segment: Segment
    known: Known
    progress: Progress
    # The last number that is shipped from here; None: all. The records behind it have another id (a fork).
    until: int | None = None

    @property
    def id(self) -> str:
        """The id under which the database has its progress."""
        return self.known.id if self.until is not None else self.known.shipped_as or self.known.id

    @property
    def is_again(self) -> bool:
        """Whether the segment was shipped before, and the database lacks it."""
        return self.segment.path.parent.name == files.AGAIN
