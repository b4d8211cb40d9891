"""The record of a split of a partition of radacct into months, and the months of it."""

import datetime
from typing import NamedTuple

from radmeter.database.connection import Connection, explained_errors


class Split(NamedTuple):
    """A row of radmeter.partition_split that is not done."""

    id: int
    name: str
    state: str  # copying, swapped
    copied_to: int | None
    last_id: int | None
    session_rows: int
    began_at: datetime.datetime

    @property
    def detached_name(self) -> str:
        """The name of the split table in the schema radmeter after the swap, until it is dropped."""
        return f"split_{self.id}"


class SplitMonth(NamedTuple):
    """A month that a partition is split into: its table in the schema public, and its bounds as SQL text."""

    number: int
    name: str
    from_at: str  # -infinity: what is before the first month
    to_at: str
    indexed: bool


def under_way(connection: Connection) -> Split | None:
    """Return the split that is not done. None: there is none, or the schema is of before."""
    with explained_errors("radmeter_owner"):
        if connection.execute("SELECT to_regclass('radmeter.partition_split')").fetchone() == (None,):
            return None
        row = connection.execute(
            """SELECT id, name, state, copied_to, last_id, session_rows, began_at
               FROM radmeter.partition_split WHERE state <> 'done'"""
        ).fetchone()
    return Split(*row) if row else None


def months_of(connection: Connection, split: Split) -> list[SplitMonth]:
    """Return the months of a split, in order."""
    return [
        SplitMonth(*row)
        for row in connection.execute(
            """SELECT number, name, from_at::text, to_at::text, indexed FROM radmeter.split_month
               WHERE split_id = %s ORDER BY number""",
            (split.id,),
        )
    ]


def refusal(split: Split) -> str:
    """Return why something else must wait for a split, and what to do."""
    if split.state == "swapped":
        return (
            f"{split.name} is nearly split into months: `radmeter partitions split {split.name}` finishes it"
        )
    return (
        f"{split.name} is being split into months: finish it (radmeter partitions split {split.name}), "
        f"or give it up (radmeter partitions split {split.name} --abandon)"
    )
