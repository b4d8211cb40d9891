"""Writes an export as Parquet, from the server's CSV, a batch at a time. Decimals are exact."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from radmeter.billing.exports.columns import Column
from radmeter.billing.exports.target import Sink

# Rows of a row group. A batch of them is in memory.
GROUP_ROWS = 65_536
_TYPES = {
    "text": pa.string(),
    "word": pa.string(),
    "integer": pa.int64(),
    "octets": pa.int64(),
    "date": pa.date32(),
    "time": pa.timestamp("us", tz="UTC"),
    "boolean": pa.bool_(),
}


def schema(columns: Sequence[Column], unfit: Iterable[str]) -> pa.Schema:
    """Return the columns of the file. A decimal that does not fit its type (`unfit`) is text."""
    fields = []
    for column in columns:
        if column.kind != "decimal":
            kind = _TYPES[column.kind]
        elif column.name in unfit:
            kind = pa.string()
        else:
            before, after = column.digits
            kind = pa.decimal128(before + after, after)
        fields.append(pa.field(column.name, kind, metadata={"meaning": column.meaning}))
    return pa.schema(fields)


def write(blocks: Iterable[list[bytes]], columns: Sequence[Column], unfit: Iterable[str], sink: Sink) -> None:
    """Write rows, which are lines of raw CSV. What pyarrow writes is the same for the same rows and release of it."""
    wanted = schema(columns, unfit)
    with pq.ParquetWriter(sink, wanted, compression="zstd", store_schema=True) as writer:
        for lines in _batches(blocks):
            writer.write_table(_parsed(lines, wanted), row_group_size=GROUP_ROWS)


def _batches(blocks: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    waiting: list[bytes] = []
    for lines in blocks:
        waiting += lines
        while len(waiting) >= GROUP_ROWS:
            yield waiting[:GROUP_ROWS]
            del waiting[:GROUP_ROWS]
    if waiting:
        yield waiting


def _parsed(lines: list[bytes], wanted: pa.Schema) -> pa.Table:
    text = b"".join(lines)
    types: Mapping[str, pa.DataType] = dict(zip(wanted.names, wanted.types, strict=True))
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=wanted.names, use_threads=False, block_size=len(text) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["true"],
            false_values=["false"],
        ),
    )
    return table.cast(wanted)
