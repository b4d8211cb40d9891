"""Lists of users: each line is a user, or refused with the reason."""

import io

import pytest

from radmeter.csv_lines import LONGEST_LINE, lines_of
from radmeter.quotas.user_list import BadList, Line, read


def lines(*rows: bytes | str, header: str = "username,plan,also,password") -> list[Line | tuple[int, str]]:
    text = b"\n".join([header.encode(), *(row if isinstance(row, bytes) else row.encode() for row in rows)])
    return list(read(lines_of(io.BytesIO(text))))


def test_good_lines() -> None:
    names = ["o'brien", "bob+x@e.com", "a\\b", "100%", "two words", "ümlaut", '"quoted"', "=cmd", "x" * 253]
    found = lines(*(f'"{name.replace(chr(34), chr(34) * 2)}",basic,,' for name in names))
    assert [line.username for line in found if isinstance(line, Line)] == names


def test_what_a_field_says() -> None:
    given, none, left = lines("a,basic,one; two;one,secret", "b,,none,", "c,,,")
    assert isinstance(given, Line)
    assert isinstance(none, Line)
    assert isinstance(left, Line)
    assert (given.plan, given.also) == ("basic", ("one", "two"))
    assert (none.plan, none.also, none.password) == (None, (), None)
    assert left.also is None
    assert given.password is not None
    assert given.password.attribute == "SSHA2-512-Password"
    assert "secret" not in str(given)
    assert given.password.value not in repr(given)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",basic,,", "it has no user name"),
        (" bob,basic,,", "begins or ends with a blank"),
        ("bob ,basic,,", "begins or ends with a blank"),
        ("x" * 254 + ",basic,,", "254 octets"),
        ("ü" * 127 + ",basic,,", "254 octets"),
        ("a\x00b,basic,,", "characters that cannot be printed"),
        ("a\x1bb,basic,,", "characters that cannot be printed"),
        (b"\xff\xfe,basic,,", "it is not UTF-8"),
        ("bob,basic", "it has 2 fields, the header has 4"),
        ('"bob,basic,,', "it is not CSV"),
        # The rest of a quoted name with a line break.
        ('lines",basic,,', 'it has a quote (") within a field'),
        ('bob,ba"si"c,,', 'it has a quote (") within a field'),
        ("bob,basic,," + "x" * 129, "more than 128 octets"),
        ("bob,basic,,a\x07b", "characters that cannot be printed"),
        ("x" * (LONGEST_LINE + 1), f"longer than {LONGEST_LINE} bytes"),
        ("bob,,a" + ";b" * 65 + "".join(f";c{n}" for n in range(65)) + ",", "further plans, more than 64"),
    ],
)
def test_a_bad_line_does_not_stop_the_others(row: bytes | str, reason: str) -> None:
    bad, good = lines(row, "ann,basic,,")
    assert isinstance(bad, tuple)
    assert bad[0] == 2
    assert reason in bad[1]
    assert isinstance(good, Line)
    assert good.number == 3


def test_a_user_who_comes_twice_is_refused() -> None:
    first, second = lines("bob,basic,,", "bob,gold,,")
    assert isinstance(first, Line)
    assert second == (3, "the user 'bob' is on a line before already")


@pytest.mark.parametrize(
    "header", ["", "name,plan", "plan", "username,username", "bob,basic", "username,quota"]
)
def test_the_first_line_is_the_header(header: str) -> None:
    with pytest.raises(BadList, match="the first line must be the header"):
        lines("bob,basic", header=header)


def test_a_file_of_a_spreadsheet() -> None:
    found = list(
        read(lines_of(io.BytesIO(b"\xef\xbb\xbfUsername,Plan\r\nbob,basic\r\n,\r\n\r\nann,basic\r\n")))
    )
    assert [line.username for line in found if isinstance(line, Line)] == ["bob", "ann"]


def test_other_separators_than_commas_are_told() -> None:
    with pytest.raises(BadList, match="separate the columns by commas"):
        lines("bob;basic", header="username;plan")
