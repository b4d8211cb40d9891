"""radmeter.alert_state: how far the looks are. Its row is locked for the time of a look: two never look at once."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from radmeter.database.connection import Connection

READ = """
SELECT ticked_at, resumed_at, hour, hour_is_whole, hours_at, swept_at, notice_id, rules_digest
FROM radmeter.alert_state FOR UPDATE"""
SAVE = """
UPDATE radmeter.alert_state SET ticked_at = %(ticked_at)s, resumed_at = %(resumed_at)s, hour = %(hour)s,
    hour_is_whole = %(hour_is_whole)s, hours_at = %(hours_at)s, swept_at = %(swept_at)s, notice_id = %(notice_id)s,
    rules_digest = %(rules_digest)s"""


@dataclass(frozen=True)
class Place:
    """The row."""

    ticked_at: datetime | None
    resumed_at: datetime | None
    hour: datetime | None
    hour_is_whole: bool
    hours_at: datetime | None
    swept_at: datetime | None
    notice_id: int | None
    rules_digest: str | None


def read(connection: Connection) -> Place:
    """Return the row, and lock it until the end of the transaction."""
    row = connection.execute(READ).fetchone()
    assert row is not None
    return Place(*row)


def save(connection: Connection, place: Place) -> None:
    """Write the row."""
    connection.execute(SAVE, asdict(place))


def is_due(before: datetime | None, at: datetime, seconds: float) -> bool:
    """Tell whether so many seconds have passed, or the clock was set back."""
    return before is None or not timedelta(0) <= at - before < timedelta(seconds=seconds)
