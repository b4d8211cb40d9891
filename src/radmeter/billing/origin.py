"""Which database a directory of issued documents belongs to, so that no database takes another one's documents.

A database that is restored from a dump has the same identity as before, and so has a copy of it. They differ in their
place: the server and the number of the database there. The directory lists the places in which its database was, the
one of now last.
"""

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from radmeter.billing.issued_files import MODE
from radmeter.database.connection import Connection
from radmeter.durable_files import write_durably
from radmeter.errors import StoreError, os_reason

FILE = "database.json"
# A copy of the server's files has the same place: nothing in the database tells the two apart.
ORIGIN = """
SELECT radmeter.database_id()::text, control.system_identifier || '/' || here.oid
FROM pg_control_system() AS control, pg_database AS here WHERE here.datname = current_database()"""
OWN = (
    "set billing_directory to a directory of this database's own, and in a copy of a database also "
    "`UPDATE radmeter.database_identity SET id = gen_random_uuid()`"
)


class Origin(NamedTuple):
    """A database: its identity, which its copies and dumps have too, and its place."""

    id: str
    place: str


def origin(connection: Connection) -> Origin:
    """Return which database this is."""
    ((database, place),) = connection.execute(ORIGIN.encode()).fetchall()
    return Origin(database, place)


def refuse_other_database(here: Origin, directory: Path) -> None:
    """Check that the directory is not another database's.

    Raises
    ------
    StoreError
        It is.
    """
    found = _read(directory)
    if found is not None and found["database"] != here.id:
        raise StoreError(
            f"{directory} has the documents of another database ({found['database']}; this one is {here.id}). "
            f"Nothing was done: {OWN}"
        )


def other_database(connection: Connection, directory: Path) -> str | None:
    """Return the identity of the database whose documents a directory has; None if it is this one's, or nobody's."""
    found = _read(directory)
    if found is None:
        return None
    ((here,),) = connection.execute("SELECT radmeter.database_id()::text").fetchall()
    return None if found["database"] == here else found["database"]


def moving(directory: Path, key_file: Path, other: str) -> str:
    """Return the command that keeps documents of another database, and their key, under names of their own."""
    return " && ".join(
        shlex.join(["mv", str(path), str(path.with_name(f"{path.stem}-{other[:8]}{path.suffix}"))])
        for path in (directory, key_file)
    )


def has_moved(here: Origin, directory: Path) -> bool:
    """Return whether this database was last written from another place: it was restored, or it is a copy."""
    found = _read(directory)
    return found is not None and found["places"][-1] != here.place


def refuse_copy(here: Origin, directory: Path) -> None:
    """Check that documents were last written from the place of this database.

    Raises
    ------
    StoreError
        It was another place.
    """
    if has_moved(here, directory):
        raise StoreError(
            f"{directory} was last used by a database of the same identity in another place. Nothing was done. If "
            "this database replaces that one (restored, upgraded, moved): run `radmeter billing reconcile`. If it is a "
            f"copy: {OWN}"
        )


def claim(here: Origin, directory: Path) -> None:
    """Write down that the directory belongs to this database, in its place.

    Raises
    ------
    StoreError
        That cannot be written.
    """
    found = _read(directory)
    places = [] if found is None else found["places"]
    if places[-1:] == [here.place]:
        return
    places = [*(each for each in places if each != here.place), here.place]
    try:
        write_durably(
            directory / FILE, json.dumps({"database": here.id, "places": places}).encode() + b"\n", MODE
        )
    except OSError as error:
        raise StoreError(f"{directory / FILE} cannot be written: {os_reason(error)}") from None


def foreign(here: Origin, directory: Path, document: dict[str, Any]) -> str | None:
    """Return why this database must not take a document back from its file, or None."""
    was = document.get("database")
    if was is None or Origin(**was) == here:
        return None
    if was["id"] != here.id:
        return f"another database ({was['id']}) has issued it: move the file to that one's billing_directory"
    found = _read(directory)
    if found is not None and here.place in found["places"]:
        # This database has issued here itself, so it was not restored from one in that place.
        return (
            "a copy of this database has issued it: move the file away, and give the copy a billing_directory of "
            "its own"
        )
    return None


def _read(directory: Path) -> dict[str, Any] | None:
    path = directory / FILE
    try:
        found = json.loads(path.read_bytes())
        return {"database": str(found["database"]), "places": [str(each) for each in found["places"]] or [""]}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {os_reason(error)}") from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} was changed: restore it from a backup") from None
