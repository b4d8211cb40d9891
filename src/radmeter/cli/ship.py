"""`radmeter ship`: ship the journal into the database."""

import contextlib
import logging
import threading
import uuid

import click

from radmeter import waits
from radmeter.cli.common import ServiceCommand, with_settings
from radmeter.config import Settings
from radmeter.embedded.server import open_database
from radmeter.errors import JournalError, JournalLocked
from radmeter.freeradius.journal_in_use import warning, watch
from radmeter.ingest.kept_segments import KeptSegments
from radmeter.ingest.left_out_segments import LeftOutSegments
from radmeter.ingest.shipper import Shipper
from radmeter.ingest.store import Store
from radmeter.interruption import set_by_signals
from radmeter.plugin.config_file import described
from radmeter.plugin.journal.reader import JournalReader

log = logging.getLogger(__name__)


@click.command(
    cls=ServiceCommand,
    epilog="""\b
Examples:
  radmeter ship --dsn \\
      'postgresql://shipper@db1,db2/radius?target_session_attrs=read-write'
  radmeter ship --until-empty
  radmeter ship --accept-database 5f0c1f3e-2a57-4c07-9f3b-0f1f6a7f6f11
""",
)
@with_settings(
    "state",
    "dsn",
    "journal",
    "batch_records",
    "batch_ms",
    "kept_hours",
    "kept_bytes",
    "left_out_bytes",
    "log_format",
)
@click.option("--until-empty", is_flag=True, help="Stop when nothing is left in the journal.")
@click.option(
    "--accept-database",
    metavar="ID",
    type=click.UUID,
    help="Ship to the database with this identity, although the journal has shipped to another. The message about the "
    "wrong database names the identity.",
)
def ship(settings: Settings, until_empty: bool, accept_database: uuid.UUID | None) -> None:
    """Ship the journal into the database, in batches, exactly once.

    It runs until SIGTERM or Ctrl-C, and then finishes its batch. A journal has one shipper: a second one says so and
    exits with 1. If the database does not answer, it waits and goes on by itself. The journal keeps the packets that
    come meanwhile.

    Shipped segments are kept for a while. If the database was restored from a backup, or a standby that was behind was
    promoted, what it lacks is shipped again. A journal ships to one database only: another one is refused.
    """
    stop = set_by_signals()
    log.info("%s, journal %s", described(settings.file), settings.journal)
    reader = JournalReader(settings.journal)
    if until_empty and (text := warning(settings)):
        log.warning("%s", text)
    elif not until_empty:
        arguments = settings, stop, lambda text: log.warning("%s", text)
        threading.Thread(target=watch, args=arguments, name="watch", daemon=True).start()
    with contextlib.ExitStack() as stack:
        if not until_empty:
            _wait_for_journal(reader, stop)
            if stop.is_set():
                return
        stack.enter_context(reader.lock())
        database = stack.enter_context(open_database(settings))
        if not until_empty:
            waits.use(None)  # the log says what it waits for
        shipper = Shipper(
            reader,
            lambda: Store(database.dsn),
            batch_records=settings.batch_records,
            batch_seconds=settings.batch_ms / 1000,
            kept=KeptSegments(
                settings.journal,
                hours=settings.kept_hours,
                limit_bytes=settings.kept_bytes,
                left_out=LeftOutSegments(settings.journal, settings.left_out_bytes),
            ),
            accept_database=None if accept_database is None else str(accept_database),
        )
        shipper.run(stop, until_empty=until_empty)
    log.info("shipping ends")


def _wait_for_journal(reader: JournalReader, stop: threading.Event) -> None:
    """Wait until radiusd makes the journal. It does so when the first packet arrives."""
    said = False
    while not stop.is_set():
        try:
            reader.node()
            if said:
                log.info("the journal is there: shipping begins")
            return
        except JournalLocked:
            raise
        except JournalError as error:
            if not said:
                log.info("waiting: %s", error)
            said = True
            stop.wait(0.2)
