"""From counters to a statement by the commands alone: its totals are the sums of what is exported, to the unit."""

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from support import documents_of_money as money
from support import pdf
from support.commands import radmeter
from support.servers import Connection

DAY = timedelta(days=1)


def last_month() -> date:
    """Return the first day of a month that has ended, and settled, everywhere."""
    today = datetime.now(UTC).date()
    return ((today - 4 * DAY).replace(day=1) - DAY).replace(day=1)


def run(database: str, place: Path, *arguments: str | Path) -> str:
    done = radmeter(database, *arguments, RADMETER_STATE=str(place / "state"))
    assert done.exit_code == 0, (arguments, done.errors)
    return done.output


def exported(database: str, place: Path, month: date, what: str) -> list[dict[str, str]]:
    file = place / f"{what}.csv"
    run(database, place, "billing", "export", "--period", f"{month:%Y-%m}", "--what", what, "-o", file)
    return list(csv.DictReader(io.StringIO(file.read_text())))


@pytest.mark.parametrize("seed", [1, 7, 104_729])
def test_its_totals_are_those_of_the_exports(
    database: str, connection: Connection, tmp_path: Path, seed: int
) -> None:
    month = last_month()
    run(
        database, tmp_path, "tenants", "add", "acme", "--currency", "EUR", "--timezone", "UTC", "--tax-rate", "19",
        "--tax-rule", "VAT 19 %", "--language", "de", "--legal-name", "Hôtel Ünïcode GmbH",
    )  # fmt: skip
    run(
        database, tmp_path, "tenants", "rate", "acme", "--from", str(month), "--per-gb", "0.0371", "--base-fee", "4.99",
        "--included", "3",
    )  # fmt: skip
    for number in range(4):
        router = money.router(connection, f"router {number}")
        run(database, tmp_path, "routers", "assign", f"#{router}", "--tenant", "acme", "--from", str(month))
        for day in range(28):
            octets = (seed * (number + 1) * (day + 3) * 7_919_777) % 9_999_999_999
            connection.execute(
                "INSERT INTO router_daily_usage (router_id, usage_date, bytes_in, bytes_out) VALUES (%s, %s, %s, %s)",
                (router, month + day * DAY, octets, octets // 3),
            )
    run(database, tmp_path, "billing", "close", f"{month:%Y-%m}", "--yes")
    run(database, tmp_path, "billing", "issue", f"{month:%Y-%m}", "--yes")
    target = tmp_path / "acme.pdf"
    said = run(
        database,
        tmp_path,
        "billing",
        "statement",
        "--period",
        f"{month:%Y-%m}",
        "--tenant",
        "acme",
        "-o",
        target,
    )
    text = " ".join(pdf.text_of(target).split())
    (invoice,) = exported(database, tmp_path, month, "invoices")
    lines = exported(database, tmp_path, month, "lines")
    days = exported(database, tmp_path, month, "router-days")
    attached = list(csv.DictReader(io.StringIO(pdf.attached(target)["lines.csv"].decode())))

    assert len(lines) == len(attached) > 1
    net = sum((Decimal(line["net"]) for line in lines), Decimal(0))
    assert net == sum(Decimal(line["net"]) for line in attached) == Decimal(invoice["net"])
    usage = sum(int(day["bytes_in"]) + int(day["bytes_out"]) for day in days)
    assert usage == int(invoice["usage_bytes"])

    def german(amount: Decimal) -> str:
        return f"{amount:,.2f}".translate({ord(","): ".", ord("."): ","})

    assert f"Netto {german(net)} EUR" in text
    assert f"Steuer {german(Decimal(invoice['tax']))} EUR" in text
    assert f"Gesamtbetrag {german(Decimal(invoice['gross']))} EUR" in text
    assert f"Verbrauch {usage:,} Oktette".replace(",", ".") in text
    assert "Hôtel Ünïcode GmbH" in text
    assert "kaufmännisch" in text
    assert "VAT 19 %" in text
    # A fee is for a month of so many days.
    assert re.search(r"4,99 / (28|29|30|31) ", text)
    assert re.search(rf"Rechnung {re.escape(invoice['number'])}", text)
    assert said == f"acme: {invoice['number']} (issued, {invoice['gross']} EUR): {target}\n"
