"""Which database a journal ships to. Another one would count only a part of the packets, and nobody would see it."""

import uuid
from pathlib import Path

from radmeter.errors import JournalError, WrongDatabase
from radmeter.ingest.ledger import Ledger
from radmeter.plugin.journal import files
from radmeter.units import counted

NAME = "database"


def remembered(directory: Path) -> str | None:
    """Return the identity of the database that a journal ships to; None if it has not shipped yet.

    Raises
    ------
    JournalError
        The file does not hold an identity.
    """
    path = directory / NAME
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise JournalError(
            f"{path} does not hold the identity of a database. If the database in use is the right one, "
            "remove that file: the shipper writes it again"
        ) from None


def remember(directory: Path, identity: str) -> None:
    """Note durably which database a journal ships to."""
    path = directory / NAME
    files.replace_file(path, f"{identity}\n".encode(), path.with_name(f".{NAME}"))


def check(directory: Path, identity: str, ledger: Ledger, accepted: str | None) -> bool:
    """Compare the database with the one that the journal ships to. Return whether it is another one, just accepted.

    The caller remembers the one that is accepted, once the journal is compared with it.

    Raises
    ------
    WrongDatabase
        It is another database, and `accepted` is not its identity.
    """
    known = remembered(directory)
    if known == identity:
        return False
    if known is None:
        remember(directory, identity)
        return False
    if accepted is not None and accepted.lower() == identity:
        return True
    shipped = sum(row.records for row in ledger.all())
    wrong = f"; --accept-database names {accepted}, which is neither" if accepted else ""
    raise WrongDatabase(
        f"the journal {directory} ships to the database {known}, and the database in use is {identity}{wrong}. "
        "Nothing is shipped. If the DSN is wrong, correct it. If this database shall take over, stop this shipper and "
        f"start it once with --accept-database {identity}. It then gets all packets that the journal still has "
        f"({counted(shipped, 'packet')} of kept segments, and those not yet shipped)"
    )


def check_only(directory: Path, identity: str, accepted: str | None) -> None:
    """Compare the database with the one to which a journal has shipped, and remember nothing.

    For segments of a journal whose shipper does not run.

    Raises
    ------
    WrongDatabase
        It is another database, and `accepted` is not its identity.
    """
    if accepted is not None and accepted.lower() == identity:
        return
    known = remembered(directory)
    if known in (None, identity):
        return
    wrong = f" --accept-database names {accepted}, which is neither." if accepted else ""
    raise WrongDatabase(
        f"the journal {directory} has shipped to the database {known}, and the database in use is {identity}."
        f"{wrong} Nothing is shipped. If the DSN is wrong, correct it. If this database shall get all that the journal "
        f"still has, also what the other one has counted, add --accept-database {identity}"
    )
