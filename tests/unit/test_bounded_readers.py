"""However large a file of somebody else's is, reading it takes little memory, and nothing behind a fault is lost."""

import gzip
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.journals import pairs_of
from support.memory import peak_bytes

from radmeter import csv_lines
from radmeter.errors import JournalError, RejectedPacket
from radmeter.freeradius import raddb
from radmeter.packet.detail_file import LONGEST_STANZA, Place, packet, stanzas
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import BATCH_TEXT, JournalReader
from radmeter.plugin.journal.record_format import LONGEST_RECORD, LONGEST_TEXT, MARK, pack
from radmeter.plugin.journal.segment_format import HEADER_1 as HEADER
from radmeter.plugin.journal.segment_reader import DamagedSegment, SegmentReader
from radmeter.plugin.journal.writer import JournalWriter
from radmeter.routers import inventory

HUGE = 3 << 29  # 1.5 GiB of holes, which the journal's reader passes over
LARGE = 192 << 20  # read to its end
LITTLE = 48 << 20
TEXT = b'[["Acct-Status-Type","Start"]]'


def records(first: int, count: int, text: bytes = TEXT, durable: int = 1) -> bytes:
    return b"".join(pack(first + n, durable, 7, text) for n in range(count))


def sparse(path: Path, *parts: tuple[int, bytes], size: int = LARGE) -> Path:
    """Make a file with data at some offsets and holes elsewhere."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in parts:
            file.seek(offset)
            file.write(data)
    return path


READ_JOURNAL = """
reader = JournalReader(sys.argv[1])
entries = 0
for segment in reader.segments():
    after = 0
    while True:
        try:
            found = reader.read(segment, after, 1000)
        except DamagedSegment as error:
            reader.skip(segment, error.loss)
            print(error.loss)
            continue
        if not found:
            break
        entries, after = entries + len(found), found[-1].seq
    reader.losses(segment, 0)
    reader.digest(segment, 2**62)
    reader.end(segment)
reader.unreadable()
reader.depth({})
print(entries, "entries")
for item in read_orphan(files.segment_path(Path(sys.argv[1]), 1)):
    pass
"""
JOURNAL_IMPORTS = """
from pathlib import Path
from radmeter.errors import JournalError
from radmeter.plugin.journal import files
from radmeter.plugin.journal.reader import DamagedSegment, JournalReader
from radmeter.plugin.journal.orphan import read_orphan
"""

HOSTILE_SEGMENTS: dict[str, Callable[[Path], object]] = {
    "zeros": lambda path: sparse(path, (0, HEADER + records(1, 3)), size=HUGE),
    "a loss at the far end": lambda path: sparse(
        path, (0, HEADER + records(1, 3)), (HUGE - 500, records(9, 1, durable=9)), size=HUGE
    ),
    "a record as long as a number can say": lambda path: sparse(
        path, (0, HEADER + records(1, 3) + MARK + bytes(4) + b"\0\0\0\x0a")
    ),
    "marks without records": lambda path: sparse(
        path, *((n << 20, HEADER * (n == 0) + MARK + bytes(4) + b"\0\0\x10\0") for n in range(LARGE >> 20))
    ),
    "no holes": lambda path: path.write_bytes(HEADER + records(1, 3) + b"\xff" * LARGE),
}


@pytest.mark.parametrize("hostile", HOSTILE_SEGMENTS)
def test_a_segment(tmp_path: Path, hostile: str) -> None:
    (tmp_path / "node").write_text("n\n")
    HOSTILE_SEGMENTS[hostile](files.segment_path(tmp_path, 1))
    assert peak_bytes(JOURNAL_IMPORTS, READ_JOURNAL, tmp_path) < LITTLE


def test_a_batch_of_the_longest_records(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("n\n")
    data = HEADER + records(1, 500, text=b"x" * LONGEST_TEXT)
    files.segment_path(tmp_path, 1).write_bytes(data)
    assert peak_bytes(JOURNAL_IMPORTS, READ_JOURNAL, tmp_path) < LITTLE
    reader = JournalReader(tmp_path)
    (segment,) = reader.segments()
    found = reader.read(segment, 0, 1000)
    assert len(found) == -(-BATCH_TEXT // LONGEST_TEXT)
    assert [each.seq for each in reader.read(segment, found[-1].seq, 3)] == [17, 18, 19]
    reader.close()


def seqs(path: Path, wanted: int = 1) -> list[int]:
    reader = SegmentReader(path, 1)
    try:
        return [entry.seq for entry in reader.read(wanted)]
    finally:
        reader.close()


@pytest.mark.parametrize(
    "behind", [1, LONGEST_RECORD - 40, LONGEST_RECORD, 3 * LONGEST_RECORD + 5, HUGE // 2]
)
def test_a_lost_record_is_noticed_however_far_behind_it_the_next_one_is(tmp_path: Path, behind: int) -> None:
    start = HEADER + records(1, 3)
    later = records(9, 1, text=b"x" * LONGEST_TEXT, durable=9)
    path = sparse(tmp_path / "segment", (0, start), (len(start) + behind, later), size=1)
    with pytest.raises(DamagedSegment, match=r"records 4 to 8 are missing at byte \d+, and 9 is there"):
        seqs(path)


def test_a_record_that_was_not_durable_is_no_proof_of_loss(tmp_path: Path) -> None:
    start = HEADER + records(1, 3)
    later = records(9, 1, durable=3)
    path = sparse(tmp_path / "segment", (0, start), (len(start) + 3 * LONGEST_RECORD, later))
    assert seqs(path) == [1, 2, 3]


def test_the_longest_record_is_read_and_a_longer_one_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    longest = records(4, 1, text=b"x" * LONGEST_TEXT)
    path.write_bytes(HEADER + records(1, 3) + longest + records(5, 2))
    assert seqs(path) == [1, 2, 3, 4, 5, 6]
    longer = records(4, 1, text=b"x" * (LONGEST_TEXT + 1))
    for behind in (b"", records(5, 2), bytes(1 << 20)):
        path.write_bytes(HEADER + records(1, 3) + longer + behind)
        with pytest.raises(DamagedSegment, match="more than any packet's"):
            seqs(path)
    # Cut off, it was never whole: the log ends before it.
    path.write_bytes(HEADER + records(1, 3) + longer[:-1])
    assert seqs(path) == [1, 2, 3]


def test_the_writer_writes_no_longer_record(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal")
    assert writer.append(7, "x" * LONGEST_TEXT) == 1
    with pytest.raises(JournalError, match="longer than"):
        writer.append(7, "x" * (LONGEST_TEXT + 1))
    assert writer.append(7, "[]") == 2
    writer.close()
    assert [len(text) for text in pairs_of(tmp_path / "journal")] == [LONGEST_TEXT, 2]


def test_a_record_that_is_not_utf8_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(HEADER + records(1, 1) + records(2, 1, text=b"\xff"))
    with pytest.raises(DamagedSegment, match="record 2 is not UTF-8"):
        seqs(path)


@pytest.mark.parametrize("data", [b"x" * 2000, b"\xff\n"])
def test_a_node_that_is_no_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "node").write_bytes(data)
    with pytest.raises(JournalError, match="does not hold a node's name"):
        JournalReader(tmp_path).node()
    sparse(tmp_path / "node")
    code = "try: JournalReader(sys.argv[1]).node()\nexcept JournalError: pass"
    assert peak_bytes(JOURNAL_IMPORTS, code, tmp_path) < LITTLE


READ_DETAIL = """
replayer = Replayer("")
opened = gzip.open(sys.argv[1]) if sys.argv[1].endswith(".gz") else open(sys.argv[1], "rb")
cut = stanzas(_lines(opened), Place())
while batch := replayer._next_batch(cut):
    for stanza in batch:
        try:
            packet(stanza)
        except RejectedPacket:
            pass
"""
DETAIL_IMPORTS = """
import gzip
from radmeter.errors import RejectedPacket
from radmeter.ingest.replay import Replayer, _lines
from radmeter.packet.detail_file import Place, packet, stanzas
"""
PIECE = 64 << 10


def zeros_in_gzip(path: Path) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(LARGE >> 20):
            file.write(bytes(1 << 20))
    return path


HOSTILE_DETAILS: dict[str, Callable[[Path], Path]] = {
    "zeros": lambda place: sparse(place / "detail"),
    "one endless line of a stanza": lambda place: sparse(
        place / "detail", *((at, b"\t") for at in range(0, LARGE, PIECE))
    ),
    "long lines": lambda place: sparse(
        place / "detail", *((at, b"\n\tA = ") for at in range(0, LARGE, PIECE // 2))
    ),
    "long stanzas": lambda place: sparse(
        place / "detail",
        *((at, b"\n\nFri Nov 20 11:43:03 2026\n\tA = ") for at in range(0, LARGE, PIECE // 2)),
        size=LARGE,
    ),
    "compressed zeros": lambda place: zeros_in_gzip(place / "detail.gz"),
}


@pytest.mark.parametrize("hostile", HOSTILE_DETAILS)
def test_a_detail_file(tmp_path: Path, hostile: str) -> None:
    assert peak_bytes(DETAIL_IMPORTS, READ_DETAIL, HOSTILE_DETAILS[hostile](tmp_path)) < LITTLE


STANZA = (
    b"Fri Nov 20 11:43:03 2026\n",
    b"\tAcct-Status-Type = Start\n",
    b"\tTimestamp = 1795171383\n",
    b"\n",
)


def test_what_follows_a_stanza_that_is_too_long_is_read() -> None:
    line = b'\tUser-Name = "' + b"x" * 60_000 + b'"\n'
    long = [STANZA[0], *[line] * (LONGEST_STANZA // len(line) + 1), *STANZA[1:]]
    place = Place()
    first, second, third = stanzas([*STANZA, *long, *STANZA], place)
    with pytest.raises(RejectedPacket, match="bytes without an empty line"):
        packet(second)
    assert packet(first) == packet(third)
    assert third.number == 3
    assert place.size == sum(map(len, [*STANZA, *long, *STANZA]))
    whole = hashlib.blake2b(b"".join([*STANZA, *long, *STANZA]), digest_size=16).digest()
    assert place.hash.digest() == third.digest == whole


READ_INVENTORY = """
with open(sys.argv[1], "rb") as file:
    entries = inventory.read(csv_lines.lines_of(file), {})
    while list(islice(entries, 5000)):
        pass
"""
INVENTORY_IMPORTS = (
    "from itertools import islice; from radmeter import csv_lines; from radmeter.routers import inventory"
)


@pytest.mark.parametrize("line", [b"", b"x\x1b" * 4000 + b",AA\n"], ids=["no end", "all bad"])
def test_an_inventory(tmp_path: Path, line: bytes) -> None:
    head = b"name,mac\n"
    path = tmp_path / "routers.csv"
    if line:
        path.write_bytes(head + line * 10_000)
    else:
        sparse(path, (0, head))
    assert peak_bytes(INVENTORY_IMPORTS, READ_INVENTORY, path) < LITTLE


def test_what_follows_a_line_that_is_too_long_is_read(tmp_path: Path) -> None:
    path = tmp_path / "routers.csv"
    longest = b"x" * (csv_lines.LONGEST_LINE - 1) + b"\n"
    path.write_bytes(b"name\nlobby\n" + b"y" * 100_000 + b"\nbar\n" + longest + b"x" + longest + b"end")
    with path.open("rb") as file:
        numbers = [
            (each.number, each.name) if isinstance(each, inventory.Line) else each
            for each in inventory.read(csv_lines.lines_of(file), {})
        ]
    reason = f"it is longer than {csv_lines.LONGEST_LINE} bytes"
    assert [numbers[0], numbers[1], numbers[2], numbers[4], numbers[5]] == [
        (2, "lobby"),
        (3, reason),
        (4, "bar"),
        (6, reason),
        (7, "end"),
    ]
    assert numbers[3] == (5, f"the name has {csv_lines.LONGEST_LINE - 1} characters, more than 200")


def test_too_many_routers_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MOST_ROUTERS", 5)
    lines = [b"name\n", *(f"router-{number}\n".encode() for number in range(20))]
    with pytest.raises(inventory.BadInventory, match="split the file"):
        list(inventory.read(lines, {}))


def test_a_configuration(tmp_path: Path) -> None:
    sparse(tmp_path / "radiusd.conf")
    imports = "from pathlib import Path; from radmeter.freeradius import raddb"
    code = "try: raddb.read(Path(sys.argv[1]))\nexcept OSError: pass"
    assert peak_bytes(imports, code, tmp_path) < LITTLE
    (tmp_path / "radiusd.conf").write_text("$INCLUDE radiusd.conf\n" * 2)
    with pytest.raises(OSError, match="files are included"):
        raddb.read(tmp_path)


def test_a_pipe_is_no_archive(tmp_path: Path) -> None:
    from radmeter.partitions import parquet_file
    from radmeter.partitions.parquet_rows import UnfitFile

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnfitFile, match="is not a regular file"):
        parquet_file.sha256(tmp_path / "pipe")
    path = sparse(tmp_path / "archive.parquet", (0, b"PAR1"), (LARGE - 4, b"PAR1"))
    imports = "from radmeter.partitions import parquet_file; from pathlib import Path"
    assert peak_bytes(imports, "parquet_file.sha256(Path(sys.argv[1]))", path) < LITTLE
