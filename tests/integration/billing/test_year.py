"""A year from detail files to issued documents: replayed and closed month by month, with packets that come late."""

import datetime
import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from support.commands import radmeter
from support.money_model import ModelRate, days_of, month_net
from support.servers import Connection

DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)
# A leap year.
MONTHS = [datetime.date(2024, number, 1) for number in range(1, 13)]
CLOSED = [*MONTHS, datetime.date(2025, 1, 1)]


class Host(NamedTuple):
    """A tenant: its currency, tax and rates."""

    currency: str
    digits: int
    tax: int
    rates: list[ModelRate]


class Place(NamedTuple):
    """A router: its zone, and whose it is from which day on."""

    zone: str
    owners: list[tuple[datetime.date, str]]


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


HOSTS = {
    "acme": Host("EUR", 2, 20, [ModelRate(day("2024-01-01"), {"price": "0.5"})]),
    "hotel": Host(
        "KWD",
        3,
        0,
        [
            ModelRate(
                day("2024-01-01"),
                {
                    "unit": "GiB",
                    "price": "0.0125",
                    "tiers": [{"from": "40", "price": "0.0075"}],
                    "included": "2",
                },
            ),
            # In mid-month, and for a month of 29 days.
            ModelRate(day("2024-02-20"), {"price": "0.01", "minimum": "0.75", "maximum": "2"}),
            ModelRate(
                day("2024-07-01"),
                {
                    "price": "0.02",
                    "tiers": [{"from": "60", "price": "0.015"}],
                    "tier_mode": "volume",
                    "base_fee": "0.1",
                },
            ),
        ],
    ),
    "inn": Host("JPY", 0, 10, [ModelRate(day("2024-01-10"), {"price": "4.5", "base_fee": "100"})]),
}
PLACES = {
    "lobby": Place("Europe/Vienna", [(day("2024-01-01"), "acme"), (day("2024-05-17"), "inn")]),
    "bar": Place("Europe/Vienna", [(day("2024-01-01"), "acme")]),
    "pool": Place("Pacific/Kiritimati", [(day("2024-01-01"), "hotel")]),
    "roof": Place("America/St_Johns", [(day("2024-01-01"), "hotel"), (day("2024-10-31"), "acme")]),
    "gate": Place("America/New_York", [(day("2024-01-01"), "inn")]),
}


class Packet(NamedTuple):
    """What a router reports: octets of a session so far."""

    place: str
    session: str
    status: str
    at: datetime.datetime
    octets_in: int
    octets_out: int


def stanza(packet: Packet) -> str:
    """Return a packet as FreeRADIUS 3.2 writes it into a detail file."""
    stamp = int(packet.at.timestamp())
    lines = {
        "Packet-Src-IP-Address": "192.0.2.1",
        "Acct-Status-Type": packet.status,
        "Acct-Session-Id": f'"{packet.session}"',
        "User-Name": '"guest"',
        "NAS-Identifier": f'"{packet.place}"',
        "Acct-Input-Octets": str(packet.octets_in % 2**32),
        "Acct-Input-Gigawords": str(packet.octets_in >> 32),
        "Acct-Output-Octets": str(packet.octets_out % 2**32),
        "Acct-Output-Gigawords": str(packet.octets_out >> 32),
        "Event-Timestamp": f'"{packet.at.astimezone(datetime.UTC):%b %d %Y %H:%M:%S} UTC"',
        "Timestamp": str(stamp),
    }
    header = f"{packet.at.astimezone(datetime.UTC):%a %b %d %H:%M:%S %Y}\n"
    return header + "".join(f"\t{name} = {value}\n" for name, value in lines.items()) + "\n"


def sessions(place: str, year: list[datetime.date]) -> list[list[Packet]]:
    """Return a router's sessions: one every three days, over midnights, changes of clocks and the year's end."""
    found = []
    zone = ZoneInfo(PLACES[place].zone)
    weight = 1 + list(PLACES).index(place)
    start = datetime.datetime.combine(year[0], datetime.time(18, 30), zone).astimezone(datetime.UTC)
    for number in range(122):
        begin = start + number * 3 * DAY
        octets = (3_000_000_001 * weight, 777_777_777 * weight + number)
        found.append(
            [
                Packet(
                    place,
                    f"{place}-{number}",
                    "Start" if part == 0 else "Stop" if part == 4 else "Interim-Update",
                    begin + part * 9 * HOUR,
                    octets[0] * part // 4,
                    octets[1] * part // 4,
                )
                for part in range(5)
            ]
        )
    return found


def owner(place: str, at: datetime.date) -> str:
    return [name for since, name in PLACES[place].owners if since <= at][-1]


@pytest.fixture
def billed(database: str, tmp_path: Path) -> Any:
    """Runs a command of radmeter that must succeed, with the directory of documents of this test."""

    def run(*arguments: str | Path) -> str:
        done = radmeter(
            database,
            *arguments,
            RADMETER_BILLING_DIRECTORY=str(tmp_path / "documents"),
            RADMETER_STATE=str(tmp_path),
        )
        assert done.exit_code == 0, (arguments, done.errors)
        return done.output

    return run


def set_up(run: Any) -> None:
    for name, host in HOSTS.items():
        run(
            "tenants",
            "add",
            name,
            "--currency",
            host.currency,
            "--timezone",
            "UTC",
            "--tax-rate",
            str(host.tax),
        )
        for rate in host.rates:
            terms = rate.terms
            unit = terms.get("unit", "GB")
            options = [f"--per-{unit.lower()}", terms["price"]]
            for tier in terms.get("tiers", ()):
                options += ["--tier", f"{tier['from']}:{tier['price']}"]
            if "tier_mode" in terms:
                options += ["--tiers", terms["tier_mode"]]
            for key in ("included", "minimum", "maximum", "base_fee"):
                if key in terms:
                    options += [f"--{key.replace('_', '-')}", terms[key]]
            run("tenants", "rate", name, "--from", rate.from_day.isoformat(), *options)
    for name, place in PLACES.items():
        run("routers", "add", "--name", name, "--timezone", place.zone, "--nas-identifier", name)
        for since, tenant in place.owners:
            run("routers", "assign", name, "--tenant", tenant, "--from", since.isoformat())


def test_a_year_is_billed_to_the_last_digit(billed: Any, connection: Connection, tmp_path: Path) -> None:
    set_up(billed)
    every = [each for place in PLACES for each in sessions(place, MONTHS)]
    # Whose and when: octets belong to the local day of the packet that reports them.
    truth: dict[tuple[str, datetime.date], int] = defaultdict(int)
    files: dict[datetime.date, list[Packet]] = defaultdict(list)
    for number, session in enumerate(every):
        for before, packet in zip([None, *session], session, strict=False):
            local = packet.at.astimezone(ZoneInfo(PLACES[packet.place].zone)).date()
            new = packet.octets_in + packet.octets_out
            truth[packet.place, local] += new - (before.octets_in + before.octets_out if before else 0)
        # What a month's file has: every ninth session comes a month late, every twentieth after the year.
        at = session[-1].at.date().replace(day=1)
        if number % 20 == 7:
            at = CLOSED[-1]
        elif number % 9 == 4:
            at = min((at + 31 * DAY).replace(day=1), CLOSED[-1])
        files[at] += session
    for month in CLOSED:
        detail = tmp_path / f"detail-{month:%Y-%m}"
        ordered = sorted(files[month], key=lambda packet: packet.at)
        detail.write_text("".join(stanza(packet) for packet in ordered))
        billed("replay", "--yes", detail)
        dry = billed("billing", "close", f"{month:%Y-%m}", "--dry-run", "--format", "json")
        real = billed("billing", "close", f"{month:%Y-%m}", "--yes", "--format", "json")
        assert json.loads(dry) == json.loads(real)
        billed("billing", "issue", f"{month:%Y-%m}", "--yes")
    assert sum(truth.values()) == sum(s[-1].octets_in + s[-1].octets_out for s in every)
    _compare(connection, truth)
    _compare_documents(connection, tmp_path / "documents")


def _compare(connection: Connection, truth: dict[tuple[str, datetime.date], int]) -> None:
    """Each tenant has paid for each month what it costs, and all octets are on documents, once."""
    billed = {
        (row[0], row[1]): (row[2], row[3])
        for row in connection.execute(
            """SELECT tenant.name, date_trunc('month', line.period_start)::date, coalesce(sum(line.usage_bytes), 0),
                      sum(line.net)
               FROM public.invoices AS invoice JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
               JOIN radmeter.tenants AS tenant ON tenant.id = invoice.tenant_id
               WHERE invoice.status = 'issued' GROUP BY 1, 2"""
        )
    }
    octets: dict[str, dict[datetime.date, int]] = defaultdict(lambda: defaultdict(int))
    routers: dict[str, dict[datetime.date, int]] = defaultdict(lambda: defaultdict(int))
    for (place, at), count in truth.items():
        octets[owner(place, at)][at] += count
    for month in CLOSED:
        for at in days_of(month):
            for place in PLACES:
                routers[owner(place, at)][at] += 1
    for name, host in HOSTS.items():
        first_rate = min(rate.from_day for rate in host.rates)
        for month in CLOSED:
            days = [each for each in days_of(month) if each >= first_rate]
            expected = (
                sum(octets[name].get(each, 0) for each in days),
                Decimal(month_net(month, host.rates, octets[name], routers[name], host.digits))
                / 10**host.digits,
            )
            assert billed.pop((name, month), (0, 0)) == expected, (name, month)
    assert billed == {}
    # By router and day, too.
    by_day = {
        (row[0], row[1]): row[2]
        for row in connection.execute(
            """SELECT router.name, usage.usage_date, sum(usage.bytes_in + usage.bytes_out)
               FROM public.invoice_usage AS usage JOIN public.routers AS router ON router.id = usage.router_id
               JOIN public.invoices AS invoice ON invoice.id = usage.invoice_id GROUP BY 1, 2"""
        )
    }
    rated = {name: min(rate.from_day for rate in host.rates) for name, host in HOSTS.items()}
    assert by_day == {key: count for key, count in truth.items() if count and key[1] >= rated[owner(*key)]}


def _compare_documents(connection: Connection, directory: Path) -> None:
    """Documents add up, have numbers without gaps, and are outside of the database as well."""
    rows = connection.execute(
        """SELECT invoice.sequence, tenant.currency, invoice.usage_bytes, invoice.net, invoice.tax, invoice.amount,
                  tenant.tax_rate, tenant.digits, sum(line.net), sum(line.usage_bytes), invoice.number
           FROM public.invoices AS invoice JOIN radmeter.tenants AS tenant ON tenant.id = invoice.tenant_id
           JOIN public.invoice_lines AS line ON line.invoice_id = invoice.id
           GROUP BY invoice.id, tenant.id ORDER BY invoice.sequence"""
    ).fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == 3 * len(CLOSED)
    for _, _, octets, net, tax, gross, rate, digits, lines, lines_octets, _ in rows:
        assert (net, octets) == (lines, lines_octets)
        assert gross == net + tax
        scaled = abs(net) * 10**digits * rate
        assert abs(tax) * 10**digits == (2 * scaled + 100) // 200
    written = "\n".join(path.read_text() for path in sorted(directory.rglob("*.json")))
    assert all(row[10] in written for row in rows)
