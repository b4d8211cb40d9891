"""The database and the reference model agree to the byte, whatever order whatever happens in.

Hypothesis makes up what routers send, how the network and two or three FreeRADIUS servers bring it, what the reaper
and operators do in between, and compares every counter, every session and every day after each step. A run is the same
every time; RADMETER_LONG=1 makes it a long one with another seed each time, RADMETER_SEED=<number> repeats one.
"""

import os
import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from support.ledger import EPOCH, MICROSECOND, Entry, Pairs, close_stale, empty, register, ship, subscribe
from support.model import DAY, SECOND, WRAP, Model, Plan, Router, instant
from support.rounds import rounds
from support.servers import Server, installed

from radmeter.ingest.store import Store

LONG = os.environ.get("RADMETER_LONG") == "1"
SEED = int(os.environ.get("RADMETER_SEED", "0"))
GIB = 1 << 30

ROUTERS = (
    Router("alpha", mac="02:00:00:00:00:0a"),
    Router(
        "bravo",
        mac="02:00:00:00:00:0b",
        timezone="America/New_York",
        interim_interval=1200,
        plausible_mbit_per_second=5,
    ),
    Router("charlie", nas_identifier="charlie-ap", timezone="Australia/Lord_Howe"),
    Router("delta", ip_address="10.0.0.4", timezone="Asia/Kolkata"),
    Router("echo", ip_address="10.0.0.9", timezone="Pacific/Auckland"),
    Router("foxtrot", ip_address="10.0.0.9"),
    Router("golf", mac="02:00:00:00:00:0f", nas_identifier="golf-ap", clients=("192.0.2.7",)),
)
# What a packet says about its router: the first three registered, by name, by address; the others are discovered.
DOORS: tuple[Pairs, ...] = (
    (("Called-Station-Id", "02-00-00-00-00-0A:Guests"), ("NAS-IP-Address", "10.0.0.9")),
    (("Called-Station-Id", "0200.0000.000b"), ("NAS-IP-Address", "10.0.0.4")),
    (("Called-Station-Id", "02-00-00-00-00-0C"), ("NAS-Identifier", "charlie-ap"), ("NAS-IP-Address", "10.0.0.9")),
    (("NAS-Identifier", "delta"), ("NAS-IP-Address", "10.0.0.77")),
    (("NAS-IP-Address", "10.0.0.4"),),
    (("NAS-IP-Address", "10.0.0.9"),),
    (("Called-Station-Id", "02000000000d:Bar"), ("NAS-Identifier", "MikroTik"), ("NAS-IP-Address", "10.0.0.77")),
    (("NAS-Identifier", "02:00:00:00:00:0D"), ("NAS-IP-Address", "10.0.0.77")),
    (("NAS-Identifier", "MikroTik"), ("NAS-IP-Address", "10.0.0.77")),
    # Bound to a client: by its MAC from that client; from another one, also by its name, with the address of delta.
    (("Called-Station-Id", "020000-00000F"), ("NAS-IP-Address", "10.0.0.77"), ("Tmp-IP-Address-0", "192.0.2.7")),
    (("Called-Station-Id", "02-00-00-00-00-0F"), ("NAS-IP-Address", "10.0.0.77"), ("Tmp-IP-Address-0", "192.0.2.9")),
    (("NAS-Identifier", "golf-ap"), ("NAS-IP-Address", "10.0.0.4")),
    # From that other client: a MAC of its own, without and with the name of golf.
    (("Called-Station-Id", "02-00-00-00-00-0D"), ("NAS-IP-Address", "10.0.0.77"), ("Tmp-IP-Address-0", "192.0.2.9")),
    (("Called-Station-Id", "02-00-00-00-00-0A"), ("NAS-Identifier", "golf-ap"), ("Tmp-IP-Address-0", "192.0.2.9")),
    # Behind LTE: the address changes. Two with the factory's name and address.
    (("Called-Station-Id", "02-00-00-00-00-0E:Guests"), ("NAS-Identifier", "lte"), ("NAS-IP-Address", "100.64.0.1")),
    (("Called-Station-Id", "02-00-00-00-00-11"), ("NAS-Identifier", "MikroTik"), ("NAS-IP-Address", "192.168.88.1")),
    (("Called-Station-Id", "02-00-00-00-00-12"), ("NAS-Identifier", "MikroTik"), ("NAS-IP-Address", "192.168.88.1")),
    # A MAC as NAS-Identifier, as at 7, and the same address.
    (("NAS-Identifier", "02:00:00:00:00:13"), ("NAS-IP-Address", "10.0.0.77")),
)  # fmt: skip
PLANS = {
    "daily": Plan("daily", timezone="America/Sao_Paulo"),
    "weekly": Plan("weekly", anchor_day=3),
    "monthly-31": Plan("monthly", anchor_day=31, timezone="Pacific/Auckland"),
    "one-time": Plan("one-time"),
}
# A session of its own for each: who, at which router. The same user on several routers, several users on one.
SLOTS = (
    ("anna", 0), ("anna", 1), ("daily", 1), ("daily", 2), ("weekly", 3), ("monthly-31", 4), ("one-time", 6), (None, 0),
    (None, 5), ("anna", 7), ("bert", 8), ("monthly-31", 1), ("daily", 6), ("anna", 4), ("anna", 9), ("daily", 10),
    ("anna", 11), ("anna", 12), ("anna", 13), ("anna", 14), ("bert", 14), ("bert", 15), ("bert", 16), ("bert", 15),
    ("bert", 16), ("bert", 7), ("bert", 17),
)  # fmt: skip
# With a Class by which FreeRADIUS identifies a session, the user name need not be in each packet.
CLASS_SLOTS = (12, 13)
# With one Class and session id at two routers.
TWINS = (25, 26)
# The devices of users. Their packets may lack Calling-Station-Id, Called-Station-Id and User-Name, or come from another
# address or access point. The last four slots have one session id: two have a device, two never show one.
DEVICES = {19: "AA-00-00-00-00-01", 20: "AA-00-00-00-00-02", 21: "AA-00-00-00-00-03", 22: "AA-00-00-00-00-04"}
CLONES = (21, 22, 23, 24)

# Before a month's end, a leap day that is none, and the nights on which New York, Lord Howe and Auckland change clocks.
BEGINNINGS = tuple(
    instant(datetime.fromisoformat(text).replace(tzinfo=UTC))
    for text in (
        "2026-03-10 10:00",
        "2026-02-28 20:00",
        "2026-03-08 04:00",
        "2026-04-04 12:00",
        "2025-11-01 23:00",
        "2025-12-31 10:00",  # before today: a server's clock is not ahead of the database's
    )
)


@dataclass(frozen=True)
class Sent:
    """What a router sends, in terms of what it would send if all were well."""

    slot: int | None
    """None: the one that the batch is mostly about."""
    status: str
    tick_seconds: int
    """Since the packet before it."""
    offset_seconds: int
    """Event less arrival."""
    stamped: bool
    session_time: str
    growth: tuple[int | str | None, int | str | None]
    gigawords: bool
    named: bool
    """Whether User-Name is in it, where the session can be told without."""
    oddity: str
    """How the identity of a packet with a device, or of a clone, differs from that of its session."""
    extra: Pairs
    lost: bool
    """On the way; it may come later, as a copy."""
    copy_of: int | None
    """Instead of all this, a packet from the router's memory again."""


def weighted(*choices: tuple[int, Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([choice for weight, choice in choices for _ in range(weight)])


GROWTH = weighted(
    (3, 1000),
    (1, 0),
    (2, 1),
    (2, 123_456_789),
    (2, GIB),
    (1, WRAP - 1),
    (1, 2_250_000_000),
    (1, "fell"),
    (1, "near wrap"),
    (1, None),
)
SENT = st.builds(
    Sent,
    slot=st.none() | st.integers(0, len(SLOTS) - 1),
    status=weighted(
        (6, "Interim-Update"), (3, "Start"), (3, "Stop"), (1, "Accounting-On"), (1, "Accounting-Off"), (1, "Alive"),
        (1, "reboot without a word"),
    ),
    tick_seconds=weighted((4, 60), (2, 0), (2, 1), (2, 600), (1, 59), (1, 400), (1, 3600), (1, 20_000), (1, 86_400)),
    offset_seconds=weighted(
        (12, -1), (2, 0), (1, -60), (1, -599), (1, -3600), (1, -40_000), (1, -3 * 86_400), (1, -7 * 86_400), (1, 200),
        (1, 298), (1, 300), (1, 301), (1, 303), (1, -8 * 86_400),
    ),
    stamped=weighted((4, True), (1, False)),
    session_time=weighted((6, "true"), (2, "absent"), (1, "zero"), (1, "long")),
    growth=st.tuples(GROWTH, GROWTH),
    gigawords=weighted((3, True), (2, False)),
    named=st.booleans(),
    oddity=weighted(
        (6, ""), (2, "another address"), (1, "a third address"), (1, "no device"), (1, "no access point"),
        (1, "another access point"), (1, "no name"),
    ),
    extra=weighted(
        (8, ()), (1, (("Acct-Interim-Interval", "900"),)), (1, (("Acct-Delay-Time", "700"),)),
        (1, (("Acct-Session-Time", "-1"),)),
    ),
    lost=weighted((11, False), (1, True)),
    copy_of=weighted((7, None), (1, 1), (1, 2), (1, 5), (1, 20)),
)  # fmt: skip


traffic_rule = rule(
    node=st.sampled_from(["node-1", "node-2", "node-3"]),
    mostly=st.integers(0, len(SLOTS) - 1),
    lag_seconds=weighted((3, 0), (1, 30), (1, 3000)),
    sent=st.lists(SENT, min_size=1, max_size=40),
    batch=weighted((2, 1000), (1, 7), (1, 1)),
    died_before_it_knew=st.booleans(),
)


class Truth:
    """What a slot's router knows of its session."""

    def __init__(self) -> None:
        self.start = 0
        self.octets = [0, 0]


class Agreement(RuleBasedStateMachine):
    """Everything that happens, to the model and to the database."""

    connection: ClassVar[psycopg.Connection[Any]]
    store: ClassVar[Store]
    steps: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.truths = [Truth() for _ in SLOTS]
        self.memory: list[Pairs] = []
        self.journals: dict[str, list[Entry]] = defaultdict(list)
        self.deleted = False

    @initialize(
        beginning=st.sampled_from(BEGINNINGS),
        timezone=st.sampled_from(["UTC", "America/Los_Angeles"]),
    )
    def begin(self, beginning: int, timezone: str) -> None:
        self.set_up(beginning, timezone)

    def set_up(self, beginning: int, timezone: str) -> None:
        self.now = beginning
        for truth in self.truths:
            truth.start = beginning
        self.model = Model(timezone=timezone, routers=list(ROUTERS), plans=PLANS)
        empty(self.connection, timezone=timezone)
        for router in ROUTERS:
            columns = {name: value for name, value in vars(router).items() if name != "name" and value}
            columns |= {"clients": list(router.clients) or None}
            register(self.connection, router.name, **columns)
        for username, plan in PLANS.items():
            columns = {
                "quota_type": plan.quota_type,
                "anchor_day": plan.anchor_day,
                "timezone": plan.timezone,
            }
            subscribe(self.connection, username, str(plan.quota_start), **columns)

    @traffic_rule
    def packets(self, **traffic: Any) -> None:
        self.send(**traffic)

    def send(
        self,
        node: str,
        mostly: int,
        lag_seconds: int,
        sent: list[Sent],
        batch: int,
        died_before_it_knew: bool,
    ) -> None:
        """Routers send; a node journals what reaches it and ships that, now or `lag_seconds` behind the others."""
        journal = self.journals[node]
        first = len(journal)
        for packet in sent:
            self.now += packet.tick_seconds * SECOND
            arrival = self.now - lag_seconds * SECOND + 250_000
            if packet.copy_of is not None and packet.copy_of <= len(self.memory):
                pairs = self.memory[-packet.copy_of]
            else:
                pairs = self._pairs(packet, mostly if packet.slot is None else packet.slot, arrival)
                if pairs:
                    self.memory.append(pairs)
            if not pairs or packet.lost:
                continue
            entry = Entry(len(journal) + 1, arrival, pairs)
            note(f"{node}: {entry}")
            journal.append(entry)
        for begin in range(first, len(journal), batch):
            entries = journal[begin : begin + batch]
            ship(self.store, node, entries)
            if died_before_it_knew:
                ship(self.store, node, entries)
        for entry in journal[first:]:
            self.model.receive(node, entry.seq, entry.received_us, entry.pairs)
            type(self).steps += 1
        self._compare()

    @traffic_rule
    def more_packets(self, **traffic: Any) -> None:
        """The same, so that it happens more often than the rest."""
        self.send(**traffic)

    @rule(node=st.sampled_from(["node-1", "node-2", "node-3"]), behind=st.integers(1, 100))
    def old_batch_again(self, node: str, behind: int) -> None:
        """A shipper ships what it has shipped, and some."""
        ship(self.store, node, self.journals[node][-behind:])
        self._step()

    @rule(seconds=st.sampled_from([0, 60, 570, 601, 1800, 3600, 86_400]))
    def reaper(self, seconds: int) -> None:
        self.now += seconds * SECOND
        assert close_stale(self.connection, EPOCH + self.now * MICROSECOND) == self.model.reap(self.now)
        self._step()

    @rule(which=st.integers(0, 20), ago_seconds=st.sampled_from([0, 300]))
    def operator_closes(self, which: int, ago_seconds: int) -> None:
        """Plain SQL, as tools for FreeRADIUS's tables have it."""
        uids = sorted(session.id for session in self.model.open_sessions())
        if which < len(uids):
            at = self.now - ago_seconds * SECOND
            # What the periodic jobs do in time.
            self.connection.execute("SELECT radmeter.ensure_partition(%s)", (EPOCH + at * MICROSECOND,))
            self.connection.execute(
                """UPDATE radacct SET acctstoptime = %s, acctterminatecause = 'Lost-Service'
                   WHERE acctuniqueid = %s AND acctstoptime IS NULL""",
                (EPOCH + at * MICROSECOND, uids[which]),
            )
            self.model.close(uids[which], at, "Lost-Service")
        self._step()

    @rule(days=st.sampled_from([1, 8, 30]))
    def operator_deletes(self, days: int) -> None:
        """Retention by hand."""
        before = self.now - days * DAY
        self.connection.execute(
            "DELETE FROM radacct WHERE acctstoptime < %s", (EPOCH + before * MICROSECOND,)
        )
        self.deleted |= any(
            session.stop is not None and session.stop < before for session in self.model.sessions
        )
        self.model.delete_closed(before)
        self._step()

    # --- what a router sends

    def _pairs(self, sent: Sent, slot: int, arrival: int) -> Pairs:
        truth = self.truths[slot]
        username, door = SLOTS[slot]
        if sent.status in ("reboot without a word", "Accounting-Off"):
            for other, (_, their_door) in zip(self.truths, SLOTS, strict=True):
                if their_door == door:
                    other.start, other.octets = self.now, [0, 0]
        if sent.status == "reboot without a word":
            return ()
        stamp = arrival // SECOND + sent.offset_seconds
        odd = sent.oddity if slot in DEVICES or slot in CLONES else ""
        pairs = [("Acct-Status-Type", sent.status), *self._shown(DOORS[door], odd)]
        if sent.stamped:
            pairs.append(("Tmp-Integer-0", str(stamp)))
        pairs.extend(sent.extra)
        if sent.status in ("Accounting-On", "Accounting-Off"):
            return pairs
        shared = "session-clone" if slot in CLONES else "session-twin" if slot in TWINS else ""
        pairs.append(("Acct-Session-Id", shared or f"session-{slot}"))
        if slot in DEVICES and odd != "no device":
            pairs.append(("Calling-Station-Id", DEVICES[slot]))
        if slot in CLASS_SLOTS or slot in TWINS:
            number = TWINS[0] if slot in TWINS else slot
            pairs.append(("Class", "0x" + f"ai:{number:032x}".encode().hex()))
        if username is not None and (sent.named or slot not in CLASS_SLOTS) and odd != "no name":
            pairs.append(("User-Name", username))
        if sent.status == "Start":
            truth.start, truth.octets = stamp * SECOND, [0, 0]
            return pairs
        seconds = {"true": max(stamp - truth.start // SECOND, 0), "zero": 0, "long": 50_000, "absent": None}[
            sent.session_time
        ]
        if seconds is not None:
            pairs.append(("Acct-Session-Time", str(seconds)))
        for index, name in enumerate(("Input", "Output")):
            growth = sent.growth[index]
            if growth is None:
                continue
            if growth == "fell":
                truth.octets[index] //= 3
            elif growth == "near wrap":
                truth.octets[index] = truth.octets[index] // WRAP * WRAP + WRAP - 1000
            else:
                truth.octets[index] += int(growth)
            pairs.append((f"Acct-{name}-Octets", str(truth.octets[index] % WRAP)))
            if sent.gigawords:
                pairs.append((f"Acct-{name}-Gigawords", str(truth.octets[index] // WRAP)))
        return pairs

    @staticmethod
    def _shown(door: Pairs, odd: str) -> Pairs:
        """Return what a packet says about its router."""
        other = {
            "another address": ("NAS-IP-Address", "100.64.0.2"),
            "a third address": ("NAS-IP-Address", "100.64.0.3"),
            "another access point": ("Called-Station-Id", "02-00-00-00-00-0A:Guests"),
        }
        if odd == "no access point":
            return tuple(pair for pair in door if pair[0] != "Called-Station-Id")
        name, value = other.get(odd, ("", ""))
        return tuple((name, value) if pair[0] == name else pair for pair in door)

    # --- what must be the same

    def _step(self) -> None:
        type(self).steps += 1
        self._compare()

    def _compare(self) -> None:
        model = self.model
        assert self._sessions() == sorted(
            ((s.id, s.start, s.stop, s.username, s.router, s.cause, *s.total) for s in model.sessions),
            key=repr,
        )
        assert self._counters("users") == {key: tuple(n) for key, n in model.users.items() if any(n)}
        assert self._counters("days") == {key: tuple(n) for key, n in model.days.items() if any(n)}
        counted = self.connection.execute(
            """SELECT (SELECT count(*) FROM accounting_anomaly WHERE direction IS NOT NULL),
                      (SELECT count(*) FROM rejected_packet)"""
        ).fetchone()
        assert counted == (model.anomalies, model.rejected)
        if not self.deleted:
            self._recompute()

    def _sessions(self) -> list[tuple[Any, ...]]:
        rows = self.connection.execute(
            """SELECT acctuniqueid, (extract(epoch FROM acctstarttime) * 1000000)::bigint,
                      (extract(epoch FROM acctstoptime) * 1000000)::bigint, session.username,
                      coalesce(router.discovery_key, router.name), acctterminatecause,
                      acctinputoctets, acctoutputoctets
               FROM radacct AS session LEFT JOIN routers AS router ON router.id = session.router_id"""
        )
        return sorted(rows, key=repr)

    COUNTERS: ClassVar = {
        "users": """SELECT username, period_start, bytes_in, bytes_out FROM user_quota_usage
                    WHERE bytes_in <> 0 OR bytes_out <> 0""",
        "days": """SELECT coalesce(router.discovery_key, router.name), usage_date, bytes_in, bytes_out
                   FROM router_daily_usage AS usage JOIN routers AS router ON router.id = usage.router_id
                   WHERE bytes_in <> 0 OR bytes_out <> 0""",
    }

    def _counters(self, which: str) -> dict[tuple[Any, ...], tuple[int, int]]:
        return {(name, day): (i, o) for name, day, i, o in self.connection.execute(self.COUNTERS[which])}

    def _recompute(self) -> None:
        """The counters are the sum of the sessions' parts: what reconciliation relies on."""
        off = self.connection.execute(
            """WITH part AS (
                   SELECT radacctid, usage_date, period_start, bytes_in, bytes_out FROM radmeter.session_slice
                   UNION ALL
                   SELECT radacctid, usage_date, period_start,
                          acctinputoctets - coalesce(sum(slice.bytes_in), 0),
                          acctoutputoctets - coalesce(sum(slice.bytes_out), 0)
                   FROM (SELECT radacctid, usage_date, period_start, coalesce(acctinputoctets, 0) AS acctinputoctets,
                                coalesce(acctoutputoctets, 0) AS acctoutputoctets FROM radacct) AS session
                   LEFT JOIN (SELECT radacctid, bytes_in, bytes_out FROM radmeter.session_slice) AS slice
                       USING (radacctid)
                   GROUP BY radacctid, usage_date, period_start, acctinputoctets, acctoutputoctets
               ), total AS (
                   SELECT 'user' AS whose, username AS name, part.period_start AS day, part.bytes_in, part.bytes_out
                   FROM part JOIN radacct USING (radacctid) WHERE username IS NOT NULL
                   UNION ALL
                   SELECT 'router', router_id::text, part.usage_date, part.bytes_in, part.bytes_out
                   FROM part JOIN radacct USING (radacctid)
                   UNION ALL
                   SELECT 'user', username, period_start, -bytes_in, -bytes_out FROM user_quota_usage
                   UNION ALL
                   SELECT 'router', router_id::text, usage_date, -bytes_in, -bytes_out FROM router_daily_usage
               )
               SELECT whose, name, day, sum(bytes_in), sum(bytes_out) FROM total GROUP BY whose, name, day
               HAVING sum(bytes_in) <> 0 OR sum(bytes_out) <> 0"""
        ).fetchall()
        assert off == []


LEAST_STEPS = 200_000 // len(installed()) if LONG else 2_000


@pytest.mark.timeout(
    14_400 if LONG else 1200
)  # for finding the smallest example of a failure; agreeing takes a minute
def test_the_database_and_the_model_agree(server: Server) -> None:
    with server.clone() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        store = Store(dsn)
        values = {"connection": connection, "store": store, "steps": 0}
        machine: type[Agreement] = type("Agreement", (Agreement,), values)
        # On each server another sequence of random numbers.
        usual = (
            random.SystemRandom().randrange(1, 1 << 32) if LONG else connection.info.server_version // 10_000
        )
        chosen = SEED or usual
        try:
            while machine.steps < LEAST_STEPS:
                print(f"{machine.steps} steps, on with RADMETER_SEED={chosen}")
                run_state_machine_as_test(
                    seed(chosen)(machine),
                    settings=settings(
                        max_examples=rounds(50),
                        stateful_step_count=50,
                        database=None,
                        deadline=None,
                        print_blob=True,
                        phases=[Phase.generate, Phase.shrink],
                        report_multiple_bugs=False,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
                chosen += 1000
        finally:
            store.close()
    print(f"{machine.steps} steps")
