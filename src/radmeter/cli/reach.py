"""Tells a health check whether this service reaches the database with its own role: exit 0 if it does."""

import sys

from radmeter import output
from radmeter.config import Settings
from radmeter.database import deadline
from radmeter.database.connection import connect
from radmeter.errors import RadmeterError


def main() -> int:
    """Log in once. Return the exit code."""
    try:
        settings = Settings.load(uses=("dsn",))
        if settings.dsn is None:
            output.say("error: no database is named: set dsn, RADMETER_DSN or PGHOST", err=True)
            return 2
        deadline.use(settings.answer_seconds)
        connect(settings.dsn, any_pooler=True).close()
    except RadmeterError as error:
        output.say(f"error: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
