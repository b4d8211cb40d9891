"""Checks that months are closed, drafts are issued, and that the directory of issued documents is whole."""

import os

from radmeter.billing import content, origin
from radmeter.billing.due import due
from radmeter.billing.issued_files import IssuedFiles
from radmeter.billing.overlooked import lacking
from radmeter.doctor.context import Context
from radmeter.doctor.finding import Finding, Findings, Teller
from radmeter.units import counted, verb

tell = Teller("billing")


def check(context: Context) -> Findings:
    """Find months to close, drafts that wait, and documents that the database or the directory lacks."""
    found = due(context.database)
    faults = [*_directory(context)]
    if found.to_close is not None:
        faults.append(
            tell.yellow(
                f"{found.to_close} has ended and is not closed",
                context.remedy.radmeter(f"billing close {found.to_close}"),
            )
        )
    faults += [
        tell.yellow(said, "", note=f"Before they are issued: {remedy}.")
        for said, remedy in lacking(context.database)
    ]
    if found.drafts:
        faults.append(
            tell.yellow(
                f"{counted(found.drafts, 'draft')} {verb(found.drafts, 'waits', 'wait')} to be issued, "
                f"the first of {found.drafts_of}",
                context.remedy.radmeter(f"billing issue {found.drafts_of}"),
            )
        )
    well = "no month waits to be closed, no draft to be issued" if found.in_use else "no tenant has a rate"
    yield from faults or [tell.green(well)]


def _directory(context: Context) -> list[Finding]:
    here = content.keys(context.database).keys()
    files = IssuedFiles(context.settings.billing_directory, context.settings.billing_key_file)
    there = files.keys()
    if other := origin.other_database(context.database, files.directory):
        return [
            tell.red(
                f"{files.directory} has the documents of another database ({other}): nothing is closed or issued",
                origin.moving(files.directory, files.key_file, other),
                note="Only if that database is gone: this keeps its documents. If it is not, connect to it.",
            )
        ]
    reconcile = context.remedy.radmeter("billing reconcile")
    if unknown := sorted(there - here):
        return [
            tell.red(
                f"the database lacks {counted(len(unknown), 'document')} of {files.directory}, such as "
                f"{unknown[0].file_name}: nothing is closed or issued until that is settled",
                reconcile,
            )
        ]
    if missing := sorted(here - there):
        return [
            tell.yellow(
                f"{files.directory} lacks {counted(len(missing), 'issued document')}, such as {missing[0].file_name}",
                reconcile,
                note="If documents are issued on another machine, this one need not have them.",
            )
        ]
    if files.directory.exists() and not os.access(files.directory, os.W_OK | os.X_OK):
        return [
            tell.yellow(
                f"{files.directory} cannot be written by this user, so nothing can be issued",
                "",
                note="Run `radmeter billing issue` as the user who owns it.",
            )
        ]
    return []
