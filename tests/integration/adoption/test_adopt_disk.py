"""Adopting on a disk that fills: nothing is lost, rlm_sql goes on, and with room again so does the command."""

import subprocess
from pathlib import Path

import psycopg
from support import stock
from support.commands import radmeter
from support.servers import Server


def test_a_disk_that_fills_in_the_middle(server: Server, small_disk: Path) -> None:
    """What is made, tables and indexes, lies in a tablespace on the small disk; FreeRADIUS's own table does not."""
    with psycopg.connect(server.dsn(), autocommit=True) as superuser:
        superuser.execute(f"CREATE TABLESPACE adopt_small LOCATION '{small_disk}'".encode())
        superuser.execute("GRANT CREATE ON TABLESPACE adopt_small TO radmeter_owner")
        superuser.execute("CREATE DATABASE adopt_small TEMPLATE template0")
    dsn = server.dsn("adopt_small")
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(stock.RADACCT)
            stock.fill(connection, 60_000, open_sessions=20, zombies=20)
            connection.execute("ALTER DATABASE adopt_small SET default_tablespace = adopt_small")
        failed = radmeter(dsn, "adopt", "--from", "radacct", "--yes")
        assert failed.exit_code == 1
        assert "No space left on device" in failed.errors
        traffic = stock.Traffic(dsn)
        traffic.begin(most=100)
        traffic.end()
        assert not traffic.errors
        subprocess.run(["mount", "-o", "remount,size=128m", str(small_disk.parent)], check=True)
        done = radmeter(dsn, "adopt", "--from", "radacct", "--yes")
        assert done.exit_code == 0, done.errors
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM radacct WHERE adopted").fetchone() == (
                60_040 + len({each.uid for each in traffic.sessions if each.uid}),
            )
    finally:
        with psycopg.connect(server.dsn(), autocommit=True) as superuser:
            superuser.execute("DROP DATABASE adopt_small WITH (FORCE)")
            superuser.execute("DROP TABLESPACE adopt_small")
