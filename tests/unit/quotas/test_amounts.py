"""Octets, speeds and spans of time as people write them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radmeter.quotas.amounts import (
    MOST_SECONDS,
    BadAmount,
    bits_per_second,
    octets,
    seconds,
    shown_octets,
    shown_seconds,
    shown_speed,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10MB", 10_000_000),
        ("10 MB", 10_000_000),
        ("1GiB", 2**30),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("10kB", 10_000),
        ("10KB", 10_000),
        ("2TB", 2 * 10**12),
        ("7B", 7),
        ("2000", 2000),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_volume(text: str, expected: int) -> None:
    assert octets(text) == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("10M", "write 10MB (powers of 1000) or 10MiB (powers of 1024)"),
        ("10m", "write 10MB"),
        ("10Mb", "write 10MB"),
        ("10mb", "write 10MB"),
        ("10Mbit", "write 10MB"),
        ("10k", "write 10kB (powers of 1000) or 10KiB"),
        ("1,5GB", "write a point before decimals"),
        ("1,000MB", "write a point before decimals"),
        ("10 apples", "write the unit as B, kB, MB"),
        ("1e3", "write the unit as"),
        ("-1MB", "is not a volume, such as 10MB"),
        ("", "is not a volume"),
        ("MB", "is not a volume"),
        ("\u0661\u0660MB", "is not a volume"),
        ("0.3B", "0.3 octets: write a whole number"),
        ("10EB", "more than the largest number"),
        ("9223372036854775808", "more than the largest number"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_remedy(text: str, remedy: str) -> None:
    with pytest.raises(BadAmount) as refused:
        octets(text)
    assert remedy in str(refused.value)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5M", 5_000_000), ("512k", 512_000), ("2.5Mbit/s", 2_500_000), ("1Gbps", 10**9), ("64000", 64_000)],
)
def test_a_speed(text: str, expected: int) -> None:
    assert bits_per_second(text) == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("5MB/s", "speeds are in bits"),
        ("5MB", "speeds are in bits"),
        ("5MiB/s", "speeds are in bits"),
        ("5Mi", "write k, M or G"),
        ("5m", "write k, M or G"),
        ("5", "routers take 8k or more"),
        ("0", "routers take 8k or more"),
        ("5,5M", "has a comma"),
        ("fast", "is not a speed"),
    ],
)
def test_a_speed_that_is_none(text: str, remedy: str) -> None:
    with pytest.raises(BadAmount, match=remedy):
        bits_per_second(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30h", 108_000), ("90min", 5400), ("1h30min", 5400), ("30d", 2_592_000), ("2w", 1_209_600), ("0s", 0)],
)
def test_a_span(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("30m", "write 30min"),
        ("30", "write a number with s, min"),
        ("1y", "the units are"),
        ("h", "is not a span"),
    ],
)
def test_a_span_that_is_none(text: str, remedy: str) -> None:
    with pytest.raises(BadAmount, match=remedy):
        seconds(text)
    assert seconds("3600", bare=True) == 3600


@given(st.integers(8000, 10**13))
def test_a_speed_that_is_shown_reads_the_same(speed: int) -> None:
    assert bits_per_second(shown_speed(speed)) == speed


def test_a_span_has_at_most_100_years() -> None:
    assert seconds("36525d") == MOST_SECONDS
    with pytest.raises(BadAmount, match="more than 100 years"):
        seconds("36525d1s")


@given(st.integers(0, MOST_SECONDS))
def test_a_span_that_is_shown_reads_the_same(span: int) -> None:
    assert seconds(shown_seconds(span)) == span


@given(st.text(max_size=40))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    for read in (octets, bits_per_second, seconds):
        try:
            assert 0 <= read(text) < 2**63
        except BadAmount as error:
            assert str(error)  # noqa: PT017 # either is right


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (10**7, "10 MB"), (10 * 2**20, "10 MiB"),
        (5 * 10**11, "500 GB"), (3 * 2**29, "1.5 GiB"), (999_999, "1 MB"), (12_345_678_900, "12.3 GB"),
        (2**63 - 1, "9.22 EB"), (-5 * 10**6, "-5 MB"), (Decimal(12 * 10**20), "1200 EB"),
    ],
)  # fmt: skip
def test_a_volume_is_shown_as_plans_are_written(count: int | None, text: str) -> None:
    assert shown_octets(count) == text
