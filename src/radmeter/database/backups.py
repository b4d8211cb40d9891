"""The backups that pgBackRest of this machine knows."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, NamedTuple

PGBACKREST_SECONDS = 10.0


class Backup(NamedTuple):
    """A backup that pgBackRest knows: when it ended (seconds since 1970), its label, and the name of its stanza."""

    at: float
    label: str
    stanza: str


def stanzas() -> Sequence[dict[str, Any]]:
    """Return the output of `pgbackrest info`. It is empty where there is no pgBackRest, or it does not answer."""
    if shutil.which("pgbackrest") is None:
        return []
    try:
        done = subprocess.run(
            ["pgbackrest", "--log-level-file=off", "info", "--output=json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PGBACKREST_SECONDS,
            check=False,
        )
        found: Sequence[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return []
    return found


def newest_of(stanzas: Sequence[dict[str, Any]], system: int | None) -> Backup | None:
    """Return the newest backup without error in the output of `pgbackrest info`; None if there is none.

    Parameters
    ----------
    system
        The server's system identifier. Backups of other servers do not count. None: it is not known, so all count.
    """
    found = []
    for stanza in stanzas:
        systems = {each.get("id"): each.get("system-id") for each in stanza.get("db", [])}
        for backup in stanza.get("backup", []):
            of = systems.get(backup.get("database", {}).get("id"))
            if not backup.get("error") and (system is None or of == system):
                found.append(Backup(float(backup["timestamp"]["stop"]), backup["label"], stanza["name"]))
    return max(found, default=None)
