"""Finds out which journals the running radiusds use, and whether one of them is ours."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from radmeter.config import Settings
from radmeter.errors import ConfigurationError
from radmeter.freeradius import installed
from radmeter.freeradius.instances import instances, settings_of
from radmeter.freeradius.open_journal import is_contained, open_journal, same
from radmeter.freeradius.raddb import read
from radmeter.ingest.holders import holder
from radmeter.plugin.config_file import INSTALLED_STATE, origin
from radmeter.plugin.journal.locks import READER, WRITER

WATCH_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class JournalInUse:
    """The journal of a running radiusd.

    Attributes
    ----------
    raddb
        The server's configuration directory; None if it is not known.
    journal
        The journal that it has open, else the one that its configuration names.
    configured
        The journal that its configuration names now; None if this user cannot tell.
    is_open
        Whether it has the journal open. It opens it at the first packet.
    """

    pid: int
    raddb: Path | None
    journal: Path
    configured: Path | None
    is_open: bool

    @property
    def shown(self) -> str:
        """Return in words what it does."""
        how = "writes to" if self.is_open else "is configured for"
        return f"radiusd (process {self.pid}) {how} the journal {self.journal}"

    @property
    def is_shipped(self) -> bool:
        """Tell whether somebody ships the journal."""
        try:
            return holder(self.journal, READER) is not None
        except OSError:
            return False


def journals(ours: Path) -> list[JournalInUse]:
    """Return the journals of the running radiusds that have radmeter's module. Those in containers are left out."""
    found = []
    for process in installed.running():
        if is_contained(process.pid):
            continue
        raddb = process.raddb or next(
            (Path(place) for place in installed.PLACES if (Path(place) / "radiusd.conf").exists()), None
        )
        configured = _configured(raddb, process.environment)
        usual = [ours, INSTALLED_STATE / "journal", *([configured] if configured else [])]
        opened = open_journal(process.pid, usual)
        if journal := opened or configured:
            found.append(
                JournalInUse(
                    pid=process.pid,
                    raddb=raddb,
                    journal=journal,
                    configured=configured,
                    is_open=opened is not None,
                )
            )
    return found


def elsewhere(ours: Path) -> list[JournalInUse]:
    """Return the journals that radiusds use and nobody ships, if no radiusd uses ours."""
    try:
        if holder(ours, WRITER) is not None:
            return []
    except OSError:
        return []
    found = journals(ours)
    if any(same(each.journal, ours) for each in found):
        return []
    return [each for each in found if not each.is_shipped]


def warning(settings: Settings) -> str:
    """Return what to tell the operator of a shipper whose journal no radiusd writes; "" if there is nothing to tell."""
    found = elsewhere(settings.journal)
    if not found:
        return ""
    return (
        f"{'; '.join(each.shown for each in found)}, which nobody ships. This shipper reads {settings.journal} "
        f"({origin(settings.journal_source)}): give both the same journal. `radmeter doctor` prints the command"
    )


def watch(settings: Settings, stop: threading.Event, warn: Callable[[str], None]) -> None:
    """Warn, until `stop` is set, when a radiusd uses a journal that nobody ships instead of ours. Warn once of each."""
    said = ""
    while True:
        text = warning(settings)
        if text and text != said:
            warn(text)
        said = text
        if stop.wait(WATCH_SECONDS):
            return


def _configured(raddb: Path | None, environment: dict[str, str] | None) -> Path | None:
    """Return the journal that a configuration names; None if it names none, or if this user cannot tell."""
    if raddb is None:
        return None
    if environment is None:
        environment = installed.environment_file()[1]
    try:
        root = read(raddb)
        for instance in instances(root).values():
            return Path(settings_of(instance, root, environment).journal)
    except (OSError, ConfigurationError):
        pass
    return None
