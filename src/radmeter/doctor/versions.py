"""Checks of the versions of radmeter, Python, PostgreSQL and FreeRADIUS."""

import platform
import sys

from radmeter import __version__
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Findings, Teller
from radmeter.freeradius.installed import installed_version

tell = Teller("versions")

OLDEST_POSTGRESQL = 15
OLDEST_PYTHON = (3, 11)


def check(context: Context) -> Findings:
    """Compare the versions with those that radmeter is tested with."""
    said = [f"radmeter {__version__}", f"Python {platform.python_version()}"]
    if sys.version_info < OLDEST_PYTHON:
        yield tell.red(
            f"Python {platform.python_version()}: radmeter needs 3.11 or later", "sudo apt install python3.11"
        )
    if context.connection is not None:
        number = context.connection.info.server_version
        shown = f"{number // 10000}.{number % 10000}"
        said.append(f"PostgreSQL {shown}")
        if number // 10000 < OLDEST_POSTGRESQL:
            yield tell.red(
                f"PostgreSQL {shown}: {OLDEST_POSTGRESQL} is the oldest that radmeter works with",
                f"sudo pg_upgradecluster {number // 10000} main",
            )
    version = installed_version()
    if version is None:
        said.append("no FreeRADIUS on this machine")
    else:
        said.append("FreeRADIUS " + ".".join(map(str, version)))
        if version[:2] != (3, 2):
            yield tell.yellow(
                f"FreeRADIUS {'.'.join(map(str, version))}: radmeter's plugin is tested on 3.2",
                "sudo apt install freeradius=3.2* freeradius-python3=3.2*",
            )
    yield tell.green(", ".join(said))
