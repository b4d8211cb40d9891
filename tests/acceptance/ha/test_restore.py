"""A database restored from a backup, under traffic: all that was answered is counted, by docs/backup.md."""

import shlex
import shutil
from pathlib import Path

from support.cluster import DATABASE, PROGRAMS
from support.deploy import DEPLOY
from support.documents import block
from support.hosts import ship
from support.nodes import wait_until_exact
from support.processes import until
from support.servers import Server
from support.site import Site, site


def test_an_old_base_backup(tmp_path: Path) -> None:
    with Server(PROGRAMS, wal_level="replica", max_wal_senders="4") as server, site(tmp_path, server) as here:
        with here.traffic() as load:
            ship(here.database, 300, load)
            at_backup = here.database.records()
            backup = block("backup.md", "base-backup").replace("/mnt/backup", str(server.base / "backup"))
            here.run("base backup", backup, PGHOST=str(server.base), PGUSER="postgres")
            ship(here.database, 600, load)
            here.jobs.stop()
            before = here.database.records()
            server.stop()
            shutil.rmtree(server.base / "data")
            (server.base / "backup").rename(server.base / "data")
            server.start()
            until("packets are answered meanwhile", load.more(200))
        assert before > at_backup
        wait_until_exact(here.loads, here.database, [here.shipper])
        here.jobs.start()


def test_the_drill(archived: tuple[Site, dict[str, str]]) -> None:
    here, variables = archived
    with here.traffic() as load:
        ship(here.database, 300, load)
        # What a person changes comes back with the WAL: up to the moment that is restored, and no further.
        here.database.execute("INSERT INTO plans (name) VALUES ('before')")
        ship(here.database, 100, load)
        ((moment,),) = here.database.rows("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.USOF')")
        ship(here.database, 300, load)
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
        ship(here.database, 200, load)
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
    said = here.run(
        "restore check", shlex.quote(str(DEPLOY / "backup" / "restore-check")), **variables, **check
    )
    assert "the newest backup is 0 h old" in said
    assert "the backup can be restored" in said
    assert not restored.exists()
