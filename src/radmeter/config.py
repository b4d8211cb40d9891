"""The settings, from the command line, the environment and the configuration file. Each value has its source."""

import ipaddress
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from radmeter.database.dsn import parse as parse_dsn
from radmeter.database.dsn import redacted, with_password
from radmeter.errors import ConfigurationError
from radmeter.plugin import config_file
from radmeter.plugin import settings as plugin
from radmeter.plugin.settings import LONGEST_NUMBER
from radmeter.secret_files import read_password

# If one of these is set, the operator points libpq at a server, and radmeter does not start its embedded one.
LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGDATABASE", "PGUSER")

Parse = Callable[[str], Any]


class Setting(NamedTuple):
    """A setting: its field in Settings, its environment variable, its default and its meaning."""

    name: str
    variable: str
    default: str
    meaning: str

    @property
    def option(self) -> str:
        """The command line option that overrides it."""
        return "--" + self.name.replace("_", "-")


class SettingInForce(NamedTuple):
    """A setting with its value, without passwords and secrets, and its source."""

    name: str
    variable: str
    value: str
    source: str
    default: str
    meaning: str


def _path(text: str) -> Path:
    # Absolute, because radiusd and the programs of `radmeter up` have other working directories.
    return Path(text).expanduser().absolute()


def _integer(lowest: int, highest: int) -> Parse:
    def parse(text: str) -> int:
        # As the plugin reads it: int() also takes 67_108_864 and spaces, and radiusd would not start.
        number = int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else None
        if number is None or not lowest <= number <= highest:
            raise ValueError(f"an integer from {lowest} to {highest}")
        return number

    return parse


AUTO = "auto"


def _integer_or_auto(lowest: int, highest: int) -> Parse:
    """Parse a number. None: the program chooses it."""
    number = _integer(lowest, highest)

    def parse(text: str) -> int | None:
        try:
            return None if text == AUTO else int(number(text))
        except ValueError as error:
            raise ValueError(f"{error}, or {AUTO}") from None

    return parse


def _choice(*allowed: str) -> Parse:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return parse


def _timezone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise ValueError("the name of an IANA time zone, such as UTC or Europe/Berlin") from None
    return text


class Networks(tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]):
    """Networks; as text they are separated by commas."""

    def __str__(self) -> str:
        return ", ".join(map(str, self))


def _networks(text: str) -> Networks:
    try:
        return Networks(ipaddress.ip_network(each.strip()) for each in text.split(","))
    except ValueError:
        raise ValueError("networks such as 10.20.0.0/16, fd00::/8, separated by commas") from None


def _proxy_role(text: str) -> str | None:
    if text in ("reader", "noc"):
        return text
    raise ValueError("reader or noc")


class Listen(NamedTuple):
    """An address and a TCP port to listen on. As text it is ``127.0.0.1:8320`` or ``[::1]:8320``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _listen(text: str) -> Listen:
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        if not separator or bracketed != (address.version == 6) or getattr(address, "scope_id", None):
            raise ValueError
        return Listen(str(address), _integer(0, 65_535)(port))
    except ValueError:
        raise ValueError(
            "an address and a port, such as 127.0.0.1:8320 or [::1]:8320; port 0: a free one"
        ) from None


def _text(text: str) -> str:
    if not text.isprintable() or '"' in text or "\\" in text:
        # It is written between quotes into FreeRADIUS's configuration and into a shell's environment file.
        raise ValueError("printable characters without a double quote or backslash")
    return text


def _dsn(text: str) -> str:
    parse_dsn(text)
    return text


def _with_password(dsn: str | None, path: Path, source: str) -> str:
    """Return a connection string with the password in a file, without the line feed at its end."""
    if dsn is None:
        raise ConfigurationError(
            f"{source}: there is no database to use it for; set dsn, RADMETER_DSN or PGHOST"
        )
    return with_password(dsn, read_password(path, f"{source}: the password in {path}"))


def _with_secret(path: Path, source: str) -> str:
    """Return the RADIUS secret in a file, without the line feed at its end."""
    try:
        return _text(read_password(path, f"{source}: the secret in {path}"))
    except ValueError as error:
        raise ConfigurationError(f"{source}: the secret in {path}: allowed are {error}") from None


def _has_password(dsn: str) -> bool:
    return any("password" in keyword for keyword in parse_dsn(dsn))


def _about(variable: str, default: str, parse: Parse, meaning: str) -> dict[str, Any]:
    return {"variable": variable, "default": default, "parse": parse, "meaning": meaning}


_OPTION, _VARIABLE, _OF_FILE, _DEFAULT = range(4)


def _rank(source: str) -> int:
    """Return which kind of source it is. The lower one wins."""
    if source == "default":
        return _DEFAULT
    return _OPTION if source.startswith("--") else _OF_FILE if source.startswith("/") else _VARIABLE


def _label(name: str, source: str) -> str:
    """Return how a message names a value: an option or a variable says which setting it is, a file does not."""
    return f"{source}: {name}" if _rank(source) == _OF_FILE else source


def _chosen(
    name: str,
    option: str | None,
    environ: Mapping[str, str],
    file: config_file.ConfigFile | None,
    sources: Mapping[str, str],
) -> tuple[str | None, str]:
    """Return a setting as text, None if it has none, and its source. `sources` has those of the settings before it."""
    about = _METADATA[name]
    if option is not None:
        return option, BY_NAME[name].option
    if environ.get(about["variable"]):
        return environ[about["variable"]], about["variable"]
    if name == "dsn" and (libpq := next((each for each in LIBPQ_VARIABLES if environ.get(each)), None)):
        return "", libpq
    given = None if file is None else file.values.get(name)
    # The file's standby and password are those of the file's database. They are not for another one.
    if given is not None and (
        name not in ("read_dsn", "password_file") or _rank(sources["dsn"]) not in (_OPTION, _VARIABLE)
    ):
        return given.text, given.source
    return about["default"] or None, "default"


def _check_of_file(file: config_file.ConfigFile, name: str, text: str, label: str) -> None:
    """Check what only values of the file must be: a whole path, and no secret that every user can read."""
    if _METADATA[name]["parse"] is _path and not text.startswith("/"):
        raise ConfigurationError(f"{label} {text!r}: allowed is an absolute path")
    if file.public and (name == "secret" or (name in ("dsn", "read_dsn") and _has_password(text))):
        kind = "secret" if name == "secret" else "password"
        raise ConfigurationError(
            f"{label}: every user of this machine can read the file, so it may hold no {kind}. Write it into a file of "
            f"its own and name that as {kind}_file. The users of FreeRADIUS, the shipper and the jobs all read "
            f"{file.path}"
        )


def _read_secrets(values: dict[str, Any], sources: Mapping[str, str], uses: Collection[str]) -> None:
    """Put the password and the RADIUS secret into the settings that are used, from the files that have them."""
    path, source = values["password_file"], sources["password_file"]
    if path is not None and not {"dsn", "read_dsn"}.isdisjoint(uses):
        label = _label("password_file", source)
        values["dsn"] = _with_password(values["dsn"], path, label)
        is_of_another = _rank(source) == _OF_FILE and _rank(sources["read_dsn"]) < _OF_FILE
        if values["read_dsn"] is not None and not is_of_another:
            values["read_dsn"] = _with_password(values["read_dsn"], path, label)
    path, source = values["secret_file"], sources["secret_file"]
    if path is not None and "secret" in uses and _rank(source) <= _rank(sources["secret"]):
        values["secret"] = _with_secret(path, _label("secret_file", source))


# In a default, `{state}` stands for the state directory in force.
@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in force, from `Settings.load`. Sizes are in bytes; times are in the unit that the name says."""

    state: Path = field(
        metadata=_about(
            "RADMETER_STATE",
            str(config_file.default_state()),
            _path,
            "directory for all files of radmeter's own",
        )
    )
    dsn: str | None = field(
        repr=False,
        metadata=_about(
            "RADMETER_DSN",
            "",
            _dsn,
            "PostgreSQL connection string; empty: libpq's PG* variables if set, else an embedded PostgreSQL",
        ),
    )
    read_dsn: str | None = field(
        repr=False,
        metadata=_about(
            "RADMETER_READ_DSN",
            "",
            _dsn,
            "connection string of a standby for commands that only read; empty: they use the database itself",
        ),
    )
    password_file: Path | None = field(
        metadata=_about(
            "RADMETER_PASSWORD_FILE",
            "",
            _path,
            "file with the database's password; one in the configuration file is for the database named there",
        )
    )
    answer_seconds: int = field(
        metadata=_about(
            "RADMETER_ANSWER_SECONDS",
            "90",
            _integer(2, 86_400),
            "seconds without an answer after which a database that does not work on the statement is given up",
        )
    )
    journal: Path = field(
        metadata=_about(
            "RADMETER_JOURNAL", plugin.DEFAULTS["journal"], _path, "directory of the journal, on a local disk"
        )
    )
    sync: Literal["packet", "interval"] = field(
        metadata=_about(
            "RADMETER_SYNC",
            plugin.DEFAULTS["sync"],
            _choice(*plugin.SYNC),
            "packet: on disk before each reply; interval: a power cut can cost the last interval",
        )
    )
    sync_interval_ms: int = field(
        metadata=_about(
            "RADMETER_SYNC_INTERVAL_MS",
            plugin.DEFAULTS["sync_interval_ms"],
            _integer(*plugin.LIMITS["sync_interval_ms"]),
            "milliseconds between two flushes to disk with sync = interval",
        )
    )
    segment_bytes: int = field(
        metadata=_about(
            "RADMETER_SEGMENT_BYTES",
            plugin.DEFAULTS["segment_bytes"],
            _integer(*plugin.LIMITS["segment_bytes"]),
            "bytes at which a segment is closed and the next one begins",
        )
    )
    journal_limit_bytes: int = field(
        metadata=_about(
            "RADMETER_JOURNAL_LIMIT_BYTES",
            plugin.DEFAULTS["journal_limit_bytes"],
            _integer(*plugin.LIMITS["journal_limit_bytes"]),
            "bytes at which the journal refuses packets until the shipper has caught up",
        )
    )
    client_packets_per_second: int = field(
        metadata=_about(
            "RADMETER_CLIENT_PACKETS_PER_SECOND",
            plugin.DEFAULTS["client_packets_per_second"],
            _integer(*plugin.LIMITS["client_packets_per_second"]),
            "packets a second answered to one RADIUS client while others send too; 0: no limit",
        )
    )
    session_packets_per_second: int = field(
        metadata=_about(
            "RADMETER_SESSION_PACKETS_PER_SECOND",
            plugin.DEFAULTS["session_packets_per_second"],
            _integer(*plugin.LIMITS["session_packets_per_second"]),
            "packets a second answered to one session of a busy client while others send too; 0: no limit",
        )
    )
    quarantine_limit_bytes: int = field(
        metadata=_about(
            "RADMETER_QUARANTINE_LIMIT_BYTES",
            plugin.DEFAULTS["quarantine_limit_bytes"],
            _integer(*plugin.LIMITS["quarantine_limit_bytes"]),
            "bytes of both quarantine files, in which radiusd keeps packets whose text is not UTF-8; 0: no limit",
        )
    )
    scheduling: Literal["auto", "realtime", "short", "normal"] = field(
        metadata=_about(
            "RADMETER_SCHEDULING",
            plugin.DEFAULTS["scheduling"],
            _choice(*plugin.SCHEDULING),
            "how radiusd gets a processor; auto: realtime with sync = packet where permitted, else short slices",
        )
    )
    batch_records: int = field(
        metadata=_about(
            "RADMETER_BATCH_RECORDS", "1000", _integer(1, 100_000), "most records in one batch of the shipper"
        )
    )
    batch_ms: int = field(
        metadata=_about(
            "RADMETER_BATCH_MS",
            "50",
            _integer(0, 60_000),
            "milliseconds the shipper waits for a batch to fill",
        )
    )
    left_out_bytes: int = field(
        metadata=_about(
            "RADMETER_LEFT_OUT_BYTES",
            str(1 << 30),
            _integer(0, 1 << 50),
            "bytes of shipped segments that the shipper keeps longer because packets in them were left out; 0: none",
        )
    )
    kept_hours: int = field(
        metadata=_about(
            "RADMETER_KEPT_HOURS",
            "48",
            _integer(0, 100_000),
            "hours that shipped segments are kept, for a database that is restored from a backup",
        )
    )
    kept_bytes: int | None = field(
        metadata=_about(
            "RADMETER_KEPT_BYTES",
            AUTO,
            _integer_or_auto(0, 1 << 50),
            "most bytes of shipped segments that are kept; auto: 16 GiB, and at most a tenth of the file system",
        )
    )
    timezone: str = field(
        metadata=_about(
            "RADMETER_TIMEZONE",
            "UTC",
            _timezone,
            "time zone of days and periods, for routers and plans without their own",
        )
    )
    stale_minutes: int = field(
        metadata=_about(
            "RADMETER_STALE_MINUTES",
            "10",
            _integer(1, 100_000),
            "minutes without an update after which a session is closed",
        )
    )
    jobs_seconds: int = field(
        metadata=_about(
            "RADMETER_JOBS_SECONDS",
            "300",
            _integer(1, 86_400),
            "seconds between two runs of the periodic jobs",
        )
    )
    archive_after_months: int = field(
        metadata=_about(
            "RADMETER_ARCHIVE_AFTER_MONTHS",
            "0",
            _integer(0, 1200),
            "months after their end that the jobs archive months of sessions; 0: they archive none",
        )
    )
    archive_directory: Path | None = field(
        metadata=_about(
            "RADMETER_ARCHIVE_DIRECTORY",
            "",
            _path,
            "directory to which the jobs archive, and where files are looked for that were moved",
        )
    )
    coa_key_file: Path = field(
        metadata=_about(
            "RADMETER_COA_KEY_FILE",
            "{state}/coa.key",
            _path,
            "file with the key that encrypts the secrets of routers and webhooks in the database",
        )
    )
    billing_directory: Path = field(
        metadata=_about(
            "RADMETER_BILLING_DIRECTORY",
            "{state}/billing",
            _path,
            "directory of issued documents, outside of the database: signed JSON",
        )
    )
    billing_key_file: Path = field(
        metadata=_about(
            "RADMETER_BILLING_KEY_FILE",
            "{state}/billing.key",
            _path,
            "file with the key that signs issued documents",
        )
    )
    webhook_networks: Networks = field(
        metadata=_about(
            "RADMETER_WEBHOOK_NETWORKS",
            "",
            _networks,
            "private networks to which webhooks may be sent, separated by commas; empty: none",
        )
    )
    metrics_routers: int = field(
        metadata=_about(
            "RADMETER_METRICS_ROUTERS",
            "0",
            _integer(0, 1000),
            "active routers that have metrics of their own, those with the lowest numbers; 0: none",
        )
    )
    log_format: Literal["text", "json"] = field(
        metadata=_about(
            "RADMETER_LOG_FORMAT",
            "text",
            _choice("text", "json"),
            "text: lines for people; json: an object a line, for programs that collect logs",
        )
    )
    alerts_file: Path | None = field(
        metadata=_about(
            "RADMETER_ALERTS_FILE",
            "",
            _path,
            "file with the rules of alerts and the mail server; empty: the rules that are built in, and no e-mail",
        )
    )
    http_listen: Listen = field(
        metadata=_about(
            "RADMETER_HTTP_LISTEN",
            "127.0.0.1:8320",
            _listen,
            "address and port of `radmeter serve`; without TLS only for this machine or a proxy's network",
        )
    )
    http_tls_cert: Path | None = field(
        metadata=_about(
            "RADMETER_HTTP_TLS_CERT",
            "",
            _path,
            "file with the certificates of `radmeter serve`; empty: no TLS",
        )
    )
    http_tls_key: Path | None = field(
        metadata=_about("RADMETER_HTTP_TLS_KEY", "", _path, "file with the private key of http_tls_cert")
    )
    http_proxies: Networks = field(
        metadata=_about(
            "RADMETER_HTTP_PROXIES",
            "",
            _networks,
            "networks of proxies before `radmeter serve`, whose X-Forwarded-For and -User are believed; empty: none",
        )
    )
    http_proxy_role: str | None = field(
        metadata=_about(
            "RADMETER_HTTP_PROXY_ROLE",
            "",
            _proxy_role,
            "what those may do on the pages whom X-Forwarded-User names: reader or noc; empty: they log in with a key",
        )
    )
    http_pool: int = field(
        metadata=_about(
            "RADMETER_HTTP_POOL",
            "8",
            _integer(1, 1000),
            "most connections of `radmeter serve` for reading; it has a quarter of that, 2 at least, for writing, "
            "and 2 for keys",
        )
    )
    http_key_file: Path = field(
        metadata=_about(
            "RADMETER_HTTP_KEY_FILE",
            "{state}/http/http.key",
            _path,
            "file with the key that signs cursors and logins of pages; made at the first start",
        )
    )
    acct_host: str = field(
        metadata=_about("RADIUS_ACCT_HOST", "127.0.0.1", _text, "address of the RADIUS accounting server")
    )
    acct_port: int = field(
        metadata=_about(
            "RADIUS_ACCT_PORT", "1813", _integer(1, 65_535), "UDP port of the RADIUS accounting server"
        )
    )
    auth_port: int = field(
        metadata=_about(
            "RADIUS_AUTH_PORT", "1812", _integer(1, 65_535), "UDP port on which `radmeter up` takes logins"
        )
    )
    secret: str = field(
        repr=False,
        metadata=_about("RADIUS_SECRET", "testing123", _text, "secret shared with the RADIUS clients"),
    )
    secret_file: Path | None = field(
        metadata=_about(
            "RADIUS_SECRET_FILE", "", _path, "file with the secret shared with the RADIUS clients"
        )
    )
    # The configuration file that was read.
    file: Path | None = field(default=None, compare=False)
    _sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        config: str | None = None,
        program: str | None = None,
        programs: Collection[str] | None = None,
        uses: Collection[str] | None = None,
        **overrides: object,
    ) -> Self:
        """Read the settings: an override (a command line option), else the environment, the file, the default.

        An override of None, an empty environment variable and an empty value of the file count as not given.

        Parameters
        ----------
        config
            The configuration file that --config names. None: RADMETER_CONFIG names it, or it is in the usual place.
        program, programs
            The command, whose table in the file counts, and all commands that may have one. None: any.
        uses
            The settings that the command uses. Files of secrets that it does not need are not read. None: all.

        Raises
        ------
        ConfigurationError
            A value cannot be used. The message names the variable, option or file, the value and what is allowed.
        """
        environ = os.environ if environ is None else environ
        unknown = overrides.keys() - {setting.name for setting in ALL}
        if unknown:
            raise TypeError(f"not a setting: {', '.join(sorted(unknown))}")
        file = config_file.in_force(config, environ, program=program, programs=programs)
        values: dict[str, Any] = {}
        sources: dict[str, str] = {"file": config_file.source(config, environ)}
        for name, about in _METADATA.items():
            option = overrides.get(name)
            text, source = _chosen(name, None if option is None else str(option), environ, file, sources)
            if text is not None and source == "default":
                text = text.replace("{state}", str(values.get("state")))
            label = _label(name, source)
            try:
                values[name] = None if text is None else about["parse"](text)
            except ValueError as error:
                shown = "" if name in ("dsn", "read_dsn", "secret") else f" {text!r}"
                raise ConfigurationError(f"{label}{shown}: allowed is {error}") from None
            if name in ("webhook_networks", "http_proxies") and values[name] is None:
                values[name] = Networks()
            sources[name] = source
            if file is not None and text and _rank(source) == _OF_FILE:
                _check_of_file(file, name, text, label)
        _read_secrets(values, sources, values.keys() if uses is None else uses)
        return cls(**values, file=None if file is None else file.path, _sources=sources)

    def override(self, source: str, **values: object) -> Self:
        """Return these settings with some values replaced, such as a free port; `source` says who chose them."""
        return replace(self, **values, _sources={**self._sources, **dict.fromkeys(values, source)})  # type: ignore[arg-type] # names are checked by replace, types by the callers' tests

    def source(self, name: str) -> str:
        """Return where a value came from: an option, an environment variable, the file (and table), or ``default``."""
        return self._sources.get(name, "default")

    @property
    def journal_source(self) -> str:
        """Where the journal's place came from. By default it is in the state directory."""
        source = self.source("journal")
        return source if source != "default" else self.source("state")

    def in_force(self) -> list[SettingInForce]:
        """Return the file and every setting, with value and source; passwords and secrets are hidden."""
        file = "" if self.file is None else str(self.file)
        rows = [SettingInForce(*FILE[:2], file, self.source("file"), *FILE[2:])]
        for name, variable, default, meaning in ALL:
            value = getattr(self, name)
            if name == "dsn":
                if value is None:
                    shown = f"(embedded in {self.postgresql})"
                else:
                    shown = redacted(value) or "(libpq's PG* variables)"
            elif name == "kept_bytes" and value is None:
                shown = AUTO
            elif name == "read_dsn":
                shown = "" if value is None else redacted(value)
            else:
                shown = "***" if name == "secret" else "" if value is None else str(value)
            rows.append(SettingInForce(name, variable, shown, self.source(name), default, meaning))
        return rows

    def environment(self) -> dict[str, str]:
        """Return the variables that give another process these settings. It reads no file."""
        # The connection string and the secret are in there already.
        values = {setting.variable: getattr(self, setting.name) for setting in ALL}
        values |= {"RADMETER_PASSWORD_FILE": None, "RADIUS_SECRET_FILE": None}
        values[config_file.VARIABLE] = os.devnull
        return {variable: str(value) for variable, value in values.items() if value not in (None, "", ())}

    @property
    def postgresql(self) -> Path:
        """The embedded PostgreSQL's data directory."""
        return self.state / "postgresql"

    @property
    def logs(self) -> Path:
        """The directory for the logs of the programs that radmeter starts."""
        return self.state / "log"


_METADATA: dict[str, Mapping[str, Any]] = {f.name: f.metadata for f in fields(Settings) if f.metadata}

ALL = tuple(
    Setting(name, about["variable"], about["default"].replace("{state}", "$RADMETER_STATE"), about["meaning"])
    for name, about in _METADATA.items()
)
# The configuration file itself, as `radmeter config` shows it.
FILE = Setting(
    "config",
    config_file.VARIABLE,
    str(config_file.default_file()),
    "configuration file of all programs; /dev/null: none",
)
BY_NAME = {setting.name: setting for setting in ALL}
