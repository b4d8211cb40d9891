"""A backup restored into a cluster of Patroni's, under traffic, by docs/backup.md. `scripts/test --ha` runs it."""

from pathlib import Path

from support.cluster import PROGRAMS, Cluster
from support.full_form import only_in_the_full_form
from support.hosts import ship
from support.nodes import Nodes
from support.processes import until

pytestmark = only_in_the_full_form
DATA = "/var/lib/postgresql/15/radmeter"


def test_one_member_restores_and_the_others_copy_it(tmp_path: Path) -> None:
    with (
        Cluster(archived=True) as cluster,
        Nodes(cluster, tmp_path, segment_bytes=1 << 16) as nodes,
        nodes.load() as load,
    ):
        cluster.documented("patroni-archive", {}, document="backup.md")
        cluster.settle()
        maker = cluster.the_leader()
        ship(nodes.database, 300, load)
        cluster.documented("first-backup", {}, document="backup.md", on=maker)
        # The WAL of another leader belongs to the same archive.
        restored, other = cluster.standbys()
        cluster.move_leader(maker, other)
        cluster.settle()
        nodes.database.execute("INSERT INTO plans (name) VALUES ('before')")
        ship(nodes.database, 100, load)
        ((moment,),) = nodes.database.rows("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SS.USOF')")
        ship(nodes.database, 300, load)
        nodes.database.execute("INSERT INTO plans (name) VALUES ('after')")

        nodes.jobs.stop()
        for member in (restored, maker, other):
            member.stop()
        cluster.documented(
            "restore", {"2026-11-21 14:30:00+00": str(moment)}, document="backup.md", on=restored
        )
        place = restored.config.parent
        # Servers on one machine have ports and sockets of their own. The backup has those of the member that made it.
        own = f"listen_addresses='' -c port={restored.port} -c unix_socket_directories={place}"
        replay = {
            DATA: str(restored.data),
            "/usr/lib/postgresql/15/bin": str(PROGRAMS),
            "listen_addresses=''": own,
            "/var/log/postgresql/restore.log": f"{place}/restore.log",
        }
        cluster.documented("patroni-replay", replay, document="backup.md", on=restored)
        for member in (maker, other):
            cluster.documented("patroni-aside", {DATA: str(member.data)}, document="backup.md", on=member)
        configuration = {"/etc/patroni/config.yml": str(other.config)}
        cluster.documented("patroni-remove", configuration, document="backup.md")
        until("packets are answered meanwhile", load.more(200))
        restored.start()
        until(f"{restored.name} leads", restored.takes_writes)
        for member in (maker, other):
            member.start()
        until("packets are answered afterwards", load.more(200))
        load.stop()
        nodes.exact()
        cluster.settle()
        assert nodes.incidents() == {"rewound"}
        plans = nodes.database.rows("SELECT name FROM plans WHERE name IN ('before', 'after')")
        assert plans == [("before",)]
        nodes.jobs.start()
        # The archive goes on, and so do failovers.
        cluster.documented("last-backup", {}, document="backup.md", on=restored)
        cluster.move_leader(restored, maker)
        cluster.settle()
