"""The plugin's settings: from the module's config { } in raddb, else from RADMETER_* variables, else the defaults."""

import os
from dataclasses import dataclass
from pathlib import Path

from radmeter.errors import ConfigurationError

DEFAULTS = {
    "journal": "/var/lib/radmeter/journal",
    "sync": "packet",
    "sync_interval_ms": "5",
    "segment_bytes": str(64 << 20),
    "journal_limit_bytes": str(8 << 30),
    "client_packets_per_second": "5000",
    "session_packets_per_second": "5",
    "quarantine": "",
    "quarantine_limit_bytes": str(64 << 20),
    "scheduling": "auto",
}
SYNC = ("packet", "interval")
SCHEDULING = ("auto", "realtime", "short", "normal")
# The lowest and the highest value of each number.
LIMITS = {
    "sync_interval_ms": (1, 60_000),
    "segment_bytes": (1 << 16, 1 << 40),
    "journal_limit_bytes": (1 << 20, 1 << 50),
    "client_packets_per_second": (0, 1_000_000),
    "session_packets_per_second": (0, 1_000_000),
    "quarantine_limit_bytes": (0, 1 << 50),
}


@dataclass(frozen=True, kw_only=True)
class PluginSettings:
    """The settings of the one journal that all instances of the module share."""

    journal: str
    sync: str
    sync_interval_ms: int
    segment_bytes: int
    journal_limit_bytes: int
    client_packets_per_second: int
    session_packets_per_second: int
    quarantine: str
    quarantine_limit_bytes: int
    scheduling: str


def read_settings(config: dict[str, object]) -> PluginSettings:
    """Return the settings in force: the module's `config { }`, else RADMETER_*, else the defaults.

    An empty value counts as absent, so that raddb can say `sync = "$ENV{RADMETER_SYNC}"`.

    Raises
    ------
    ConfigurationError
        A setting is unknown, or a value cannot be used.
    """
    if unknown := sorted(set(config) - set(DEFAULTS)):
        raise ConfigurationError(
            f"config has unknown settings: {', '.join(unknown)}; known: {', '.join(DEFAULTS)}"
        )
    values = {
        name: str(config.get(name) or os.environ.get(f"RADMETER_{name.upper()}") or default)
        for name, default in DEFAULTS.items()
    }
    if not Path(values["journal"]).is_absolute():
        raise ConfigurationError(
            f"journal = {values['journal']!r}: give an absolute path, radiusd changes directory"
        )
    for name, allowed in (("sync", SYNC), ("scheduling", SCHEDULING)):
        if values[name] not in allowed:
            words = f"{', '.join(allowed[:-1])} and {allowed[-1]}"
            raise ConfigurationError(f"{name} = {values[name]!r}: allowed are {words}")
    return PluginSettings(
        journal=values["journal"],
        sync=values["sync"],
        scheduling=values["scheduling"],
        quarantine=values["quarantine"],
        **{name: _number(name, values[name]) for name in LIMITS},
    )


def _number(name: str, value: str) -> int:
    least, most = LIMITS[name]
    if value.isdecimal() and least <= int(value) <= most:
        return int(value)
    raise ConfigurationError(f"{name} = {value!r}: allowed is a whole number from {least} to {most}")


def check_place(journal: str) -> None:
    """Raise ConfigurationError unless the journal's directory can be written or made. Writes nothing."""
    place = Path(journal)
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise ConfigurationError(f"journal = {journal!r}: {place} is not a directory")
    if not os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        made = "" if str(place) == journal else f", so {journal} cannot be made"
        raise ConfigurationError(
            f"journal = {journal!r}: user id {os.geteuid()} may not write in {place}{made}"
        )
