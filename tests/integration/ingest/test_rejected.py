"""`radmeter rejected`: the packets that could not be counted are kept, shown, retried exactly once, or given up."""

import json
import threading
from typing import Any

import psycopg
import pytest
from support.commands import radmeter
from support.ledger import ingest, progress
from support.screens import screen

from radmeter.ingest import rejected
from radmeter.ingest.store import Store

Connection = psycopg.Connection[tuple[Any, ...]]

RECEIVED_US = 1_795_171_383_123_456
GOOD = [
    ["Acct-Status-Type", "Interim-Update"],
    ["Acct-Session-Id", "s1"],
    ["User-Name", "alice"],
    ["NAS-IP-Address", "10.0.0.1"],
    ["NAS-Identifier", "lobby"],
    ["Acct-Input-Octets", "1000"],
]


def set_aside(dsn: str, *packets: tuple[str, Any], node: str = "radius1-00000001") -> None:
    """Set packets aside as the shipper does: reason and attributes."""
    store = Store(dsn)
    after = progress(store, node).seq
    ingest(
        store,
        node,
        [
            {"seq": after + number, "received_us": RECEIVED_US + number, "reason": reason, "pairs": pairs}
            for number, (reason, pairs) in enumerate(packets, start=1)
        ],
    )
    store.close()


def counted(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT username, period_start::text, bytes_in FROM user_quota_usage"
    ).fetchall()


def ids(connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute("SELECT id FROM rejected_packet ORDER BY id")]


def test_list_shows_the_latest_first_a_page_at_a_time(database: str) -> None:
    set_aside(database, *((f"reason {number}", GOOD) for number in range(5)))
    first = radmeter(database, "rejected", "list", "--limit", "2", "--format", "json")
    assert [(row["id"], row["reason"], row["username"], row["status"]) for row in first.json()] == [
        (5, "reason 4", "alice", "Interim-Update"),
        (4, "reason 3", "alice", "Interim-Update"),
    ]
    assert first.json()[0]["received_at"] == "2026-11-20T10:43:03.123461+00:00"
    assert first.errors == "There are more: go on with --before 4\n"
    rest = radmeter(database, "rejected", "list", "--before", "4", "--format", "csv")
    assert [row["id"] for row in rest.csv()] == ["3", "2", "1"]
    assert rest.errors == ""


def test_list_filters(database: str, connection: Connection) -> None:
    set_aside(database, ("Acct-Session-Id is missing", GOOD), ("100% odd_", GOOD))
    set_aside(database, ("Acct-Session-Id is missing", GOOD), node="radius2-00000002")
    connection.execute("UPDATE rejected_packet SET rejected_at = now() - interval '3 days' WHERE id = 3")

    def listed(*arguments: str) -> list[int]:
        return [
            row["id"] for row in radmeter(database, "rejected", "list", "--format", "json", *arguments).json()
        ]

    assert listed("--reason", "SESSION-ID") == [3, 1]
    assert listed("--reason", "%") == [2]
    assert listed("--node", "radius1-00000001") == [2, 1]
    assert listed("--since", "2d") == [2, 1]
    assert listed("--since", "2020-01-01", "--reason", "missing") == [3, 1]
    assert listed("--since", "2100-01-01T00:00+01:00") == []


def test_show_has_every_attribute_and_no_control_character(database: str) -> None:
    set_aside(database, ("odd", [*GOOD, ["Reply-Message", "\x1b[31mred"]]), ("no list", "half of a"))
    shown = radmeter(database, "rejected", "show", "1", "2")
    assert "    User-Name = alice\n" in shown.output
    assert "    Reply-Message = \\u001b[31mred\n" in shown.output
    assert '    (no list of attributes) = "half of a"\n' in shown.output
    assert "reason:      odd\n" in shown.output
    rows = radmeter(database, "rejected", "show", "1", "--format", "json").json()
    assert rows[2] == {"id": 1, "number": 3, "name": "User-Name", "value": "alice"}
    assert rows[6]["value"] == "\x1b[31mred"


def test_text_that_came_as_octets_is_shown_as_text(database: str) -> None:
    set_aside(database, ("odd", [["Acct-Status-Type", "Failed"], ["Tmp-Octets-0", "0x636166e9"]]))
    row = radmeter(database, "rejected", "list", "--format", "json").json()[0]
    assert row["username"] == r"caf\xe9"


def test_retry_counts_what_can_be_counted_now_at_its_arrival(database: str, connection: Connection) -> None:
    set_aside(database, ("a parser that could not", GOOD), ("the same", [["Acct-Status-Type", "Failed"]]))
    result = radmeter(database, "rejected", "retry", "--all")
    assert (result.exit_code, result.output) == (1, "1 packet counted, 1 stays\n")
    assert counted(connection) == [("alice", "2026-11-01", 1000)]
    assert connection.execute("SELECT arrived_at FROM radacct").fetchone() == (
        connection.execute("SELECT timestamptz '2026-11-20 10:43:03.123457+00'").fetchone() or ()
    )
    left = connection.execute("SELECT id, reason FROM rejected_packet").fetchall()
    assert left == [(2, "the same; retry: Acct-Status-Type Failed is not counted")]
    (action, detail) = connection.execute("SELECT action, detail FROM audit_log").fetchone() or (None, {})
    assert action == "rejected retry"
    assert [(each["id"], each["user"], each["input_octets"]) for each in detail["packets"]] == [
        (1, "alice", 1000)
    ]
    again = radmeter(database, "rejected", "retry", "1")
    assert "there is no rejected packet 1" in again.errors
    assert radmeter(database, "verify").exit_code == 0


def test_retry_in_any_order_skips_nothing(database: str, connection: Connection) -> None:
    set_aside(
        database, *(("old", [*GOOD[:1], ["Acct-Session-Id", f"s{number}"], *GOOD[2:]]) for number in range(4))
    )
    for wanted in (["4"], ["2"], ["1", "3"]):
        assert radmeter(database, "rejected", "retry", *wanted).exit_code == 0
    assert counted(connection) == [("alice", "2026-11-01", 4000)]
    assert ids(connection) == []


def test_retry_of_what_the_database_refuses_leaves_it_with_the_reason(
    database: str, connection: Connection
) -> None:
    bad = [*GOOD[:1], ["Acct-Session-Id", "bad"], *GOOD[2:], ["Framed-IP-Address", "nonsense"]]
    set_aside(
        database, ("old", GOOD), ("old", bad), ("old", [*GOOD[:1], ["Acct-Session-Id", "s2"], *GOOD[2:]])
    )
    result = radmeter(database, "rejected", "retry", "--all", "--reason", "old")
    assert result.output == "2 packets counted, 1 stays\n"
    assert counted(connection) == [("alice", "2026-11-01", 2000)]
    assert connection.execute("SELECT reason FROM rejected_packet").fetchall() == [
        ('old; retry: the database refuses it: invalid input syntax for type inet: "nonsense"',)
    ]


def test_a_retry_that_is_cut_off_counts_nothing_twice(database: str, connection: Connection) -> None:
    set_aside(database, ("old", GOOD))
    with connection.transaction(force_rollback=True):  # killed before the commit
        assert list(rejected.retry(connection, [1])) == [(1, 0)]
    assert ids(connection) == [1]
    assert counted(connection) == []
    assert list(rejected.retry(connection, [1])) == [(1, 0)]
    assert list(rejected.retry(connection, [1])) == [(0, 0)]  # killed after it, and run again
    assert counted(connection) == [("alice", "2026-11-01", 1000)]


def test_two_retries_at_once_count_each_packet_once(database: str, connection: Connection) -> None:
    number = 900  # within the limit of a client and hour, and more than one batch
    set_aside(
        database,
        *(("old", [*GOOD[:1], ["Acct-Session-Id", f"s{each}"], *GOOD[2:]]) for each in range(number)),
    )
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(retry_all(database))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == number
    assert counted(connection) == [("alice", "2026-11-01", 1000 * number)]
    assert ids(connection) == []


def retry_all(dsn: str) -> int:
    from radmeter.database.connection import connect

    with connect(dsn) as connection:
        wanted = rejected.ids(connection, rejected.Filter())
        return sum(good for good, _ in rejected.retry(connection, wanted))


def test_drop_asks_first(database: str, connection: Connection) -> None:
    set_aside(database, ("odd", GOOD), ("other", GOOD))
    for answer, exit_code, left in (("n", 130, [1, 2]), ("y", 0, [2])):
        with screen(database, "rejected", "drop", "1") as terminal:
            terminal.expect(r"Give up 1 packet\? What is given up is never counted\. \[y/N\]: ")
            terminal.type(answer)
            assert terminal.end() == exit_code
        assert ids(connection) == left
    assert "1 packet dropped" in terminal.text


def test_drop_by_reason_is_audited(database: str, connection: Connection) -> None:
    set_aside(database, ("Acct-Status-Type Failed is not counted", GOOD), ("other", GOOD))
    assert (
        radmeter(database, "rejected", "drop", "--reason", "failed", "--yes").output == "1 packet dropped\n"
    )
    assert ids(connection) == [2]
    row = connection.execute("SELECT action, detail FROM audit_log").fetchone()
    assert row is not None
    assert row[0] == "rejected drop"
    assert [(each["id"], each["seq"], each["reason"]) for each in row[1]["packets"]] == [
        (1, 1, "Acct-Status-Type Failed is not counted")
    ]
    assert (
        radmeter(database, "rejected", "drop", "--reason", "failed", "--yes").output == "0 packets dropped\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "7"), "there is no rejected packet 7: `radmeter rejected list` shows the rejected packets"),
        (("show", "x"), "'x' is not a whole number"),
        (("retry",), "name packets by their ids, or give --all"),
        (("retry", "1", "--all"), "name packets by their ids, or give --all"),
        (("retry", "1", "--reason", "x"), "name packets by their ids, or give --all"),
        (("drop", "--yes"), "name packets by their ids, or by --reason"),
        (("drop", "7", "--yes"), "there is no rejected packet 7"),
        (("list", "--since", "soon"), "neither a time"),
        (("list", "--since", "999999w"), "neither a time"),
    ],
)
def test_mistakes_end_in_a_message(database: str, arguments: tuple[str, ...], message: str) -> None:
    result = radmeter(database, "rejected", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.errors
    assert "Traceback" not in result.errors


def test_what_the_roles_may_do(database: str, connection: Connection) -> None:
    set_aside(database, ("old", GOOD), ("old", GOOD))
    connection.execute("SET ROLE radmeter_reader")
    assert [packet.id for packet in rejected.page(connection, rejected.Filter())[0]] == [2, 1]
    with pytest.raises(Exception, match="grant radmeter_noc"):
        rejected.drop(connection, [1])
    with pytest.raises(Exception, match="grant radmeter_noc"):
        list(rejected.retry(connection, [1]))
    connection.execute("SET ROLE radmeter_noc")
    assert rejected.drop(connection, [1]) == 1
    assert list(rejected.retry(connection, [2])) == [(1, 0)]


def test_json_of_show_is_json(database: str) -> None:
    set_aside(database, ("odd", GOOD))
    assert json.loads(radmeter(database, "rejected", "show", "1", "--format", "json").output)[0]["id"] == 1
