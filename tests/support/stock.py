"""FreeRADIUS 3.2's own database: the stock radacct with years of sessions, and rlm_sql writing to it.

The table and the statements are those of raddb/mods-config/sql/main/postgresql (schema.sql, queries.conf).
"""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from radmeter.packet.record import AccountingRecord

Connection = psycopg.Connection[Any]

RADACCT = """
CREATE TABLE IF NOT EXISTS radacct (
    RadAcctId           bigserial PRIMARY KEY,
    AcctSessionId       text NOT NULL,
    AcctUniqueId        text NOT NULL UNIQUE,
    UserName            text,
    Realm               text,
    NASIPAddress        inet NOT NULL,
    NASPortId           text,
    NASPortType         text,
    AcctStartTime       timestamp with time zone,
    AcctUpdateTime      timestamp with time zone,
    AcctStopTime        timestamp with time zone,
    AcctInterval        bigint,
    AcctSessionTime     bigint,
    AcctAuthentic       text,
    ConnectInfo_start   text,
    ConnectInfo_stop    text,
    AcctInputOctets     bigint,
    AcctOutputOctets    bigint,
    CalledStationId     text,
    CallingStationId    text,
    AcctTerminateCause  text,
    ServiceType         text,
    FramedProtocol      text,
    FramedIPAddress     inet,
    FramedIPv6Address   inet,
    FramedIPv6Prefix    inet,
    FramedInterfaceId   text,
    DelegatedIPv6Prefix inet,
    Class               text
);
CREATE INDEX radacct_active_session_idx ON radacct (AcctUniqueId) WHERE AcctStopTime IS NULL;
CREATE INDEX radacct_bulk_close ON radacct (NASIPAddress, AcctStartTime) WHERE AcctStopTime IS NULL;
CREATE INDEX radacct_start_user_idx ON radacct (AcctStartTime, UserName);
CREATE INDEX radacct_calss_idx ON radacct (Class);
"""

# Sessions like those of `fill`, but made on the server, by the million: `closed` ones of three years, then `open` ones
# of today. Every tenth user name is missing or empty, every eleventh session has no octets, every thirteenth has no
# length.
GENERATED = """
INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime, acctstoptime,
    acctsessiontime, acctinputoctets, acctoutputoctets, calledstationid, callingstationid, acctterminatecause)
SELECT to_hex(n), md5('generated' || n),
       CASE WHEN n % 20 = 0 THEN NULL WHEN n % 20 = 10 THEN '' ELSE 'user' || n % {users} END,
       '10.0.0.0'::inet + n % {routers} + 1, start, start + seconds * interval '1 second',
       CASE WHEN n <= {closed} THEN start + seconds * interval '1 second' END, seconds,
       CASE WHEN n % 11 > 0 THEN n * 7919 % 500000000 END, CASE WHEN n % 11 > 0 THEN n * 104729 % 6000000000 END,
       '02-00-00-00-' || lpad(to_hex(n % {routers} / 256), 2, '0') || '-' || lpad(to_hex(n % {routers} % 256), 2, '0')
           || ':hotspot',
       NULL, CASE WHEN n <= {closed} THEN 'User-Request' END
FROM generate_series({first}::bigint, {last}::bigint) AS n,
     LATERAL (SELECT CASE WHEN n > {closed} THEN date_trunc('second', now()) - interval '1 hour'
                          ELSE date_trunc('second', now()) - interval '3 years'
                               + n * (interval '3 years' / {closed}) END AS start,
                     CASE WHEN n % 13 = 0 THEN 0 ELSE n % 3600 END AS seconds) AS made
"""

START = """
INSERT INTO radacct (AcctSessionId, AcctUniqueId, UserName, Realm, NASIPAddress, NASPortId, NASPortType, AcctStartTime,
    AcctUpdateTime, AcctStopTime, AcctSessionTime, AcctAuthentic, ConnectInfo_start, ConnectInfo_Stop,
    AcctInputOctets, AcctOutputOctets, CalledStationId, CallingStationId, AcctTerminateCause, ServiceType,
    FramedProtocol, FramedIpAddress, FramedIpv6Address, FramedIpv6Prefix, FramedInterfaceId, DelegatedIpv6Prefix)
VALUES (%(session_id)s, %(uid)s, %(username)s, NULLIF('', ''), %(nas_ip)s, NULLIF('', ''), '',
    TO_TIMESTAMP(%(at)s), TO_TIMESTAMP(%(at)s), NULL, 0, '', '', NULL, 0, 0, %(called)s, %(calling)s, NULL, '', '',
    NULLIF(%(ip)s, '')::inet, NULLIF('', '')::inet, NULLIF('', '')::inet, NULLIF('', ''), NULLIF('', '')::inet)
ON CONFLICT (AcctUniqueId) DO UPDATE
SET AcctStartTime = TO_TIMESTAMP(%(at)s), AcctUpdateTime = TO_TIMESTAMP(%(at)s), ConnectInfo_start = ''
WHERE radacct.AcctUniqueId = %(uid)s AND radacct.AcctStopTime IS NULL"""

START_AGAIN = """
UPDATE radacct
SET AcctStartTime = TO_TIMESTAMP(%(at)s), AcctUpdateTime = TO_TIMESTAMP(%(at)s), ConnectInfo_start = ''
WHERE AcctUniqueId = %(uid)s"""

INTERIM = """
UPDATE radacct
SET FramedIPAddress = NULLIF(%(ip)s, '')::inet, FramedIPv6Address = NULLIF('', '')::inet,
    FramedIPv6Prefix = NULLIF('', '')::inet, FramedInterfaceId = NULLIF('', ''),
    DelegatedIPv6Prefix = NULLIF('', '')::inet, AcctSessionTime = %(session_time)s,
    AcctInterval = (%(at)s - EXTRACT(EPOCH FROM (COALESCE(AcctUpdateTime, AcctStartTime)))),
    AcctUpdateTime = TO_TIMESTAMP(%(at)s),
    AcctInputOctets = %(octets_in)s::bigint, AcctOutputOctets = %(octets_out)s::bigint
WHERE AcctUniqueId = %(uid)s AND AcctStopTime IS NULL"""

INTERIM_INSERT = """
INSERT INTO radacct (AcctSessionId, AcctUniqueId, UserName, Realm, NASIPAddress, NASPortId, NASPortType, AcctStartTime,
    AcctUpdateTime, AcctStopTime, AcctSessionTime, AcctAuthentic, ConnectInfo_start, ConnectInfo_Stop,
    AcctInputOctets, AcctOutputOctets, CalledStationId, CallingStationId, AcctTerminateCause, ServiceType,
    FramedProtocol, FramedIpAddress, FramedIpv6Address, FramedIpv6Prefix, FramedInterfaceId, DelegatedIpv6Prefix)
VALUES (%(session_id)s, %(uid)s, %(username)s, NULLIF('', ''), %(nas_ip)s, NULLIF('', ''), '',
    TO_TIMESTAMP(%(at)s), TO_TIMESTAMP(%(at)s), NULL, %(session_time)s, '', '', NULL,
    %(octets_in)s::bigint, %(octets_out)s::bigint, %(called)s, %(calling)s, NULL, '', '',
    NULLIF(%(ip)s, '')::inet, NULLIF('', '')::inet, NULLIF('', '')::inet, NULLIF('', ''), NULLIF('', '')::inet)
ON CONFLICT (AcctUniqueId) DO NOTHING"""

STOP_SET = """
UPDATE radacct
SET AcctStopTime = TO_TIMESTAMP(%(at)s), AcctUpdateTime = TO_TIMESTAMP(%(at)s),
    AcctSessionTime = COALESCE(%(session_time)s, (%(at)s - EXTRACT(EPOCH FROM(AcctStartTime)))),
    AcctInputOctets = %(octets_in)s::bigint, AcctOutputOctets = %(octets_out)s::bigint,
    AcctTerminateCause = 'User-Request', FramedIPAddress = NULLIF(%(ip)s, '')::inet,
    FramedIPv6Address = NULLIF('', '')::inet, FramedIPv6Prefix = NULLIF('', '')::inet,
    FramedInterfaceId = NULLIF('', ''), DelegatedIPv6Prefix = NULLIF('', '')::inet, ConnectInfo_stop = ''
WHERE AcctUniqueId = %(uid)s"""

STOP = f"{STOP_SET} AND AcctStopTime IS NULL"

STOP_INSERT = """
INSERT INTO radacct (AcctSessionId, AcctUniqueId, UserName, Realm, NASIPAddress, NASPortId, NASPortType, AcctStartTime,
    AcctUpdateTime, AcctStopTime, AcctSessionTime, AcctAuthentic, ConnectInfo_start, ConnectInfo_Stop,
    AcctInputOctets, AcctOutputOctets, CalledStationId, CallingStationId, AcctTerminateCause, ServiceType,
    FramedProtocol, FramedIpAddress, FramedIpv6Address, FramedIpv6Prefix, FramedInterfaceId, DelegatedIpv6Prefix)
VALUES (%(session_id)s, %(uid)s, %(username)s, NULLIF('', ''), %(nas_ip)s, NULLIF('', ''), '',
    TO_TIMESTAMP(%(at)s - %(session_time)s), TO_TIMESTAMP(%(at)s), TO_TIMESTAMP(%(at)s), %(session_time)s, '', '', NULL,
    %(octets_in)s::bigint, %(octets_out)s::bigint, %(called)s, %(calling)s, 'User-Request', '', '',
    NULLIF(%(ip)s, '')::inet, NULLIF('', '')::inet, NULLIF('', '')::inet, NULLIF('', ''), NULLIF('', '')::inet)
ON CONFLICT (AcctUniqueId) DO NOTHING"""

# rlm_sql goes to the next statement if one touched no row.
STATEMENTS = {
    "Start": (START, START_AGAIN),
    "Interim-Update": (INTERIM, INTERIM_INSERT),
    "Stop": (STOP, STOP_INSERT, STOP_SET),
}

REBOOT = """
UPDATE radacct
SET AcctStopTime = TO_TIMESTAMP(%(at)s), AcctUpdateTime = TO_TIMESTAMP(%(at)s),
    AcctSessionTime = (%(at)s - EXTRACT(EPOCH FROM(AcctStartTime))), AcctTerminateCause = 'NAS-Reboot'
WHERE AcctStopTime IS NULL AND NASIPAddress = %(nas_ip)s AND AcctStartTime <= TO_TIMESTAMP(%(at)s)"""

CALLED = (
    "02-00-00-00-00-{0:02X}:hotspot",
    "02:00:00:00:00:{0:02x}",
    "0200.0000.00{0:02x}",
    "hotspot{0}",  # no MAC: the router is found by its address
    "",
)


def fill(
    connection: Connection, closed: int, *, open_sessions: int = 0, zombies: int = 0, seed: int = 1
) -> None:
    """Write sessions like those of real tables into the stock radacct, by COPY, from a seed.

    Parameters
    ----------
    closed
        Closed sessions of the last three years. Some have no user, octets, start or update time, some no length.
    open_sessions
        Open sessions with an update within the last minute.
    zombies
        Sessions that never stopped. Their last update was days or years ago; some have none.
    """
    chance = random.Random(seed)
    now = int(time.time())
    columns = (
        "acctsessionid, acctuniqueid, username, nasipaddress, nasporttype, acctstarttime, acctupdatetime, acctstoptime,"
        " acctinterval, acctsessiontime, acctinputoctets, acctoutputoctets, calledstationid, callingstationid,"
        " acctterminatecause, framedipaddress, class"
    )
    with connection.cursor() as cursor, cursor.copy(f"COPY radacct ({columns}) FROM STDIN") as copy:
        for number in range(closed + open_sessions + zombies):
            kind = "closed" if number < closed else "open" if number < closed + open_sessions else "zombie"
            copy.write_row(tuple(_row(chance, number, kind, now, seed)))


def _row(chance: random.Random, number: int, kind: str, now: int, seed: int) -> Iterator[Any]:
    seconds = chance.choice((0, 0, None, 1, 59, 3600, 86400, chance.randrange(100_000)))
    router = number % 7
    update: int | None
    if kind == "open":
        start = now - chance.randrange(600, 3600)
        update, stop = now - chance.randrange(60), None
    else:
        start = now - chance.randrange(86400 * 2, 86400 * 1095)
        stop = start + (seconds or 0) if kind == "closed" else None
        update = chance.choice((stop or start, start, None))
    octets = (
        None,
        0,
        chance.randrange(1 << 20),
        chance.randrange(1 << 31),
        (1 << 32) + chance.randrange(1 << 34),
    )
    yield f"{number:08x}"
    yield f"{seed:08x}{number:024x}"
    yield chance.choice((None, "", "user-ümlaut", *(f"user{n}" for n in range(20))))
    yield f"10.0.0.{router + 1}"
    yield chance.choice((None, "Wireless-802.11", "Ethernet"))
    # A zombie without any time; a closed session whose start was lost.
    no_start = chance.random() < 0.02 and kind != "open"
    yield None if no_start else _timestamp(start)
    yield None if update is None or (no_start and kind == "zombie") else _timestamp(update)
    yield None if stop is None else _timestamp(stop)
    yield chance.choice((None, 0, 60, 300))
    yield seconds
    yield chance.choice(octets)
    yield chance.choice(octets)
    yield chance.choice((None, *CALLED)) and CALLED[number % len(CALLED)].format(router + 1)
    yield chance.choice((None, "AA-BB-CC-00-00-01", ""))
    yield None if stop is None else chance.choice(("User-Request", "", None, "Session-Timeout"))
    yield chance.choice((None, f"192.168.0.{number % 254 + 1}", "2001:db8::1"))
    yield chance.choice((None, "", "0x1234"))


def _timestamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(seconds))


@dataclass
class Session:
    """A session of the traffic, with its last values."""

    session_id: str
    username: str
    router: int
    began: int
    octets_in: int = 0
    octets_out: int = 0
    stopped: bool = False
    uid: str = ""


@dataclass
class Traffic:
    """Packets of live sessions. Each goes to rlm_sql at once, and to `journal`, as to radmeter's plugin beside rlm_sql.

    Packets go one at a time, as in one thread of radiusd. `journal` has them in the form that `radmeter.ingest` takes.
    """

    dsn: str
    seed: int = 7
    first: int = 0  # the number of the first session, so that continued traffic makes new ids
    journal: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    longest_seconds: float = 0.0
    slowest: list[tuple[float, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unanswered: int = 0  # packets for which no statement touched a row

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, most: int = 10**9, pause_seconds: float = 0.002) -> None:
        """Send packets from a thread until `end`."""
        self._thread = threading.Thread(target=self._run, args=(most, pause_seconds), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop sending, and wait for the last packet."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(60)
            assert not self._thread.is_alive()

    def _run(self, most: int, pause_seconds: float) -> None:
        with psycopg.connect(self.dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            for _ in range(most):
                if self._stop.wait(pause_seconds):
                    return
                session, status = self.choose()
                values = self.packet(session, status)
                try:
                    self.send(connection, status, values)
                except psycopg.Error as error:
                    # After the swap of tables rlm_sql's INSERT finds no unique index. The packet is in the journal.
                    self.errors.append(f"{status}: {error}".strip())

    def choose(self) -> tuple[Session, str]:
        """Return the session of the next packet, and the packet's status."""
        living = [session for session in self.sessions if not session.stopped]
        draw = self._chance.random()
        if len(living) < 5 or (draw < 0.15 and len(living) < 60):
            number = self.first + len(self.sessions)
            session = Session(
                f"live{self.seed}-{number}",
                f"user{number % 20}",
                number % 7 + 1,
                int(time.time()) - self._chance.randrange(3000),
            )
            self.sessions.append(session)
            # Now and then the Start is lost.
            return session, self._chance.choice(("Start", "Start", "Start", "Interim-Update"))
        session = self._chance.choice(living)
        if draw < 0.25:
            return session, "Stop"
        # Now and then a Start is sent again, as if it had no answer in time.
        return session, "Start" if draw < 0.28 else "Interim-Update"

    def packet(self, session: Session, status: str) -> dict[str, Any]:
        """Make a packet of a session: append it to the journal, and return the values for rlm_sql's statements."""
        now_us = int(time.time() * 1e6)
        if status != "Start":
            session.octets_in += self._chance.randrange(1, 100_000)
            session.octets_out += self._chance.randrange(1, 200_000_000)
        session.stopped = status == "Stop"
        at = session.began if status == "Start" else now_us // 1_000_000
        called = CALLED[session.router % len(CALLED)].format(session.router)
        pairs = {
            "Acct-Status-Type": status,
            "Acct-Session-Id": session.session_id,
            "User-Name": session.username,
            "NAS-IP-Address": f"10.0.0.{session.router}",
            "Called-Station-Id": called,
            "Calling-Station-Id": "AA-BB-CC-00-00-01",
            "Framed-IP-Address": "192.168.0.9",
            "Tmp-Integer-0": str(at),
            "Acct-Session-Time": str(at - session.began),
            "Acct-Input-Octets": str(session.octets_in % (1 << 32)),
            "Acct-Input-Gigawords": str(session.octets_in >> 32),
            "Acct-Output-Octets": str(session.octets_out % (1 << 32)),
            "Acct-Output-Gigawords": str(session.octets_out >> 32),
        }
        record = AccountingRecord.from_pairs(list(pairs.items()), now_us, len(self.journal) + 1)
        session.uid = record.uid
        self.journal.append(record.as_json())
        return {
            "session_id": session.session_id,
            "uid": record.uid,
            "username": session.username,
            "nas_ip": f"10.0.0.{session.router}",
            "called": called,
            "calling": "AA-BB-CC-00-00-01",
            "ip": "192.168.0.9",
            "at": at,
            "session_time": at - session.began,
            "octets_in": session.octets_in,
            "octets_out": session.octets_out,
        }

    def send(self, connection: Connection, status: str, values: dict[str, Any]) -> None:
        """Execute rlm_sql's statements for a packet, up to the first one that touches a row."""
        for statement in STATEMENTS[status]:
            began = time.monotonic()
            touched = connection.execute(statement.encode(), values).rowcount
            seconds = time.monotonic() - began
            if seconds > self.longest_seconds:
                self.longest_seconds = seconds
                self.slowest.append((round(seconds, 4), status))
            if touched > 0:
                return
        self.unanswered += 1
