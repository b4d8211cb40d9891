"""A database or a journal that steps back while all programs run: what was answered counts once, or it is said."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts import Host, copy_journal, host, incidents, lost, ship
from support.nodes import command, wait_until_exact
from support.processes import Child, Database, FreeRadius, Jobs, Shipper, until
from support.routers_with_ledger import Load
from support.servers import Server, installed

from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import JournalReader
from radmeter.plugin.journal.record_format import MARK

PACKETS = 250
pytestmark = pytest.mark.timeout(600, func_only=True)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server whose data may be replaced. It writes what is committed to its files."""
    with Server(installed()["postgresql-18"], synchronous_commit="on") as server:
        server.make_template()
        yield server


@pytest.mark.parametrize("kind", ["base backup", "cold copy"])
def test_an_old_backup_is_restored_under_traffic(tmp_path: Path, own_server: Server, kind: str) -> None:
    with (
        own_server.clone() as dsn,
        host(tmp_path, dsn) as here,
        Jobs(tmp_path / "jobs.log", dsn) as jobs,
    ):
        database = Database(dsn)
        here.start()
        jobs.start()
        with Load([here.radius.address]) as load:
            ship(database, PACKETS, load)
            backup = own_server.base_backup() if kind == "base backup" else own_server.cold_copy()
            for _ in range(2):
                ship(database, PACKETS, load)
                own_server.restore(backup)
            ship(database, PACKETS, load)
        wait_until_exact([load], database, [here.shipper])
        until("the incident is settled", lambda: all(each[-1] for each in incidents(database)))
        assert {each[0] for each in incidents(database)} == {"rewound"}
        assert [here.shipper.stop(), here.radius.stop()] == [0, 0]


def test_a_host_is_cloned_twice_and_shippers_are_killed(tmp_path: Path, database: Database) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with (
        host(tmp_path / "first", database.dsn) as first,
        host(tmp_path / "second", database.dsn) as second,
        host(tmp_path / "third", database.dsn) as third,
    ):
        first.start()
        with Load([first.radius.address], routers=4) as load:
            ship(database, PACKETS, load)
            first.shipper.kill()
            until("packets wait", load.more(PACKETS))
            copy_journal(first, second)  # radiusd writes meanwhile
            copy_journal(first, third)
            second.radius.start()
            third.radius.start()
            with (
                Load([second.radius.address], first=100, routers=4) as load_2,
                Load([third.radius.address], first=200, routers=4) as load_3,
            ):
                for each in (first, second, third):
                    each.shipper.start()
                for _ in range(8):
                    ship(database, chance.randrange(1, 150))
                    victim = chance.choice((first, second, third))
                    victim.shipper.kill()
                    victim.shipper.start()
        loads, shippers = [load, load_2, load_3], [first.shipper, second.shipper, third.shipper]
        wait_until_exact(loads, database, shippers)
        assert {each[0] for each in incidents(database)} <= {"copied", "shorter"}


def test_a_snapshot_of_the_journal_is_put_back(tmp_path: Path, database: Database) -> None:
    with host(tmp_path, database.dsn) as here:
        here.start()
        with Load([here.radius.address]) as load:
            ship(database, PACKETS, load)
            here.shipper.kill()
            shutil.copytree(here.journal, tmp_path / "snapshot")
            here.shipper.start()
            ship(database, PACKETS, load)
        wait_until_exact([load], database, [here.shipper])
        assert here.radius.stop() == 0
        here.shipper.kill()
        shutil.rmtree(here.journal)
        (tmp_path / "snapshot").rename(here.journal)
        here.start()
        with Load([here.radius.address], first=100) as more:
            ship(database, PACKETS, more)
        wait_until_exact([load, more], database, [here.shipper])


def test_another_database_gets_nothing_until_it_is_accepted(
    tmp_path: Path, database: Database, postgresql: Server
) -> None:
    with (
        postgresql.clone() as other_dsn,
        host(tmp_path, database.dsn) as here,
        Shipper(tmp_path / "other.log", here.journal, other_dsn) as other,
    ):
        other_database = Database(other_dsn)
        ((identity,),) = other_database.rows("SELECT radmeter.database_id()::text")
        # Both are made from one template: without this they would pass for copies of one database.
        other_database.execute("UPDATE radmeter.database_identity SET id = gen_random_uuid()")
        ((identity,),) = other_database.rows("SELECT radmeter.database_id()::text")
        here.start()
        with Load([here.radius.address]) as load:
            ship(database, PACKETS, load)
            assert here.shipper.stop() == 0
            other.start()
            until("the other database is refused", lambda: other.lines(f"--accept-database {identity}"))
            until("packets are answered", load.more(PACKETS))
            assert other_database.records() == 0
            assert incidents(other_database) == []
            other.kill()
            here.shipper.start()
            ship(database, PACKETS, load)
            assert here.shipper.stop() == 0
            other.start("--accept-database", str(identity))
            ship(other_database, PACKETS, load)
            other.kill()
            other.start()  # it is remembered
        wait_until_exact([load], other_database, [other])
        assert incidents(other_database) == []


# Damage.


def damage(path: Path, kind: str) -> None:
    """Delete a segment, cut it off in its middle, or turn one bit of a record there."""
    data = path.read_bytes()
    middle = data.index(MARK, len(data.rstrip(b"\0")) // 2)
    if kind == "deleted":
        path.unlink()
    elif kind == "truncated":
        os.truncate(path, middle)
    else:
        with path.open("r+b") as file:
            file.seek(middle + 60)
            file.write(bytes([data[middle + 60] ^ 4]))


def numbers(journal: Path) -> dict[str, int]:
    """Return the number of each session's packet in a journal that was not damaged yet."""
    reader, found = JournalReader(journal), {}
    for segment in reader.segments():
        for entry in reader.read(segment, 0, 1 << 20):
            found[dict(json.loads(entry.pairs))["Acct-Session-Id"]] = entry.seq
    reader.close()
    return found


def named(database: Database) -> set[int]:
    """Return the numbers that open incidents name."""
    return {
        number
        for kind, _, first, last, count, settled in incidents(database)
        if kind in ("missing", "damaged") and not settled
        for number in range(int(str(first)), int(str(last)) + 1)
        if count is not None
    }


def paths(journal: Path) -> list[Path]:
    return [segment.path for segment in files.segments(journal)]


@pytest.mark.parametrize("kind", ["deleted", "truncated", "flipped"])
def test_damage_at_the_front_and_in_the_middle_is_told_with_its_numbers(
    tmp_path: Path, database: Database, kind: str
) -> None:
    with host(tmp_path, database.dsn) as here:
        here.radius.start()
        with Load([here.radius.address], packets_per_second=150.0) as load:
            until("eight segments", lambda: here.journal.exists() and len(paths(here.journal)) > 8)
        assert here.radius.stop() == 0
        numbered = numbers(here.journal)
        found = paths(here.journal)
        for path in (found[0], found[3], found[4]):
            damage(path, kind)
        here.start()
        with Load([here.radius.address], first=100) as more:
            ship(database, PACKETS, more)
        until("the rest is counted", lambda: not lost(database, [more]))
        expected = {numbered[session] for session in lost(database, [load])}
        assert len(expected) == 3 if kind == "flipped" else len(expected) > 3
        until("what is lost is said", lambda: named(database) == expected)
        assert len([each for each in incidents(database) if each[0] in ("missing", "damaged")]) == 3
        assert "missing" in command(database.dsn, "journal", "incidents") or kind != "deleted"


@pytest.mark.parametrize("kind", ["deleted", "truncated", "flipped"])
def test_damage_at_the_end_is_said_as_far_as_it_can_be_known(
    tmp_path: Path, database: Database, kind: str
) -> None:
    with host(tmp_path, database.dsn, segment_bytes=1 << 20) as here:
        here.start()
        with Load([here.radius.address]) as load:
            ship(database, PACKETS, load)
            here.shipper.kill()
            until("packets wait", load.more(PACKETS))
        assert here.radius.stop() == 0
        (path,) = paths(here.journal)
        numbered = numbers(here.journal)
        counted = database.records()
        if kind == "truncated":  # what waits is not lost: it was shipped, and then the file got shorter
            here.shipper.start()
            wait_until_exact([load], database, [here.shipper])
            here.shipper.kill()
        damage(path, kind)
        if kind == "flipped":
            expected = {number for number in numbered.values() if number > counted}
        here.start()
        with Load([here.radius.address], first=100) as more:
            ship(database, PACKETS, more)
        until("the rest is counted", lambda: not lost(database, [more]))
        gone = {numbered[session] for session in lost(database, [load])}
        if kind == "deleted":
            ((_, _, first, last, count, settled),) = [
                each for each in incidents(database) if each[0] == "missing"
            ]
            assert (last, count, settled) == (None, None, False)
            assert min(gone) == first
            assert len(gone) > 10
        elif kind == "flipped":
            until("what is lost is said", lambda: named(database) == gone)
            assert gone <= expected
        else:
            assert gone == set()


def test_a_lost_node_file_is_made_again(tmp_path: Path, database: Database) -> None:
    with host(tmp_path, database.dsn) as here:
        here.start()
        with Load([here.radius.address]) as load:
            ship(database, PACKETS, load)
            node = (here.journal / "node").read_text()
            for when in ("shipper", "radiusd"):
                (here.journal / "node").unlink(missing_ok=True)
                if when == "shipper":
                    here.shipper.kill()
                    here.shipper.start()
                else:
                    here.radius.kill()
                    here.radius.start()
                ship(database, PACKETS, load)
        assert (here.journal / "node").read_text() == node
        wait_until_exact([load], database, [here.shipper])
        assert incidents(database) == []


# An upgrade from the release before, whose segments have no identity.

OLD = "abbca10"
TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def old_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the release before, with revision 0015 and segments of format 1."""
    there = tmp_path_factory.mktemp("old")
    made = subprocess.run(
        ["git", "archive", f"--output={there / 'old.tar'}", OLD, "src", "sql", "radius"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"this is no clone with the history: {made.stderr.strip()}")
    subprocess.run(["tar", "-xf", there / "old.tar", "-C", there], check=True)
    return there / "src"


class OldShipper(Child):
    """`radmeter ship` of the release before."""

    def __init__(self, log: Path, here: Host, dsn: str, source: Path) -> None:
        super().__init__(log)
        self._environment = {
            "PYTHONPATH": str(source),
            "RADMETER_JOURNAL": str(here.journal),
            "RADMETER_DSN": dsn,
        }

    def start(self) -> None:
        self.spawn([sys.executable, "-m", "radmeter", "ship"], self._environment)


@pytest.mark.parametrize("node_is_lost", [False, True])
def test_an_upgrade_under_traffic(
    tmp_path: Path, postgresql: Server, old_release: Path, node_is_lost: bool
) -> None:
    with (
        postgresql.clone("template1") as dsn,
        host(tmp_path, dsn) as here,
        FreeRadius(
            tmp_path / "run", here.journal, python_path=old_release, segment_bytes=1 << 16
        ) as old_radius,
        OldShipper(tmp_path / "old.log", here, dsn, old_release) as old_shipper,
    ):
        database = Database(dsn)
        command(dsn, "migrate", "up", "--yes", PYTHONPATH=str(old_release))
        assert database.rows("SELECT to_regclass('radmeter.journal_segment') IS NULL") == [(True,)]
        old_radius.start()
        here.radius.address = old_radius.address
        old_shipper.start()
        with Load([old_radius.address]) as load:
            until("packets are answered", load.more(PACKETS))
            until("some are counted", lambda: database.records() > PACKETS)
            here.shipper.start()
            until("the journal has its shipper", lambda: here.shipper.process.poll() is not None)  # type: ignore[union-attr]
            here.shipper.process = None
            old_shipper.kill()
            here.shipper.start()
            until("the new shipper wants an upgrade", lambda: here.shipper.lines("shipping waits"))
            here.shipper.kill()
            until("packets wait", load.more(PACKETS))
            command(dsn, "migrate", "up", "--yes")
            before = database.records()
            old_shipper.start()
            until("the old shipper is refused", lambda: old_shipper.lines("of an older release"))
            old_shipper.kill()
            assert database.records() == before
            if node_is_lost:
                node = (here.journal / "node").read_text()
                (here.journal / "node").unlink()
            here.shipper.start()
            if node_is_lost:
                until("the name is missed", lambda: here.shipper.lines("lost its name"))
                assert database.records() == before
                (here.journal / "node").write_text(node)
            ship(database, PACKETS, load)
            old_radius.kill()
            here.radius.start()
            ship(database, PACKETS, load)
        wait_until_exact([load], database, [here.shipper])
        assert incidents(database) == []
        assert database.rows(
            "SELECT array_agg(DISTINCT format ORDER BY format) FROM radmeter.journal_segment"
        ) == [([1, 2],)]
