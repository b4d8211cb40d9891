"""What FreeRADIUS needs to take logins in `radmeter up`: the database as radmeter_login may use it, and ports."""

from collections.abc import Callable

from psycopg.conninfo import make_conninfo

from radmeter.config import Settings
from radmeter.database.connection import connect
from radmeter.database.dsn import of_connection, parse
from radmeter.embedded.server import Database
from radmeter.freeradius import installed
from radmeter.freeradius.private_server import Logins
from radmeter.trial.ports import any_port, free_port

# A login waits no longer for the database.
PATIENCE = "-c statement_timeout=5s -c lock_timeout=2s"
ROLE = "radmeter_login"
KEYWORDS = (
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "client_encoding",
)


def prepare(settings: Settings, database: Database, say: Callable[..., None]) -> Logins | None:
    """Return what FreeRADIUS needs for logins; None if its module for PostgreSQL is not installed."""
    if installed.module(installed.SQL_MODULE) is None:
        say("no logins: on Debian or Ubuntu, apt install freeradius-postgresql")
        return None
    dsn, password = _dsn(database)
    return Logins(
        dsn=dsn,
        password=password,
        auth_port=free_port(settings, say, "auth_port"),
        cache_port=any_port("127.0.0.1"),
    )


def _dsn(database: Database) -> tuple[str, str]:
    """Return a connection string for the module sql, which logs it, and the password.

    If the role may, it has only the rights of radmeter_login.
    """
    with connect(database.dsn) as connection:
        found = connection.execute(
            """SELECT 1 FROM pg_catalog.pg_roles
               WHERE rolname = %s AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')""",
            (ROLE,),
        ).fetchone()
        role = f" -c role={ROLE}" if found else ""
        # FreeRADIUS's user may have another home directory and no variables of libpq, and its libpq is an older one.
        given = {key: value for key, value in parse(of_connection(connection)).items() if key in KEYWORDS}
        dsn = make_conninfo(**given, options=PATIENCE + role, connect_timeout=3)
        return dsn, connection.info.password
