"""`radmeter.plugin.journal.packet_text`: all attributes come back as they were, in few bytes."""

import hashlib
import json
import random

import pytest

from radmeter.packet.attributes import TEXT_AS_OCTETS
from radmeter.plugin.journal import packet_text
from radmeter.plugin.journal.packet_text import (
    BETWEEN,
    END_OF_NAMES,
    SHORT,
    names_of,
    split,
    to_json,
    to_text,
)

TEXTS = [
    "", "plain", "Zoë ☃", 'a "quote', '","', '"],["', "\\", "\n", "\x7f", "\u2028", "\0", "a\u00a0b", "[", "[[", "0",
    "A", BETWEEN, END_OF_NAMES, f"a{BETWEEN}", f"{END_OF_NAMES}b", f"{BETWEEN}{END_OF_NAMES}", "User-Name",
    *SHORT.values(),
]  # fmt: skip


def read(text: str) -> object:
    return json.loads(to_json(text))


@pytest.mark.parametrize("text", TEXTS)
def test_all_text_comes_back(text: str) -> None:
    for pairs in [
        ((text, "x"),),
        (("User-Name", text),),
        (("X-Name", text),),
        (("Class", "b"), (text, "x"), ("User-Name", text), (text, text)),
    ]:
        assert read(to_text(pairs)) == [list(pair) for pair in pairs]
        assert to_text(pairs).encode().decode() == to_text(pairs)


@pytest.mark.parametrize("seed", range(50))
def test_any_lists_come_back(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        pairs = [
            (chance.choice([*SHORT, "X-1", "Vendor-9-Attr-1", chance.choice(TEXTS)]), chance.choice(TEXTS))
            for _ in range(chance.randrange(6))
        ]
        assert read(to_text(pairs)) == [list(pair) for pair in pairs]


def test_a_usual_packet_has_its_names_first_and_short() -> None:
    pairs = (("User-Name", "alice"), ("Acct-Status-Type", "Start"), ("X-Vendor", "1"))
    text = to_text(pairs)
    assert text == f"0{BETWEEN}B{BETWEEN}X-Vendor{END_OF_NAMES}alice{BETWEEN}Start{BETWEEN}1"
    assert split(text) == (("User-Name", "Acct-Status-Type", "X-Vendor"), ["alice", "Start", "1"])


def test_the_table_of_short_names_never_changes() -> None:
    """Segments on disk have them. With another table the records need another name in the header."""
    table = hashlib.sha256(json.dumps(SHORT).encode()).hexdigest()
    assert table == "e5105f3ba0e9ad7e7874254166618e34e4eadb698c6edc27988a4e133bc5343c"


def test_short_names_are_told_from_names_and_from_json() -> None:
    assert len(set(SHORT.values())) == len(SHORT)
    assert all(len(character) == 1 and character.isascii() for character in SHORT.values())
    assert set(SHORT.values()).isdisjoint('[{"\\ ')
    assert all(len(name) > 1 for name in SHORT)
    assert TEXT_AS_OCTETS.keys() <= SHORT.keys()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        '[["a","b"]]',
        "no packet",
        f"0{END_OF_NAMES}alice{BETWEEN}more",
        f"0{BETWEEN}1{END_OF_NAMES}alice",
        f"é{END_OF_NAMES}of a later table",
        f"{END_OF_NAMES}",
    ],
)
def test_what_is_none_of_a_packets_stays_as_it_is(text: str) -> None:
    assert split(text) == ((), [])
    assert to_json(text) == text


def test_names_are_told_by_their_head() -> None:
    assert names_of("0") == ("User-Name",)
    assert names_of("") == names_of(f"0{BETWEEN}") == ()


def test_a_flood_of_new_lists_keeps_little() -> None:
    for number in range(3 * packet_text._MOST_HEADS):
        to_text(((f"X-{number}", ""),))
    assert len(packet_text._heads) <= packet_text._MOST_HEADS
