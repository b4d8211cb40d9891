"""How far a node's journal, or a file, was ingested; and in which order what was set aside is."""

import json
from typing import Any

from support import ledger
from support.functions import value
from support.ledger import believe_old_arrivals
from support.servers import Connection

from radmeter.packet.record import parse

SECOND = 1_700_000_000


def test_ingest_of_nothing_moves_no_checkpoint(connection: Connection) -> None:
    assert ledger.ingest(connection, "n", []) == 0
    assert connection.execute("SELECT node, last_seq, records FROM radmeter.nodes").fetchall() == [
        ("n", 0, 0)
    ]


def test_a_checkpoint_adds_up_the_records_of_all_batches_each_once(connection: Connection) -> None:
    believe_old_arrivals(connection)

    def ingest(*numbers: int) -> int:
        # Every third cannot be counted.
        records = [
            {
                "seq": number,
                "received_us": (SECOND + number) * 1_000_000,
                "status": "Start",
                "uid": f"u{number}",
            }
            | {
                "session_id": "s",
                "event_us": (SECOND + number) * 1_000_000,
                "stamped": True,
                "gigawords": False,
            }
            | {"router_key": "k", "router_ip": "192.0.2.1", "nas_ip": "192.0.2.1"}
            | ({"reason": "some reason", "pairs": []} if number % 3 == 0 else {})
            for number in numbers
        ]
        return ledger.ingest(connection, "n", records)

    counted = (
        "SELECT last_seq, records, rejected, extract(epoch FROM last_received_at)::int FROM radmeter.nodes"
    )
    assert ingest(1, 2, 3, 4) == 4
    assert connection.execute(counted).fetchall() == [(4, 4, 1, SECOND + 4)]
    # The answer was lost: all of it comes again, and more.
    assert ingest(1, 2, 3, 4, 5, 6) == 6
    assert connection.execute(counted).fetchall() == [(6, 6, 2, SECOND + 6)]
    assert ingest(4, 5, 6) == 6
    assert connection.execute(counted).fetchall() == [(6, 6, 2, SECOND + 6)]
    assert value(connection, "array_agg(seq ORDER BY id)::text FROM rejected_packet") == "{3,6}"


def test_how_far_a_file_was_replayed_does_not_go_back(connection: Connection) -> None:
    for stanzas, size in ((10, 1000), (4, 400), (10, 1001)):
        value(
            connection,
            "radmeter.replay('detail:0123456789abcdef', '[]', 'detail', %s, %s, %s)",
            stanzas,
            size,
            stanzas.to_bytes(16),
        )
        assert value(connection, "(stanzas, size)::text FROM radmeter.replayed_file") == "(10,1000)"


def test_retried_packets_are_applied_in_the_order_they_are_given_in(connection: Connection) -> None:
    for number, octets in (
        (2, 100),
        (3, 40),
    ):  # the second one is a restart of the router's counter if it comes second
        set_aside(connection, number, octets)
    records = [retried(number, octets) for number, octets in ((2, 100), (3, 40))]
    assert value(connection, "radmeter.retry_rejected(%s::json)", json.dumps(records)) == [2, 3]
    assert value(connection, "acctinputoctets FROM radacct") == 140


def pairs(octets: int, user: str = "alice") -> list[tuple[str, str]]:
    return [
        ("Acct-Status-Type", "Interim-Update"),
        ("Acct-Session-Id", "s"),
        ("User-Name", user),
        ("NAS-IP-Address", "192.0.2.1"),
        ("Acct-Input-Octets", str(octets)),
    ]


def set_aside(connection: Connection, number: int, octets: int) -> None:
    connection.execute(
        """INSERT INTO rejected_packet (id, source, seq, received_at, reason, pairs) OVERRIDING SYSTEM VALUE
           VALUES (%(n)s, 'n', %(n)s, to_timestamp(1700000000 + %(n)s), 'old', %(pairs)s)""",
        {"n": number, "pairs": json.dumps(pairs(octets))},
    )


def retried(number: int, octets: int, user: str = "alice") -> dict[str, Any]:
    record = parse(json.dumps(pairs(octets, user)), (1_700_000_000 + number) * 1_000_000, 0).as_json()
    return {**record, "id": number}


def test_a_retry_counts_what_was_stored_and_the_audit_log_says_what_was_counted(
    connection: Connection,
) -> None:
    for number in range(1, 7):
        set_aside(connection, number, 100 * number)
    good = retried(1, 100)
    forged = [
        {**retried(2, 200), "input_octets": 1 << 40},
        retried(3, 300, "mallory"),
        {**retried(4, 400), "received_us": 1, "event_us": 1},
        {**retried(5, 500), "router_ip": "198.51.100.1", "router_key": "\t\t\t198.51.100.1"},
        {**retried(6, 600), "status": "Stop"},
    ]
    # The numbers and the arrival are not the caller's, and an id counts once.
    call = [{**good, "seq": 10**15, "received_us": 5}, {**good, "id": " 1 "}, *forged]
    connection.execute("SELECT set_config('radmeter.operator', 'claimed', false)")
    assert value(connection, "radmeter.retry_rejected(%s::json)", json.dumps(call)) == [1]
    assert connection.execute("SELECT username, bytes_in FROM user_quota_usage").fetchall() == [
        ("alice", 100)
    ]
    assert value(connection, "arrived_at = to_timestamp(1700000001) FROM radacct") is True
    assert connection.execute("SELECT last_seq FROM ingest_checkpoint WHERE source = 'retry'").fetchall() == [
        (1,)
    ]
    said = "old; retry: these fields of the record are not those of the packet: "
    assert connection.execute("SELECT id, reason FROM rejected_packet ORDER BY id").fetchall() == [
        (2, f"{said}input_octets"),
        (3, f"{said}uid, username"),
        (4, f"{said}event_us"),
        (5, f"{said}router_ip, router_key"),
        (6, f"{said}status"),
    ]
    assert connection.execute("SELECT who, operator FROM audit_log").fetchall() == [("postgres", "claimed")]
    detail = value(connection, "detail FROM audit_log")
    router = value(connection, "router_id FROM radacct")
    assert detail == {
        "packets": [
            {"id": 1, "source": "n", "seq": 1, "status": "Interim-Update", "user": "alice", "router": router}
            | {"router_name": "192.0.2.1", "input_octets": 100, "output_octets": None}
        ]
    }


def test_a_retried_record_is_counted_whatever_else_it_says(connection: Connection) -> None:
    """Else it would be neither counted nor set aside."""
    set_aside(connection, 1, 100)
    call = [{**retried(1, 100), "ignored": "x", "new_client": True}]
    assert value(connection, "radmeter.retry_rejected(%s::json)", json.dumps(call)) == [1]
    assert connection.execute("SELECT username, bytes_in FROM user_quota_usage").fetchall() == [
        ("alice", 100)
    ]


def test_what_an_empty_retry_does_not_count_is_not_audited(connection: Connection) -> None:
    set_aside(connection, 1, 100)
    assert (
        value(connection, "radmeter.retry_rejected(%s::json)", json.dumps([retried(1, 99), retried(2, 1)]))
        == []
    )
    assert value(connection, "count(*) FROM audit_log") == 0
