"""The files that put logins into an operator's configuration: with its database, and a secret for the cache."""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from radmeter import __version__, resources
from radmeter.errors import ConfigurationError
from radmeter.freeradius.install_record import Record

SQL = "mods-available/radmeter_sql"
CACHE = "mods-available/radmeter_cache"
POLICY = "policy.d/radmeter_quota"
SITE = "sites-available/radmeter_cache"
# Each with a word by which radmeter's own file is known.
MARKS = {
    SQL: "radmeter_quota_sql",
    CACHE: "radmeter_cache_generation",
    POLICY: "radmeter_quota",
    SITE: "radmeter_cache",
}
LINKS = {
    "mods-enabled/radmeter_sql": f"../{SQL}",
    "mods-enabled/radmeter_cache": f"../{CACHE}",
    "sites-enabled/radmeter_cache": f"../{SITE}",
}
CACHE_PORT = 18128
MEMORY = "memory"
# The sections of the cache's file that several servers can share.
SHARED = ("radmeter_cache", "radmeter_cache_realm", "radmeter_cache_generation")
# Milliseconds. A login waits for it, so it must not wait long.
MEMCACHED = """\
	memcached {{
		options = "--SERVER={server} --CONNECT-TIMEOUT=500 --POLL-TIMEOUT=500"
		pool {{
			start = 0
			min = 0
			max = ${{thread[pool].max_servers}}
			spare = ${{thread[pool].max_spare_servers}}
			uses = 0
			lifetime = 0
			idle_timeout = 60
			retry_delay = 1
		}}
	}}
"""
# What stands between double quotes in a configuration as it is.
PLAIN = re.compile(r"[\w./+@,:='~ -]+")
BY_HAND = (
    f"Logins: copy {', '.join(MARKS)}, enable the modules and the site, write into {SQL} the database, and",
    "  post-auth { .. }, first: radmeter_quota",
)


def is_wanted(record: Record, login_dsn: str | None) -> bool:
    """Tell whether logins are to be installed, or were."""
    return login_dsn is not None or POLICY in record.copied


def files(raddb: Path, login_dsn: str | None, cache: str | None = None) -> Iterator[tuple[str, bytes, str]]:
    """Yield each file's name below raddb, its content, and its mark. What was chosen before stays.

    Raises
    ------
    ConfigurationError
        The connection string cannot stand in FreeRADIUS's configuration, or the cache's place is not understood.
    """
    for name, mark in MARKS.items():
        text = (resources.directory("radius") / name).read_text(encoding="utf-8")
        for variable, value in _values(raddb, name, login_dsn):
            if not PLAIN.fullmatch(value):
                raise ConfigurationError(
                    f"{value}: only letters, digits, spaces and ./+@,:='~_- can stand in FreeRADIUS's configuration"
                )
            text = text.replace(f"$ENV{{{variable}}}", value)
        if name == CACHE and (
            server := memcached_server(cache) if cache else _memcached_before(raddb / CACHE)
        ):
            text = shared(text, server)
        if name != POLICY:
            text = f"#  Written by `radmeter freeradius install`, radmeter {__version__}.\n#\n{text}"
        yield name, text.encode(), mark


def memcached_server(place: str) -> str | None:
    """Return the server of `memcached://HOST[:PORT]`; None of `memory`: each FreeRADIUS keeps its own.

    Raises
    ------
    ConfigurationError
        It is none of both.
    """
    if place == MEMORY:
        return None
    found = re.fullmatch(r"memcached://([\w.-]+(?::\d{1,5})?)/?", place)
    if found is None:
        raise ConfigurationError(f"--cache {place}: give memory, or memcached://HOST:PORT")
    return found[1]


def shared(text: str, server: str) -> str:
    """Return the file of the cache with memcached as the driver of what servers can share.

    The figures, and what says that the database is away, stay each server's own.
    """
    for section in SHARED:
        head = f"cache {section} {{\n\tdriver = "
        assert text.count(head) == 1
        text = text.replace(
            f'{head}"rlm_cache_rbtree"\n', f'{head}"rlm_cache_memcached"\n{MEMCACHED.format(server=server)}'
        )
    return text


def _memcached_before(path: Path) -> str | None:
    if not path.exists():
        return None
    found = re.search(r'(?m)^\t\toptions = "--SERVER=([^" ]+) ', path.read_text(encoding="utf-8"))
    return found[1] if found else None


def dsn_in_force(raddb: Path) -> str | None:
    """Return the connection string that an earlier installation wrote for logins; None if there is none."""
    path = raddb / SQL
    if not path.exists():
        return None
    found = re.search(r'(?m)^\s*radius_db = "([^"$]+)"$', path.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None


def port_and_secret(site: Path) -> tuple[int, str] | None:
    """Return the port and the secret of the cache's site; None if it has none."""
    try:
        text = site.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    port = re.search(r"(?m)^\s*port = (\d+)$", text)
    secret = re.search(r'(?m)^\s*secret = "([^"$]+)"$', text)
    return (int(port[1]), secret[1]) if port and secret else None


def _values(raddb: Path, name: str, login_dsn: str | None) -> Iterator[tuple[str, str]]:
    """Yield the variables of a file that are replaced, with their values."""
    if name == SQL:
        if dsn := login_dsn or dsn_in_force(raddb):
            yield "RADMETER_LOGIN_DSN", dsn
    elif name == SITE:
        port, secret = port_and_secret(raddb / SITE) or (CACHE_PORT, secrets.token_hex(16))
        yield "RADMETER_CACHE_PORT", str(port)
        yield "RADMETER_CACHE_SECRET", secret
