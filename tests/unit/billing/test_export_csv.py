"""CSV of exports: nothing in it is run by a spreadsheet, numbers stay numbers, and everything else stays as it is."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radmeter.billing.exports.columns import Column, money, octets
from radmeter.billing.exports.csv_text import SEPARATORS, Guard
from radmeter.billing.exports.lines import csv_writer
from radmeter.spreadsheets import harmless

COLUMNS = (
    Column("id", "integer", ""),
    Column("name", "text", ""),
    octets("bytes_in", ""),
    money("net", ""),
    Column("day", "date", ""),
    Column("note", "text", ""),
)


def line(*values: object, delimiter: str = ",") -> bytes:
    """Return a line as COPY writes it."""
    return csv_writer(delimiter)(values)


def guarded(*values: object, delimiter: str = ",") -> str:
    return Guard(COLUMNS, delimiter).block([line(*values, delimiter=delimiter)]).decode()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("alice", "alice"),
        ("Lobby - east", "Lobby - east"),
        ("a=b+c@d", "a=b+c@d"),
        ("AA-BB-CC-DD-EE-FF", "AA-BB-CC-DD-EE-FF"),
        ("=1+1", "'=1+1"),
        ("+49 151", "'+49 151"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\t=1", "'\\u0009=1"),
        ("\r=1", "'\\u000d=1"),
        ("a\nb", "a\\u000ab"),
        ("\u001b[2J", "\\u001b[2J"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff20x", "'\uff20x"),
        ("\u22121", "'\u22121"),
        ("\u202ecba", "\\u202ecba"),
        ("Jürgen 中文", "Jürgen 中文"),
        ('"=1"', '\'"=1"'),
        ("x;=1+1", "x;'=1+1"),
        ("x|-1", "x|'-1"),
        # The delimiter of the file is in quotes, so what is behind it begins no cell.
        ("x, +1", "x, +1"),
        ("", ""),
    ],
)
def test_a_name_is_text_and_no_formula(name: str, safe: str) -> None:
    (row,) = csv.reader(io.StringIO(guarded(7, name, 1, "1.00", "2026-10-01", "n")))
    assert row == ["7", safe, "1", "1.00", "2026-10-01", "n"]


def test_where_another_character_separates_cells_the_comma_is_watched() -> None:
    (row,) = csv.reader(
        io.StringIO(guarded(7, "x,=1;=2", 1, "1,00", None, "n", delimiter=";")), delimiter=";"
    )
    assert row == ["7", "x,'=1;=2", "1", "1,00", "", "n"]


def test_negative_numbers_are_numbers() -> None:
    assert guarded(-7, "a", -1000, "-0.01", None, "-x") == "-7,a,-1000,-0.01,,'-x\n"
    assert guarded(-7, "a", -1000, "-0.01", None, "x") == "-7,a,-1000,-0.01,,x\n"


def test_missing_and_empty_stay_apart() -> None:
    assert guarded(7, None, 1, None, None, "=") == "7,,1,,,'=\n"
    assert guarded(7, "", 1, None, None, "=") == '7,"",1,,,\'=\n'


TEXT = st.text(
    st.one_of(
        st.sampled_from("=+-@;,|\"'\t\r\n \u00a0\uff1d\u202e\x1b0aé"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=12,
)
ROW = st.tuples(
    st.integers(), st.none() | TEXT, st.none() | st.integers(), st.none() | st.decimals(allow_nan=False, places=2).map(
        lambda value: format(value, "f")), st.none() | st.dates().map(str), st.none() | TEXT)  # fmt: skip


@given(rows=st.lists(ROW, max_size=5), delimiter=st.sampled_from(",;\t|"))
def test_any_text_becomes_what_the_rule_says_and_nothing_else_changes(
    rows: list[tuple[object, ...]], delimiter: str
) -> None:
    """Many lines at once, most of which are only looked at, are the same as each line by itself."""
    guard = Guard(COLUMNS, delimiter)
    lines = [line(*row, delimiter=delimiter) for row in rows]
    found = guard.block(lines)
    assert found == b"".join(guard.block([each]) for each in lines)
    others = SEPARATORS.replace(delimiter, "")
    expected = [
        [
            "" if value is None else harmless(str(value), others) if column.is_string else str(value)
            for column, value in zip(COLUMNS, row, strict=True)
        ]
        for row in rows
    ]
    # Only line feeds end lines: other ends of lines are written out.
    assert list(csv.reader(io.StringIO(found.decode(), newline=""), delimiter=delimiter)) == expected
