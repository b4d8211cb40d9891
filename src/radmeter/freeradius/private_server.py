"""A private FreeRADIUS for radmeter: its program, command and environment."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from radmeter import resources
from radmeter.config import Settings
from radmeter.errors import ConfigurationError
from radmeter.freeradius import installed
from radmeter.freeradius.exposure import refuse
from radmeter.plugin import config_file

INSTALL = "on Debian or Ubuntu: apt install freeradius freeradius-python3"


@dataclass(frozen=True, kw_only=True)
class Logins:
    """What the server needs for logins: a connection of a role that may do what radmeter_login may, and ports.

    The server logs the connection string, so the password is not in it.
    """

    dsn: str
    password: str = field(repr=False)
    auth_port: int
    cache_port: int

    def environment(self, secret: str) -> dict[str, str]:
        """Return the server's variables for them."""
        return {
            "RADMETER_LOGINS": "-on",
            # It stands between double quotes in the configuration.
            "RADMETER_LOGIN_DSN": self.dsn.replace("\\", "\\\\").replace('"', '\\"'),
            "PGPASSWORD": self.password,
            "RADIUS_AUTH_PORT": str(self.auth_port),
            "RADMETER_CACHE_PORT": str(self.cache_port),
            "RADMETER_CACHE_SECRET": secret,
        }


@dataclass(frozen=True, kw_only=True)
class PrivateServer:
    """How to run the server. Add `environment` to the caller's own. The log goes to standard output."""

    command: tuple[str, ...]
    environment: dict[str, str]
    run_directory: Path


def prepare(run_directory: Path, settings: Settings, logins: Logins | None = None) -> PrivateServer:
    """Describe a FreeRADIUS that listens on the host and port of the settings and writes to their journal.

    It reads the configuration from the installed package and writes nothing there.

    Parameters
    ----------
    run_directory
        Made if missing. The quarantine file is written below it, in radacct/.
    logins
        None: it does accounting only.

    Raises
    ------
    ConfigurationError
        FreeRADIUS or its Python module is not installed, strangers could send to the server, or the directory cannot be
        made.
    """
    program = installed.program()
    if program is None:
        raise ConfigurationError(f"FreeRADIUS is not installed ({INSTALL})")
    if installed.python_module() is None:
        raise ConfigurationError(
            f"FreeRADIUS is installed ({program}), its Python module {installed.PYTHON_MODULE} is not ({INSTALL})"
        )
    directory = resources.directory("radius")
    environment = {
        # All its settings are here. A file that it may not read would end it.
        config_file.VARIABLE: os.devnull,
        "RADMETER_RUN": str(run_directory.absolute()),
        # The plugin imports only radmeter and the standard library. Other packages in this directory do no harm,
        # even if they were built for another Python than the one in radiusd.
        "RADMETER_PYTHON_PATH": str(Path(__file__).absolute().parent.parent.parent),
        "RADMETER_JOURNAL": str(settings.journal),
        "RADMETER_SYNC": settings.sync,
        "RADMETER_SYNC_INTERVAL_MS": str(settings.sync_interval_ms),
        "RADMETER_SEGMENT_BYTES": str(settings.segment_bytes),
        "RADMETER_CLIENT_PACKETS_PER_SECOND": str(settings.client_packets_per_second),
        "RADMETER_SESSION_PACKETS_PER_SECOND": str(settings.session_packets_per_second),
        "RADMETER_QUARANTINE_LIMIT_BYTES": str(settings.quarantine_limit_bytes),
        "RADMETER_SCHEDULING": settings.scheduling,
        "RADMETER_JOURNAL_LIMIT_BYTES": str(settings.journal_limit_bytes),
        "RADIUS_ACCT_HOST": settings.acct_host,
        "RADIUS_ACCT_PORT": str(settings.acct_port),
        "RADIUS_SECRET": settings.secret,
        # radiusd's Python, perhaps as root, must not write __pycache__ into the installed package.
        "PYTHONDONTWRITEBYTECODE": "1",
        **(logins.environment(settings.secret) if logins else {}),
    }
    refuse(directory, environment)
    try:
        run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the run directory of FreeRADIUS cannot be made: {error}") from error
    return PrivateServer(
        command=(program, "-f", "-l", "stdout", "-d", str(directory)),
        environment=environment,
        run_directory=run_directory,
    )
