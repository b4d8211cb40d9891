"""Every error radmeter raises on purpose: one root, the peer's faults apart from ours."""


class RadmeterError(Exception):
    """radmeter cannot do what was asked. The message says what happened, to which thing, and what to do next."""


class ConfigurationError(RadmeterError):
    """A setting has a value that cannot be used."""


class JournalError(RadmeterError):
    """The journal cannot take or give records."""


class JournalLocked(JournalError):
    """Another process holds the journal's lock for this role."""


class StoreError(RadmeterError):
    """The database cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or gave up a transaction that may be tried again."""


class UnusableDsn(StoreError):
    """The DSN is not a connection string that PostgreSQL's library understands."""


class LockTimeout(StoreError):
    """A lock could not be had within the patience that was given. Nothing of the step is done."""


class DiskFull(StoreError):
    """The disk of the database's server is full. Nothing of the step is done."""


class RecordRefused(StoreError):
    """The database refuses a value in the batch, and would refuse it again."""


class RejectedPacket(RadmeterError):
    """The peer's fault: an accounting packet that cannot be counted. The message is the reason kept with it."""
