"""How far a node's journal, or a file, was ingested; and in which order what was set aside is."""

import json

from support.functions import value
from support.servers import Connection


def test_node_checkpoint_is_zero_for_a_new_node(connection: Connection) -> None:
    connection.execute("INSERT INTO ingest_checkpoint (source, last_seq) VALUES ('known', 4294967299)")
    assert value(connection, "radmeter.node_checkpoint('known')") == 4294967299
    assert value(connection, "radmeter.node_checkpoint('new')") == 0


def test_ingest_of_nothing_moves_no_checkpoint(connection: Connection) -> None:
    assert value(connection, "radmeter.ingest('n', '[]')") == 0
    assert connection.execute("SELECT count(*) FROM ingest_checkpoint").fetchone() == (0,)


def test_a_checkpoint_adds_up_the_records_of_all_batches_each_once(connection: Connection) -> None:
    def ingest(*numbers: int) -> int:
        # Every third cannot be counted.
        records = [
            {"seq": number, "received_us": number * 1_000_000, "status": "Start", "uid": f"u{number}"}
            | {"session_id": "s", "event_us": number * 1_000_000, "stamped": True, "gigawords": False}
            | {"router_key": "k", "router_ip": "192.0.2.1", "nas_ip": "192.0.2.1"}
            | ({"reason": "some reason", "pairs": []} if number % 3 == 0 else {})
            for number in numbers
        ]
        return int(value(connection, "radmeter.ingest('n', %s::json)", json.dumps(records)))

    counted = (
        "SELECT last_seq, records, rejected, extract(epoch FROM last_received_at)::int FROM ingest_checkpoint"
    )
    assert ingest(1, 2, 3, 4) == 4
    assert connection.execute(counted).fetchall() == [(4, 4, 1, 4)]
    # The answer was lost: all of it comes again, and more.
    assert ingest(1, 2, 3, 4, 5, 6) == 6
    assert connection.execute(counted).fetchall() == [(6, 6, 2, 6)]
    assert ingest(4, 5, 6) == 6
    assert connection.execute(counted).fetchall() == [(6, 6, 2, 6)]
    assert value(connection, "array_agg(seq ORDER BY id)::text FROM rejected_packet") == "{3,6}"


def test_how_far_a_file_was_replayed_does_not_go_back(connection: Connection) -> None:
    for stanzas, size in ((10, 1000), (4, 400), (10, 1001)):
        value(
            connection,
            "radmeter.replay('detail:1', '[]', 'detail', %s, %s, %s)",
            stanzas,
            size,
            stanzas.to_bytes(16),
        )
        assert value(connection, "(stanzas, size)::text FROM radmeter.replayed_file") == "(10,1000)"


def test_retried_packets_are_applied_in_the_order_they_are_given_in(connection: Connection) -> None:
    records = [
        {"id": number, "received_us": number * 1_000_000, "status": "Interim-Update", "uid": "u"}
        | {"session_id": "s", "event_us": number * 1_000_000, "stamped": True, "gigawords": False}
        | {"router_key": "k", "router_ip": "192.0.2.1", "nas_ip": "192.0.2.1", "input_octets": octets}
        # The second one is a restart of the router's counter if it comes second.
        for number, octets in ((2, 100), (3, 40))
    ]
    connection.execute(
        """INSERT INTO rejected_packet (id, source, seq, received_at, reason, pairs) OVERRIDING SYSTEM VALUE
           SELECT id, 'n', id, now(), 'old', '[]' FROM generate_series(2, 3) AS id"""
    )
    assert value(connection, "radmeter.retry_rejected(%s::json)", json.dumps(records)) == [2, 3]
    assert value(connection, "acctinputoctets FROM radacct") == 140
