"""The README: short, and its figures are those of docs/measurements.md."""

import re
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MEASUREMENTS = (ROOT / "docs" / "measurements.md").read_text()
INTERIM_SECONDS = 300
LINES = 105


def row(beginning: str, text: str) -> list[str]:
    """Return the cells of the last row of a text that begins so."""
    line = [line for line in text.splitlines() if line.startswith(f"| {beginning} |")][-1]
    return [cell.strip() for cell in line.strip("|").split("|")]


def two_digits(value: Decimal) -> str:
    rounded = Decimal(f"{value:.1e}")
    return f"{int(rounded):,}" if rounded >= 10 else f"{rounded:f}"


def test_it_is_read_in_a_minute() -> None:
    assert len(README.splitlines()) <= LINES


def test_the_rates_are_those_that_were_measured() -> None:
    sustained = MEASUREMENTS.partition("### Sustained rates")[2].partition("| a packet")[0]
    packet = row("radmeter sync=packet", sustained)[1].split()[0]
    interval = row("radmeter sync=interval", sustained)[1].split()[0]
    assert f"counted {packet} packets/s for a minute with `sync = packet`" in README
    assert f"and {interval} with" in README


def test_the_table_of_sizes_follows_from_what_was_measured() -> None:
    costs = MEASUREMENTS.partition("| a packet, with 10,000 open sessions |")[2].partition("### Answers")[0]
    cells = row("radmeter sync=packet", costs)
    microseconds, written = Decimal(cells[4].removesuffix(" us")), Decimal(cells[8].replace(",", ""))
    found = re.search(r"([\d,]+) records waiting in the journal \((\d+) MiB\)", MEASUREMENTS)
    assert found
    journal = Decimal(found[2]) * 2**20 / int(found[1].replace(",", ""))
    for sessions in (1_000, 10_000, 100_000, 1_000_000):
        packets = Decimal(sessions) / INTERIM_SECONDS
        day = packets * 86_400 / 10**9
        assert row(f"{sessions:,}", README)[1:] == [
            two_digits(packets),
            f"{two_digits(packets * microseconds / 10_000)} %",
            f"{two_digits(day * journal)} GB",
            f"{two_digits(day * written)} GB",
        ]
