"""From when on no month of sessions is missing, which is as far back as verify can judge."""

from datetime import UTC, datetime

import pytest
from support.functions import value
from support.servers import Connection


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Auckland"])
def test_sessions_complete_from_is_the_end_of_the_latest_month_that_was_dropped(
    connection: Connection, zone: str
) -> None:
    connection.execute("SELECT set_config('timezone', %s, false)", (zone,))
    complete = "isfinite(radmeter.sessions_complete_from())"
    assert value(connection, complete) is False
    connection.execute(
        "SELECT radmeter.ensure_partition('2020-01-15'), radmeter.ensure_partition('2020-03-15')"
    )
    assert value(connection, complete) is False
    connection.execute("DROP TABLE radacct_2020_01")
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-02-01T00:00Z"
    )
    connection.execute("SELECT radmeter.ensure_partition('2020-01-15')")  # made again: empty
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-02-01T00:00Z"
    )
    connection.execute("DROP TABLE radacct_2020_03")
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-04-01T00:00Z"
    )
    # A month that lies ahead has no session yet.
    far = f"{datetime.now(UTC).year + 9}"
    connection.execute("SELECT radmeter.ensure_partition(%s)", (f"{far}-01-15",))
    connection.execute(f"DROP TABLE radacct_{far}_01".encode())
    assert value(connection, "radmeter.sessions_complete_from()") == datetime.fromisoformat(
        "2020-04-01T00:00Z"
    )
