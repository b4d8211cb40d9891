"""Whatever bytes are in a detail file, its packets are right or rejected."""

import io
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st
from support.fuzz import fuzzing, mutated

from radmeter.errors import RejectedPacket
from radmeter.ingest.replay import _lines
from radmeter.packet.detail_file import Packet, Place, Stanza, packet, stanzas

NAMES = ["User-Name", "NAS-Identifier", "Called-Station-Id", "Reply-Message", "Class", "Mikrotik-Host-IP"]
OCTETS = st.one_of(
    st.binary(max_size=30), st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))
)


def quoted(value: bytes) -> bytes:
    """Write text as rlm_detail does."""
    shown = b"".join(
        bytes([octet]) if 32 <= octet < 127 and octet not in b'"\\' else b"\\%03o" % octet for octet in value
    )
    return b'"' + shown + b'"'


@st.composite
def whole_stanzas(draw: st.DrawFn) -> bytes:
    """A stanza with distinct attributes. Its arrival is its own."""
    seconds = draw(st.integers(1_795_000_000, 1_795_900_000))
    lines = [b"\tPacket-Src-IP-Address = 192.0.2.1"]
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        lines.append(b"\t%s = %s" % (name.encode(), quoted(draw(OCTETS))))
    lines.append(b"\tAcct-Session-Id = %s" % quoted(draw(OCTETS)))
    if draw(st.booleans()):
        lines.append(b'\tEvent-Timestamp = "Nov 20 2026 11:42:58 CET"')
    lines.append(b"\tAcct-Status-Type = Interim-Update")
    lines.append(b"\tNAS-Port = %d" % draw(st.integers(0, 99)))
    lines.append(b"\tAcct-Input-Octets = %d" % draw(st.integers(0, 2**32 - 1)))
    lines.append(b"\tTimestamp = %d" % seconds)
    return b"Fri Nov 20 11:43:03 2026\n" + b"\n".join(lines) + b"\n\n"


FILES = st.lists(whole_stanzas(), min_size=1, max_size=4).map(b"".join)


def cut_into(data: bytes) -> tuple[list[Stanza], Place]:
    place = Place()
    return list(stanzas(_lines(io.BytesIO(data)), place)), place


def packets(data: bytes) -> list[Packet | None]:
    """Return the packets of a file, None for a stanza that is rejected."""
    found: list[Packet | None] = []
    for stanza in cut_into(data)[0]:
        try:
            found.append(packet(stanza))
        except RejectedPacket:
            found.append(None)
    return found


def good(data: bytes) -> list[Packet]:
    return [each for each in packets(data) if each is not None]


@fuzzing(200)
@given(
    data=st.one_of(
        st.binary(max_size=400),
        st.text('\t\n ="\\0123456789AcTimestamp-', max_size=300).map(lambda text: text.encode()),
        FILES.flatmap(mutated),
    ),
    zone=st.sampled_from([None, ZoneInfo("Europe/Berlin")]),
)
def test_any_bytes(data: bytes, zone: ZoneInfo | None) -> None:
    cut, place = cut_into(data)
    assert place.size == len(data)
    assert [stanza.number for stanza in cut] == list(range(1, len(cut) + 1))
    assert all(stanza.identity for stanza in cut)
    for stanza in cut:
        try:
            found = packet(stanza, zone)
        except RejectedPacket:
            continue
        else:
            assert all(name and isinstance(value, str) for name, value in found.pairs)


@fuzzing(150)
@given(data=st.data(), file=FILES, following=FILES)
def test_a_file_that_is_cut_anywhere_gives_its_first_packets(
    data: st.DataObject, file: bytes, following: bytes
) -> None:
    whole, after = good(file), good(following)
    assert len(whole) == file.count(b"Timestamp = 17")
    cut = data.draw(st.integers(0, len(file)))
    first = good(file[:cut])
    assert first == whole[: len(first)]
    # A server that died while it wrote, and was started again, goes on in the same file.
    both = good(file[:cut] + following)
    complete = len(first)
    assert both[:complete] == first
    assert both[complete:] in (after, whole[complete : complete + 1] + after)


@fuzzing(100)
@given(data=st.data(), file=st.one_of(FILES, FILES.flatmap(mutated)))
def test_reading_goes_on_where_it_ended(data: st.DataObject, file: bytes) -> None:
    """A replay that was interrupted gives each stanza the same number as one that was not."""
    whole, _ = cut_into(file)
    if not whole:
        return
    last = data.draw(st.sampled_from(whole))
    place = Place(last.number, file[: last.size].count(b"\n"), last.size)
    place.hash.update(file[: last.size])
    assert list(stanzas(_lines(io.BytesIO(file[last.size :])), place)) == whole[last.number :]


@fuzzing(50)
@given(files=st.lists(FILES, max_size=3))
@example(files=[])
def test_files_that_are_put_together_give_all_packets(files: list[bytes]) -> None:
    assert packets(b"".join(files)) == [each for file in files for each in packets(file)]
