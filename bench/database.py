"""The databases under test, on one server: filled with open sessions, cloned for each run and checked after it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench import traffic
from bench.traffic import HEAVY_BYTES_IN, HEAVY_BYTES_OUT, HEAVY_EVERY, VISIT_SECONDS, VISITS, Population
from radmeter.embedded import programs
from radmeter.embedded.server import EmbeddedPostgresql
from radmeter.schema import upgrade

HERE = Path(__file__).parent
Bytes = tuple[int, int]

# The places of traffic.py, as they are when a run begins: one row for each place.
PLACES = f"""
CREATE TEMPORARY TABLE place AS
SELECT place,
       'guest-' || lpad(to_hex(place), 7, '0') || '@hotspot' AS username,
       'bench-' || lpad(to_hex(place), 7, '0') || '-0000' AS session_id,
       '10.66.' || (router >> 8) || '.' || (router & 255) AS nas_ip,
       'router-' || lpad(router::text, 5, '0') AS nas_identifier,
       '02-42-00-00-' || upper(lpad(to_hex(router >> 8), 2, '0')) || '-' || upper(lpad(to_hex(router & 255), 2, '0'))
           || ':Guest WiFi' AS called_station_id,
       '06-00-00-' || upper(lpad(to_hex(place >> 16), 2, '0')) || '-' || upper(lpad(to_hex(place >> 8 & 255), 2, '0'))
           || '-' || upper(lpad(to_hex(place & 255), 2, '0')) AS calling_station_id,
       router, (place & 65535)::text AS nas_port, reports,
       CASE WHEN place % {HEAVY_EVERY} = 0 THEN {HEAVY_BYTES_IN} ELSE 1500 + place % 997 END * reports AS bytes_in,
       CASE WHEN place % {HEAVY_EVERY} = 0 THEN {HEAVY_BYTES_OUT}
            ELSE 150000 + place * 31 % 99991 END * reports AS bytes_out
FROM (SELECT place, place / {VISITS} % %(routers)s AS router, (place * 7 % {VISITS} - 1)::bigint AS reports
      FROM generate_series(0, %(places)s - 1) AS place) AS numbered
"""
SESSIONS = f"""
INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, nasportid, nasporttype, acctstarttime,
    acctupdatetime, acctsessiontime, acctauthentic, connectinfo_start, acctinputoctets, acctoutputoctets,
    calledstationid, callingstationid, servicetype, framedipaddress {{columns}})
SELECT session_id,
       md5(username || ',' || session_id || ',' || nas_ip || ',' || nas_identifier || ',wlan1,' || nas_port),
       username, nas_ip::inet, 'wlan1', 'Wireless-802.11',
       to_timestamp(%(base)s - reports * {VISIT_SECONDS}), to_timestamp(%(base)s), reports * {VISIT_SECONDS},
       'RADIUS', '', bytes_in, bytes_out, called_station_id, calling_station_id, 'Framed-User', '172.16.0.1' {{values}}
FROM place WHERE reports >= 0 ORDER BY place
"""
OWN_COLUMNS = (
    ", router_id, arrived_at, counted_at, usage_date, period_start",
    ", router + 1, to_timestamp(%(base)s), to_timestamp(%(base)s), to_timestamp(%(base)s)::date, "
    "date_trunc('month', to_timestamp(%(base)s))::date",
)
COUNTERS = """
INSERT INTO user_quota_usage (username, period_start, bytes_in, bytes_out)
    SELECT username, date_trunc('month', to_timestamp(%(base)s))::date, bytes_in, bytes_out
    FROM place WHERE reports > 0 ORDER BY username;
INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out)
    SELECT router + 1, to_timestamp(%(base)s)::date, sum(bytes_in), sum(bytes_out)
    FROM place WHERE reports > 0 GROUP BY router ORDER BY router
"""
ROUTERS = """
INSERT INTO routers (id, name, mac {columns})
SELECT router + 1, 'router-' || lpad(router::text, 5, '0'),
       ('02-42-00-00-' || lpad(to_hex(router >> 8), 2, '0') || '-' || lpad(to_hex(router & 255), 2, '0'))::macaddr
       {values}
FROM generate_series(0, %(routers)s - 1) AS router
"""


class Databases:
    """One server for all systems under test, with radmeter's own settings (fsync and synchronous_commit on)."""

    def __init__(self, server: EmbeddedPostgresql, raddb: Path, base: int) -> None:
        self.server = server
        self.base = base
        self._raddb = raddb
        self._templates: dict[tuple[str, Population], str] = {}

    @property
    def pid(self) -> int:
        pid = self.server.server_pid()
        if pid is None:
            raise RuntimeError("PostgreSQL has ended")
        return pid

    @property
    def socket_directory(self) -> Path:
        return programs.socket_directory(self.server.base)

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.server.dsn(database), autocommit=True)

    def wal_bytes(self) -> int:
        """Return how many bytes of write-ahead log the server has written so far."""
        with self.connect() as connection:
            row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
        assert row is not None
        return int(row[0])

    def stock_schema(self) -> bytes:
        """Return FreeRADIUS's own statements for PostgreSQL."""
        return (self._raddb / "mods-config/sql/main/postgresql/schema.sql").read_bytes()

    @contextmanager
    def clone(self, kind: str, population: Population) -> Iterator[str]:
        """Make a database for the block, with the population's sessions; yield its name.

        `kind`: ``stock``, ``triggers`` or ``radmeter``.
        """
        key = (kind, population)
        if key not in self._templates:
            self._templates[key] = self._fill(kind, population)
        with self._fresh(self._templates[key]) as name:
            yield name

    @contextmanager
    def empty(self, kind: str) -> Iterator[str]:
        """Make a database without sessions for the block; yield its name."""
        with self._fresh("template1") as name:
            self._make(kind, name)
            yield name

    @contextmanager
    def _fresh(self, template: str) -> Iterator[str]:
        name = f"run_{secrets.token_hex(4)}"
        self._create(name, template)
        try:
            yield name
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _create(self, name: str, template: str) -> None:
        with self.connect() as connection:
            # Copied as files, with a checkpoint, so that every run begins with the write-ahead log in the same state.
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
            connection.execute("CHECKPOINT")

    def _make(self, kind: str, name: str) -> None:
        if kind == "radmeter":
            upgrade.upgrade(self.server.dsn(name))
            return
        with self.connect(name) as connection:
            connection.execute(self.stock_schema())
            if kind == "triggers":
                connection.execute((HERE / "row_triggers.sql").read_bytes())

    def _fill(self, kind: str, population: Population) -> str:
        name = f"template_{kind}_{population.open_sessions}_{population.routers}"
        self._create(name, "template1")
        self._make(kind, name)
        own = kind == "radmeter"
        values = {"places": population.places, "routers": population.routers, "base": self.base}
        with psycopg.connect(self.server.dsn(name)) as connection:
            connection.execute("SET session_replication_role = replica")  # no triggers
            connection.execute(_bound(PLACES, values))
            columns = OWN_COLUMNS if own else ("", "")
            connection.execute(_bound(SESSIONS.format(columns=columns[0], values=columns[1]), values))
            if kind != "stock":
                identifier = (
                    (", nas_identifier", ", 'router-' || lpad(router::text, 5, '0')") if own else ("", "")
                )
                connection.execute(
                    _bound(ROUTERS.format(columns=identifier[0], values=identifier[1]), values)
                )
                if own:  # the rows have ids of their own; a router that is discovered needs a free one
                    connection.execute(
                        "SELECT setval(pg_get_serial_sequence('public.routers', 'id'), max(id)) FROM public.routers"
                    )
                for statement in COUNTERS.split(";"):
                    connection.execute(_bound(statement, values))
        with self.connect(name) as connection:
            connection.execute("VACUUM (ANALYZE, FREEZE)")
        return name

    def differences(self, name: str, kind: str, run: traffic.Traffic) -> list[str]:
        """Compare every user's and every router's octets with what was sent; return the differences in words."""
        population = run.population
        users: dict[int, Bytes] = {}
        routers: dict[int, Bytes] = {}
        for place in range(population.places):
            reports = max(traffic.first_step(place) - 1, 0)
            reports += run.counted_visits(place, run.visits_of(place))
            octets_in, octets_out = reports * traffic.bytes_in(place), reports * traffic.bytes_out(place)
            if octets_in or octets_out:
                router = traffic.router_of(place, population)
                so_far = routers.get(router, (0, 0))
                routers[router] = (so_far[0] + octets_in, so_far[1] + octets_out)
                users[place] = (octets_in, octets_out)
        user = "('x' || lpad(substr(username, 7, 7), 8, '0'))::bit(32)::int"
        checks = [("radacct", user, "acctinputoctets", "acctoutputoctets", users)]
        if kind != "stock":
            checks += [
                ("user_quota_usage", user, "bytes_in", "bytes_out", users),
                ("router_daily_usage", "router_id - 1", "bytes_in", "bytes_out", routers),
            ]
        found = []
        with self.connect(name) as connection:
            for table, key, column_in, column_out, expected in checks:
                rows = connection.execute(
                    f"SELECT {key}, sum({column_in})::bigint, sum({column_out})::bigint FROM {table} GROUP BY 1"
                )
                counted = {number: (received, sent) for number, received, sent in rows if received or sent}
                if counted != expected:
                    wrong = [
                        key
                        for key in counted.keys() | expected.keys()
                        if counted.get(key) != expected.get(key)
                    ]
                    one = min(wrong)
                    found.append(
                        f"{table}: {len(wrong)} of {len(expected)} differ; number {one} has "
                        f"{counted.get(one)}, expected {expected.get(one)}"
                    )
        return found


def _bound(query: str, values: dict[str, int]) -> str:
    """Return a query with numbers in place of %(name)s. Its other percent signs are PostgreSQL's modulo operator."""
    for name, value in values.items():
        query = query.replace(f"%({name})s", str(value))
    return query
