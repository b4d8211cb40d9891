"""The errors that radmeter raises on purpose, under one base class."""

import os
from collections.abc import Mapping


def os_reason(error: OSError) -> str:
    """Return what the operating system said, without its number: ``No such file or directory: /srv/journal``."""
    reason = error.strerror or str(error)
    return f"{reason}: {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else reason


class RadmeterError(Exception):
    """radmeter cannot do what was asked. The message names the thing, says what happened and what to do next.

    Each argument is a line of the message.
    """

    def __str__(self) -> str:
        """Return the message as one line."""
        return " ".join(str(line).strip() for line in self.args)


class ConfigurationError(RadmeterError):
    """A setting has a value that cannot be used."""


class OutputError(RadmeterError):
    """Standard output or standard error cannot be written, for instance because the disk is full."""


class ServerConfigurationError(RadmeterError):
    """FreeRADIUS's configuration cannot be changed: it is not understood, or it is faulty."""


class JournalError(RadmeterError):
    """The journal cannot be written or read."""


class JournalLocked(JournalError):
    """Another process holds the journal's lock for this role."""


class StoreError(RadmeterError):
    """The database cannot do what was asked."""


class MissingExtra(ConfigurationError, StoreError):
    """A package is not installed that one of radmeter's extras brings."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or it aborted a transaction that may be tried again."""


class StoreTimeout(StoreUnavailable):
    """The database ended a statement that took too long. Nothing of it is done; with less to do it may succeed."""


class ProgressMoved(StoreUnavailable):
    """The database's progress of a segment is not where the caller left it. Nothing of the batch is stored.

    The database was restored, another shipper ships a copy, or the answer to an earlier call was lost: ask again how
    far the segment is, then go on from there.
    """


class WrongDatabase(StoreError):
    """The database is another one than that to which the journal ships."""


class NoAnswer(StoreUnavailable):
    """The database did not answer in time: it is frozen or cut off. What it does with the statement is not known."""


class PoolsTransactions(StoreError):
    """The connection goes through a pooler that pools transactions, and this program needs a session."""


class UnusableDsn(StoreError):
    """The DSN is not a connection string that PostgreSQL's library understands."""


class LockTimeout(StoreError):
    """Could not get a lock within the patience that was given. Nothing of the step is done."""


class DiskFull(StoreError):
    """The disk of the database's server is full. Nothing of the step is done."""


class RecordRefused(StoreError):
    """The database refuses a value in the batch, and would refuse it again."""


class RowConflict(RecordRefused):
    """A constraint refuses the batch. The same call may succeed if another writer has written the row meanwhile."""


class RecordsRefused(RecordRefused):
    """The database refuses some records of the batch, and says which. Nothing of the batch is stored.

    `reasons` has the reason for each of them, by its number (seq).
    """

    def __init__(self, message: str, reasons: Mapping[int, str]) -> None:
        super().__init__(message)
        self.reasons = dict(reasons)


class RejectedPacket(RadmeterError):
    """An accounting packet cannot be counted: the router's fault. The message is the reason kept with the packet."""


class IgnoredPacket(RejectedPacket):
    """An accounting packet carries no usage by its status type. It is not kept."""
