"""XLSX of exports: a sheet that is full is followed by another one, and a text that fits no cell is refused."""

import errno
import io
import re
import zipfile
from datetime import datetime
from decimal import Decimal

import openpyxl
import pytest

from radmeter.billing.exports import xlsx
from radmeter.billing.exports.columns import Column, money, octets
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


@pytest.mark.parametrize(
    ("amount", "value", "shown_as"),
    [
        ("77.50", 77.5, "0.00"),
        ("-0.001", -0.001, "0.000"),
        ("1500", 1500, "0"),
        ("9999999999999.99", 9999999999999.99, "0.00"),
        ("0.000000000000123", 1.23e-13, "0.000000000000000"),
        ("12345678901234.56", "12345678901234.56", "General"),
        ("0.5000125000000001", "0.5000125000000001", "General"),
        ("NaN", "NaN", "General"),
    ],
)
def test_a_decimal_is_a_number_if_a_double_has_it(amount: str, value: float | str, shown_as: str) -> None:
    content = io.BytesIO()
    columns = (money("net", ""), Column("day", "date", ""))
    xlsx.write([[f"{amount},2026-10-31\n".encode()]], columns, Sink(content.write), title="x")
    cell = openpyxl.load_workbook(content).active["A2"]
    assert (cell.value, cell.number_format) == (value, shown_as)
    assert Decimal(str(cell.value)) == Decimal(amount) or amount == "NaN"


def test_every_number_of_a_file_is_the_decimal_that_was_given() -> None:
    """Decimals of 13 to 17 digits: of some of 15, the double has another 16th digit."""
    given = [f"{(number * 7919 * 10**9 + number) % 10**digits}.{number:02}"
             for digits in (11, 12, 13, 14, 15) for number in range(10, 99)]  # fmt: skip
    content = io.BytesIO()
    xlsx.write(
        [[f"{each}\n".encode() for each in given]], (money("net", ""),), Sink(content.write), title="x"
    )
    parts = zipfile.ZipFile(content)
    sheet = parts.read("xl/worksheets/sheet1.xml").decode()
    text = re.findall(r"<c [^>]*t=\"inlineStr\"[^>]*>.*?<t[^>]*>([^<]*)</t>", sheet)[1:]
    numbers = re.findall(r"<v>([^<]*)</v>", sheet)
    assert text
    assert numbers
    assert sorted(map(Decimal, [*text, *numbers])) == sorted(map(Decimal, given))


def test_a_date_before_a_spreadsheets_calendar_is_text() -> None:
    content = io.BytesIO()
    days = [b"1900-02-28\n", b"1900-03-01\n", b"infinity\n"]
    xlsx.write([days], (Column("day", "date", ""),), Sink(content.write), title="x")
    sheet = openpyxl.load_workbook(content).active
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == [
        "1900-02-28",
        datetime(1900, 3, 1),  # noqa: DTZ001 # as openpyxl has it
        "infinity",
    ]
