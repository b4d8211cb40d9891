"""Says which setting may be wrong if nobody can log in to a database: a typo is as likely as a server that is down."""

import re
from collections.abc import Mapping
from pathlib import Path

import psycopg

NO_DATABASE = re.compile(r'database "[^"]*" does not exist')
NO_ROLE = re.compile(r'role "[^"]*" does not exist')
NO_ENTRY = re.compile(r"no pg_hba\.conf entry")
NO_HOST = re.compile(r"could not translate host name|failed to resolve host|Name or service not known")
NO_PASSWORD = re.compile(r"no password supplied")
PASSWORD = re.compile(r"authentication failed")
FULL = re.compile(r"too many (clients|connections)|remaining connection slots")
PEER = re.compile(r"Peer authentication failed")
UNREACHABLE = re.compile(
    r"[Cc]onnection refused|No such file or directory|timeout|timed out|No route to host"
)
# Where a server's socket is on Debian.
SOCKETS = ("/run/postgresql", "/var/run/postgresql")
LISTENS = "00010000"


def reason(error: Exception) -> str:
    """Return the first line of an error, without what every such error says."""
    said = str(error).strip()
    # libpq repeats its message for each address, and adds a line that asks whether the server is running.
    why = said.splitlines()[0].strip() if said else type(error).__name__
    return why.removeprefix("the database cannot be reached: ").removeprefix("connection failed: ")


def parameters(dsn: str) -> dict[str, str]:
    """Return the parameters of a connection, with libpq's defaults and variables, without the password."""
    known = {option.keyword.decode(): option.val for option in psycopg.pq.Conninfo.get_defaults()}
    try:
        given = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        given = {}
    filled = {key: (value or b"").decode(errors="replace") for key, value in known.items()}
    every = {**filled, **{key: str(value) for key, value in given.items()}}
    return {key: value for key, value in every.items() if "password" not in key}


def named(source: str) -> str:
    """Return how a message names the connection string that came from a source."""
    return f"`dsn` in {source}" if source.startswith("/") else source


def question(why: str, asked: Mapping[str, str], setting: str, password: str) -> str:
    """Return which setting may be wrong, as a question; "" if the error does not come from a wrong setting.

    Parameters
    ----------
    why
        The error.
    asked
        The parameters of the connection.
    setting, password
        How messages name the connection string, and the place of the password; "": no password is set.
    """
    host, port = asked.get("host") or "", asked.get("port") or "5432"
    if NO_DATABASE.search(why):
        return f"Is {setting} right (dbname {asked.get('dbname') or asked.get('user')})?"
    if NO_ROLE.search(why):
        return f"Is {setting} right (user {asked.get('user')})?"
    if NO_ENTRY.search(why):
        return f"Is {setting} right (host {host}, user {asked.get('user')})?"
    if NO_HOST.search(why):
        return f"Is {setting} right (host {host})?"
    if NO_PASSWORD.search(why):
        return f"Is `password_file` missing beside {setting}?"
    if PEER.search(why):
        return ""
    if PASSWORD.search(why):
        return f"Is {password or 'the password'} right, and {setting} (user {asked.get('user')})?"
    if UNREACHABLE.search(why):
        return f"Is {setting} right ({f'host {host}, ' if host else ''}port {port})?"
    return ""


def other_servers(asked: Mapping[str, str]) -> list[str]:
    """Return the sockets on which other PostgreSQL servers of this machine listen, in the usual directories."""
    wanted = f"{asked.get('host') or ''}/.s.PGSQL.{asked.get('port') or '5432'}"
    try:
        lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = {words[7] for words in map(str.split, lines) if len(words) == 8 and words[3] == LISTENS}
    return sorted(
        path
        for path in found
        if re.fullmatch(rf"({'|'.join(map(re.escape, SOCKETS))})/\.s\.PGSQL\.\d+", path) and path != wanted
    )
