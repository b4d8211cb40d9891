"""Money and reported volumes become decimals, online, and what was shown otherwise is said."""

import csv
import io
import itertools
import threading
import time
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from support.commands import Packets, radmeter
from support.schemas import AS_DOUBLES, SPECIFIED, dump, types
from support.servers import Connection, Server

from radmeter.schema import decimal_conversion, upgrade


def reported(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT table_name, column_name, key, shown, value FROM radmeter.decimal_change ORDER BY id"
    ).fetchall()


@pytest.fixture
def doubles(connection: Connection) -> Connection:
    """A database of the newest schema in which somebody made them double precision again."""
    connection.execute(AS_DOUBLES.encode())
    return connection


def test_the_columns_are_decimals_of_the_digits_that_are_specified(connection: Connection) -> None:
    assert SPECIFIED == {
        "plans.price": "numeric",
        "invoices.amount": "numeric",
        "invoices.usage": "numeric(12,2)",
        "routers.total_usage": "numeric(12,2)",
    }
    assert types(connection) == SPECIFIED


def test_doubles_are_decimals_after_the_next_upgrade_and_the_schema_is_that_of_a_fresh_install(
    server: Server, database: str, doubles: Connection
) -> None:
    assert set(types(doubles).values()) == {"double precision", "real"}
    upgrade.upgrade(database)
    assert types(doubles) == SPECIFIED
    with server.clone() as fresh:
        assert dump(server, database) == dump(server, fresh)


def test_it_is_the_text_that_was_shown_that_is_rounded_and_what_differs_is_reported(
    database: str, doubles: Connection
) -> None:
    doubles.execute("""INSERT INTO plans (id, name, price) VALUES (1, 'same', 19.99), (2, 'whole', 20),
                       (3, 'sum', 0.1::float8 + 0.2),
                       (4, 'half', 2.675), (5, 'tiny', 0.004), (6, 'refund', -1.005), (7, 'large', 9999999999999.99)""")
    upgrade.upgrade(database)
    assert reported(doubles) == [
        ("plans", "price", "id=3", "0.30000000000000004", Decimal("0.30")),
        ("plans", "price", "id=4", "2.675", Decimal("2.68")),
        ("plans", "price", "id=5", "0.004", Decimal("0.00")),
        ("plans", "price", "id=6", "-1.005", Decimal("-1.01")),
    ]
    assert doubles.execute("SELECT price::text FROM plans ORDER BY id").fetchall() == [
        ("19.99",), ("20.00",), ("0.30",), ("2.68",), ("0.00",), ("-1.01",), ("9999999999999.99",),
    ]  # fmt: skip


def test_the_report_is_shown_before_by_plan_while_up_runs_and_kept(
    database: str, doubles: Connection
) -> None:
    doubles.execute("INSERT INTO plans (id, name, price) VALUES (4, 'half', 2.675)")
    row = {"table": "plans", "column": "price", "key": "id=4", "shown": "2.675", "decimal": "2.68"}
    before = radmeter(database, "migrate", "plan", "--format", "json").json()
    assert before["decimals"] == [row]
    assert radmeter(database, "migrate", "plan", "--decimals", "--format", "csv").csv() == [row]
    assert (
        "plans.price, id=4: was shown as 2.675, becomes 2.68" in radmeter(database, "migrate", "plan").output
    )
    assert types(doubles)["plans.price"] == "double precision"
    done = radmeter(database, "migrate", "up", "--yes")
    assert (done.exit_code, "plans.price, id=4: was shown as 2.675, is 2.68" in done.output) == (0, True), (
        done
    )
    kept = radmeter(database, "migrate", "history", "--decimals", "--format", "csv").output
    assert list(csv.DictReader(io.StringIO(kept))) == [row]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e16", "9999999999999999.5"])
def test_what_is_no_decimal_of_so_many_digits_is_refused_before_anything_is_touched(
    server: Server, database: str, doubles: Connection, value: str
) -> None:
    doubles.execute("INSERT INTO plans (id, name, price) VALUES (1, 'fine', 1), (7, 'not', %s)", (value,))
    doubles.execute("UPDATE radmeter.sql_file SET checksum = 'old'")
    before = dump(server, database), reported(doubles)
    for command in ("plan", "up"):
        refused = radmeter(database, "migrate", command, *(["--yes"] if command == "up" else []))
        assert refused.exit_code == 1
        assert "public.plans.price cannot become numeric, nothing was changed: id=7: " in refused.errors
        assert "UPDATE public.plans SET price = 0 WHERE id = '7'" in refused.errors
    assert (dump(server, database), reported(doubles)) == before
    assert doubles.execute("SELECT count(*) FROM radmeter.sql_file WHERE checksum <> 'old'").fetchone() == (
        0,
    )
    # The remedy is one.
    doubles.execute("UPDATE public.plans SET price = 0 WHERE id = '7'")
    assert radmeter(database, "migrate", "up", "--yes").exit_code == 0
    assert types(doubles) == SPECIFIED


def test_a_view_on_the_column_is_refused_by_its_name(database: str, doubles: Connection) -> None:
    doubles.execute("CREATE VIEW public.prices AS SELECT name, price FROM plans")
    refused = radmeter(database, "migrate", "up", "--yes")
    assert refused.exit_code == 1
    assert "it is used by the view public.prices" in refused.errors
    doubles.execute("DROP VIEW public.prices")
    assert radmeter(database, "migrate", "up", "--yes").exit_code == 0


def order(connection: Connection, table: str) -> list[str]:
    rows = connection.execute(
        """SELECT attname::text FROM pg_attribute
           WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
        (table,),
    )
    return [name for (name,) in rows]


def test_a_small_table_keeps_the_places_of_its_columns_its_constraints_and_indexes(
    database: str, doubles: Connection
) -> None:
    """Why it is not converted as a large one is: a program that inserts without naming columns goes on working."""
    doubles.execute("ALTER TABLE plans ADD CONSTRAINT fair CHECK (price >= 0)")
    doubles.execute("CREATE INDEX plans_by_price ON plans (price)")
    before = order(doubles, "plans")
    upgrade.upgrade(database)
    assert types(doubles) == SPECIFIED
    assert order(doubles, "plans") == before
    assert doubles.execute("SELECT to_regclass('plans_by_price') IS NOT NULL").fetchone() == (True,)
    with pytest.raises(psycopg.errors.CheckViolation):
        doubles.execute("INSERT INTO plans (name, price) VALUES ('refund', -1)")


@pytest.fixture
def many(doubles: Connection) -> Connection:
    """More routers than are converted under one lock."""
    doubles.execute(
        """INSERT INTO routers (name, total_usage) SELECT 'r' || n, n / 8.0 FROM generate_series(1, %s) AS n""",
        (decimal_conversion.ROWS_AT_ONCE * 4,),
    )
    doubles.execute("ANALYZE routers")
    return doubles


def test_a_default_that_calls_a_function_is_refused_and_not_called(
    database: str, doubles: Connection
) -> None:
    """To know its value, it would have to be called, maybe as a superuser."""
    doubles.execute(
        """CREATE FUNCTION public.evil() RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
           ALTER TABLE plans ALTER price SET DEFAULT public.evil()"""
    )
    for command in (("plan",), ("sql",), ("up", "--yes")):
        refused = radmeter(database, "migrate", *command)
        assert refused.exit_code == 1
        assert "its default (public.evil()) is not a constant" in refused.errors
    doubles.execute("ALTER TABLE plans ALTER price DROP DEFAULT")
    assert radmeter(database, "migrate", "up", "--yes").exit_code == 0


def test_an_index_on_a_column_of_a_large_table_is_refused_by_its_name(
    database: str, many: Connection
) -> None:
    many.execute("CREATE INDEX routers_by_usage ON routers (total_usage)")
    refused = radmeter(database, "migrate", "up", "--yes")
    assert refused.exit_code == 1
    assert "it is used by the index public.routers_by_usage" in refused.errors
    many.execute("DROP INDEX routers_by_usage")
    upgrade.upgrade(database)
    assert order(many, "routers")[-1] == "total_usage"


def test_a_large_table_is_converted_while_packets_and_changes_come_in(
    database: str, many: Connection
) -> None:
    """No batch waits for long, and no change of a router is lost, wherever the conversion is."""
    stop = threading.Event()
    longest: list[float] = []
    failures: list[BaseException] = []

    def ingest() -> None:
        try:
            with Packets(database) as packets, psycopg.connect(database, autocommit=True) as other:
                for n in itertools.count():
                    if stop.is_set():
                        return
                    packets.add(
                        "Stop", f"s{n}", NAS_Identifier=f"new{n % 50}", User_Name="u", Acct_Input_Octets=1
                    )
                    packets.ship()
                    other.execute("UPDATE routers SET total_usage = total_usage + 0.5 WHERE name = 'r1000'")
                    longest.append(n)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        while len(longest) < 5 and not failures:
            time.sleep(0.01)
        upgrade.upgrade(database)
        after = len(longest)
        while len(longest) < after + 5 and not failures:
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    assert not failures
    assert types(many) == SPECIFIED
    assert many.execute("SELECT total_usage FROM routers WHERE name = 'r1000'").fetchone() == (
        Decimal(1000) / 8 + Decimal(len(longest)) / 2,
    )
    wrong = many.execute(
        """SELECT count(*) FROM routers WHERE name ~ '^r[0-9]' AND name <> 'r1000'
           AND total_usage <> round(substr(name, 2)::numeric / 8, 2)"""
    ).fetchone()
    assert wrong == (0,)
    # Eighths: of eight values four have a third digit.
    assert many.execute("SELECT count(*) FROM radmeter.decimal_change").fetchone() == (
        decimal_conversion.ROWS_AT_ONCE * 4 // 2,
    )
    assert many.execute("SELECT count(*) FROM routers WHERE total_usage IS NULL").fetchone() == (0,)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 2, 3, 7, 12, 13, 14])
def test_a_conversion_that_is_killed_goes_on_where_it_was(
    server: Server, database: str, many: Connection, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    steps = itertools.count(1)
    run = decimal_conversion._run

    def killing(statements: Any, connection: Connection) -> None:
        run(statements, connection)
        if next(steps) == at:
            many.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))

    monkeypatch.setattr(decimal_conversion, "_run", killing)
    with pytest.raises(Exception, match=r"terminat|closed|connection"):
        upgrade.upgrade(database)
    monkeypatch.undo()
    upgrade.upgrade(database)
    assert types(many) == SPECIFIED
    assert many.execute("SELECT count(*), count(DISTINCT key) FROM radmeter.decimal_change").fetchone() == (
        decimal_conversion.ROWS_AT_ONCE * 4 // 2,
        decimal_conversion.ROWS_AT_ONCE * 4 // 2,
    )
    assert many.execute(
        "SELECT count(*) FROM pg_proc WHERE proname ~ '^convert_' AND pronamespace = 'radmeter'::regnamespace"
    ).fetchone() == (0,)
