"""Tables for people: they fit the terminal, and no name, MAC address, time or number is broken."""

import random

import pytest

from radmeter.cli.tables import lay_out, width_of

HEADER = ["username", "router", "started at", "bytes in", "bytes out"]
ROWS = [
    ["alice", "sim-router-05 (discovered)", "2026-11-20 12:00", "10.2 MiB", "1.50 GiB"],
    ["firstname.lastname@a-long.example.org", "lobby", "2026-11-20 12:00", "1 B", "1023 GiB"],
    ["bob", "02:00:00:00:00:01", "-", "-", "-"],
    ["\u540d\u524d", "x" * 100, "2026-11-20 12:00", "1 B", "2 B"],
]


def shown(width: int | None, rows: list[list[str]] = ROWS) -> list[str]:
    header, lines = lay_out(HEADER, rows, right={3, 4}, rigid={2, 3, 4}, width=width)
    return [*header, *lines]


@pytest.mark.parametrize("width", [None, 200, 120, 100, 80, 70, 40, 1])
def test_no_word_is_ever_broken(width: int | None) -> None:
    lines = shown(width)
    words = [word for line in lines for word in line.split()]
    for row in [HEADER, *ROWS]:
        for cell in row:
            assert all(word in words for word in cell.split()), cell
    assert sorted(words) == sorted(word for row in [HEADER, *ROWS] for cell in row for word in cell.split())


@pytest.mark.parametrize("width", [100, 80, 72])
def test_lines_fit_unless_a_word_is_longer_than_the_terminal(width: int) -> None:
    assert [line for line in shown(width) if width_of(line) > width and "xxxx" not in line] == []


def test_without_a_width_there_is_a_line_for_each_row() -> None:
    assert len(shown(None)) == 1 + len(ROWS)


def test_what_fits_is_not_changed() -> None:
    assert shown(80, [["alice", "lobby", "2026-11-20 12:00", "10.2 MiB", "1.50 GiB"]]) == [
        "username  router  started at        bytes in  bytes out",
        "alice     lobby   2026-11-20 12:00  10.2 MiB   1.50 GiB",
    ]


def test_a_long_name_pushes_the_rest_of_its_row_to_the_next_line() -> None:
    lines = shown(60, [["firstname.lastname@a-long.example.org", "lobby", "2026-11-20 12:00", "1 B", "2 B"]])
    name, rest = lines[-2:]
    assert name == "firstname.lastname@a-long.example.org"
    assert rest.split() == ["lobby", "2026-11-20", "12:00", "1", "B", "2", "B"]
    assert rest.startswith(" " * 12)


def test_columns_are_aligned_also_with_wide_characters() -> None:
    rows = [["\u540d\u524d", "a", "t", "1", "22"], ["bob", "b", "t", "333", "4"]]
    lines = shown(None, rows)
    assert len({width_of(line) for line in lines}) == 1


def test_random_tables_lose_nothing() -> None:
    chance = random.Random(80)
    for _ in range(300):
        columns = chance.randrange(1, 9)
        header = ["h" * chance.randrange(1, 12) for _ in range(columns)]
        rows = [
            [
                " ".join("w" * chance.randrange(1, 20) for _ in range(chance.randrange(0, 5)))
                for _ in range(columns)
            ]
            for _ in range(chance.randrange(0, 5))
        ]
        right = {each for each in range(columns) if chance.random() < 0.3}
        head, lines = lay_out(header, rows, right=right, rigid=right, width=chance.randrange(1, 120))
        wanted = sorted(word for row in [header, *rows] for cell in row for word in cell.split())
        assert sorted(word for line in [*head, *lines] for word in line.split()) == wanted
