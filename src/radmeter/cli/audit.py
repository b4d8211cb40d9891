"""`radmeter audit list|verify|head`: what people changed by hand, and the chain that shows a removed line."""

import datetime
import json
from typing import Any

import click

from radmeter import output, waits
from radmeter.cli import times
from radmeter.cli.common import TEXT, emit, is_short, list_options, reading_database, with_settings
from radmeter.cli.groups import group
from radmeter.cli.since import Since
from radmeter.config import Settings
from radmeter.units import counted

COLUMNS = ("id", "at", "who", "operator", "action", "detail")
SHORT = ("id", "at", "who", "action", "changes")
FAULTS = ("position", "audit_id", "fault", "at", "action")
LARGEST_ID = 2**63 - 1


class HeadOfChain(click.types.StringParamType):
    """What `radmeter audit head` printed."""

    name = "head"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return position and digest."""
        from radmeter.database.audit_chain import parse_head

        try:
            return parse_head(value)
        except ValueError as error:
            self.fail(str(error))


@group(epilog="Example: radmeter audit verify")
def audit() -> None:
    """Show what people changed by hand, and check that no line of it was changed or removed.

    audit_log only grows. Each line is chained to the one before it by SHA-256, so a line that somebody removed, changed
    or slipped in shows.
    """


@audit.command("list", epilog="Example: radmeter audit list --since 7d --action plans")
@click.option("--since", type=Since(), metavar="TIME|SPAN", help="Only lines since then, such as 7d.")
@click.option("--action", type=TEXT, help="Only this command, or commands with this first word.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="How many.")
@click.option("--before", type=click.IntRange(1, LARGEST_ID), metavar="ID", help="Go on before this id.")
@list_options
@with_settings("state", "dsn", "read_dsn")
def list_(
    settings: Settings,
    since: datetime.datetime | None,
    action: str | None,
    limit: int,
    before: int | None,
    output_format: str,
) -> None:
    """List lines of audit_log, the latest first: who did what, and which values changed.

    who is the login name of the operator, else the role of the database. json and csv have the whole detail.
    """
    from radmeter.database.audit_chain import lines
    from radmeter.database.audit_words import words
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        found, more = lines(connection, since=since, action=action, before=before, limit=limit)
    if output_format == "table":
        found = [{**row, "changes": words(json.loads(row["detail"]))} for row in found]
    if is_short(output_format):
        found = [{**row, "who": row["operator"] or row["who"]} for row in found]
    emit(found, output_format, columns=COLUMNS, short=SHORT)
    if more:
        output.say(f"There are more: go on with --before {found[-1]['id']}", err=True)


@audit.command(
    "verify",
    epilog="""\b
Example: radmeter audit verify --head 1204:5e1f..

\b
Exit codes:
  0  audit_log and its chain are whole
  1  they are not: each fault is listed
  2  wrong options or settings
""",
)
@click.option(
    "--head",
    "kept",
    type=HeadOfChain(),
    metavar="POSITION:DIGEST",
    help="A head that `radmeter audit head` printed before: the chain must still have it.",
)
@list_options
@with_settings("state", "dsn", "read_dsn")
def verify(settings: Settings, kept: Any, output_format: str) -> None:
    """Check audit_log against its chain, and list each fault.

    A line can be missing, changed or added without the chain; a row of the chain missing or changed; or the end of the
    chain cut off. Only --head shows that the end of both was removed, or that somebody with all rights has computed
    the whole chain anew. So keep heads where nobody of this database can change them.
    """
    from radmeter.database.audit_chain import faults, head
    from radmeter.database.views import reading

    with reading_database(settings) as dsn, reading(dsn) as connection:
        times.use_zone(connection)
        with waits.waiting_for("checking the chain of audit_log"):
            found = faults(connection, kept)
        now = head(connection)
    if found or output_format != "table":
        emit(found, output_format, columns=FAULTS, short=FAULTS)
    if found:
        output.say(f"audit_log was changed: {counted(len(found), 'fault')}", err=True)
        click.get_current_context().exit(1)
    if output_format == "table":
        output.say(
            f"audit_log is whole: {counted(now.position if now else 0, 'row')} of its chain; head {now}"
        )


@audit.command("head", epilog="Example: radmeter audit head >> /mnt/elsewhere/heads")
@with_settings("state", "dsn", "read_dsn")
def show_head(settings: Settings) -> None:
    """Print the end of the chain as POSITION:DIGEST, to be kept outside of the database for `audit verify --head`."""
    from radmeter.database.audit_chain import head
    from radmeter.database.views import reading
    from radmeter.errors import StoreError

    with reading_database(settings) as dsn, reading(dsn) as connection:
        found = head(connection)
    if found is None:
        raise StoreError("the head of the chain is missing: `radmeter audit verify` shows what else is")
    output.say(str(found))
