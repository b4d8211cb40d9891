"""XLSX of exports: a sheet that is full is followed by another one, and a text that fits no cell is refused."""

import errno
import io
from decimal import Decimal

import openpyxl
import pytest

from radmeter.billing.exports import xlsx
from radmeter.billing.exports.columns import Column, octets
from radmeter.billing.exports.target import Sink

COLUMNS = (Column("name", "text", ""), octets("bytes_in", ""))


def written(*lines: bytes, sheet_rows: int = xlsx.SHEET_ROWS) -> io.BytesIO:
    content = io.BytesIO()
    xlsx.write([list(lines)], COLUMNS, Sink(content.write), title="sessions", sheet_rows=sheet_rows)
    return content


def test_rows_go_on_in_the_next_sheet_below_the_same_header() -> None:
    rows = [f'"user{number}",{number}\n'.encode() for number in range(7)]
    book = openpyxl.load_workbook(written(*rows, sheet_rows=4))
    found = {sheet.title: [[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book}
    header = ["name", "bytes_in"]
    assert found == {
        "sessions": [header, ["user0", 0], ["user1", 1], ["user2", 2]],
        "sessions 2": [header, ["user3", 3], ["user4", 4], ["user5", 5]],
        "sessions 3": [header, ["user6", 6]],
    }


def test_a_full_sheet_is_not_followed_by_an_empty_one() -> None:
    rows = [f'"user{number}",{number}\n'.encode() for number in range(3)]
    assert openpyxl.load_workbook(written(*rows, sheet_rows=4)).sheetnames == ["sessions"]


@pytest.mark.parametrize(
    ("octets", "value"),
    [(999999999999999, 999999999999999), (-999999999999999, -999999999999999), (10**15, "1000000000000000")],
)
def test_more_than_15_digits_are_text(octets: int, value: int | str) -> None:
    sheet = openpyxl.load_workbook(written(f'"x",{octets}\n'.encode())).active
    assert sheet["B2"].value == value
    assert Decimal(str(sheet["B2"].value)) == octets


def test_a_text_that_fits_no_cell_is_refused_and_not_cut() -> None:
    longest = "x" * 32_767
    assert openpyxl.load_workbook(written(f'"{longest}",1\n'.encode())).active["A2"].value == longest
    with pytest.raises(xlsx.TextTooLong, match="name has a text of 32,768 characters"):
        written(f'"{longest}x",1\n'.encode())


def test_a_disk_that_is_full_is_an_error_of_the_system() -> None:
    def full(content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        xlsx.write([[b'"x",1\n']], COLUMNS, Sink(full), title="sessions")
