"""A login calls no function in SQL: see support/called_functions.py."""

import psycopg
from support import called_functions
from support.servers import Connection

TIMES = 12
LOGIN = "SELECT attribute, value FROM radmeter.authorize(%s, %s, %s, %s, '', '192.0.2.1')"


def test_no_function_is_called_for_each_login(connection: Connection, database: str) -> None:
    connection.execute("INSERT INTO plans (name, quota_bytes, quota_seconds) VALUES ('basic', 1000000, 3600)")
    connection.execute("INSERT INTO subscribers (username, plan_id) SELECT 'bob', id FROM plans")
    connection.execute("SELECT radmeter.add_router('lobby', '02-00-00-00-00-01', NULL, NULL, NULL)")
    called_functions.follow(connection)
    values = [
        each.encode().hex() for each in ("bob", "lobby", "02-00-00-00-00-01:Guests", "aa-00-00-00-00-01")
    ]
    with psycopg.connect(database, autocommit=True) as radius:
        for _ in range(TIMES):
            assert ("Tmp-String-9", "accept") in radius.execute(LOGIN, values, prepare=False).fetchall()
        radius.execute("SELECT radmeter.tenants_today(NULL)")
    called = called_functions.calls(connection)
    assert called.pop("tenants_today", 0) == 1, "calls were not counted"
    assert {name: count for name, count in called.items() if count >= TIMES} == {}
