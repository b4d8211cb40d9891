"""`radmeter metrics`: the figures for Prometheus, without a server."""

import sys
from pathlib import Path

import click

from radmeter import output
from radmeter.cli.common import existing_database, with_settings
from radmeter.config import Settings
from radmeter.errors import StoreError
from radmeter.os_errors import explained

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="""\b
Examples:
  radmeter metrics
  radmeter metrics --textfile /var/lib/prometheus/node-exporter/radmeter.prom

\b
Exit codes:
  0  printed or written
  1  the file cannot be written, or the database or the journal cannot be
     read: what can be read is there
  2  wrong options or settings
"""
)
@click.option(
    "--textfile",
    type=FILE,
    metavar="FILE",
    help="Write the metrics of this host's journal into FILE, for node-exporter.",
)
@with_settings("state", "dsn", "journal", "metrics_routers")
def metrics(settings: Settings, textfile: Path | None) -> None:
    """Print the metrics of the database and of this host's journal, as Prometheus reads them.

    Counters that say "since this program began" are 0 here.

    With --textfile, only the metrics of this host's journal are written: for hosts on which no other program of
    radmeter shows them. The file is replaced at once, so node-exporter never reads half of it. Run it each minute.
    """
    from radmeter.metrics import textfile as file
    from radmeter.metrics.catalog import METRICS, OF_HOST
    from radmeter.metrics.exposition import Exposition
    from radmeter.metrics.figures import Figures, Source

    def read(dsn: str | None) -> Figures:
        source = Source(dsn, journal=settings.journal, routers=settings.metrics_routers, backups=True)
        try:
            return source.read()
        finally:
            source.close()

    fault = None
    try:
        with existing_database(settings) as dsn:
            figures = read(dsn)
    except StoreError as error:
        fault = str(error)
        figures = read(None)
    text, _ = Exposition(lambda: figures, metrics=METRICS if textfile is None else OF_HOST, process=False)()
    if textfile is None:
        output.document(text.decode())
    else:
        try:
            file.write(textfile, text)
        except OSError as error:
            message = explained(error, {"--textfile": textfile})
            if message is None:
                raise
            raise message from error
    faults = {"database": fault or figures.fault, "journal": figures.journal_fault}
    for about, said in faults.items():
        if said:
            output.say(f"problem: {about}: {said}", err=True)
    if any(faults.values()):
        sys.exit(1)
