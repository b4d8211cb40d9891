"""`radmeter journal salvage|adopt`: ship segments that no shipper carries."""

import contextlib
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from radmeter import output
from radmeter.cli.common import TEXT, emit, existing_database, format_option, with_settings
from radmeter.config import Settings
from radmeter.errors import JournalError, StoreError
from radmeter.units import counted

RESULTS = ("file", "segment", "shipped", "counted_before", "lost", "lost_numbers", "problem")
PLACE = click.Path(path_type=Path)

accept_option = click.option(
    "--accept-database",
    metavar="ID",
    type=click.UUID,
    help="Ship to the database with this identity, although the journal has shipped to another.",
)
node_option = click.option("--node", type=TEXT, help="The journal's name, if the segments do not say it.")
uncounted_option = click.option(
    "--uncounted",
    is_flag=True,
    help="Nothing is counted yet of segments whose identity cannot be found out. Without it they are left alone.",
)


@click.command(
    epilog="""\b
Examples:
  radmeter journal salvage /var/lib/radmeter/journal/damaged
  radmeter journal salvage --uncounted --node radius1-1f0c9a3e /mnt/disk
"""
)
@click.argument("places", nargs=-1, required=True, type=PLACE, metavar="PATH...")
@node_option
@uncounted_option
@accept_option
@format_option
@with_settings("state", "dsn")
def salvage(
    settings: Settings,
    places: tuple[Path, ...],
    node: str | None,
    uncounted: bool,
    accept_database: uuid.UUID | None,
    output_format: str,
) -> None:
    """Ship what can be read of damaged or orphaned segments, and list what cannot.

    PATH is a segment or a directory of segments. Nothing is counted twice: the database knows each segment by its
    identity. No file is changed or deleted. It may be interrupted and run again.

    Run it as a user who may read the files, with the database role of `radmeter ship`. The shipper may run meanwhile if
    PATH is in the folders damaged, shipped or left-out of its journal. Exit code 1 if something is lost or left alone.
    """
    _ship(settings, places, output_format, node=node, uncounted=uncounted, accepted=accept_database)


@click.command(
    epilog="""\b
Examples:
  radmeter journal adopt /mnt/dead-host/var/lib/radmeter/journal
  radmeter journal adopt --format json /mnt/backup/journal
"""
)
@click.argument("directory", type=PLACE)
@node_option
@uncounted_option
@accept_option
@format_option
@with_settings("state", "dsn")
def adopt(
    settings: Settings,
    directory: Path,
    node: str | None,
    uncounted: bool,
    accept_database: uuid.UUID | None,
    output_format: str,
) -> None:
    """Ship the journal of another machine: all that the database lacks of it, also from its kept segments.

    Its radiusd and its shipper must not run. Nothing is counted twice, and no file is changed or deleted, so the
    directory may be a backup, or a disk that is mounted read-only. It may be interrupted and run again.

    Run it as a user who may read the files, with the database role that shipped the journal or a member of that role.
    Exit code 1 if something is lost or left alone.
    """
    if directory.exists() and not directory.is_dir():
        raise click.UsageError(
            f"{directory} is a file: name a journal's directory, or use `radmeter journal salvage`"
        )
    _ship(
        settings,
        (directory,),
        output_format,
        node=node,
        uncounted=uncounted,
        accepted=accept_database,
        whole=True,
    )


def _ship(
    settings: Settings,
    places: Sequence[Path],
    output_format: str,
    *,
    node: str | None,
    uncounted: bool,
    accepted: uuid.UUID | None,
    whole: bool = False,
) -> None:
    """Ship segments and say what became of each. `whole`: the places are journals, of which nothing may be missing."""
    from radmeter.ingest import orphans
    from radmeter.ingest.orphan_result import Result
    from radmeter.ingest.store import Store
    from radmeter.progress import progress

    found = [orphans.segment_files(place) for place in dict.fromkeys(places)]
    every = [path for paths in found for path in paths]
    orphans.refuse_if_in_use(every, whole=whole)
    results: list[Result] = []
    missing: list[str] = []
    try:
        with existing_database(settings) as dsn, contextlib.closing(Store(dsn)) as store:
            orphans.refuse_other_database(store, every, None if accepted is None else str(accepted))
            with progress("shipping", orphans.packets_in(every), "packets") as bar:
                for paths in found:
                    for each in orphans.ship(store, paths, node, bar.advance, uncounted=uncounted):
                        results.append(each)  # what was done is told if it is interrupted
            if whole:
                for paths in found:
                    missing += orphans.missing(store, paths, node, uncounted=uncounted)
    except (StoreError, JournalError):
        if results:
            _tell(results, missing, output_format)
            output.say("not all is done: run the same command again. Nothing is counted twice", err=True)
        raise
    except KeyboardInterrupt:
        _tell(results, missing, output_format)
        output.say("interrupted: run the same command again. Nothing is counted twice", err=True)
        sys.exit(130)
    _tell(results, missing, output_format)
    if missing or any(each.lost or each.refused for each in results):
        sys.exit(1)


def _tell(results: Sequence[Any], missing: Sequence[str], output_format: str) -> None:
    """Print what became of segments: in the table those of which something was shipped or lost, and the sums."""
    from radmeter.ingest.orphan_result import described, summary

    if output_format != "table":
        emit([_row(each) for each in results], output_format, columns=RESULTS)
    else:
        for each in results:
            if each.counted or each.lost or each.refused:
                output.say(summary(each))
                for loss in each.lost:
                    output.say(f"  lost: {described(loss)}")
        lost = [each.lost_packets for each in results]
        output.say(
            f"{counted(len(results), 'segment')}: {counted(sum(each.counted for each in results), 'packet')} shipped, "
            f"{sum(each.had for each in results):,} counted before, "
            f"{sum(each or 0 for each in lost):,} lost" + (" and more" if None in lost else "")
        )
    for each in missing:
        output.say(f"missing: {each}", err=output_format != "table")


def _row(result: Any) -> dict[str, Any]:
    from radmeter.ingest.orphan_result import described

    return {
        "file": str(result.path),
        "segment": result.segment,
        "shipped": result.counted,
        "counted_before": result.had,
        "lost": result.lost_packets,
        "lost_numbers": "; ".join(map(described, result.lost)) or None,
        "problem": result.refused,
    }
