"""`radmeter replay`: ship detail files into the database."""

import gzip
import os
import shutil
import stat
import sys
import tempfile
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from radmeter import output, waits
from radmeter.cli.common import confirm, existing_database, with_settings
from radmeter.config import Settings
from radmeter.errors import RadmeterError
from radmeter.printable import printable
from radmeter.units import counted, verb

GZIP = b"\x1f\x8b"
PROBLEMS_TOLD = 100


class Source(NamedTuple):
    """A file to replay: the stream to read, and the stream whose position shows the progress.

    They differ for a compressed file.
    """

    stream: BinaryIO
    raw: BinaryIO
    size: int


class Zone(click.types.StringParamType):
    """An IANA time zone."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the zone."""
        try:
            return zoneinfo.ZoneInfo(value)
        except (LookupError, ValueError, OSError):
            self.fail(
                f"{value!r} is not the name of an IANA time zone, such as UTC or Europe/Berlin", param, ctx
            )


@click.command(
    epilog="""\b
Examples:
  radmeter replay /var/log/freeradius/radacct/*/detail-2026*
  zstd -dc detail.zst | radmeter replay --yes -
  radmeter replay --zone Europe/Berlin old-server/detail.gz

\b
Exit codes:
  0  every stanza is shipped; packets that cannot be counted are in
     `radmeter rejected list`
  1  a stanza is bad, or a file could not be replayed to its end
  2  wrong options or settings; without --yes and without a terminal
"""
)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True)
)
@click.option(
    "--zone",
    type=Zone(),
    metavar="NAME",
    help="Time zone of the server that wrote the files, for the"
    " dates in them.  [default: seen from each packet]",
)
@click.option(
    "--count-dropped", is_flag=True, help="Count packets of months whose sessions were dropped, too."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings("state", "dsn", "batch_records")
def replay(
    settings: Settings,
    files: tuple[Path, ...],
    zone: zoneinfo.ZoneInfo | None,
    count_dropped: bool,
    yes: bool,
) -> None:
    """Ship FreeRADIUS detail files, plain or compressed with gzip; - is standard input.

    It asks first, since what is counted stays counted.

    Packets count at the time of their arrival, the stanza's Timestamp. A file that is replayed twice is counted once:
    it is recognised by its contents, whatever its name is. If it has grown, or if a replay was interrupted, the next
    replay goes on from there. Packets that also came another way (in the journal, in another file) are duplicates and
    add nothing.

    The quarantine file of radmeter's own FreeRADIUS configuration adds nothing either: its packets are in the journal.
    """
    from radmeter.ingest.replay import Replayer

    told, failed = 0, False

    def tell(line: int, reason: str) -> None:
        nonlocal told
        told += 1
        if told <= PROBLEMS_TOLD:
            output.say_above(console, f"{path}, line {line}: {reason}")

    confirm(f"Count the packets of {counted(len(files), 'file')}? It cannot be undone.", yes)
    console = output.console(stderr=True)
    with (
        existing_database(settings) as dsn,
        closing(
            Replayer(
                dsn,
                zone=zone,
                batch_records=settings.batch_records,
                count_dropped=count_dropped,
                on_problem=tell,
            )
        ) as replayer,
    ):
        for path in files:
            try:
                with _opened(path) as source, _progress(console, path.name, source) as advance:
                    outcome = replayer.replay(source.stream, str(path), advance)
            except (OSError, EOFError, RadmeterError) as error:
                failed = True
                reason = (isinstance(error, OSError) and error.strerror) or str(error)
                output.say(f"error: {path}: {reason}", err=True)
                continue
            failed = failed or outcome.bad > 0
            output.say(
                f"{path}: {counted(outcome.shipped, 'packet')} shipped, {outcome.set_aside} of them set aside, "
                f"{counted(outcome.before, 'stanza')} {verb(outcome.before, 'was', 'were')} replayed before, "
                f"{outcome.bad} bad"
            )
    if told > PROBLEMS_TOLD:
        output.say(f"not shown: {counted(told - PROBLEMS_TOLD, 'more line')} like these", err=True)
    if failed:
        sys.exit(1)


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    """Open a file so that it can be read twice. Standard input is copied to a temporary file first."""
    with tempfile.TemporaryFile() if str(path) == "-" else _regular(path) as raw:
        if str(path) == "-":
            shutil.copyfileobj(sys.stdin.buffer, raw)
        size = raw.seek(0, 2)
        raw.seek(0)
        magic = raw.read(len(GZIP))
        raw.seek(0)
        if magic == GZIP:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield Source(cast(BinaryIO, unpacked), raw, size)
        else:
            yield Source(raw, raw, size)


def _regular(path: Path) -> BinaryIO:
    """Open a regular file. Opening a FIFO would wait for its writer, and it cannot be read twice."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise RadmeterError("it is not a regular file: pipe it into `radmeter replay --yes -`")
    return file


@contextmanager
def _progress(console: Console, name: str, source: Source) -> Iterator[Callable[[], None]]:
    """Show the progress in a file, if there is a terminal. Messages go above it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with (
        waits.covered(),
        Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        ) as progress,
    ):
        task = progress.add_task(printable(name), total=source.size)
        yield lambda: progress.update(task, completed=source.raw.tell())
