"""A shipper that is killed at any step, while databases and journals step back at random: all counts once, or is said.

Each example is a short history of one or two machines with copies of one journal, and one database. RADMETER_LONG=1
runs more of them, each time others; RADMETER_SEED=<number> repeats one.
"""

import errno
import json
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from support.servers import Server, installed

from radmeter.errors import JournalError, StoreError, StoreUnavailable
from radmeter.ingest import orphan_result, orphans
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.plugin.journal import files
from radmeter.plugin.journal.kept import delete_oldest
from radmeter.plugin.journal.orphan import read_orphan as read_file
from radmeter.plugin.journal.reader import Entry, JournalReader, Loss
from radmeter.plugin.journal.record_format import MARK
from radmeter.plugin.journal.writer import JournalWriter

LONG = os.environ.get("RADMETER_LONG") == "1"
SEED = os.environ.get("RADMETER_SEED")
SEEDS: Sequence[int] = [int(SEED)] if SEED else range(30)
LONG_SECONDS = 600.0
SHIP_SECONDS = 60.0
SEGMENT_BYTES = 3000
OCTETS = 7

pytestmark = pytest.mark.timeout(LONG_SECONDS + 600, func_only=True)


class Killed(BaseException):
    """The process is killed at this step."""


@dataclass
class Faults:
    """Does something at one step of the shipper: before a call that changes the disk, or around one of the database."""

    countdown: int = -1
    act: Callable[[str], None] = lambda step: None
    stores: list[Store] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.countdown -= 1
        if self.countdown == 0:
            self.act(name)


class WatchedStore(Store):
    """A store whose calls are steps: one before the call, and one after the database has done it."""

    def __init__(self, dsn: str, faults: Faults) -> None:
        super().__init__(dsn)
        self._faults = faults
        faults.stores.append(self)

    def _call(self, query: str, *parameters: object) -> Any:
        self._faults.step(f"before {query}")
        answer = super()._call(query, *parameters)
        self._faults.step(f"after {query}")
        return answer

    def open_segments(self, *parameters: Any) -> Any:
        self._faults.step("before open_segments")
        answer = super().open_segments(*parameters)
        self._faults.step("after open_segments")
        return answer

    def ingest_copied(self, *parameters: Any) -> int:
        self._faults.step("before ingest")
        answer = super().ingest_copied(*parameters)
        self._faults.step("after ingest")
        return answer


@contextmanager
def watched_disk(faults: Faults) -> Iterator[None]:
    """Make the calls that change the disk steps for the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "unlink", "fsync", "mkdir"):
            patch.setattr(os, name, _watched(name, getattr(os, name), faults))
        yield


def _watched(name: str, call: Callable[..., Any], faults: Faults) -> Callable[..., Any]:
    thread = threading.get_ident()

    def watched(*arguments: Any, **options: Any) -> Any:
        if threading.get_ident() == thread:
            faults.step(f"{name} {arguments}")
        return call(*arguments, **options)

    return watched


@dataclass
class Machine:
    """A machine with a copy of the journal. `writer`: its radiusd runs."""

    journal: Path
    writer: JournalWriter | None = None


@dataclass
class History:
    """What happens, in the order of a random generator, and what must come out."""

    base: Path
    dsn: str
    chance: random.Random
    machines: list[Machine] = field(default_factory=list)
    sent: dict[int, int] = field(default_factory=dict)  # by user: the packet's number
    segment_of: dict[int, str] = field(default_factory=dict)
    unknowable: set[int] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    backups: list[str] = field(default_factory=list)
    snapshots: list[Path] = field(default_factory=list)
    ledgers_lost: bool = False
    copies: int = 0

    def say(self, text: str) -> None:
        self.log.append(text)

    # What the machines do.

    def write(self, machine: Machine, packets: int) -> None:
        if machine.writer is None:
            machine.writer = JournalWriter(machine.journal, segment_bytes=SEGMENT_BYTES)
        self.say(f"{machine.journal.name}: users {len(self.sent)} to {len(self.sent) + packets - 1}")
        for _ in range(packets):
            user = len(self.sent)
            self.sent[user] = machine.writer.append(time.time_ns() // 1000, packet(user))
            segment = machine.writer._segment
            assert segment is not None
            self.segment_of[user] = segment.id

    def stop(self, machine: Machine, *, killed: bool) -> None:
        """End radiusd: in order, or with kill -9."""
        writer, machine.writer = machine.writer, None
        if writer is None:
            return
        self.say(f"{machine.journal.name}: radiusd {'is killed' if killed else 'stops'}")
        segment = writer._segment
        if killed and segment is not None:
            assert segment._descriptor is not None
            os.close(segment._descriptor)
            segment._descriptor = None
            writer._segment = None
            writer._lock.release()
        writer.close()

    def ship(self, machine: Machine, fault: str | None = None) -> None:
        """Ship until the journal is empty, or until the fault ends the process."""
        faults = Faults()
        if fault is not None:
            faults.countdown = self.chance.randrange(1, self.chance.choice((12, 40, 120)))
            faults.act = self._act(fault, machine)
        reader = JournalReader(machine.journal)
        stop = threading.Event()
        deadline = threading.Timer(SHIP_SECONDS, stop.set)
        kept = KeptSegments(
            machine.journal, limit_bytes=self.chance.choice((1 << 20, 1 << 20, 3 * SEGMENT_BYTES, 0))
        )
        batch = self.chance.choice((1, 3, 7, 50))
        self.say(f"{machine.journal.name}: ship, {batch} in a batch, {fault} at {faults.countdown}")
        shipper = Shipper(
            reader,
            lambda: WatchedStore(self.dsn, faults),
            batch_records=batch,
            batch_seconds=0.001,
            kept=kept,
        )
        deadline.start()
        try:
            with reader.lock(), watched_disk(faults):
                shipper.run(stop, until_empty=True)
        except Killed:
            self.say("  killed")
        finally:
            for store in faults.stores:
                store.close()
            deadline.cancel()
            deadline.join()
            reader.close()
        assert not stop.is_set(), f"the shipper is stuck: {shipper._trouble}"

    def _act(self, fault: str, machine: Machine) -> Callable[[str], None]:
        def act(step: str) -> None:
            self.say(f"  {fault} at step {step}")
            if fault == "kill":
                raise Killed
            if fault == "connection lost":
                if "before" in step or "after" in step:
                    raise StoreUnavailable("the connection is lost")
            elif fault == "disk full":
                if "rename" in step or "mkdir" in step or "fsync" in step:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            elif fault == "plugin deletes":
                for _ in range(self.chance.randrange(1, 5)):
                    delete_oldest(machine.journal, lambda path: self.say(f"  deleted {path.name}"))
            elif fault == "salvage":
                self.salvage(machine, self.chance.choice(("", *files.FOLDERS)))
            elif fault == "another ships":
                for other in self.machines:
                    if other is not machine:
                        self.ship(other)
            elif fault == "radiusd writes":
                self.write(machine, self.chance.randrange(1, 12))

        return act

    def salvage(self, machine: Machine, folder: str) -> None:
        with suppress(StoreError, JournalError, FileNotFoundError):
            store = Store(self.dsn)
            try:
                paths = orphans.segment_files(machine.journal / folder)
                for result in orphans.ship(store, paths, files.read_node(machine.journal) or "orphans"):
                    self.say(f"  salvage: {orphan_result.summary(result)}")
            finally:
                store.close()

    # What goes back.

    def back_up(self) -> None:
        self.say(f"backup {len(self.backups)}")
        name = f"{self._name}_{len(self.backups)}"
        with self._server() as server:
            server.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (name, self._name)))
            )
        self.backups.append(name)

    def restore(self) -> None:
        if self.backups:
            name = self.chance.choice(self.backups)
            self.say(f"restore {name[-1]}")
            with self._server() as server:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self._name)))
                server.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*map(sql.Identifier, (self._name, name)))
                )

    def close(self) -> None:
        for machine in self.machines:
            self.stop(machine, killed=True)
        with self._server() as server:
            for name in self.backups:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def copy(self, machine: Machine) -> None:
        """A second machine begins with a copy of the journal."""
        if len(self.machines) < 3:
            self.copies += 1
            to = self.base / f"copy{self.copies}"
            self.say(f"{machine.journal.name}: copied to {to.name}")
            shutil.copytree(machine.journal, to)
            self.machines.append(Machine(to))

    def snapshot(self, machine: Machine) -> None:
        to = self.base / f"{machine.journal.name}-{len(self.snapshots)}"
        self.say(f"snapshot {to.name}")
        shutil.copytree(machine.journal, to)
        self.snapshots.append(to)

    def put_back(self, machine: Machine) -> None:
        """Put a snapshot of the journal back, in the place of what is there or over it."""
        found = [each for each in self.snapshots if each.name.startswith(f"{machine.journal.name}-")]
        if not found:
            return
        snapshot, over = self.chance.choice(found), self.chance.random() < 0.3
        self.say(f"put back {snapshot.name}{', over what is there' if over else ''}")
        self.stop(machine, killed=self.chance.random() < 0.5)
        before = users_in(machine.journal)
        if not over:
            shutil.rmtree(machine.journal)
        shutil.copytree(snapshot, machine.journal, dirs_exist_ok=True)
        # Nobody can know what was lost with the directory, since the ledger is lost, too.
        self.unknowable |= before - users_in(machine.journal)
        self.ledgers_lost = True

    def lose(self, machine: Machine, name: str) -> None:
        path = machine.journal / name
        if path.exists() and machine.writer is None:
            self.say(f"{machine.journal.name}: {name} is lost")
            self.ledgers_lost = True
            if self.chance.random() < 0.5:
                path.unlink()
            else:
                os.truncate(path, self.chance.randrange(path.stat().st_size + 1))

    def delete_kept(self, machine: Machine) -> None:
        delete_oldest(
            machine.journal, lambda path: self.say(f"{machine.journal.name}: {path.name} is deleted")
        )

    def damage(self, machine: Machine) -> None:
        """Delete a segment, cut it off, or turn a bit of it, in whatever folder it is."""
        self.stop(machine, killed=False)
        newest = max((each.path for each in files.segments(machine.journal)), default=None)
        places = [machine.journal / folder for folder in ("", files.SHIPPED, files.AGAIN)]
        paths = [
            each.path
            for place in places
            if place.exists()
            for each in files.segments(place)
            if each.path != newest
        ]
        if not paths:
            return
        path = self.chance.choice(paths)
        entries = [item for item in read_file(path) if isinstance(item, Entry)]
        how = self.chance.choice(("delete", "truncate", "flip", "flip", "header"))
        if how == "truncate" and path.parent != machine.journal:
            how = (
                "flip"  # a kept segment is the last of its folder: nothing says where it ended but the ledger
            )
        self.say(f"{machine.journal.name}: {how} {path.relative_to(machine.journal)}")
        if how == "delete":
            path.unlink()
        elif how == "truncate" and len(entries) > 1:
            os.truncate(path, record_offset(path, self.chance.randrange(1, len(entries))))
        elif how == "flip" and len(entries) > 1:
            # The last record may have no other that proves it.
            flip(path, record_offset(path, self.chance.randrange(len(entries) - 1)) + 60)
        elif how == "header":
            flip(path, 30)

    # What comes out.

    def check(self) -> None:
        """Ship all that is there, without faults, and compare."""
        for machine in self.machines:
            self.stop(machine, killed=False)
        for _ in range(2):
            for machine in self.machines:
                self.ship(machine)
        for machine in self.machines:
            if (machine.journal / files.DAMAGED).exists():
                self.salvage(machine, files.DAMAGED)
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            usage: dict[str, int] = dict(
                connection.execute("SELECT username, bytes_in FROM radmeter.user_usage").fetchall()
            )
            assert set(usage.values()) <= {OCTETS}
            found = {int(name.removeprefix("user")) for name in usage}
            assert found <= set(self.sent)
            missing = set(self.sent) - found
            here = set().union(*(users_in(machine.journal) for machine in self.machines))
            assert not missing & here, f"readable packets are not counted: {sorted(missing & here)}"
            ((records,),) = connection.execute(
                "SELECT coalesce(sum(records), 0)::bigint FROM radmeter.journal_segment"
            )
            if not self.ledgers_lost:
                assert records == len(found), "records were counted twice"
            said = connection.execute(
                """SELECT segment::text, first_seq, last_seq, records FROM radmeter.journal_incident
                   WHERE kind IN ('missing', 'damaged') AND settled_at IS NULL"""
            ).fetchall()
        silent = {user for user in missing if not any(self._names(user, *each[:3]) for each in said)}
        silent -= self.unknowable
        assert not silent, f"packets are missing, and nothing says so: {sorted(silent)}"
        for segment, first, last, count in said:
            if last is not None:
                assert count == last - first + 1
                named = {user for user in self.sent if self._names(user, segment, first, last)}
                assert not named & found, f"counted, and said to be missing: {sorted(named & found)}"

    def _names(self, user: int, segment: str | None, first: int | None, last: int | None) -> bool:
        seq = self.sent[user]
        return (
            segment in (None, self.segment_of[user]) and (first or 0) <= seq and (last is None or seq <= last)
        )

    @property
    def _name(self) -> str:
        return str(psycopg.conninfo.conninfo_to_dict(self.dsn)["dbname"])

    @contextmanager
    def _server(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.dsn, dbname="postgres", autocommit=True) as server:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self._name,)
            )
            yield server


def packet(user: int) -> str:
    return json.dumps(
        [
            ["User-Name", f"user{user}"],
            ["Acct-Status-Type", "Stop"],
            ["Acct-Session-Id", f"session{user}"],
            ["NAS-IP-Address", "192.0.2.1"],
            ["Called-Station-Id", "AA-BB-CC-DD-EE-FF:Lobby"],
            ["Acct-Input-Octets", str(OCTETS)],
            ["Class", "x" * 200],
        ]
    )


def record_offset(path: Path, number: int) -> int:
    """Return where the record with this number, counted from 0, begins in a segment."""
    data, at = path.read_bytes(), -1
    for _ in range(number + 1):
        at = data.index(MARK, at + 1)
    return at


def flip(path: Path, offset: int) -> None:
    """Turn one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def users_in(journal: Path) -> set[int]:
    """Return the users whose packets can be read in a journal, in whatever file."""
    found = set()
    for folder in ("", *files.FOLDERS):
        with suppress(FileNotFoundError):
            for segment in files.segments(journal / folder):
                with suppress(JournalError):
                    for item in read_file(segment.path):
                        if isinstance(item, Entry):
                            found.add(int(json.loads(item.pairs)[0][1].removeprefix("user")))
                        assert isinstance(item, Entry | Loss)
    return found


FAULTS = (
    None,
    "kill",
    "kill",
    "kill",
    "connection lost",
    "disk full",
    "plugin deletes",
    "salvage",
    "another ships",
    "radiusd writes",
)


def run(base: Path, dsn: str, seed: int) -> None:
    """Run one example."""
    chance = random.Random(seed)
    history = History(base, dsn, chance)
    first = Machine(base / "first")
    history.machines.append(first)
    history.write(first, chance.randrange(1, 30))
    can_lose = chance.random() < 0.3
    can_put_back = chance.random() < 0.3
    # A copy of the journal may have what is damaged, and its own segments have the same numbers.
    can_damage = chance.random() < 0.4
    try:
        for _ in range(chance.randrange(6, 16)):
            machine = chance.choice(history.machines)
            what = chance.random()
            if what < 0.25:
                history.write(machine, chance.randrange(1, 25))
            elif what < 0.60:
                history.ship(machine, chance.choice(FAULTS))
            elif what < 0.68:
                history.stop(machine, killed=chance.random() < 0.5)
            elif what < 0.76:
                history.back_up()
            elif what < 0.86:
                history.restore()
            elif what < 0.90 and can_damage:
                history.damage(machine)
            elif what < 0.90:
                history.copy(machine)
            elif what < 0.93:
                history.delete_kept(machine)
            elif what < 0.95:
                history.snapshot(machine)
            elif what < 0.98 and can_put_back and not can_damage:
                history.put_back(machine)
            elif can_lose and not can_damage:
                history.lose(machine, chance.choice(("ledger.json", "ledger-gone.jsonl")))
        history.check()
    except BaseException:
        print(f"RADMETER_SEED={seed}", *history.log, sep="\n")
        raise
    finally:
        history.close()


@pytest.fixture(scope="module")
def newest(running: Callable[[Path], Server]) -> Server:
    return running(installed()["postgresql-18"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_history_counts_all_once_or_says_what_is_missing(
    tmp_path: Path, newest: Server, seed: int
) -> None:
    with newest.clone() as dsn:
        run(tmp_path, dsn, seed)


@pytest.mark.skipif(not LONG, reason="only with RADMETER_LONG=1")
def test_many_random_histories(tmp_path: Path, newest: Server) -> None:
    deadline = time.monotonic() + LONG_SECONDS
    while time.monotonic() < deadline:
        seed = random.randrange(1 << 32)
        base = tmp_path / f"{seed}"
        base.mkdir()
        with newest.clone() as dsn:
            run(base, dsn, seed)
        shutil.rmtree(base)
