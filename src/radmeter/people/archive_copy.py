"""A copy of an archive with pseudonyms, to give away. It cannot be restored."""

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from radmeter.errors import RadmeterError
from radmeter.partitions.parquet_file import BATCH_ROWS, UNFINISHED
from radmeter.people.pseudonyms import Pseudonyms
from radmeter.progress import Progress

# The columns that tell who somebody is, and the word that each pseudonym begins with, as in exports of the commands.
REPLACED = {
    "username": "user",
    "callingstationid": "station",
    "framedipaddress": "address",
    "framedipv6address": "address",
    "framedipv6prefix": "address",
    "delegatedipv6prefix": "address",
    "framedinterfaceid": "address",
    "acctsessionid": "session",
    "acctuniqueid": "session",
}
# Columns that tell nothing about a person. All others are left out: free text, and what an operator has added.
KEPT = (
    "radacctid",
    "nasipaddress",
    "nasporttype",
    "acctstarttime",
    "acctupdatetime",
    "acctstoptime",
    "acctinterval",
    "acctsessiontime",
    "acctauthentic",
    "acctinputoctets",
    "acctoutputoctets",
    "calledstationid",
    "acctterminatecause",
    "servicetype",
    "framedprotocol",
    "router_id",
    "arrived_at",
    "counted_at",
    "usage_date",
    "period_start",
    "input_offset",
    "output_offset",
    "closed_by",
    "interim_interval",
    "clock_skew_seconds",
    "stop_stamp",
    "late_start_at",
    "router_mac",
    "began_at",
    "session_slice",
)


class CopyError(RadmeterError):
    """The archive cannot be read, or the copy cannot be written."""


class Copied(NamedTuple):
    """How many sessions were copied, and which columns were left out."""

    sessions: int
    left_out: tuple[str, ...]


def copy_with_pseudonyms(archive: Path, target: Path, pseudonyms: Pseudonyms, progress: Progress) -> Copied:
    """Write a copy of an archive with pseudonyms to `target`.

    Raises
    ------
    CopyError
        The archive cannot be read, or `target` exists or cannot be written. `target` is not there then.
    """
    if target.exists():
        raise CopyError(f"{target} exists already: give another name")
    unfinished = target.with_name(target.name + UNFINISHED)
    try:
        with pq.ParquetFile(archive) as file:
            names = [name for name in file.schema_arrow.names if name in REPLACED or name in KEPT]
            if "username" not in names:
                raise CopyError(f"{archive} is not an archive of sessions")
            # Without the metadata of the archive: `radmeter partitions restore` refuses the copy.
            schema = pa.schema(
                [
                    pa.field(name, pa.string()) if name in REPLACED else file.schema_arrow.field(name)
                    for name in names
                ]
            )
            sessions = 0
            with (
                pq.ParquetWriter(unfinished, schema, compression="zstd") as writer,
                progress("copying", file.metadata.num_rows, "sessions") as bar,
            ):
                for batch in file.iter_batches(BATCH_ROWS, columns=names):
                    columns = [_column(name, batch.column(name), pseudonyms) for name in names]
                    writer.write_batch(pa.record_batch(columns, schema=schema))
                    sessions += batch.num_rows
                    bar.advance(batch.num_rows)
            left_out = tuple(name for name in file.schema_arrow.names if name not in names)
        unfinished.rename(target)
    except (OSError, pa.ArrowException) as error:
        raise CopyError(f"{archive} cannot be copied to {target}: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Copied(sessions, left_out)


def _column(name: str, values: pa.Array, pseudonyms: Pseudonyms) -> pa.Array:
    kind = REPLACED.get(name)
    if kind is None:
        return values
    made = pseudonyms.of_station if kind == "station" else lambda value: pseudonyms.of(kind, value)
    return pa.array([None if value is None else made(value) for value in values.to_pylist()], pa.string())
