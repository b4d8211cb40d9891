"""Becomes FreeRADIUS with a configuration, after a check that strangers cannot send to it.

    python3 -m radmeter.freeradius.start DIRECTORY [OPTION..]

The server stays in the foreground and logs to standard output. Further options go to it. For logins, its password for
the database is read from the file RADMETER_PASSWORD_FILE.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from radmeter import output
from radmeter.errors import ConfigurationError
from radmeter.freeradius import installed
from radmeter.freeradius.exposure import refuse
from radmeter.secret_files import read_password

PASSWORD_FILE = "RADMETER_PASSWORD_FILE"  # noqa: S105 # the name of a variable


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command of the server.

    Raises
    ------
    ConfigurationError
        No directory is given, FreeRADIUS is not installed, or strangers could send to the server.
    """
    if not arguments or arguments[0].startswith("-"):
        raise ConfigurationError("name the directory of the configuration first, such as /etc/radmeter")
    directory, *options = arguments
    refuse(Path(directory), os.environ)
    program = installed.program()
    if program is None:
        raise ConfigurationError("FreeRADIUS is not installed")
    return [program, "-f", "-l", "stdout", "-d", directory, *options]


def main() -> int:
    """Become FreeRADIUS. Return the exit code 2 if it is not started."""
    try:
        words = command(sys.argv[1:])
        if path := os.environ.get(PASSWORD_FILE):
            os.environ["PGPASSWORD"] = read_password(Path(path), f"{PASSWORD_FILE}: the password in {path}")
        os.execv(words[0], words)  # noqa: S606 # the server takes our place and gets the signals itself
    except (ConfigurationError, OSError) as error:
        output.say(f"error: {error}", err=True)
        return 2


if __name__ == "__main__":
    sys.exit(main())
