"""The journal of the host on which the server runs, for the page of the pipeline."""

from pathlib import Path

from radmeter.database.connection import connect
from radmeter.database.deadline import Deadline
from radmeter.errors import JournalError, StoreError
from radmeter.metrics import journal_figures
from radmeter.metrics.journal_figures import JournalFigures

ANSWER_SECONDS = 5.0


class HostJournal:
    """Reads the figures of a journal. `dsn` is the database that knows what was shipped."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self._dsn = dsn
        self._directory = directory

    def read(self) -> tuple[JournalFigures | None, str | None]:
        """Return the figures, None without a journal for this user; and why it cannot be read. For a thread."""
        if journal_figures.is_for_others(self._directory) or not self._directory.is_dir():
            return None, None
        try:
            try:
                deadline = Deadline(ANSWER_SECONDS, ANSWER_SECONDS)
                with connect(self._dsn, autocommit=False, any_pooler=True, deadline=deadline) as connection:
                    connection.execute("SET LOCAL ROLE radmeter_reader")
                    return journal_figures.read(self._directory, connection), None
            except StoreError:
                return journal_figures.read(self._directory, None), None
        except (JournalError, OSError) as error:
            return None, str(error)
