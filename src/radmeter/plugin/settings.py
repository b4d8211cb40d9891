"""The plugin's settings, from the environment, the module's config { } in raddb, and the configuration file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radmeter.errors import ConfigurationError
from radmeter.plugin import config_file

DEFAULTS = {
    "journal": "{state}/journal",
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
# The source of a value in the module's own configuration.
CONFIG = "config { }"
SYNC = ("packet", "interval")
SCHEDULING = ("auto", "realtime", "short", "normal")
# Python reads no number with thousands of digits.
LONGEST_NUMBER = 20
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
    # Which configuration file was read, and where the journal's place came from. Other values are not told apart.
    file: Path | None = None
    journal_source: str = field(default="default", compare=False)


def read_settings(
    config: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
    package: Path = config_file.PACKAGE,
) -> PluginSettings:
    """Return the settings in force: RADMETER_*, else the module's `config { }`, else the file, else the defaults.

    An empty value counts as absent, so that raddb can say `sync = "$ENV{RADMETER_SYNC}"`.

    Parameters
    ----------
    config
        The module's `config { }`.
    environ
        The server's environment. None: this process's.
    package
        The package `radmeter` that the server imports, on which the defaults depend.

    Raises
    ------
    ConfigurationError
        A setting is unknown, a value cannot be used, or the configuration file cannot be read.
    """
    environ = os.environ if environ is None else environ
    if unknown := sorted(set(config) - set(DEFAULTS)):
        raise ConfigurationError(
            f"config has unknown settings: {', '.join(unknown)}; known: {', '.join(DEFAULTS)}"
        )
    file = config_file.in_force(None, environ, package, programs=config_file.COMMANDS)
    of_file = {} if file is None else {key: given.text for key, given in file.values.items()}
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    for name, default in {"state": str(config_file.default_state(package)), **DEFAULTS}.items():
        variable = f"RADMETER_{name.upper()}"
        found = {
            variable: environ.get(variable),
            CONFIG: config.get(name),
            str(file and file.path): of_file.get(name),
            "default": default.replace("{state}", values.get("state", "")),
        }
        sources[name] = next((source for source, text in found.items() if text), "default")
        values[name] = str(found[sources[name]])
    if not Path(values["journal"]).is_absolute():
        raise _refused("journal", values, sources, "give an absolute path, radiusd changes directory")
    for name, allowed in (("sync", SYNC), ("scheduling", SCHEDULING)):
        if values[name] not in allowed:
            words = f"{', '.join(allowed[:-1])} and {allowed[-1]}"
            raise _refused(name, values, sources, f"allowed are {words}")
    for name, (least, most) in LIMITS.items():
        digits = values[name].isdecimal() and len(values[name]) <= LONGEST_NUMBER
        if not digits or not least <= int(values[name]) <= most:
            raise _refused(name, values, sources, f"allowed is a whole number from {least} to {most}")
    return PluginSettings(
        journal=values["journal"],
        sync=values["sync"],
        scheduling=values["scheduling"],
        quarantine=values["quarantine"],
        **{name: int(values[name]) for name in LIMITS},
        file=None if file is None else file.path,
        # By default it is in the state directory.
        journal_source=sources["journal"] if sources["journal"] != "default" else sources["state"],
    )


def _refused(
    name: str, values: Mapping[str, str], sources: Mapping[str, str], allowed: str
) -> ConfigurationError:
    origin = "" if sources[name] == CONFIG else f" ({config_file.origin(sources[name])})"
    return ConfigurationError(f"{name} = {values[name]!r}: {allowed}{origin}")


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
