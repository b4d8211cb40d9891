"""How answers are written: JSON with an ETag, gzip, CSV."""

import csv
import gzip
import hashlib
import io
import re
from collections.abc import Sequence
from typing import IO, Any

import msgspec

from radmeter.printable import printable
from radmeter.spreadsheets import harmless

JSON = "application/json"
CSV = "text/csv; charset=utf-8; header=present"
GZIP_FROM_BYTES = 1024
_GZIP_SUFFIX = "-gzip"


def etag(body: bytes) -> str:
    """Return the entity tag of an answer that is not compressed."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def etag_and_size(file: IO[bytes]) -> tuple[str, int]:
    """Return the entity tag of a file, as `etag` makes it, and its bytes. The file is at its beginning again."""
    digest = hashlib.sha256()
    size = 0
    while part := file.read(1 << 20):
        digest.update(part)
        size += len(part)
    file.seek(0)
    return f'"{digest.hexdigest()[:32]}"', size


def gzip_etag(tag: str) -> str:
    """Return the entity tag of the same answer, compressed: other bytes need another (RFC 9110, section 8.8.3)."""
    return f'{tag[:-1]}{_GZIP_SUFFIX}"'


def same_etag(given: str, tag: str, *, weak: bool) -> bool:
    """Return whether a list of entity tags, of If-Match or If-None-Match, has the tag, compressed or not."""
    if given.strip() == "*":
        return True
    for each in (part.strip() for part in given.split(",")):
        if each.startswith("W/"):
            if not weak:
                continue
            each = each[2:]
        if each.replace(f'{_GZIP_SUFFIX}"', '"') == tag:
            return True
    return False


# A browser's list has 40 characters. To read one of 32,000 takes 13 ms.
LONGEST_CODINGS = 500


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a client takes gzip (RFC 9110, section 12.5.3)."""
    if len(accept_encoding) > LONGEST_CODINGS:
        return False
    any_other = False
    for each in accept_encoding.lower().split(","):
        name, _, parameters = each.strip().partition(";")
        quality = re.fullmatch(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", parameters)
        wanted = quality is None or float(quality[1]) > 0
        if name.strip() in ("gzip", "x-gzip"):
            return wanted
        any_other = any_other or (name.strip() == "*" and wanted)
    return any_other


def compressed(body: bytes) -> bytes:
    """Return a body compressed. The same body gives the same bytes."""
    return gzip.compress(body, compresslevel=1, mtime=0)


def csv_header(item: type[msgspec.Struct]) -> str:
    """Return the header line of a list as CSV."""
    return _lines([item.__struct_fields__])


def csv_lines(items: Sequence[msgspec.Struct]) -> str:
    """Return items as CSV. Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    return _lines([[_cell(value) for value in msgspec.structs.astuple(item)] for item in items])


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        # Octets from 2^53 on are digits; all other text is somebody's.
        return value if value.isascii() and value.isdigit() else harmless(value)
    plain = msgspec.to_builtins(value)
    return plain if isinstance(plain, str) else printable(msgspec.json.encode(plain).decode())
