"""radmeter.alert_state: how far the looks are. Its row is locked for the time of a look: two never look at once."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta

from radmeter.database.connection import Connection


@dataclass(frozen=True)
class Place:
    """The row."""

    ticked_at: datetime | None
    resumed_at: datetime | None
    hour: datetime | None
    hour_is_whole: bool
    before_is_whole: bool
    hours_at: datetime | None
    hours_after: int | None
    swept_at: datetime | None
    review_after: int | None
    notice_id: int | None
    rules_digest: str | None


_COLUMNS = [each.name for each in fields(Place)]
READ = f"SELECT {', '.join(_COLUMNS)} FROM radmeter.alert_state FOR UPDATE"
SAVE = f"UPDATE radmeter.alert_state SET {', '.join(f'{name} = %({name})s' for name in _COLUMNS)}"


def read(connection: Connection) -> Place:
    """Return the row, and lock it until the end of the transaction."""
    row = connection.execute(READ.encode()).fetchone()
    assert row is not None
    return Place(*row)


def save(connection: Connection, place: Place) -> None:
    """Write the row."""
    connection.execute(SAVE.encode(), asdict(place))


def is_due(before: datetime | None, at: datetime, seconds: float) -> bool:
    """Tell whether so many seconds have passed, or the clock was set back."""
    return before is None or not timedelta(0) <= at - before < timedelta(seconds=seconds)
