"""Random months on a real database: whatever comes late, moves or is mended, all is billed once, to the last digit.

After each close: a document is the sum of its lines, and its octets are those of its days. At the end, after a last
close: all documents together have exactly the octets that the sessions had, on the days on which the routers were a
tenant's; and each month costs what tests/support/money_model.py says.
"""

import datetime
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.ledger import Entry, believe_old_arrivals, microseconds, ship
from support.money_model import ModelRate, days_of, month_net
from support.servers import Server

from radmeter.billing import assignments, closing, discarding, issuing, tenants
from radmeter.billing.credit import BadCredit, credit_all, credit_amount
from radmeter.billing.issued_files import IssuedFiles
from radmeter.billing.months import Month, months
from radmeter.billing.rates import terms
from radmeter.database.operator import connect_as_operator
from radmeter.errors import StoreError
from radmeter.ingest.store import Store
from radmeter.routers.changes import RouterWriter
from radmeter.usage import verify

DAY = datetime.timedelta(days=1)
# Clocks go forward and back, and at other times in other places; February of a leap year; the year's end.
BEGINNINGS = [Month(datetime.date(*first, 1)) for first in ((2024, 1), (2024, 10), (2025, 2), (2025, 9))]
ZONES = ["UTC", "Europe/Vienna", "Pacific/Kiritimati", "America/St_Johns", "Etc/GMT+12", "America/Sao_Paulo"]
CURRENCIES = {"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}
CLOSED_MONTHS = 3
EXAMPLE = itertools.count(1)

PRICES = st.sampled_from(["0.5", "0.0125", "4.5", "0.333333", "12", "0"])
VOLUMES = st.sampled_from(["1", "0.5", "7.25", "100"])
OCTETS = st.sampled_from([0, 1, 999_999_999, 10**9, 7 * 10**9 + 1, 2**32, 60 * 10**9])


@st.composite
def some_terms(draw: st.DrawFn) -> dict[str, Any]:
    """Return terms as they are kept."""
    found: dict[str, Any] = {"unit": draw(st.sampled_from(["GB", "GiB"])), "price": draw(PRICES)}
    starts = sorted(draw(st.sets(st.sampled_from(["2", "5.5", "20", "70"]), max_size=3)), key=Decimal)
    if starts:
        found["tiers"] = [{"from": start, "price": draw(PRICES)} for start in starts]
        found["tier_mode"] = draw(st.sampled_from(["graduated", "volume"]))
    if draw(st.booleans()):
        found["included"] = draw(VOLUMES)
    if draw(st.booleans()):
        found["minimum"] = draw(st.sampled_from(["1", "3.5"]))
    if draw(st.booleans()):
        found["maximum"] = draw(st.sampled_from(["4", "50"]))
    if draw(st.booleans()):
        found["base_fee"] = draw(st.sampled_from(["5", "0.1", "7.77"]))
    return found


class Place(NamedTuple):
    """A router."""

    id: int
    mac: str
    zone: ZoneInfo


@dataclass
class World:
    """What happens in one example, and what must come of it, as the test knows it without the database."""

    data: st.DataObject
    connection: Any
    store: Store
    files: IssuedFiles
    first: Month
    orderly: bool
    """Routers change hands only in months that are not closed, and none is merged."""
    number: int = field(default_factory=lambda: next(EXAMPLE))
    hosts: dict[str, tuple[int, list[ModelRate]]] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    owners: dict[int, dict[datetime.date, str | None]] = field(default_factory=dict)
    into: dict[int, int] = field(default_factory=dict)
    octets: dict[tuple[int, datetime.date], int] = field(default_factory=lambda: defaultdict(int))
    sessions: int = 0

    @property
    def window(self) -> list[Month]:
        """The months in which something happens."""
        return list(months(self.first, Month.of(self.first.first + 31 * (CLOSED_MONTHS - 1) * DAY)))[
            :CLOSED_MONTHS
        ]

    def draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.data.draw(strategy)

    def set_up(self) -> None:
        for at in range(2):
            name = f"host-{self.number}-{at}"
            code = self.draw(st.sampled_from(sorted(CURRENCIES)))
            zone = self.draw(st.sampled_from(ZONES))
            given = {
                "currency": code,
                "timezone": zone,
                "tax_rate": self.draw(st.sampled_from(["0", "20", "8.875"])),
            }
            tenants.add(self.connection, name, tenants.values(given))
            begins = {self.first.first} | self.draw(st.sets(st.sampled_from(self.days()), max_size=2))
            if not self.orderly and self.draw(st.booleans()):
                begins = {self.first.first + 9 * DAY}
            rates = [ModelRate(day, self.draw(some_terms())) for day in sorted(begins)]
            for rate in rates:
                tenants.set_rate(self.connection, name, rate.from_day, terms(rate.terms))
            self.hosts[name] = (CURRENCIES[code], rates)
        for at in range(3):
            mac = f"02:00:{self.number >> 8:02x}:{self.number & 255:02x}:00:{at:02x}"
            zone = self.draw(st.sampled_from(ZONES))
            ((router,),) = self.connection.execute(
                "INSERT INTO public.routers (name, mac, timezone) VALUES (%s, %s, %s) RETURNING id",
                (f"router-{self.number}-{at}", mac, zone),
            ).fetchall()
            self.places[router] = Place(router, mac, ZoneInfo(zone))
            self.owners[router] = {}
            self.assign(router, self.draw(st.sampled_from(sorted(self.hosts))), self.first.first)

    def days(self) -> list[datetime.date]:
        return [day for month in self.window for day in days_of(month.first)]

    def living(self) -> list[int]:
        return [router for router in self.places if router not in self.into]

    def assign(self, router: int, name: str | None, day: datetime.date) -> None:
        # What is so already is not said again: an earlier day that is said later goes on beyond it.
        if assignments.assign(self.connection, router, name, day).changed:
            self.owners[router][day] = name

    def owner(self, router: int, day: datetime.date) -> str | None:
        begun = [since for since in self.owners[router] if since <= day]
        return self.owners[router][max(begun)] if begun else None

    # What may happen.

    def usage(self, open_month: Month) -> None:
        """A session on any day of the window: of a closed month it is late. It goes on over a midnight."""
        router = self.draw(st.sampled_from(sorted(self.places)))
        mac, found = self.places[router].mac, self.into.get(router, router)
        self.sessions += 1
        minutes = self.draw(st.integers(1440, len(self.days()) * 1440 - 2 * 1440))
        at = datetime.datetime.combine(self.first.first, datetime.time(), datetime.UTC)
        at += datetime.timedelta(minutes=minutes)
        sent, entries = (0, 0), []
        for number, status in enumerate(("Interim-Update", "Stop"), start=1):
            now = (sent[0] + self.draw(OCTETS), sent[1] + self.draw(OCTETS))
            pairs = [
                ("Acct-Status-Type", status),
                ("Acct-Session-Id", f"{self.number}-{self.sessions}"),
                ("User-Name", f"user-{self.number}-{self.sessions % 3}"),
                ("NAS-IP-Address", "192.0.2.1"),
                ("Called-Station-Id", f"{mac.replace(':', '-')}:Guests"),
                ("Tmp-Integer-0", str(microseconds(at) // 1_000_000)),
            ]
            for name, count in zip(("Input", "Output"), now, strict=True):
                pairs.append((f"Acct-{name}-Octets", str(count % 2**32)))
                pairs.append((f"Acct-{name}-Gigawords", str(count >> 32)))
            entries.append(Entry(number, microseconds(at) + 1, pairs))
            self.octets[found, at.astimezone(self.places[found].zone).date()] += sum(now) - sum(sent)
            sent, at = now, at + datetime.timedelta(hours=7)
        ship(self.store, f"node-{self.number}-{self.sessions}", entries)

    def move(self, open_month: Month) -> None:
        """A router changes hands on a day: of a closed month, if it need not be orderly."""
        days = [day for day in self.days() if not self.orderly or day >= open_month.first]
        if not days:
            return
        names = [*self.hosts] if self.orderly else [*self.hosts, None]
        self.assign(
            self.draw(st.sampled_from(self.living())),
            self.draw(st.sampled_from(names)),
            self.draw(st.sampled_from(days)),
        )

    def merge(self, open_month: Month) -> None:
        """Two rows of a router become one: its days keep their dates."""
        if self.orderly or len(self.living()) < 2:
            return
        source, target = self.draw(st.permutations(self.living()))[:2]
        differ = any(
            router == source and self.owner(source, day) not in (None, self.owner(target, day))
            for router, day, _ in self.days_of_routers()
        )
        try:
            self.merge_routers(source, target)
        except StoreError:
            # Octets of a tenant would become another's: first say that they are.
            assert differ
            for day in sorted({*self.owners[source], *self.owners[target]}):
                self.assign(source, self.owner(target, day), day)
            self.merge_routers(source, target)
        else:
            assert not differ
        for router in self.places:
            if router == source or self.into.get(router) == source:
                self.into[router] = target
        for router, day in [key for key in self.octets if key[0] == source]:
            self.octets[target, day] += self.octets.pop((router, day))

    def merge_routers(self, source: int, target: int) -> None:
        for _ in RouterWriter(self.connection).merge(source, target):
            pass

    def repair(self, open_month: Month) -> None:
        """Counters that were wrong, and billed so, are computed again from the sessions."""
        differences = verify.router_differences(self.connection, verify.Scope())[1]
        verify.repair(self.connection, differences)

    def spoil(self, open_month: Month) -> None:
        """Somebody changes a counter by hand. The next repair finds it."""
        self.connection.execute(
            """UPDATE public.router_daily_usage SET bytes_in = bytes_in + 5000000000
               WHERE (router_id, usage_date) IN (SELECT router_id, usage_date FROM public.router_daily_usage
                                                 WHERE router_id = ANY (%s) ORDER BY 1, 2 LIMIT 1)""",
            (list(self.places),),
        )

    # What an operator does with a month.

    def close(self, month: Month) -> None:
        names = list(self.hosts)
        dry = closing.close(self.connection, month, names, dry_run=True)
        real = closing.close(self.connection, month, names)
        assert real == dry
        if self.draw(st.booleans()):
            discarding.discard(self.connection, month, names)
            assert closing.close(self.connection, month, names) == real
        assert closing.close(self.connection, month, names).drafts == []
        self.documents_add_up()

    def issue(self) -> None:
        drafts = [
            row[0]
            for row in self.rows("SELECT id FROM public.invoices WHERE status = 'draft' AND ours ORDER BY id")
        ]
        if drafts:
            issuing.issue(self.connection, self.files, drafts)

    def give_back(self) -> None:
        """A document is credited in part, or becomes void."""
        issued = self.rows("SELECT id, net FROM public.invoices WHERE status = 'issued' AND ours ORDER BY id")
        if not issued:
            return
        document, net = self.draw(st.sampled_from(issued))
        if self.draw(st.booleans()):
            part = Decimal(int(net))
            try:
                issuing.credit(
                    self.connection,
                    self.files,
                    document,
                    lambda invoice, money: credit_amount(invoice, part, money),
                    "part",
                )
            except BadCredit:
                assert not part or self.rows(
                    "SELECT id FROM public.invoices WHERE ours AND id IN (SELECT invoice_id FROM public.credit_notes)"
                )
        if self.draw(st.booleans()):
            try:
                issuing.credit(self.connection, self.files, document, credit_all, "void", voids=True)
            except BadCredit:
                assert not net or self.rows("SELECT id FROM public.credit_notes")

    # What must be so.

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return rows of a query, in which ``ours`` stands for the documents of this example."""
        ours = f"tenant_id IN (SELECT id FROM radmeter.tenants WHERE name LIKE 'host-{self.number}-%%')"
        found: list[tuple[Any, ...]] = self.connection.execute(query.replace("ours", ours), {}).fetchall()
        return found

    def documents_add_up(self) -> None:
        for net, tax, amount, octets, taxes, digits, line_nets, line_octets, days in self.rows(
            """SELECT net, tax, amount, usage_bytes, taxes, digits,
                      (SELECT coalesce(sum(line.net), 0) FROM public.invoice_lines AS line WHERE line.invoice_id = id),
                      (SELECT coalesce(sum(line.usage_bytes), 0) FROM public.invoice_lines AS line
                       WHERE line.invoice_id = id),
                      (SELECT coalesce(sum(usage.bytes_in + usage.bytes_out), 0) FROM public.invoice_usage AS usage
                       WHERE usage.invoice_id = id)
               FROM public.invoices WHERE ours"""
        ):
            assert net == line_nets
            assert octets == line_octets == days
            assert amount == net + tax
            assert net == sum(Decimal(each["net"]) for each in taxes)
            assert tax == sum(Decimal(each["tax"]) for each in taxes)
            for each in taxes:
                exact = Decimal(each["net"]) * Decimal(each["rate"]) / 100
                assert abs(exact - Decimal(each["tax"])) * 2 * 10**digits <= 1

    def everything_is_billed_once(self) -> None:
        first_rates = {name: min(rate.from_day for rate in rates) for name, (_, rates) in self.hosts.items()}
        # All that the sessions had is in the days, and in the documents.
        assert {(row[0], row[1]): row[2] for row in self.days_of_routers()} == {
            key: count for key, count in self.octets.items() if count
        }
        assert self.of_sessions() == sum(self.octets.values())
        expected: dict[tuple[str, int, datetime.date], int] = {}
        for (router, day), count in self.octets.items():
            name = self.owner(router, day)
            if count and name is not None and day >= first_rates[name]:
                expected[name, router, day] = count
        billed = {
            tuple(row[:3]): row[3]
            for row in self.rows(
                """SELECT (SELECT name FROM radmeter.tenants AS tenant WHERE tenant.id = tenant_id), usage.router_id,
                          usage.usage_date, sum(usage.bytes_in + usage.bytes_out)
                   FROM public.invoices JOIN public.invoice_usage AS usage ON usage.invoice_id = invoices.id
                   WHERE status <> 'void' AND ours GROUP BY 1, 2, 3"""
            )
            if row[3]
        }
        assert billed == expected
        nets = {
            (row[0], row[1]): (row[2], row[3])
            for row in self.rows(
                """SELECT (SELECT name FROM radmeter.tenants AS tenant WHERE tenant.id = tenant_id),
                          date_trunc('month', line.period_start)::date, sum(line.net),
                          coalesce(sum(line.usage_bytes), 0)
                   FROM public.invoices JOIN public.invoice_lines AS line ON line.invoice_id = invoices.id
                   WHERE status <> 'void' AND ours GROUP BY 1, 2"""
            )
        }
        for name, (digits, rates) in self.hosts.items():
            for month in [*self.window, self.window[-1].next]:
                octets: dict[datetime.date, int] = defaultdict(int)
                routers: dict[datetime.date, int] = {}
                for day in days_of(month.first):
                    for router in self.places:
                        if self.owner(router, day) == name:
                            octets[day] += self.octets.get((router, day), 0)
                    # A merged router has no base fee of its own.
                    routers[day] = sum(self.owner(router, day) == name for router in self.living())
                    if day < first_rates[name]:
                        octets[day] = 0
                net = Decimal(month_net(month.first, rates, octets, routers, digits)) / 10**digits
                assert nets.pop((name, month.first), (0, 0)) == (net, sum(octets.values())), (name, month)
        assert nets == {}

    def days_of_routers(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.connection.execute(
            """SELECT router_id, usage_date, bytes_in + bytes_out FROM public.router_daily_usage
               WHERE router_id = ANY (%s) AND bytes_in + bytes_out > 0""",
            (list(self.places),),
        ).fetchall()
        return found

    def of_sessions(self) -> int:
        ((octets,),) = self.connection.execute(
            """SELECT coalesce(sum(acctinputoctets + acctoutputoctets), 0) FROM public.radacct
               WHERE router_id = ANY (%s)""",
            (list(self.places),),
        ).fetchall()
        return int(octets)


@pytest.fixture(scope="module")
def used_database(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Store, IssuedFiles]]:
    """One database for all examples, each with tenants and routers of its own, and the directory of its documents."""
    place = tmp_path_factory.mktemp("billing")
    with server.clone() as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            believe_old_arrivals(connection)
        store = Store(dsn)
        with connect_as_operator(dsn) as connection:
            yield connection, store, IssuedFiles(place / "documents", place / "key.pem")
        store.close()


@pytest.mark.parametrize("orderly", [True, False], ids=["in order", "late, moved, merged and mended"])
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    # An example takes half a second: the smallest one would take minutes to find.
    phases=[Phase.explicit, Phase.generate],
)
@given(data=st.data())
def test_all_documents_together_have_what_the_sessions_had(
    used_database: tuple[Any, Store, IssuedFiles], data: st.DataObject, orderly: bool
) -> None:
    world = World(data, *used_database, data.draw(st.sampled_from(BEGINNINGS)), orderly)
    world.set_up()
    events: dict[str, Callable[[Month], None]] = {
        "usage": world.usage,
        "more usage": world.usage,
        "move": world.move,
        "merge": world.merge,
        "spoil": world.spoil,
        "repair": world.repair,
    }
    for month in world.window:
        for _ in range(data.draw(st.integers(0, 6))):
            events[data.draw(st.sampled_from(sorted(events)))](month)
        world.close(month)
        world.issue()
        if month != world.window[-1]:
            world.give_back()
    for _ in range(data.draw(st.integers(0, 4))):
        events[data.draw(st.sampled_from(sorted(events)))](world.window[-1].next)
    world.repair(world.first)
    world.close(world.window[-1].next)
    world.everything_is_billed_once()
