"""A database restored from a backup, under traffic: all that was answered is counted, by docs/backup.md."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from support.cluster import DATABASE, PATH, PROGRAMS
from support.deploy import DEPLOY, rendered
from support.documents import block
from support.nodes import Jobs, command, wait_until_exact
from support.processes import OTHERS_ENVIRONMENT, Database, FreeRadius, Shipper, until
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

    def records(self) -> int:
        """Return how many packets the database has counted."""
        ((records,),) = self.database.rows("SELECT coalesce(sum(records), 0)::bigint FROM radmeter.nodes")
        assert isinstance(records, int)
        return records

    def ship(self, packets: int, load: Load) -> None:
        """Wait until so many more packets were answered and counted."""
        goal = self.records() + packets
        until("packets are answered", load.more(packets))
        until("packets are counted", lambda: self.records() >= goal)

    def run(self, name: str, commands: str, **environment: str) -> str:
        """Run commands of the documentation as the user that PostgreSQL runs as."""
        done = subprocess.run(
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


def test_an_old_base_backup(tmp_path: Path) -> None:
    with Server(PROGRAMS, wal_level="replica", max_wal_senders="4") as server, site(tmp_path, server) as here:
        with here.traffic() as load:
            here.ship(300, load)
            at_backup = here.records()
            backup = block("backup.md", "base-backup").replace("/mnt/backup", str(server.base / "backup"))
            here.run("base backup", backup, PGHOST=str(server.base), PGUSER="postgres")
            here.ship(600, load)
            here.jobs.stop()
            before = here.records()
            server.stop()
            shutil.rmtree(server.base / "data")
            (server.base / "backup").rename(server.base / "data")
            server.start()
            until("packets are answered meanwhile", load.more(200))
        assert before > at_backup
        wait_until_exact(here.loads, here.database, [here.shipper])
        here.jobs.start()


@pytest.fixture
def archived(tmp_path: Path) -> Iterator[tuple[Site, dict[str, str]]]:
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
        with site(tmp_path, server) as here:
            here.run("first backup", block("backup.md", "first-backup"), **variables)
            yield here, variables


def test_the_drill(archived: tuple[Site, dict[str, str]], tmp_path: Path) -> None:
    here, variables = archived
    with here.traffic() as load:
        here.ship(300, load)
        # What a person changes comes back with the WAL: up to the moment that is restored, and no further.
        here.database.execute("INSERT INTO plans (name) VALUES ('before')")
        here.ship(100, load)
        ((moment,),) = here.database.rows("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.USOF')")
        here.ship(300, load)
        here.database.execute("INSERT INTO plans (name) VALUES ('after')")
        here.jobs.stop()
        here.server.stop()
        restore = block("backup.md", "restore")
        assert "2026-11-21 14:30:00+00" in restore
        here.run("restore", restore.replace("2026-11-21 14:30:00+00", str(moment)), **variables)
        here.server.start()
        until("packets are answered meanwhile", load.more(200))
    assert here.database.rows("SELECT name FROM plans WHERE name IN ('before', 'after')") == [("before",)]
    wait_until_exact(here.loads, here.database, [here.shipper])
    here.jobs.start()


def test_the_restore_check(archived: tuple[Site, dict[str, str]]) -> None:
    here, variables = archived
    with here.traffic() as load:
        here.ship(200, load)
    restored = here.server.base / "restore-check"
    check = {
        "RESTORE_DIRECTORY": str(restored),
        "DATABASE": DATABASE,
        "RADMETER": str(here.server.base / "radmeter"),
    }
    # The service's user may not read the directory of this installation, so its command is a script of the test's.
    (here.server.base / "radmeter").write_text(
        "#!/bin/sh\n" + 'exec psql -XAtq "$RADMETER_DSN" -c "SELECT count(*) FROM public.radacct"\n'
    )
    (here.server.base / "radmeter").chmod(0o755)
    said = here.run("restore check", str(DEPLOY / "backup" / "restore-check"), **variables, **check)
    assert "the newest backup is 0 h old" in said
    assert "the backup can be restored" in said
    assert not restored.exists()
