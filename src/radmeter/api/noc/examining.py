"""doctor's findings for the pages: looked for in a thread now and then, never while somebody waits."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from radmeter.config import Settings
from radmeter.database.connection import connect
from radmeter.doctor import connection as connection_check
from radmeter.doctor.checks import CHECKS
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Level
from radmeter.doctor.runner import bounded, examine
from radmeter.errors import StoreError
from radmeter.units import counted

log = logging.getLogger(__name__)

AGE_SECONDS = 300.0
_WORST_FIRST = (Level.RED, Level.YELLOW, Level.UNKNOWN, Level.GREEN)


@dataclass(frozen=True)
class Examination:
    """What was found, the worst first, and when."""

    at: datetime | None = None
    findings: list[Finding] = field(default_factory=list)
    fault: str | None = None

    @property
    def words(self) -> str:
        """How many findings of each level there are."""
        number = {level: sum(each.level is level for each in self.findings) for level in _WORST_FIRST}
        return ", ".join(f"{count} {level}" for level, count in number.items() if count) or "nothing found"


class Examiner:
    """Runs doctor as a reader."""

    def __init__(self, settings: Settings, dsn: str) -> None:
        self._settings = settings
        self._dsn = dsn
        self._latest = Examination()
        self._at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def latest(self) -> Examination:
        """Return what was found last. If that is old, look again beside it."""
        under_way = self._task is not None and not self._task.done()
        if not under_way and time.monotonic() - self._at > AGE_SECONDS:
            self._task = asyncio.create_task(self._look(), name="doctor")
        return self._latest

    async def close(self) -> None:
        """Wait for nothing: a thread that looks ends with the process."""
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        try:
            self._latest = await asyncio.to_thread(self._examined)
        except Exception as error:
            log.exception("doctor did not look")
            self._latest = Examination(datetime.now(UTC), [], f"doctor did not look: {type(error).__name__}")
        self._at = time.monotonic()

    def _examined(self) -> Examination:
        context = Context(settings=self._settings, dsn=self._dsn)
        found: list[Finding] = []
        try:
            context.connection = connect(self._dsn)
            context.connection.execute("SET ROLE radmeter_reader")
            bounded(context.connection)
        except (StoreError, OSError, psycopg.Error) as error:
            context.connection = None
            found.append(connection_check.failed(context, error))
        try:
            examine(context, CHECKS, found.append)
        finally:
            if context.connection is not None:
                context.connection.close()
        return Examination(datetime.now(UTC), sorted(found, key=lambda each: _WORST_FIRST.index(each.level)))


def in_short(examination: Examination, most: int) -> tuple[list[Finding], str]:
    """Return the findings that somebody has to do something about, some of them, and in words how many there are."""
    bad = [each for each in examination.findings if each.level in (Level.RED, Level.YELLOW)]
    more = len(bad) - most
    return bad[:most], f"and {counted(more, 'more finding')}" if more > 0 else ""
