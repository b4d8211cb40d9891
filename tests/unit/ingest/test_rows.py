"""`radmeter.ingest.rows`: read by columns, a packet gives the same line as read by itself."""

import json
import random

import pytest

from radmeter.ingest.records import as_json
from radmeter.ingest.rows import COLUMNS, MOST_LISTS, KnownLists, Rows, line_of
from radmeter.packet.columns import NULL, Attributes
from radmeter.packet.record import MOST_OCTETS
from radmeter.plugin.journal.packet_text import BETWEEN, END_OF_NAMES, to_text
from radmeter.plugin.journal.reader import Entry

SECOND = 1_700_000_000
PLAIN = {
    "Acct-Status-Type": "Interim-Update",
    "Acct-Session-Id": "s1",
    "User-Name": "alice",
    "NAS-IP-Address": "192.0.2.1",
    "NAS-Identifier": "lobby",
    "Called-Station-Id": "02-00-00-00-00-01:Guests",
    "Calling-Station-Id": "AA-00-00-00-00-01",
    "Acct-Session-Time": "300",
    "Acct-Input-Octets": "1000",
    "Acct-Output-Octets": "2000",
    "Acct-Input-Gigawords": "0",
    "Acct-Output-Gigawords": "1",
    "Tmp-Integer-0": str(SECOND - 1),
    "Tmp-IP-Address-0": "127.0.0.1",
}
# Values of an attribute, good and bad.
VALUES = {
    "Acct-Status-Type": ["Interim-Update", "Alive", "Start", "Stop", "Accounting-On", "Tunnel-Start", "Sideways", ""],
    "Acct-Session-Id": ["s1", "", "тест", "a,b", "x\ty", "\\N", NULL, 'a"b', "\\"],
    "User-Name": ["alice", "", "DOMAIN\\alice", "a\nb", "\ud800", "a\0b", "é", "\\x1e"],
    "NAS-IP-Address": ["192.0.2.1", "", "192.0.2.9"],
    "NAS-IPv6-Address": ["2001:db8::1", ""],
    "NAS-Identifier": ["lobby", "", "02-00-00-00-00-07", "a\tb"],
    "NAS-Port": ["17", ""],
    "NAS-Port-Id": ["wlan1", ""],
    "Called-Station-Id": ["02-00-00-00-00-01:Guests", "", "hotspot1"],
    "Calling-Station-Id": ["AA-00-00-00-00-01", ""],
    "Acct-Session-Time": ["300", "0", "007", "-1", "x", "", "34560001", "4294967296", "٣"],
    "Acct-Input-Octets": ["0", "4294967295", "4294967296", "99999999999", " 1", "1_0"],
    "Acct-Output-Octets": ["5", "0", "x"],
    "Acct-Input-Gigawords": ["0", "1", "00", str(MOST_OCTETS >> 32), "1048577", "y"],
    "Acct-Output-Gigawords": ["0", "3"],
    "Acct-Delay-Time": ["0", "5", "700000", "x"],
    "Acct-Interim-Interval": ["600", "0", "86401"],
    "Event-Timestamp": ["Nov 14 2023 22:13:00 UTC", "1700000000", "soon"],
    "Tmp-Integer-0": [str(SECOND), str(SECOND - 7 * 86400), str(SECOND - 7 * 86400 - 1), str(SECOND + 300),
                      str(SECOND + 301), "0", "x", "99999999999"],
    "Tmp-IP-Address-0": ["127.0.0.1", ""],
    "Tmp-String-0": ["2001:db8::9", ""],
    "Tmp-Octets-0": ["0x616c", "zz"],
    "Class": ["0x06", "0x" + f"ai:{7:032x}".encode().hex(), ""],
    "Connect-Info": ["CONNECT", ""],
    "Realm": ["example.org"],
    "Framed-IP-Address": ["198.51.100.1", "no address"],
    "Radmeter-Unique-Id": ["forged"],
    "X": ["1", "[", "]],[["],
}  # fmt: skip


def entries(packets: list[list[list[str]]], texts: list[str]) -> list[Entry]:
    lines = [*(to_text([(name, value) for name, value in each]) for each in packets), *texts]
    return [
        Entry(seq, SECOND * 1_000_000 + seq, text.encode("utf-8", "backslashreplace").decode())
        for seq, text in enumerate(lines, start=1)
    ]


def numbers(line: str) -> list[object]:
    """Return a line's fields; a number as a number, since one may begin with zeros."""
    return [int(field) if field.isascii() and field.isdigit() else field for field in line.split("\t")]


@pytest.mark.parametrize("seed", range(100))
def test_by_columns_and_by_itself_a_packet_gives_the_same_line(seed: int) -> None:
    chance = random.Random(seed)
    names = [name for name in VALUES if name in PLAIN or chance.random() < 0.2]
    names += [chance.choice(names)] * (chance.random() < 0.2)  # one comes twice
    chance.shuffle(names)
    usual = [[name, PLAIN.get(name) or chance.choice(VALUES[name])] for name in names]
    odd = chance.choice(names)
    packets = [
        [[name, chance.choice(VALUES[name]) if name == odd else value] for name, value in usual]
        for _ in range(chance.randrange(1, 30))
    ]
    given = entries([usual, *packets], [])
    made = Rows(given, KnownLists())
    for entry, line, client in zip(given, made.lines, made.clients, strict=True):
        record = as_json(entry)
        assert numbers(line) == numbers(line_of(record)), entry
        assert client == (record.get("client_ip") or "")
        assert line.count("\t") == len(COLUMNS) - 2
        assert "\n" not in line


def test_text_that_is_no_list_of_pairs_is_set_aside_as_before() -> None:
    usual = [list(pair) for pair in PLAIN.items()]
    text, good = to_text(list(PLAIN.items())), json.dumps(usual, separators=(",", ":"))
    texts = [
        good.replace('"alice"', '"alice","x"'), good.replace('"alice"', "5"), good.replace('"alice"', '["alice"]'),
        good.replace("],[", "], ["), good + " ", good[:-1], "", "null", "5", "[]", "{}", "[[]]",
        '[["a"],["b","c","d"]]', text + BETWEEN, text + END_OF_NAMES, BETWEEN + text, "é" + text, text[:-1] + "\n",
    ]  # fmt: skip
    given = entries([usual], texts)
    made = Rows(given, KnownLists())
    assert made.lines == [line_of(as_json(entry)) for entry in given]


def test_a_fault_of_the_columns_stops_no_packet(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = [list(pair) for pair in PLAIN.items()]
    given = entries([usual] * 3, [])
    monkeypatch.setattr(Attributes, "_octets", None)
    assert Rows(given).lines == [line_of(as_json(entry)) for entry in given]
    assert "cannot be read by columns" in caplog.text


def test_a_new_client_is_the_last_column() -> None:
    made = Rows(entries([[list(pair) for pair in PLAIN.items()]] * 3, []))
    lines = made.copied([1]).decode().split("\n")
    assert [line.rsplit("\t", 1)[-1] for line in lines] == [NULL, "t", NULL, ""]
    assert made.copied([]).decode().count(f"\t{NULL}\n") == 3


def test_a_flood_of_new_lists_keeps_few() -> None:
    lists = KnownLists()
    flood = [
        [*([name, value] for name, value in PLAIN.items()), [f"X-{number}", ""]]
        for number in range(3 * MOST_LISTS)
    ]
    Rows(entries(flood, []), lists)
    assert len(lists._known) <= MOST_LISTS


def test_packets_of_a_known_list_are_read_by_columns() -> None:
    """Else the tests above compare the parser with itself."""
    usual = [list(pair) for pair in PLAIN.items()]
    others: list[int] = []
    ((_, places, _),) = KnownLists().group(entries([usual] * 5, ["null"]), others)
    assert places == [0, 1, 2, 3, 4]
    assert others == [5]
