"""A user's counter as a program reads it, and a session's octets by day and period."""

from support.functions import value
from support.servers import Connection


def test_get_user_total_usage_is_both_directions_of_the_period(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
           VALUES ('alice', '2026-10-01', 1, 2), ('alice', '2026-11-01', 30, 40),
                  ('most', '2026-11-01', 9223372036854775807, 9223372036854775807)"""
    )
    call = "public.get_user_total_usage(%s, %s)"
    assert value(connection, call, "alice", "2026-10-31T23:59:59Z") == 3
    assert value(connection, call, "alice", "2026-11-01T00:00:00Z") == 70
    assert value(connection, call, "alice", "2026-12-01T00:00:00Z") == 0
    assert value(connection, call, "Alice", "2026-11-01T00:00:00Z") == 0
    assert value(connection, call, None, "2026-11-01T00:00:00Z") == 0
    assert value(connection, call, "most", "2026-11-01T00:00:00Z") == (1 << 63) - 1
    connection.execute(
        "INSERT INTO plans (id, name, timezone) OVERRIDING SYSTEM VALUE VALUES (1, 'p', 'Asia/Tokyo')"
    )
    connection.execute("INSERT INTO subscribers VALUES ('alice', 1)")
    assert value(connection, call, "alice", "2026-10-31T15:00:00Z") == 70
    assert value(connection, "public.get_user_total_usage(%s)", "nobody") == 0


def test_session_parts_are_the_finished_slices_and_what_they_leave(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radmeter.session_slice VALUES (7, '2026-10-30', '2026-10-01', 10, 1),
                                                     (7, '2026-10-31', '2026-10-01', 20, 2),
                                                     (8, '2026-10-31', '2026-10-01', 99, 99)"""
    )
    parts = (
        "SELECT usage_date::text, period_start::text, bytes_in, bytes_out, finished FROM radmeter.session_parts(%s, \
'2026-11-01', '2026-11-01', %s, %s) ORDER BY 1"
    )
    finished = [("2026-10-30", "2026-10-01", 10, 1, True), ("2026-10-31", "2026-10-01", 20, 2, True)]
    assert connection.execute(parts, (7, 35, 3)).fetchall() == [
        *finished,
        ("2026-11-01", "2026-11-01", 5, 0, False),
    ]
    assert connection.execute(parts, (7, 30, 3)).fetchall() == finished
    assert connection.execute(parts, (9, 4, 0)).fetchall() == [("2026-11-01", "2026-11-01", 4, 0, False)]
    assert connection.execute(parts, (9, 0, 0)).fetchall() == []
