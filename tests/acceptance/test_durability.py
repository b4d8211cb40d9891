"""What was answered is counted, exactly once, whatever is killed, full or away in between."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from support.processes import Database, FreeRadius, Line, Shipper, eventually
from support.servers import Server
from support.small_disks import fill, small_file_system
from support.wire import Pairs, Router

from radmeter.ingest import waiting_packets

ROUTERS = 6


def session(user: str, number: int) -> dict[str, str | int]:
    """A Stop whose octets are not any other's: a missing or a doubled one shows in the sum."""
    return {
        "Acct-Status-Type": "Stop",
        "User-Name": user,
        "Acct-Session-Id": f"{user} {number}",
        "Acct-Input-Octets": 1_000 + number,
        "Acct-Output-Octets": 1_000_000 + number,
    }


@dataclass
class Traffic:
    """A router in a thread of its own, sending one session after the other and remembering what was answered."""

    server: FreeRadius
    user: str
    answered: list[int] = field(default_factory=list)
    sent: int = 0
    failure: Exception | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            with Router(self.server.address) as router:
                while not self._stop.is_set():
                    number, self.sent = self.sent, self.sent + 1
                    packet = router.packet(session(self.user, number))
                    while not router.answered(packet, seconds=0.3):
                        if self._stop.is_set() and self.server.process is None:
                            return
                    self.answered.append(number)
        except Exception as error:
            self.failure = error

    def stop(self) -> None:
        self._stop.set()

    def usage(self) -> list[tuple[int, int]]:
        """What the user's counter must show."""
        return [(sum(1_000 + n for n in self.answered), sum(1_000_000 + n for n in self.answered))]


@contextmanager
def traffic(server: FreeRadius, routers: int = ROUTERS) -> Iterator[list[Traffic]]:
    """Traffic of several routers for as long as the block runs."""
    all_traffic = [Traffic(server, f"user {number}") for number in range(routers)]
    threads = [threading.Thread(target=one.run) for one in all_traffic]
    for thread in threads:
        thread.start()
    try:
        yield all_traffic
    finally:
        for one in all_traffic:
            one.stop()
        for thread in threads:
            thread.join()
    assert [one.failure for one in all_traffic] == [None] * routers


def at_least(count: int, all_traffic: list[Traffic]) -> Callable[[], bool]:
    """Tell whether every router has got so many more answers since now."""
    goals = [len(one.answered) + count for one in all_traffic]
    return lambda: all(len(one.answered) >= goal for one, goal in zip(all_traffic, goals, strict=True))


def more_ingested(count: int, database: Database) -> Callable[[], bool]:
    """Tell whether the database has taken so many more packets since now."""
    goal = database.records() + count
    return lambda: database.records() >= goal


def shipped(line: Line) -> bool:
    """Tell whether everything in the journal is in the database."""
    with psycopg.connect(line.database.dsn, autocommit=True) as connection:
        return waiting_packets.depth(connection, line.server.journal).records == 0


@pytest.mark.parametrize("options", [(), ("-t",)], ids=["with threads", "without threads"])
@pytest.mark.parametrize("sync", ["packet", "interval"])
def test_radiusd_killed_under_traffic_loses_and_doubles_nothing(
    tmp_path: Path, database: Database, sync: str, options: Sequence[str]
) -> None:
    with (
        FreeRadius(tmp_path / "run", tmp_path / "journal", sync=sync, options=options) as server,
        Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper,
    ):
        line = Line(server.start(), shipper, database)
        with traffic(server) as all_traffic:
            for _ in range(3):
                eventually(at_least(30, all_traffic), True)
                server.kill()
                server.start()
            eventually(at_least(30, all_traffic), True)
            server.kill()

        # What was answered is in the journal of the dead server; of the rest only the one packet under way may be.
        shipper.start()
        eventually(lambda: shipped(line), True)
        for one in all_traffic:
            counted = {
                row[0]
                for row in database.rows(
                    "SELECT acctinputoctets - 1000 FROM radacct WHERE username = %s AND acctoutputoctets = "
                    "acctinputoctets - 1000 + 1000000",
                    one.user,
                )
            }
            assert set(one.answered) <= counted <= set(range(one.sent))
            assert counted - set(one.answered) <= {one.sent - 1}

        # The routers have no answer to their last packets and go on sending them.
        server.start()
        for one in all_traffic:
            if len(one.answered) < one.sent:
                with Router(server.address) as router:
                    router.insist(router.packet(session(one.user, one.sent - 1)))
                one.answered.append(one.sent - 1)
        eventually(lambda: shipped(line), True)
        for one in all_traffic:
            assert database.user(one.user) == one.usage()
        assert database.rows("SELECT count(*), count(DISTINCT acctuniqueid) FROM radacct") == [
            (sum(len(one.answered) for one in all_traffic),) * 2
        ]
        assert shipper.stop() == 0
        assert server.stop() == 0


def test_a_shipper_killed_under_traffic_loses_and_doubles_nothing(line: Line) -> None:
    with traffic(line.server) as all_traffic:
        for _ in range(4):
            eventually(more_ingested(100, line.database), True)
            line.shipper.kill()
            line.shipper.start()
    eventually(lambda: shipped(line), True)
    for one in all_traffic:
        assert line.database.user(one.user) == one.usage()


def test_the_database_restarts_under_traffic(
    server: FreeRadius, shipper: Shipper, database: Database, postgresql: Server
) -> None:
    # The tests' PostgreSQL does not wait for its log to be written; here it is to keep what it has committed.
    database.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = on', current_database()); END $$"
    )
    line = Line(server, shipper.start(), database)
    with traffic(server) as all_traffic:
        for how in (signal.SIGINT, signal.SIGQUIT):  # stopped, crashed
            eventually(more_ingested(100, database), True)
            postgresql.stop(how)
            eventually(at_least(20, all_traffic), True)  # routers are answered while it is away
            postgresql.start()
    eventually(lambda: shipped(line), True)
    for one in all_traffic:
        assert database.user(one.user) == one.usage()
    assert shipper.stop() == 0


# A journal that takes nothing.

REFUSED = ": Error: radmeter: packets cannot be kept"
RECOVERED = ": Info: radmeter: packets are kept and answered again"


def test_a_full_disk_is_silence_one_line_and_recovery_without_a_restart(
    small_disk: Path, tmp_path: Path, database: Database
) -> None:
    with (
        FreeRadius(tmp_path / "run", small_disk / "journal") as server,
        Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper,
        Router(server.start().address) as router,
    ):
        number, answered = 0, []
        for _ in range(2):
            assert router.send(session("alice", number))
            answered.append(number)
            fill(small_disk)
            while router.send(session("alice", number + 1), seconds=0.3):  # what SQLite had set aside already
                number += 1
                answered.append(number)
            number += 1
            for _ in range(10):
                assert not router.send(session("alice", number), seconds=0.1)
            (small_disk / "filler").unlink()
            router.insist(router.packet(session("alice", number)))
            answered.append(number)
            number += 1
        assert len(server.lines(REFUSED)) == 2
        assert len(server.lines(RECOVERED)) == 2
        shipper.start()
        eventually(
            lambda: database.user("alice"),
            [(sum(1_000 + n for n in answered), sum(1_000_000 + n for n in answered))],
        )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with small_file_system(tmp_path / "disk", megabytes=4) as disk:
        yield disk


def test_a_journal_at_its_limit_is_silence_until_some_of_it_is_shipped(
    tmp_path: Path, database: Database
) -> None:
    with (
        FreeRadius(
            tmp_path / "run", tmp_path / "journal", journal_limit_bytes=1 << 20, segment_bytes=1 << 16
        ) as server,
        Shipper(tmp_path / "ship.log", server.journal, database.dsn) as shipper,
        Router(server.start().address) as router,
    ):
        answered = 0
        while router.send(padded(session("bob", answered)), seconds=0.5):
            answered += 1
            assert answered < 3_000
        assert answered > 10
        for _ in range(5):
            assert not router.send(padded(session("bob", answered)), seconds=0.1)
        assert len(server.lines(REFUSED)) == 1
        shipper.start()
        router.insist(router.packet(padded(session("bob", answered))))
        assert len(server.lines(REFUSED)) == len(server.lines(RECOVERED)) == 1
        eventually(
            lambda: database.user("bob"),
            [(sum(1_000 + n for n in range(answered + 1)), sum(1_000_000 + n for n in range(answered + 1)))],
        )


def padded(pairs: dict[str, str | int]) -> Pairs:
    """Make a packet large: 2 KB."""
    return [*pairs.items(), *[("Class", b"x" * 200)] * 10]


def test_a_journal_that_cannot_be_made_is_silence_and_recovery(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with FreeRadius(tmp_path / "run", place / "journal") as server, Router(server.start().address) as router:
        place.rmdir()
        place.touch()  # a file in its way stops root too
        for _ in range(3):
            assert not router.send(session("carol", 0), seconds=0.2)
        assert len(server.lines(REFUSED)) == len(server.lines(": Error:")) == 1
        place.unlink()
        router.insist(router.packet(session("carol", 0)))
        assert len(server.lines(RECOVERED)) == 1
