"""The jobs remove rejected packets and anomalies by age and by size, oldest first, in small batches."""

import psycopg
from support.commands import radmeter
from support.servers import Connection

from radmeter.jobs import retention


def reject(connection: Connection, packets: int, *, days: int = 0, octets: int = 100) -> None:
    connection.execute(
        """INSERT INTO rejected_packet (source, seq, received_at, rejected_at, reason, pairs)
           SELECT 'node', %(days)s * 100000 + n, at, at, 'odd',
                  -- random text, which is not stored compressed
                  to_json((SELECT string_agg(md5(random()::text || n || piece), '')
                           FROM generate_series(1, %(octets)s / 32) AS piece))
           FROM generate_series(1, %(packets)s) AS n, (SELECT now() - %(days)s * interval '1 day' AS at) AS moment""",
        {"packets": packets, "days": days, "octets": octets},
    )


def note_anomalies(connection: Connection, rows: int, *, days: int = 0) -> None:
    connection.execute(
        """INSERT INTO accounting_anomaly (kind, username, detected_at)
           SELECT 'counter restarted', repeat('u', 100), now() - %s * interval '1 day' FROM generate_series(1, %s)""",
        (days, rows),
    )


def limit(connection: Connection, name: str, value: int) -> None:
    connection.execute("SELECT radmeter.set_limit(%s, %s)", (name, str(value)))


def audited(connection: Connection) -> list[object]:
    rows = connection.execute(
        "SELECT detail -> 'removed' FROM audit_log WHERE action = 'jobs expire' ORDER BY id"
    )
    return [row[0] for row in rows]


def test_what_is_too_old_is_removed_and_noted(connection: Connection) -> None:
    limit(connection, "rejected_keep_days", 180)
    reject(connection, 2500, days=181)
    reject(connection, 30, days=179)
    note_anomalies(connection, 20, days=401)
    note_anomalies(connection, 10, days=399)
    removed = retention.expire(connection)
    assert removed == [("rejected packet", "age", 2500), ("anomaly", "age", 20)]
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (30,)
    assert connection.execute("SELECT count(*) FROM accounting_anomaly").fetchone() == (10,)
    assert audited(connection) == [[each._asdict() for each in removed]]
    assert retention.expire(connection) == []
    assert len(audited(connection)) == 1


def test_packets_that_nobody_retried_stay_however_old_they_are_unless_a_limit_is_set(
    connection: Connection,
) -> None:
    reject(connection, 3, days=4000)
    assert retention.would_expire(connection) == retention.expire(connection) == []
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (3,)


def test_it_stops_between_two_batches_and_goes_on_the_next_time(connection: Connection) -> None:
    limit(connection, "rejected_keep_days", 180)
    reject(connection, 2500, days=181)
    note_anomalies(connection, 20, days=401)
    answers = iter([False, False])
    removed = retention.expire(connection, stopping=lambda: next(answers, True))
    assert removed == [("rejected packet", "age", 2000)]
    assert audited(connection) == [[removed[0]._asdict()]]
    assert retention.expire(connection) == [("rejected packet", "age", 500), ("anomaly", "age", 20)]


def test_the_oldest_beyond_the_size_are_removed(connection: Connection) -> None:
    reject(connection, 1000, days=2, octets=2000)
    reject(connection, 1000, days=1, octets=2000)
    note_anomalies(connection, 5000)
    limit(connection, "rejected_keep_bytes", 1_000_000)
    limit(connection, "anomalies_keep_bytes", 500_000)
    found = {kind: (reason, rows) for kind, reason, rows in retention.expire(connection)}
    assert found["rejected packet"][0] == found["anomaly"][0] == "size"
    left = connection.execute(
        "SELECT count(*), min(seq), max(seq), sum(length(pairs::text)) FROM rejected_packet"
    )
    count, first, last, octets = left.fetchone() or (0, 0, 0, 0)
    assert count == 2000 - found["rejected packet"][1]
    assert (first, last) == (100_000 + 1000 - count + 1, 101_000)
    assert 700_000 <= octets <= 1_000_000
    # The file does not shrink. That must not remove more.
    assert retention.expire(connection) == []


def test_a_row_that_somebody_holds_keeps_nobody_waiting(database: str, connection: Connection) -> None:
    limit(connection, "rejected_keep_days", 180)
    reject(connection, 10, days=200)
    with psycopg.connect(database) as holder:
        holder.execute("SELECT FROM rejected_packet WHERE seq % 10 = 5 FOR UPDATE")
        connection.execute("SET lock_timeout = '1s'")
        assert retention.expire(connection) == [("rejected packet", "age", 9)]
    assert retention.expire(connection) == [("rejected packet", "age", 1)]


def test_hours_without_anything_left_out_are_forgotten_after_two_days(connection: Connection) -> None:
    connection.execute(
        """INSERT INTO radmeter.kept_per_hour (kind, source, hour, client, kept, kept_bytes, left_out, updated_at)
           SELECT 'rejected packet', 'node', now() - days * interval '1 day', days::text, 1, 1, left_out,
                  now() - days * interval '1 day'
           FROM (VALUES (1, 0), (3, 0), (4, 7), (181, 7)) AS hours (days, left_out)"""
    )
    retention.expire(connection)
    rows = connection.execute("SELECT client FROM radmeter.kept_per_hour ORDER BY client").fetchall()
    assert rows == [("1",), ("4",)]


def test_the_command_shows_what_it_would_remove(database: str, connection: Connection) -> None:
    limit(connection, "rejected_keep_days", 180)
    reject(connection, 3, days=200)
    would = radmeter(database, "jobs", "expire", "--dry-run", "--format", "json").json()
    assert would == [{"kind": "rejected packet", "reason": "age", "rows": 3}]
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (3,)
    assert radmeter(database, "jobs", "expire", "--format", "json").json() == would
    assert connection.execute("SELECT count(*) FROM rejected_packet").fetchone() == (0,)
