"""A full disk with kept segments on it: they give way, and nothing else does."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.backups import backups
from support.hosts import Host, host
from support.processes import Database, until
from support.small_disks import fill, small_file_system
from support.wire import Router, Value

from radmeter.plugin.journal import files

REFUSED = ": Error: radmeter: packets cannot be kept"
MEGABYTES = 100
KEPT = 6
PADDING = [("Class", b"x" * 200)] * 10
pytestmark = pytest.mark.timeout(600, func_only=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "disk", megabytes=MEGABYTES) as disk:
        yield disk


@pytest.fixture
def here(disk: Path, database: Database) -> Iterator[Host]:
    """A host whose journal is on the small disk."""
    with host(disk, database.dsn) as here:
        here.start()
        yield here


class Sender:
    """One router that sends large packets one after the other, and remembers what was answered."""

    def __init__(self, here: Host) -> None:
        self._router = Router(here.radius.address)
        self.answered: list[int] = []
        self._sent = 0

    def send(self, *, seconds: float = 10.0) -> bool:
        """Send a new packet once; tell whether it was answered."""
        number, self._sent = self._sent, self._sent + 1
        answered = self._router.answered(self._packet(number), seconds=seconds)
        if answered:
            self.answered.append(number)
        return answered

    def insist(self) -> None:
        """Send a new packet, as a router does, until it is answered."""
        number, self._sent = self._sent, self._sent + 1
        self._router.insist(self._packet(number))
        self.answered.append(number)

    def insist_on_full_disk(self, here: Host, disk: Path) -> None:
        """As `insist`. If nothing is left that may give way, what another program has taken is freed."""
        number, self._sent = self._sent, self._sent + 1
        packet = self._packet(number)

        def answered() -> bool:
            if not names(here, files.SHIPPED):
                (disk / "filler").unlink(missing_ok=True)
            return self._router.answered(packet, seconds=0.5)

        until("a packet is answered", answered)
        self.answered.append(number)

    def send_until_refused(self) -> None:
        """Send packets until one is not answered. The disk is nearly full."""
        many = len(self.answered) + 1_000
        while self.send(seconds=0.5):
            assert len(self.answered) < many

    def keep(self, here: Host) -> None:
        """Send packets until some segments are kept. Each must be answered at the first try."""
        while len(names(here, files.SHIPPED)) < KEPT:
            for _ in range(20):
                assert self.send(), "a packet was refused"
            until("the shipper follows", lambda: len(names(here)) <= 2)

    def _packet(self, number: int) -> bytes:
        body: dict[str, Value] = {
            "Acct-Status-Type": "Stop",
            "User-Name": "alice",
            "Acct-Session-Id": f"{number}",
            "Acct-Input-Octets": 1_000 + number,
        }
        return self._router.packet([*body.items(), *PADDING])

    def counted(self, database: Database) -> bool:
        """Tell whether the database has counted what was answered, and nothing else."""
        found = database.rows("SELECT acctsessionid::integer FROM public.radacct")
        return {number for (number,) in found} == set(self.answered)

    def close(self) -> None:
        self._router.__exit__()


@pytest.fixture
def sender(here: Host) -> Iterator[Sender]:
    sender = Sender(here)
    yield sender
    sender.close()


def names(here: Host, folder: str = "") -> set[str]:
    directory = here.journal / folder
    return {segment.path.name for segment in files.segments(directory)} if directory.exists() else set()


def test_kept_segments_give_way_before_a_packet_is_refused(
    disk: Path, here: Host, sender: Sender, database: Database
) -> None:
    """The shipper is dead, so only the plugin can make room."""
    sender.keep(here)
    here.shipper.kill()
    kept, waits = names(here, files.SHIPPED), names(here)
    assert kept
    fill(disk)
    # Another program takes what gives way, until nothing is left to give way.
    while names(here, files.SHIPPED):
        assert sender.send(), "a packet was refused while segments are kept"
        fill(disk)
    assert waits <= names(here)
    sender.send_until_refused()
    for _ in range(5):
        assert not sender.send(seconds=0.2)
    assert here.radius.lines(REFUSED)
    here.shipper.start()
    until("all is counted on a full disk", lambda: sender.counted(database))
    (disk / "filler").unlink()
    sender.insist()
    until("all is counted", lambda: sender.counted(database))
    assert database.rows("SELECT kind FROM radmeter.journal_incident") == []


def test_a_shipper_on_a_full_disk_goes_on_and_makes_room(
    disk: Path, here: Host, sender: Sender, database: Database
) -> None:
    sender.keep(here)
    for _ in range(100):
        fill(disk)
        sender.insist_on_full_disk(here, disk)
    fill(disk)
    until("all is counted on a full disk", lambda: sender.counted(database))
    assert here.shipper.process is not None
    assert here.shipper.process.poll() is None, here.shipper.lines()[-5:]
    here.shipper.kill()
    here.shipper.start()
    sender.insist_on_full_disk(here, disk)
    until("all is counted after a restart", lambda: sender.counted(database))
    assert database.rows("SELECT kind FROM radmeter.journal_incident") == []


def test_what_is_shipped_again_does_not_give_way(
    disk: Path, here: Host, sender: Sender, database: Database
) -> None:
    with backups(database.dsn) as copies:
        assert sender.send()
        backup = copies.take()
        sender.keep(here)
        here.shipper.kill()
        copies.restore(backup)
        with psycopg.connect(database.dsn) as connection:
            connection.execute("LOCK TABLE public.radacct")
            here.shipper.start()
            until("kept segments come back", lambda: len(names(here, files.AGAIN)) >= KEPT)
            again = names(here, files.AGAIN)
            fill(disk)
            sender.send_until_refused()
            assert here.radius.lines(REFUSED)
            assert again <= names(here, files.AGAIN)
        until("all is counted on a full disk", lambda: sender.counted(database))
        (disk / "filler").unlink()
        sender.insist()
        until("all is counted", lambda: sender.counted(database))
        assert database.rows("SELECT DISTINCT kind FROM radmeter.journal_incident") == [("rewound",)]
