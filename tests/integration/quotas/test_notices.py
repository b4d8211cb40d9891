"""What is told about a quota: each once in a period, and again after a top-up."""

from support.quotas import MB, apply_due, give_plan, notices, queue, use
from support.servers import Connection


def test_a_user_who_is_suspended_while_over_is_told_once(database: str, connection: Connection) -> None:
    give_plan(connection)
    use(database, 11 * MB)
    for change in ("now()", "NULL", "now()", "NULL"):
        connection.execute(f"UPDATE subscribers SET suspended_at = {change}".encode())
        apply_due(connection)
    assert notices(connection) == [("bob", "over", 100)]


def test_what_expires_is_told_again_after_the_next_top_up(database: str, connection: Connection) -> None:
    give_plan(connection)
    use(database, 11 * MB)
    for octets in (14 * MB, 17 * MB):
        connection.execute("INSERT INTO top_ups (username, bytes) VALUES ('bob', 3000000)")
        apply_due(connection)
        use(database, octets)
    assert [kind for _, kind, _ in notices(connection)] == ["over", "restored", "over", "restored", "over"]


def test_a_change_in_the_same_second_takes_a_request_back_and_makes_no_second_one(
    database: str, connection: Connection
) -> None:
    give_plan(connection)
    use(database, 11 * MB)
    use(database, 11 * MB, "s2", Calling_Station_Id="02-00-00-00-00-02")
    connection.execute("UPDATE plans SET quota_bytes = 20000000")
    connection.execute("UPDATE plans SET quota_bytes = 10000000")
    apply_due(connection)
    assert sorted(row[1:] for row in queue(connection)) == [
        ("s1", "disconnect", "over", "waiting"),
        ("s2", "disconnect", "over", "waiting"),
    ]
