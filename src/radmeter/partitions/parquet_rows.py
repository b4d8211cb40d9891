"""Converts sessions between the CSV of PostgreSQL's COPY and the columns of a Parquet file."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from csv import reader
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from radmeter.errors import RadmeterError

FORMAT = 1
METADATA_KEY = b"radmeter"

# Types that Parquet has too. Other types are kept as PostgreSQL's text, which PostgreSQL reads back exactly.
ARROW_TYPES: dict[str, pa.DataType] = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}
# The rows of a session in radmeter.session_slice and radmeter.adoption_baseline are kept in columns of these names.
# The second name is the one that the table had when the first files were written. The slices are a list of
# structures, the baseline is JSON.
SLICES, ADOPTED = PARTS = ("session_slice", "adopted_part")
PART_TABLES = ("session_slice", "adoption_baseline")
SLICE_FIELDS = ("usage_date", "period_start", "bytes_in", "bytes_out")
SLICE_TYPE = pa.struct(
    [pa.field(name, pa.int64() if name.startswith("bytes_") else pa.date32()) for name in SLICE_FIELDS]
)
MODULUS = 1 << 128
# A time as COPY writes it, of the years 1 to 9999.
FITTING_TIME = re.compile(r"\d{4}-\d\d-\d\d [\d:.]+\+00$")


class UnfitFile(RadmeterError):
    """The file is damaged, or it is not a file of this database."""


class UnfitValue(RadmeterError):
    """A session has a value that a Parquet file cannot hold."""


@dataclass(frozen=True)
class ArchivedColumn:
    """A column of radacct: its name, and its type in PostgreSQL's words."""

    name: str
    type: str

    @property
    def arrow_type(self) -> pa.DataType:
        """Return its type in the file."""
        return ARROW_TYPES.get(self.type, pa.string())

    @property
    def is_text(self) -> bool:
        """Return whether the file holds PostgreSQL's text."""
        return self.type not in ARROW_TYPES


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata in the file."""

    partition: str
    from_at: str  # ISO 8601 in UTC, or -infinity
    to_at: str
    columns: tuple[ArchivedColumn, ...]
    session_rows: int
    slice_rows: int
    part_rows: int
    checksum: str
    revision: str
    version: str
    written_at: str
    format: int = FORMAT

    def to_json(self) -> str:
        """Return the metadata in the form that is in the file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Parse the metadata of a file.

        Raises
        ------
        UnfitFile
            `to_json` did not write it.
        """
        try:
            found = json.loads(text)
            if found["format"] > FORMAT:
                raise UnfitFile(
                    f"was written by radmeter {found['version']}, which is newer: upgrade radmeter"
                )
            return cls(**{**found, "columns": tuple(ArchivedColumn(**each) for each in found["columns"])})
        except (ValueError, KeyError, TypeError) as error:
            raise UnfitFile(f"has metadata that radmeter did not write: {error!r}") from None


def schema(columns: Sequence[ArchivedColumn]) -> pa.Schema:
    """Return the columns of the file."""
    fields = [pa.field(each.name, each.arrow_type) for each in columns]
    return pa.schema([*fields, pa.field(SLICES, pa.list_(SLICE_TYPE)), pa.field(ADOPTED, pa.string())])


class Checksum:
    """Sum modulo 2^128 of the BLAKE2b-128 of each row as COPY writes it. The order of the rows does not matter."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, rows: Iterable[bytes | memoryview]) -> None:
        """Add rows."""
        blake2b, from_bytes, count, total = hashlib.blake2b, int.from_bytes, 0, 0
        for row in rows:
            total += from_bytes(blake2b(row, digest_size=16).digest(), "little")
            count += 1
        self.rows += count
        self._sum = (self._sum + total) % MODULUS

    def __str__(self) -> str:
        return f"{self._sum:032x}"


def parsed(rows: Sequence[bytes | memoryview], columns: Sequence[ArchivedColumn]) -> pa.Table:
    """Return the rows of a COPY, which end with the parts, as columns of the file.

    Raises
    ------
    UnfitValue
        Its column cannot hold a value, such as an infinite timestamp.
    """
    text = b"".join(rows)
    names = [each.name for each in columns]
    types = {each.name: each.arrow_type for each in columns} | dict.fromkeys(PARTS, pa.string())
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(
                column_names=[*names, *PARTS], use_threads=False, block_size=len(text) + 1
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        table = table.set_column(len(names), SLICES, _slices_parsed(table.column(SLICES)))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnfitValue(
            f"a value cannot be written to a Parquet file: {_unfit(rows, columns) or error}"
        ) from error
    return table


def _unfit(rows: Sequence[bytes | memoryview], columns: Sequence[ArchivedColumn]) -> str | None:
    """Return the first session with a time that a file has no place for, and what to do; None if there is none."""
    names = [each.name for each in columns]
    times = [place for place, each in enumerate(columns) if each.type == "timestamp with time zone"]
    text = b"".join(rows).decode(errors="replace")
    for values in reader(text.splitlines(keepends=True)):
        for place in times:
            if (at := values[place]) and not FITTING_TIME.match(at):
                session, column = values[names.index("radacctid")], names[place]
                return (
                    f"session {session} has {column} {at}. Give it another time: UPDATE public.radacct SET "  # noqa: S608 # shown
                    f"{column} = .. WHERE radacctid = {session}; look for others with times after 9999 too"
                )
    return None


def rendered(
    table: pa.Table | pa.RecordBatch, columns: Sequence[ArchivedColumn], *, parts: bool
) -> pa.LargeBinaryArray:
    """Return the rows as COPY writes them, with or without the parts at their end."""
    fields = [_field(table.column(each.name), each) for each in columns]
    if parts:
        fields.append(_quoted(_slices_rendered(table.column(SLICES))))
        fields.append(_quoted(table.column(ADOPTED).cast(pa.large_string())))
    joined = pc.binary_join_element_wise(*fields, _text(","), null_handling="replace", null_replacement="")
    return _flat(pc.binary_join_element_wise(joined, _text("\n"), _text("")))


def lines(array: Any) -> Iterator[memoryview]:
    """Return each value of an array of `rendered` without copying it."""
    _, offsets, data = array.buffers()
    text = memoryview(data) if data is not None else memoryview(b"")
    bounds = memoryview(offsets).cast("q")[array.offset : array.offset + len(array) + 1].tolist()
    for begin, end in pairwise(bounds):
        yield text[begin:end]


def slice_rows(table: pa.Table | pa.RecordBatch) -> int:
    """Return the number of slices of all sessions."""
    return int(pc.sum(pc.list_value_length(table.column(SLICES))).as_py() or 0)


def part_rows(table: pa.Table | pa.RecordBatch) -> int:
    """Return how many of the sessions have an adoption baseline."""
    return len(table) - int(table.column(ADOPTED).null_count)


def slice_lines(table: pa.Table | pa.RecordBatch) -> bytes:
    """Return the slices, each with its radacctid, as COPY reads them."""
    column = _flat(table.column(SLICES))
    ids = _flat(table.column("radacctid")).take(pc.list_parent_indices(column))
    flat = column.flatten()
    fields = [ids.cast(pa.string()), *(flat.field(name).cast(pa.string()) for name in SLICE_FIELDS)]
    joined = pc.binary_join_element_wise(*fields, ",")
    return "".join(f"{line}\n" for line in joined.to_pylist()).encode()


def part_lines(table: pa.Table | pa.RecordBatch) -> bytes:
    """Return the adoption baselines, each with its radacctid, as COPY reads them."""
    kept = pa.table({name: table.column(name) for name in ("radacctid", ADOPTED)}).filter(
        pc.field(ADOPTED).is_valid()
    )
    text = _quoted(kept.column(ADOPTED).cast(pa.large_string()))
    ids = kept.column("radacctid").cast(pa.large_string())
    return "".join(
        f"{line}\n" for line in pc.binary_join_element_wise(ids, text, _text(",")).to_pylist()
    ).encode()


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _field(values: Any, column: ArchivedColumn) -> Any:
    if column.is_text:
        return _quoted(values.cast(pa.large_string()))
    if column.type == "boolean":
        return pc.if_else(values, _text("t"), _text("f"))
    text = values.cast(pa.large_string())
    if column.type == "timestamp with time zone":
        # 2026-10-01 12:34:56.120000Z. PostgreSQL writes no zeros at the end of the fraction.
        return pc.replace_substring_regex(text, r"\.?0*Z$", "+00")
    return text


def _quoted(text: Any) -> Any:
    doubled = pc.replace_substring(text, '"', '""')
    return pc.binary_join_element_wise(_text('"'), doubled, _text('"'), _text(""))


def _text(value: str | None) -> pa.Scalar:
    # 64-bit offsets, because a column of a batch can be longer than 2 GiB.
    return pa.scalar(value, pa.large_string())


def _slices_parsed(column: pa.ChunkedArray) -> pa.Array:
    """Return ``day,period,in,out;..`` as a list of structures."""
    pieces = pc.split_pattern(_flat(column), ";")
    flat = _flat(pieces.flatten())
    if len(flat) == 0:
        return pa.nulls(len(column), pa.list_(SLICE_TYPE))
    text = "".join(f"{line}\n" for line in flat.to_pylist()).encode()
    parts = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(
            column_names=list(SLICE_FIELDS), use_threads=False, block_size=len(text) + 1
        ),
        convert_options=csv.ConvertOptions(column_types={field.name: field.type for field in SLICE_TYPE}),
    )
    values = pa.StructArray.from_arrays(
        [_flat(parts.column(name)) for name in SLICE_FIELDS], fields=list(SLICE_TYPE)
    )
    return pa.ListArray.from_arrays(
        pieces.offsets.cast(pa.int32()), values, type=pa.list_(SLICE_TYPE), mask=pieces.is_null()
    )


def _slices_rendered(column: Any) -> Any:
    array = _flat(column)
    flat = array.flatten()
    if len(flat) == 0:
        return pa.nulls(len(array), pa.large_string())
    text = pc.binary_join_element_wise(*(flat.field(name).cast(pa.string()) for name in SLICE_FIELDS), ",")
    # flatten leaves out lists that are null.
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, text), ";").cast(pa.large_string())
    return pc.if_else(array.is_null(), _text(None), joined)
