"""One PostgreSQL server, one FreeRADIUS host with its shipper, the jobs, and routers: what a backup is taken of."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from support.cluster import DATABASE, PATH, PROGRAMS
from support.deploy import rendered
from support.documents import block
from support.nodes import command
from support.processes import OTHERS_ENVIRONMENT, Database, FreeRadius, Jobs, Shipper
from support.routers_with_ledger import Load
from support.servers import Server


@dataclass
class Site:
    """One server, one node with its shipper, and routers that send all the time."""

    server: Server
    database: Database
    radius: FreeRadius
    shipper: Shipper
    jobs: Jobs
    loads: list[Load] = field(default_factory=list)

    @contextmanager
    def traffic(self) -> Iterator[Load]:
        """Have routers send for as long as the block runs."""
        with Load([self.radius.address], first=100 * len(self.loads)) as load:
            self.loads.append(load)
            yield load

    def run(self, name: str, commands: str, **environment: str) -> str:
        """Run commands of the documentation as the user that PostgreSQL runs as."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
            cwd="/",
            env={**OTHERS_ENVIRONMENT, "PATH": f"{PROGRAMS}:{PATH}", "LC_ALL": "C.UTF-8", **environment},
            **self.server.identity,
        )
        assert done.returncode == 0, f"{name}:\n{commands}\n{done.stdout}"
        return done.stdout


@contextmanager
def site(directory: Path, server: Server) -> Iterator[Site]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
    dsn = server.dsn(DATABASE)
    command(dsn, "migrate", "up", "--yes")
    with (
        FreeRadius(directory / "run", directory / "journal", segment_bytes=1 << 16) as radius,
        Shipper(directory / "ship.log", radius.journal, dsn) as shipper,
        Jobs(directory / "jobs.log", dsn) as jobs,
    ):
        yield Site(server, Database(dsn), radius.start(), shipper.start(), jobs.start())


@contextmanager
def archived_site(directory: Path) -> Iterator[tuple[Site, dict[str, str]]]:
    """A site whose server archives its WAL by pgBackRest, with the example configuration; and the variables for it."""
    settings = {"wal_level": "replica", "max_wal_senders": "4", "archive_mode": "on", "archive_timeout": "60"}
    with Server(PROGRAMS, **settings) as server:
        base = server.base
        configuration = base / "pgbackrest.conf"
        configuration.write_text(
            rendered(
                "backup/pgbackrest.conf",
                {
                    "/var/lib/pgbackrest": f"{base}/repository",
                    "/var/log/pgbackrest": f"{base}/log",
                    "/var/lib/postgresql/pgbackrest-lock": f"{base}/lock",
                    "/var/spool/pgbackrest": f"{base}/spool",
                    "/var/lib/postgresql/15/radmeter": f"{base}/data",
                    "/var/run/postgresql": str(base),
                },
            )
        )
        configuration.chmod(0o644)
        (base / "log").mkdir(mode=0o777)
        (base / "log").chmod(0o777)
        variables = {"PGBACKREST_CONFIG": str(configuration), "PGHOST": str(base), "PGUSER": "postgres"}
        server.stop()
        server.environment = variables
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(
                "ALTER SYSTEM SET archive_command = 'pgbackrest --stanza=radmeter archive-push %p'"
            )
            connection.execute("SELECT pg_reload_conf()")
        with site(directory, server) as here:
            here.run("first backup", block("backup.md", "first-backup"), **variables)
            yield here, variables
