"""`radmeter people show|erase|pseudonymise`: what is stored about a person, and how to erase or disguise it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from radmeter import output
from radmeter.cli import times
from radmeter.cli.common import (
    TEXT,
    confirm,
    emit,
    emit_json,
    existing_database,
    is_short,
    list_options,
    require_extra,
    with_settings,
)
from radmeter.cli.groups import group
from radmeter.cli.pseudonymised import pseudonym_options
from radmeter.config import Settings
from radmeter.database.connection import Connection
from radmeter.progress import progress
from radmeter.units import counted

if TYPE_CHECKING:
    from radmeter.people.pseudonyms import Pseudonyms

SHORT = ("kind", "number", "first", "last", "on_erase")
COLUMNS = (*SHORT, "place")
FOUND_AGAIN = 3


@group(epilog="Example: radmeter people show alice")
def people() -> None:
    """Show what is stored about a person, and erase it (GDPR articles 15 and 17)."""


@people.command(
    "show",
    epilog="""\b
Examples:
  radmeter people show alice
  radmeter people show alice --format json
  radmeter sessions --user alice --format csv    the sessions themselves

\b
Exit codes:
  0  done
  1  failed, or nothing has this name
  2  wrong options or settings
""",
)
@click.argument("user", type=TEXT)
@list_options
@with_settings("state", "dsn", "journal")
def show(settings: Settings, user: str, output_format: str) -> None:
    """Show where the user name USER is stored, and what `people erase` does with it.

    A name is compared exactly: alice, Alice and alice@example.org are three users. Files are those of this machine: the
    journal, FreeRADIUS's detail and quarantine files, and the archives. An archive without a number cannot be read here
    and may hold sessions of the user.
    """
    from radmeter.database.connection import connect
    from radmeter.database.deadline import patient
    from radmeter.people import traces

    with existing_database(settings) as dsn, connect(dsn, deadline=patient()) as connection:
        times.use_zone(connection)
        rows = _rows(settings, connection, user)
        began = traces.erasure_began(connection, user)
    if not rows and began is None:
        raise _nothing(user)
    _emit_traces(rows, output_format)
    if began is not None:
        output.say(
            f"An erasure of this user began {began:%Y-%m-%d %H:%M %Z} and has not ended: "
            "run `radmeter people erase` again",
            err=True,
        )


@people.command(
    "erase",
    epilog="""\b
Examples:
  radmeter people erase alice
  radmeter people erase alice --yes --format json

\b
Exit codes:
  0    erased
  1    failed, or nothing has this name: the reason is on standard error
  2    wrong options or settings
  3    erased, but the name has come back meanwhile: run it again
  130  interrupted; run it again and it goes on
""",
)
@click.argument("user", type=TEXT)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--even-open", is_flag=True, help="Erase open sessions too. Their later packets count for the pseudonym."
)
@click.option(
    "--unbilled-too",
    is_flag=True,
    help="Erase also if days of plans or top-ups are not billed yet. Nobody knows then who owes them.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="text for people; json for programs.",
)
@with_settings("state", "dsn", "journal")
def erase(
    settings: Settings, user: str, yes: bool, even_open: bool, unbilled_too: bool, output_format: str
) -> None:
    """Replace the user name USER by a random pseudonym, and clear what else identifies the person.

    Sessions lose their session id, calling station id, framed addresses, NAS port, realm, connect info and class.
    Octets, days, routers and totals stay exact, and packets are counted meanwhile. Nobody can compute the pseudonym
    from the name, and no table keeps both. Invoices keep the name: tax law demands it.

    A user with open sessions is refused without --even-open, and one whose plans or top-ups are not billed yet without
    --unbilled-too. Files are not changed: archives, journal segments, detail
    files, backups. A restored archive, a replayed detail file or a new session brings the name back: run the command
    again then.
    """
    from radmeter.billing import unbilled
    from radmeter.database.operator import connect_as_operator
    from radmeter.errors import StoreError
    from radmeter.people import erasure, traces

    with existing_database(settings) as dsn, connect_as_operator(dsn) as connection:
        rows = _rows(settings, connection, user)
        began = traces.erasure_began(connection, user)
        if not rows and began is None:
            raise _nothing(user)
        # An erasure that goes on was asked before.
        lost = unbilled.unbilled(connection, user) if began is None else None
        if lost is not None:
            if not unbilled_too:
                raise StoreError(unbilled.refusal(lost))
            output.say(f"note: no document bills {lost} yet, and nobody will know who owes it", err=True)
        own = traces.subscriber_columns(connection)
        if not yes:
            _emit_traces(rows, "table")
            if own and any(row["kind"] == "subscriber" for row in rows):
                output.say(f"The columns {', '.join(own)} of the row in subscribers will be removed.")
            confirm("Erase this user? It cannot be undone.", yes)
        done = erasure.erase(connection, user, even_open=even_open, progress=progress, said=_say)
        after = _rows(settings, connection, user)
    # Archives are found by the times of the sessions, and these are gone.
    kept = [row for row in rows if row["on_erase"] == traces.KEPT]
    back = [row for row in after if row["on_erase"] != traces.KEPT]
    if output_format == "json":
        result = {
            "pseudonym": done.pseudonym,
            "rows": done.rows,
            "kept": [{name: row[name] for name in COLUMNS} for row in kept],
            "came_back": [{name: row[name] for name in COLUMNS} for row in back],
        }
        emit_json(result)
    else:
        changed = ", ".join(f"{rows} in {table}" for table, rows in sorted(done.rows.items()))
        output.say(f"erased: the pseudonym is {done.pseudonym}. Rows changed: {changed or 'none'}")
        if kept:
            _emit_traces(kept, "table", title="Not changed, and still with the name:")
    if back:
        output.say(
            "the name has come back since: "
            + ", ".join(f"{row['number']} {row['kind']}" for row in back)
            + ". Run this command again when the user's sessions are closed",
            err=True,
        )
        raise click.exceptions.Exit(FOUND_AGAIN)


@people.command(
    "pseudonymise",
    epilog="""\b
Examples:
  radmeter people pseudonymise radacct_2026_03.parquet --to out.parquet
  radmeter people pseudonymise radacct_2026_03.parquet --to out.parquet \\
      --pseudonym-key study.key
""",
)
@click.argument("archive", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The copy."
)
@pseudonym_options
@with_settings()
def pseudonymise(settings: Settings, archive: Path, target: Path, pseudonyms: "Pseudonyms | None") -> None:
    """Copy the archive ARCHIVE with pseudonyms for users, stations, addresses and session ids, to give it away.

    Routers, times and octets stay. Connect info, class, NAS port, realm and columns of your own are left out. The copy
    cannot be restored. Without --pseudonym-key the key is made for this run only.
    """
    require_extra("pyarrow", "archive")
    from radmeter.people.archive_copy import copy_with_pseudonyms
    from radmeter.people.pseudonyms import Pseudonyms

    copied = copy_with_pseudonyms(archive, target, pseudonyms or Pseudonyms.of_one_run(), progress)
    left_out = f"; left out: {', '.join(copied.left_out)}" if copied.left_out else ""
    output.say(f"{counted(copied.sessions, 'session')} in {target}{left_out}")


def _rows(settings: Settings, connection: Connection, user: str) -> list[dict[str, Any]]:
    from radmeter.people import traces
    from radmeter.people.files import files_with_name

    found = traces.traces(connection, user)
    rows = [trace._asdict() for trace in found]
    rows += (
        [trace._asdict() for trace in traces.archives(connection, traces.first_seen(found), user)]
        if found
        else []
    )
    for file in files_with_name(settings, user):
        kind = f"{file.kind}, cannot be read" if file.unreadable else file.kind
        if rows or not file.unreadable:
            place = f"{file.path}: {file.remedy}"
            rows.append(
                {
                    "kind": kind,
                    "number": None,
                    "first": None,
                    "last": None,
                    "on_erase": traces.KEPT,
                    "place": place,
                }
            )
    return rows


def _emit_traces(rows: list[dict[str, Any]], output_format: str, title: str = "") -> None:
    """Print the rows. A table for people has their places, which are long, in lines of their own below it."""
    emit(rows, output_format, columns=COLUMNS, short=SHORT, title=title or ())
    places = [f"{row['kind']}: {row['place']}" for row in rows if row["place"] is not None]
    if places and is_short(output_format):
        output.say("", *places)


def _nothing(user: str) -> Exception:
    from radmeter.database.views import NotKnown
    from radmeter.usage.counters import HOW_TO_FIND_USERS

    return NotKnown(f"nothing here has the user name {user!r}, written exactly so. {HOW_TO_FIND_USERS}")


def _say(text: str) -> None:
    output.say(text, err=True)
