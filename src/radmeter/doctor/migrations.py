"""Checks of the migrations: the revision of the tables, and whether the files under sql/ are applied."""

from contextlib import suppress

import psycopg

from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller
from radmeter.errors import JournalError, StoreError
from radmeter.ingest import database_of_journal
from radmeter.schema import known_revisions, sql_files

tell = Teller("migrations")

SHOWN = 3


def check(context: Context) -> Findings:
    """Compare the database's revision and SQL files with those of this radmeter."""
    if not context.facts.has_schema:
        if context.facts.has_stock_radacct:
            yield tell.red(
                f"{context.facts.name} has FreeRADIUS's own radacct and nothing of radmeter's",
                context.remedy.radmeter("adopt --from radacct"),
            )
        elif known := _other_database(context):
            yield tell.red(
                f"{context.facts.name} has no tables of radmeter's, and the journal {context.settings.journal} ships "
                f"to the database {known}: another database was judged than the one in use",
                "radmeter config",
                note="Name the right database: dsn in the configuration file, RADMETER_DSN, or --dsn.",
            )
        else:
            yield tell.red(f"{context.facts.name} has no tables of radmeter's", context.remedy.migrate())
        return
    if context.facts.has_stock_radacct:
        yield _of_stock(context)
        return
    newest = known_revisions.all_revisions()[-1].revision
    with context.database.transaction(force_rollback=True):
        try:
            pending = known_revisions.pending_revisions(context.database)
        except psycopg.errors.InsufficientPrivilege:
            yield tell.unknown(f"{context.facts.user} may not see the revision (radmeter.alembic_version)")
            return
        except StoreError as error:
            yield tell.red(str(error), "", note="Install the newer release of radmeter on this machine.")
            return
        changed = sql_files.changed_files(context.database)
    if pending:
        names = ", ".join(f"{script.revision} ({script.title})" for script in pending)
        yield tell.red(f"not applied: {names}", context.remedy.migrate())
    if changed:
        some = ", ".join(changed[:SHOWN]) + (f" and {len(changed) - SHOWN} more" if changed[SHOWN:] else "")
        yield tell.red(
            f"files of sql/ not applied in their present form: {some}", context.remedy.migrate(), *changed
        )
    if not pending and not changed:
        yield tell.green(f"revision {newest}, all files of sql/ applied")


def _of_stock(context: Context) -> Finding:
    """Return what is said of FreeRADIUS's own radacct. `migrate up` refuses it: an adoption applies what is missing."""
    if _is_being_adopted(context):
        return tell.green("the adoption under way applies revisions and files of sql/")
    return tell.red(
        "public.radacct is FreeRADIUS's own table",
        context.remedy.radmeter("adopt --from radacct", owner=True),
    )


def _other_database(context: Context) -> str | None:
    """Return the identity of the database to which the journal ships. None: it has shipped to none, or is not here."""
    with suppress(JournalError, OSError):
        return database_of_journal.remembered(context.settings.journal)
    return None


def _is_being_adopted(context: Context) -> bool:
    """Return whether an adoption is under way. The check of the adoption then says how far it is."""
    return context.there("radmeter.adoption") and bool(
        context.row("SELECT EXISTS (SELECT FROM radmeter.adoption WHERE undone_at IS NULL)")[0]
    )
