"""Times that other programs wrote, and that Python has no value for, stop no command that shows sessions."""

from support.commands import radmeter
from support.servers import Connection

FAR = ("-infinity", "infinity", "4713-01-01 00:00:00+00 BC", "294276-12-31 00:00:00+00")


def test_sessions_with_far_times_are_shown_each_once(database: str, connection: Connection) -> None:
    for number, time in enumerate((*FAR, "2026-10-01 12:00:00+00", "infinity", "-infinity", None)):
        connection.execute(
            """INSERT INTO radacct_open (acctsessionid, acctuniqueid, nasipaddress, username, acctstarttime,
                                         acctupdatetime)
               VALUES ('s', %s, '10.0.0.1', 'alice', %s, %s)""",
            (f"s{number}", time, time),
        )
    seen: list[str] = []
    page: tuple[str, ...] = ()
    while rows := radmeter(
        database, "sessions", "--user", "alice", "--limit", "1", *page, "--format", "csv"
    ).csv():
        seen += [row["unique_id"] for row in rows]
        assert len(seen) <= 8
        page = ("--before", rows[0]["id"])
    assert sorted(seen) == [f"s{number}" for number in range(8)]
    started = {
        row["unique_id"]: row["started_at"]
        for row in radmeter(database, "sessions", "--user", "alice", "--format", "csv").csv()
    }
    assert started["s0"] == ""
    assert started["s4"].startswith("2026-10-01")
    connection.execute(
        "INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out) VALUES ('alice', 'infinity', 1, 1)"
    )
    for command in (("people", "show", "alice"), ("usage", "user", "alice")):
        shown = radmeter(database, *command)
        assert shown.exit_code == 0, shown.errors
