"""Writes an export as XLSX, a row at a time. Text is text: no cell is a formula.

A number of a spreadsheet is a double, which has 15 digits. A number with more is text, since it would be rounded. Dates
are dates; times are text, since a spreadsheet has no time zones and rounds seconds.
"""

import csv
import datetime
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

import xlsxwriter
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format

from radmeter.billing.exports.columns import Column
from radmeter.billing.exports.target import Sink
from radmeter.errors import RadmeterError
from radmeter.spreadsheets import harmless

# What a sheet has, the header included, and a cell (ECMA-376, and Excel's limits).
SHEET_ROWS = 1_048_576
CELL_CHARACTERS = 32_767
# Excel shows and computes with so many digits.
EXACT_DIGITS = 15
EXACT_INTEGER = 10**EXACT_DIGITS - 1
# Excel counts a 29th of February 1900, which was none.
FIRST_DATE = datetime.date(1900, 3, 1)
# Sentences, and how wide their columns are.
WIDE = {"arithmetic": 60, "description": 40, "reason": 40}
# A file that says when it was made would be another one each time.
MADE_AT = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


class TextTooLong(RadmeterError):
    """A text does not fit into a cell."""


def write(
    blocks: Iterable[list[bytes]],
    columns: Sequence[Column],
    sink: Sink,
    *,
    title: str,
    sheet_rows: int = SHEET_ROWS,
) -> None:
    """Write rows, which are lines of raw CSV, on as many sheets as they need.

    Raises
    ------
    TextTooLong
        A text does not fit into a cell.
    """
    # The rows wait in files until the end.
    with tempfile.TemporaryDirectory(prefix="radmeter-export-") as scratch, _book(sink, scratch) as book:
        book.set_properties({"title": title, "created": MADE_AT.replace(tzinfo=None)})
        pages = _Pages(book, columns, title, sheet_rows)
        for lines in blocks:
            for values in csv.reader(line.decode() for line in lines):
                pages.add(values)
        pages.end()


@contextmanager
def _book(sink: Sink, scratch: str) -> Iterator[xlsxwriter.Workbook]:
    """Give a workbook, and write it into `sink` after the block, unless that failed."""
    book = xlsxwriter.Workbook(
        sink,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_numbers": False,
            "strings_to_urls": False,
            "tmpdir": scratch,
        },
    )
    try:
        yield book
        book.close()
    except BaseException as error:
        sink.given_up = True
        if isinstance(error, FileCreateError):
            raise error.args[0] from None  # what the system said
        raise
    finally:
        # Else XlsxWriter would write what there is when the garbage collector finds it.
        book.fileclosed = True
        for sheet in book.worksheets():
            sheet.row_data_fh.close()


class _Pages:
    def __init__(
        self, book: xlsxwriter.Workbook, columns: Sequence[Column], title: str, sheet_rows: int
    ) -> None:
        self._book, self._columns, self._title, self._most = book, columns, title, sheet_rows
        self._bold = book.add_format({"bold": True})
        # As if an apostrophe had been typed before it: it stays text if somebody edits the cell.
        self._quoted = book.add_format({"quote_prefix": True})
        self._right = book.add_format({"align": "right"})
        self._date = book.add_format({"num_format": "yyyy-mm-dd"})
        self._decimals: dict[int, Format] = {}
        self._count = 0
        self._begin()

    def add(self, values: Sequence[str]) -> None:
        if self._row == self._most:
            self.end()
            self._begin()
        for place, (column, value) in enumerate(zip(self._columns, values, strict=True)):
            if value:
                self._write(place, column, value)
        self._row += 1

    def end(self) -> None:
        """End the sheet. Its rows can be filtered."""
        self._sheet.autofilter(0, 0, self._row - 1, len(self._columns) - 1)

    def _begin(self) -> None:
        self._count += 1
        name = self._title if self._count == 1 else f"{self._title} {self._count}"
        self._sheet = self._book.add_worksheet(name)
        self._sheet.freeze_panes(1, 0)
        for place, column in enumerate(self._columns):
            self._sheet.set_column(place, place, WIDE.get(column.name, max(12, len(column.name) + 4)))
            self._sheet.write_string(0, place, column.name, self._bold)
        # What has more digits is meant to be text.
        self._sheet.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})
        self._row = 1

    def _write(self, place: int, column: Column, value: str) -> None:
        if column.is_whole and abs(int(value)) <= EXACT_INTEGER:
            self._sheet.write_number(self._row, place, int(value))
        elif column.kind == "decimal" and (number := _exact(value)) is not None:
            self._sheet.write_number(self._row, place, number, self._with_decimals(value))
        elif column.is_whole or column.kind == "decimal":
            self._sheet.write_string(self._row, place, value, self._right)
        elif column.kind == "date" and (day := _day(value)) is not None:
            self._sheet.write_datetime(self._row, place, day, self._date)
        elif column.kind == "boolean":
            self._sheet.write_boolean(self._row, place, value == "true")
        elif len(value) > CELL_CHARACTERS:
            raise TextTooLong(
                f"{column.name} has a text of {len(value):,} characters, and a cell takes {CELL_CHARACTERS:,}: "
                "use --format csv, jsonl or parquet"
            )
        else:
            odd = column.kind == "text" and harmless(value) != value
            self._sheet.write_string(self._row, place, value, self._quoted if odd else None)

    def _with_decimals(self, value: str) -> Format:
        """Return the format that shows as many decimals as the value has."""
        count = len(value.partition(".")[2])
        if count not in self._decimals:
            self._decimals[count] = self._book.add_format(
                {"num_format": f"0.{'0' * count}" if count else "0"}
            )
        return self._decimals[count]


def _exact(value: str) -> Decimal | None:
    """Return a decimal if a spreadsheet has it as it is; else None."""
    number = Decimal(value)
    if not number.is_finite() or len(number.as_tuple().digits) > EXACT_DIGITS:
        return None
    # As XlsxWriter writes it: of some, the double has another 16th digit.
    return number if Decimal("%.16G" % number) == number else None  # noqa: UP031


def _day(value: str) -> datetime.date | None:
    """Return a date if a spreadsheet has it; else None."""
    try:
        day = datetime.date.fromisoformat(value)
    except ValueError:  # of a year that Python has not
        return None
    return day if day >= FIRST_DATE else None
