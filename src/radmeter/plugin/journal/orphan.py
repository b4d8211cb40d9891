"""Reading a file that may be a segment of any journal, damaged or not, as far as it can be read."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from radmeter.errors import JournalError, os_reason
from radmeter.plugin.journal import files
from radmeter.plugin.journal.headers import open_unnoticed
from radmeter.plugin.journal.record_format import MOST_RECORDS, unpack
from radmeter.plugin.journal.segment_format import (
    HEADER_1,
    LONGEST_HEADER,
    RECORDS,
    TRAILER_BYTES,
    HeaderError,
    unpack_header,
    unpack_header_fields,
    unpack_trailer,
)
from radmeter.plugin.journal.segment_reader import Entry, Loss, not_utf8, said, whole_records

_SECTOR_BYTES = 4096


def read_orphan(path: Path) -> Iterator[Entry | Loss]:
    """Yield every whole record of a file in order of the numbers, and the numbers that are missing between them.

    The file needs no header. Unlike the reader of a journal, this one goes on behind records that a power cut may have
    taken. Sectors that the disk cannot read count as empty.

    Raises
    ------
    JournalError
        From the first record on: the file cannot be opened or read, has no record at all, or is of a later release.
    """
    try:
        descriptor = open_unnoticed(path)
        try:
            yield from _items(path, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ESPIPE):
            raise JournalError(f"{path} is no file, so no segment") from None
        raise JournalError(f"{path} cannot be read: {os_reason(error)}") from error


def read_end(path: Path) -> int | None:
    """Return the last number that the trailer of a file says; None if it has no trailer, or cannot be read.

    Only a segment that radiusd has closed has one. Nothing is added behind it.
    """
    with suppress(OSError):
        descriptor = open_unnoticed(path)
        try:
            first_seq = _named_first_seq(path)
            with suppress(HeaderError):
                header, _ = unpack_header(_pread(descriptor, LONGEST_HEADER, 0))
                first_seq = header.first_seq if header.format > 1 else first_seq
            return None if first_seq is None else unpack_trailer(_tail(descriptor), 0, first_seq)
        finally:
            os.close(descriptor)
    return None


def _items(path: Path, descriptor: int) -> Iterator[Entry | Loss]:
    head = _pread(descriptor, LONGEST_HEADER, 0)
    first_seq = _named_first_seq(path)
    start, reason = 0, ""
    try:
        header, start = unpack_header(head)
        if header.format > 1:
            first_seq = header.first_seq
    except HeaderError as error:
        reason = f"{error}"
        if error.later and not _is_misnamed(head):
            raise JournalError(f"{path}: {reason}; this release cannot read it") from None
    expected, arrived_us = first_seq, None
    for at, record in whole_records(descriptor, start, _pread):
        if first_seq is None or expected is None:
            first_seq = expected = record.seq
        if not expected <= record.seq < first_seq + MOST_RECORDS:
            continue
        if record.seq > expected:
            what = f"{said(expected, record.seq - 1)} missing before byte {at}"
            yield Loss(expected, record.seq - 1, arrived_us, record.received_at_us, what)
        try:
            yield Entry(record.seq, record.received_at_us, record.text.decode(), record.check)
        except UnicodeDecodeError:
            yield not_utf8(record)
        expected, arrived_us, reason = record.seq + 1, record.received_at_us, ""
    last_seq = None if first_seq is None else unpack_trailer(_tail(descriptor), 0, first_seq)
    if expected is not None and last_seq is not None and last_seq >= expected:
        yield Loss(expected, last_seq, arrived_us, None, f"{said(expected, last_seq)} missing at its end")
    elif reason:
        raise JournalError(f"{path} has no record: {reason}")


def _named_first_seq(path: Path) -> int | None:
    """Return the first number that a file's name says; None if it is not named like a segment."""
    return files.first_seq_in_name(path.name.removeprefix("kept-"))


def _tail(descriptor: int) -> bytes:
    """Return the bytes in which a segment's trailer lies."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return _pread(descriptor, TRAILER_BYTES, max(0, size - TRAILER_BYTES))


def _is_misnamed(head: bytes) -> bool:
    """Tell whether a file that says it is of a later release is one of this release with a wrong digit."""
    try:
        return unpack_header_fields(head)[0].records in RECORDS
    except HeaderError:
        return unpack(head, len(HEADER_1)) is not None


def _pread(descriptor: int, count: int, offset: int) -> bytes:
    """Read as os.pread does, with zeros for the sectors that the disk cannot read.

    A read that begins before such a sector is no error: it returns what lies before.
    """
    data = b""
    try:
        data = os.pread(descriptor, count, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    end = min(offset + count, os.lseek(descriptor, 0, os.SEEK_END))
    parts, offset = [data], offset + len(data)
    while offset < end:
        wanted = min(end, offset - offset % _SECTOR_BYTES + _SECTOR_BYTES) - offset
        try:
            parts.append(os.pread(descriptor, wanted, offset).ljust(wanted, b"\0"))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            parts.append(bytes(wanted))
        offset += wanted
    return b"".join(parts)
