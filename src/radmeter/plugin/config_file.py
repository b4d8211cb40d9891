"""The configuration file: where it is, and what it says. radiusd and all commands read the same one.

Standard library only.
"""

import errno
import os
import stat
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from radmeter.errors import ConfigurationError

VARIABLE = "RADMETER_CONFIG"
INSTALLED_FILE = Path("/etc/radmeter/radmeter.toml")
INSTALLED_STATE = Path("/var/lib/radmeter")
PACKAGE = Path(__file__).absolute().parents[1]
LARGEST_BYTES = 1 << 20
LONGEST_COMPARED = 80

# The keys that radiusd reads. They are the same for all programs, so no table may have them. In TOML a line at the end
# of the file is in the last table, so a `journal` that was added there would hold for one program only.
SHARED = frozenset(
    {
        "state",
        "journal",
        "sync",
        "sync_interval_ms",
        "segment_bytes",
        "journal_limit_bytes",
        "client_packets_per_second",
        "session_packets_per_second",
        "quarantine_limit_bytes",
        "scheduling",
    }
)
KEYS = SHARED | {
    "dsn",
    "read_dsn",
    "password_file",
    "answer_seconds",
    "batch_records",
    "batch_ms",
    "left_out_bytes",
    "kept_hours",
    "kept_bytes",
    "log_format",
    "metrics_routers",
    "timezone",
    "stale_minutes",
    "jobs_seconds",
    "archive_after_months",
    "archive_directory",
    "billing_directory",
    "billing_key_file",
    "coa_key_file",
    "webhook_networks",
    "alerts_file",
    "http_listen",
    "http_tls_cert",
    "http_tls_key",
    "http_proxies",
    "http_proxy_role",
    "http_pool",
    "http_key_file",
    "acct_host",
    "acct_port",
    "auth_port",
    "secret",
    "secret_file",
}
# The commands of `radmeter`, each of which may have a table. radiusd cannot ask click for them.
COMMANDS = frozenset(
    {
        "adopt",
        "alerts",
        "audit",
        "backfill",
        "billing",
        "cache",
        "config",
        "disconnect",
        "doctor",
        "explain",
        "freeradius",
        "jobs",
        "journal",
        "keys",
        "limits",
        "login",
        "metrics",
        "migrate",
        "partitions",
        "people",
        "plans",
        "queue",
        "quota",
        "rejected",
        "replay",
        "report",
        "routers",
        "serve",
        "sessions",
        "ship",
        "simulate",
        "status",
        "tenants",
        "top",
        "up",
        "usage",
        "users",
        "verify",
        "webhooks",
    }
)

# What belongs to the database that `dsn` names, and to no other one.
OF_DSN = frozenset({"read_dsn", "password_file"})


@dataclass(frozen=True)
class Given:
    """A value of the file as text, and its source: the file, and the table if it is in one."""

    text: str
    source: str


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """What a configuration file says to one program.

    Attributes
    ----------
    values
        The values by their keys, those of the program's table in place of those above the tables. Empty ones are left
        out: they count as not given.
    public
        Whether every user of the machine may read the file.
    """

    path: Path
    values: Mapping[str, Given]
    public: bool


def checkout(package: Path = PACKAGE) -> Path | None:
    """Return the root of the checkout in which a package `radmeter` lies; None if it is installed."""
    root = package.parent.parent
    return root if package.parent.name == "src" and (root / "pyproject.toml").is_file() else None


def default_state(package: Path = PACKAGE) -> Path:
    """Return the directory for radmeter's own files: ``var`` of the checkout, or /var/lib/radmeter."""
    root = checkout(package)
    return INSTALLED_STATE if root is None else root / "var"


def default_file(package: Path = PACKAGE) -> Path:
    """Return the file that is read if none is named: in ``var`` of the checkout, or /etc/radmeter/radmeter.toml."""
    root = checkout(package)
    return INSTALLED_FILE if root is None else root / "var" / INSTALLED_FILE.name


def source(option: str | None, environ: Mapping[str, str]) -> str:
    """Return what names the file: ``--config``, ``RADMETER_CONFIG``, or ``default`` if nothing does."""
    return "--config" if option else VARIABLE if environ.get(VARIABLE) else "default"


def in_force(
    option: str | None,
    environ: Mapping[str, str],
    package: Path = PACKAGE,
    *,
    program: str | None = None,
    programs: Collection[str] | None = None,
) -> ConfigFile | None:
    """Read the file that --config names, else RADMETER_CONFIG, else the one in the usual place if there is one.

    /dev/null stands for no file.

    Parameters
    ----------
    program
        The program whose table counts, such as ``ship``.
    programs
        The programs that may have a table. None: any.

    Raises
    ------
    ConfigurationError
        The file cannot be read, is not TOML, or has an unknown key or table. The message names it.
    """
    named = source(option, environ)
    path = Path(option or environ.get(VARIABLE) or default_file(package)).absolute()
    if path == Path(os.devnull):
        return None
    try:
        content, public = _content(path)
    except OSError as error:
        if named == "default" and isinstance(error, FileNotFoundError | NotADirectoryError):
            return None
        label = str(path) if named == "default" else f"{named}: {path}"
        raise ConfigurationError(f"{label} cannot be read: {error.strerror}") from None
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8") from None
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise ConfigurationError(
            f'{path} is not TOML: {error}. Text is written between quotes, as in journal = "/srv/journal"'
        ) from None
    return ConfigFile(path=path, values=_values(path, document, program, programs), public=public)


def _content(path: Path) -> tuple[bytes, bool]:
    """Return the content of a file, and whether every user may read it. Raises OSError, also if it is no small file."""
    # O_NONBLOCK: opening a FIFO would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        content = os.read(descriptor, LARGEST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST_BYTES} bytes")
    return content, bool(mode & stat.S_IROTH)


def described(path: Path | None) -> str:
    """Return in words which file is in force, for the line that a program writes at its start.

    Who starts a program with /dev/null as its file, such as `radmeter up`, has read a file and passes on what it says.
    """
    if path is None and os.environ.get(VARIABLE) == os.devnull:
        return "settings from the environment alone (`radmeter up` puts those of its file there)"
    return "no configuration file" if path is None else f"configuration {path}"


def origin(source: str) -> str:
    """Return in words where a value came from: ``by default``, or ``from RADMETER_STATE``."""
    return "by default" if source == "default" else f"from {source}"


def _values(
    path: Path, document: Mapping[str, object], program: str | None, programs: Collection[str] | None
) -> dict[str, Given]:
    values: dict[str, Given] = {}
    of_program: dict[str, Given] = {}
    for name, value in document.items():
        if not isinstance(value, dict) or name in KEYS:
            values[name] = _given(path, name, value, str(path))
            continue
        if programs is not None and name not in programs:
            raise ConfigurationError(
                f"{path}: no command has the table [{_shortened(name)}]{_nearest(name, programs)}"
            )
        for key, inner in value.items():
            given = _given(path, key, inner, f"{path} [{name}]")
            if key in SHARED:
                raise ConfigurationError(
                    f"{path}: {key} is below [{name}], but it is the same for all programs: "
                    "write it above the first table"
                )
            if name == program:
                of_program[key] = given
    if "dsn" in of_program:
        # The standby and the password above the tables are those of the database above the tables.
        values = {key: given for key, given in values.items() if key not in OF_DSN}
    return {key: given for key, given in (values | of_program).items() if given.text}


def _given(path: Path, key: str, value: object, source: str) -> Given:
    if key not in KEYS:
        raise ConfigurationError(f"{path}: unknown key {_shortened(key)!r}{_nearest(key, KEYS)}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigurationError(f"{path}: {key} must be text or a whole number")
    try:
        text = str(value)
    except ValueError:  # Python writes no number with thousands of digits
        raise ConfigurationError(f"{path}: {key} is too large a number") from None
    if "\0" in text:
        raise ConfigurationError(f"{path}: {key} must have no NUL character")
    return Given(text, source)


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST_COMPARED else f"{word[:LONGEST_COMPARED]}.."


def _nearest(word: str, known: Collection[str]) -> str:
    """Return the known words to name after an unknown one: the nearest, else all."""
    # Comparing takes long if the word is long. Nobody means a known word by it.
    near = get_close_matches(word, sorted(known), 1) if len(word) <= LONGEST_COMPARED else []
    return f"; the nearest is {near[0]}" if near else f"; known are {', '.join(sorted(known))}"
