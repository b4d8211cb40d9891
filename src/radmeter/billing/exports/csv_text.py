"""Makes lines of CSV harmless for spreadsheets. Almost all lines are: those are only looked at, many at once."""

import re
from collections.abc import Sequence

from radmeter.billing.exports.columns import Column
from radmeter.spreadsheets import harmless

BOM = b"\xef\xbb\xbf"
# What separates cells in one country or another.
SEPARATORS = ",;|"

# Each byte becomes one of these: it stands for itself; a value ends; a value that begins so is looked at; a line that
# has it is looked at.
_PLAIN, _END, _HEAD, _ODD = b"a,!?"


def header(columns: Sequence[Column], delimiter: str) -> bytes:
    """Return the line with the columns' names."""
    return (delimiter.join(column.name for column in columns) + "\n").encode()


class Guard:
    """Makes lines of CSV harmless, as COPY writes them. Columns that are not text of somebody stay as they are."""

    def __init__(self, columns: Sequence[Column], delimiter: str) -> None:
        self._guarded = [column.is_string for column in columns]
        self._delimiter = delimiter
        # Where the delimiter is a separator, the value is in quotes.
        self._others = SEPARATORS.replace(delimiter, "")
        kinds = bytearray([_ODD]) * 256
        for each in range(0x21, 0x7F):
            kinds[each] = _PLAIN
        for char in '"' + self._others:
            kinds[ord(char)] = _ODD
        for char in "=+-@ ":
            kinds[ord(char)] = _HEAD
        for char in "\n" + delimiter:
            kinds[ord(char)] = _END
        self._kinds = bytes(kinds)
        mark = re.escape(delimiter)
        self._value = re.compile(f'("(?:[^"]|"")*"|[^{mark}"\n]*)(?:{mark}|\n)')
        self._separates = re.compile(f"[{re.escape(self._others)}]")
        self._needs_quotes = re.compile(f'[{mark}"\r\n]')

    def block(self, lines: Sequence[bytes]) -> bytes:
        """Return lines as one text, harmless."""
        text = b"".join(lines)
        if self._is_harmless(text):
            return text
        return b"".join([line if self._is_harmless(line) else self._made_harmless(line) for line in lines])

    def _is_harmless(self, text: bytes) -> bool:
        kinds = text.translate(self._kinds)
        return _ODD not in kinds and b",!" not in kinds and not kinds.startswith(b"!")

    def _made_harmless(self, line: bytes) -> bytes:
        values = self._value.findall(line.decode())
        changed = False
        for place, guarded in enumerate(self._guarded):
            written = values[place]
            if not guarded or not written:
                continue
            if written[0].isalnum() and written.isprintable() and not self._separates.search(written):
                continue  # most names in any script
            value = written[1:-1].replace('""', '"') if written[0] == '"' else written
            safe = harmless(value, self._others)
            if safe != value:
                changed = True
                quoted = self._needs_quotes.search(safe)
                values[place] = '"' + safe.replace('"', '""') + '"' if quoted else safe
        return (self._delimiter.join(values) + "\n").encode() if changed else line
