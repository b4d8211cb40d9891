"""Lines of the CSV lists that operators import, each read on its own: a forgotten quote spoils only one line."""

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO

from radmeter.errors import ConfigurationError

LONGEST_LINE = 8192
# Quotes are around a whole field, or doubled in one that has quotes around it.
_QUOTED = re.compile(r'(?:"(?:[^"]|"")*+"|[^",]*+)(?:,(?:"(?:[^"]|"")*+"|[^",]*+))*+')


class BadLine(ConfigurationError):
    """A line of a list cannot be used. The message is the reason."""


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's lines. Of a line that is too long only the head comes, one byte longer than a line may be."""
    while line := file.readline(LONGEST_LINE + 1):
        yield line
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            if not (line := file.readline(LONGEST_LINE + 1)):
                return


def fields(raw: bytes) -> list[str]:
    """Return the fields of a line.

    Raises
    ------
    BadLine
        The line is not UTF-8, or not CSV.
    """
    try:
        text = raw.decode().rstrip("\r\n")
        rows = list(csv.reader([text], strict=True))
    except UnicodeDecodeError:
        raise BadLine("it is not UTF-8") from None
    except csv.Error as error:
        raise BadLine(f"it is not CSV: {error}") from None
    # csv takes a quote within a field for a part of it, such as that of the rest of a name with a line break.
    if not _QUOTED.fullmatch(text):
        raise BadLine(
            'it has a quote (") within a field: put the field in quotes, and double the quote in it'
        )
    return rows[0] if rows else []
