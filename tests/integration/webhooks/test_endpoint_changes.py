"""Changes of an endpoint beside the transactions that queue messages for it, and who sees its address."""

import psycopg
from support.beside import Beside, Connection, call

ENDPOINT = "INSERT INTO radmeter.webhook (url, events, secret) VALUES ('https://hooks.example/s3cret', '{over}', 'x')"
QUEUE = """SELECT radmeter.queue_deliveries('{over}', '{bob}', ARRAY[now()], ARRAY['{}'::jsonb])"""


def test_to_retire_an_endpoint_does_not_stop_the_counting(connection: Connection, database: str) -> None:
    """It drops what waits, which may be much. Meanwhile packets queue messages, and none is left waiting for ever."""
    connection.execute(ENDPOINT.encode())
    for _ in range(2):
        assert call(QUEUE)(connection) == 1
    with psycopg.connect(database) as holder:
        holder.execute("SELECT FROM radmeter.webhook_delivery ORDER BY id LIMIT 1 FOR UPDATE")
        with Beside(database, call("SELECT radmeter.change_webhook(1, 'retire', '', 0)")) as retire:
            assert retire.waits_for(holder)
            with Beside(database, call(QUEUE)) as ingest:
                assert not ingest.waits_for(retire.connection)
                assert ingest.result() == 1
            holder.rollback()
            retire.result()
    assert connection.execute(
        "SELECT state, count(*) FROM radmeter.webhook_delivery GROUP BY state"
    ).fetchall() == [("dropped", 3)]
    assert call(QUEUE)(connection) == 0


def test_who_may_only_read_sees_no_path(connection: Connection) -> None:
    """Its path is often all that somebody needs to send to it."""
    connection.execute(ENDPOINT.encode())
    shown = {}
    for role in ("radmeter_reader", "radmeter_noc"):
        connection.execute(f"SET ROLE {role}".encode())
        shown[role] = call("SELECT url FROM radmeter.webhooks")(connection)
        connection.execute("RESET ROLE")
    assert shown == {
        "radmeter_reader": "https://hooks.example/...",
        "radmeter_noc": "https://hooks.example/s3cret",
    }
