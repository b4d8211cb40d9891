"""Writes rows of archived sessions exactly as the server writes those of radacct: as CSV, raw CSV and JSON."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from radmeter.billing.exports.columns import Column
from radmeter.billing.exports.rendering import EXACT_INTEGER

# A row's values in the order of the columns, None where there is none, as a line.
Writer = Callable[[Sequence[Any]], bytes]


def csv_writer(delimiter: str) -> Writer:
    """Return what writes a row as COPY with FORMAT csv does. Decimals are none of a session's values."""
    odd = (delimiter, '"', "\n", "\r")

    def write(values: Sequence[Any]) -> bytes:
        return _joined(
            ("" if value is None else _quoted(text) if not text or any(each in text for each in odd) else text
             for value, text in ((each, _text(each)) for each in values)),
            delimiter,
        )  # fmt: skip

    return write


def raw_writer(columns: Sequence[Column]) -> Writer:
    """Return what writes a row as COPY with FORCE_QUOTE does."""
    strings = [column.is_string for column in columns]

    def write(values: Sequence[Any]) -> bytes:
        return _joined(
            ("" if value is None else _quoted(_text(value)) if string else _text(value)
             for value, string in zip(values, strings, strict=True)),
            ",",
        )  # fmt: skip

    return write


def json_writer(columns: Sequence[Column]) -> Writer:
    """Return what writes a row as row_to_json does."""
    names = [column.name for column in columns]
    octets = [column.kind == "octets" for column in columns]

    def write(values: Sequence[Any]) -> bytes:
        said = {
            name: str(value)
            if counts and value is not None and abs(value) > EXACT_INTEGER
            else value
            if value is None or isinstance(value, int)
            else _text(value)
            for name, value, counts in zip(names, values, octets, strict=True)
        }
        return (json.dumps(said, ensure_ascii=False, separators=(",", ":")) + "\n").encode()

    return write


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        at = value.astimezone(UTC)
        fraction = f".{at:%f}".rstrip("0") if at.microsecond else ""
        return f"{at.replace(microsecond=0, tzinfo=None).isoformat()}{fraction}Z"
    return str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _joined(values: Any, delimiter: str) -> bytes:
    return (delimiter.join(values) + "\n").encode()
