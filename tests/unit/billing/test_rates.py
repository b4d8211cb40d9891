"""Terms of a rate: as options and as JSON, and the parts of a month in which a rate holds."""

import datetime
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radmeter.billing.months import Month, month
from radmeter.billing.rates import (
    BadTerms,
    Rate,
    Terms,
    Tier,
    as_json,
    canonical,
    from_options,
    pieces,
    terms,
)


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def test_a_price_per_gb() -> None:
    rate = from_options({"per_gb": "0.50", "per_gib": None, "tiers": [], "minimum": None})
    assert rate == Terms(unit="GB", price=Decimal("0.50"))
    assert rate.octets == 10**9
    assert canonical(rate) == {"unit": "GB", "price": "0.5"}


def test_a_price_per_gib() -> None:
    rate = from_options({"per_gib": "0.000004"})
    assert (rate.unit, rate.octets, rate.price) == ("GiB", 2**30, Decimal("0.000004"))


def test_every_term() -> None:
    rate = from_options(
        {
            "per_gb": "0.5",
            "tiers": ["500:0.30", "100:0.4"],
            "tier_mode": "volume",
            "included": "10",
            "minimum": "20.00",
            "maximum": "1000",
            "share": "30",
            "base_fee": "5",
            "tax_rate": "19",
            "tax_rule": "reverse charge",
        }
    )
    assert rate.steps == (
        Tier(Decimal(0), Decimal("0.5")),
        Tier(Decimal(100), Decimal("0.4")),
        Tier(Decimal(500), Decimal("0.3")),
    )
    assert canonical(rate) == {
        "unit": "GB",
        "price": "0.5",
        "tiers": [{"from": "100", "price": "0.4"}, {"from": "500", "price": "0.3"}],
        "tier_mode": "volume",
        "included": "10",
        "minimum": "20",
        "maximum": "1000",
        "share": "30",
        "base_fee": "5",
        "tax_rate": "19",
        "tax_rule": "reverse charge",
    }
    assert terms(as_json(rate)) == rate


def test_none_is_no_term() -> None:
    assert from_options({"per_gb": "1", "minimum": "none", "tiers": ["none"], "tax_rule": "Off"}) == Terms(
        price=Decimal(1)
    )


def test_a_tier_from_0_is_the_price() -> None:
    assert from_options({"tiers": ["0:0.5", "100:0.4"]}) == from_options(
        {"per_gb": "0.5", "tiers": ["100:0.4"]}
    )


def test_without_tiers_there_is_one_mode() -> None:
    assert terms({"price": "1", "tier_mode": "volume"}) == terms({"price": "1"})


def test_numbers_of_json_are_read_as_they_stand() -> None:
    assert terms('{"price": 0.1, "included": 10}') == Terms(price=Decimal("0.1"), included=Decimal(10))
    assert terms('{"price": 0.100000000001}').price == Decimal("0.100000000001")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prize": "1"}, "'prize' is not a term: the terms are unit, price"),
        ({"price": "-1"}, "price: '-1' is not an amount"),
        ({"price": "1,50"}, "price: '1,50' is not an amount: write it like 0.50"),
        ({"price": "1e3"}, "price: '1e3' is not an amount"),
        ({"price": "NaN"}, "price: 'NaN' is not an amount"),
        ({"price": ""}, "price: '' is not an amount"),
        ({"price": "٣"}, "price: '٣' is not an amount"),
        ({"price": "0.1234567890123"}, "price: '0.1234567890123' is not an amount"),
        ({"price": "1234567890123"}, "price: '1234567890123' is not an amount"),
        ({"price": True}, "price: True is not an amount"),
        ({"price": ["1"]}, "price: .* is not an amount"),
        ({"unit": "MB"}, "unit: 'MB' is none of GB, GiB"),
        ({"unit": ["GB"]}, "unit: .* is none of GB, GiB"),
        ({"price": "1", "tier_mode": "stairs"}, "tier_mode: 'stairs' is none of graduated, volume"),
        ({"share": "100.01"}, "share: 100.01 is more than 100 percent"),
        ({"tax_rate": "101"}, "tax_rate: 101 is more than 100 percent"),
        ({"tax_rule": " x"}, "tax_rule: ' x' is not a rule"),
        ({"tax_rule": "a\nb"}, "tax_rule: .* is not a rule"),
        ({"tax_rule": "x" * 201}, "tax_rule: .* is not a rule"),
        ({"tiers": "100:0.4"}, "tiers: a list"),
        ({"price": "1", "tiers": [{"from": "1"}]}, "tiers: .* is not a tier"),
        ({"price": "1", "tiers": ["1:2"]}, "tiers: '1:2' is not a tier"),
        (
            {"price": "1", "tiers": [{"from": "5", "price": "1"}, {"from": "5.0", "price": "2"}]},
            "two tiers begin at 5",
        ),
        ({"price": "1", "tiers": [{"from": "0", "price": "1"}]}, "the price holds from 0 on already"),
        ({"tiers": [{"from": "100", "price": "1"}]}, "nothing says what the first 100 GB cost"),
        (
            {"price": "1", "tiers": [{"from": str(at + 1), "price": "1"} for at in range(101)]},
            "101 are more than 100",
        ),
        ({"included": "10"}, "included: there is no price"),
        ({"minimum": "10", "maximum": "9.99"}, "minimum: 10 is more than the maximum of 9.99"),
        ([], "terms are a JSON object"),
        ("[1]", "terms are a JSON object"),
        ("{", "terms are a JSON object"),
    ],
)
def test_what_is_no_term_is_refused(given: dict[str, object] | str, message: str) -> None:
    with pytest.raises(BadTerms, match=message):
        terms(given)


def test_a_binary_fraction_is_never_taken() -> None:
    tenth: object = json.loads("0.1")
    with pytest.raises(BadTerms, match=r"price: 0\.1 is not an amount"):
        terms({"price": tenth})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_gb": "1", "per_gib": "1"}, "give one of the two prices"),
        ({"per_gb": "1", "unit": "GiB"}, "a price per GB does not go with the unit GiB"),
        ({"per_gb": "1", "tiers": ["100"]}, "'100' is not a tier: write FROM:PRICE, such as 100:0.40"),
        ({"per_gb": "1", "tiers": ["100:"]}, "tiers: '' is not an amount"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, str | list[str]], message: str) -> None:
    with pytest.raises(BadTerms, match=message):
        from_options(options)


AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=4)


@given(
    unit=st.sampled_from(["GB", "GiB"]),
    prices=st.lists(AMOUNTS, min_size=1, max_size=5),
    starts=st.sets(st.decimals(min_value=1, max_value=10**6, places=3), min_size=4, max_size=4),
    mode=st.sampled_from(["graduated", "volume"]),
    amounts=st.tuples(*[st.none() | AMOUNTS] * 4),
    percents=st.tuples(*[st.none() | st.decimals(min_value=0, max_value=100, places=3)] * 2),
)
def test_the_same_terms_are_the_same_document(
    unit: str,
    prices: list[Decimal],
    starts: set[Decimal],
    mode: str,
    amounts: tuple[Decimal | None, ...],
    percents: tuple[Decimal | None, ...],
) -> None:
    included, minimum, maximum, base_fee = amounts
    if minimum is not None and maximum is not None:
        minimum, maximum = min(minimum, maximum), max(minimum, maximum)
    options = {
        f"per_{unit.lower()}": str(prices[0]),
        "tiers": [f"{start}:{price}" for start, price in zip(sorted(starts), prices[1:], strict=False)],
        "tier_mode": mode,
        **{
            key: None if value is None else str(value)
            for key, value in {
                "included": included,
                "minimum": minimum,
                "maximum": maximum,
                "base_fee": base_fee,
                "share": percents[0],
                "tax_rate": percents[1],
            }.items()
        },
    }
    rate = from_options(options)
    assert terms(as_json(rate)) == rate
    assert as_json(terms(json.loads(as_json(rate)))) == as_json(rate)


def test_a_rate_that_begins_before_the_month_holds_for_all_of_it() -> None:
    rate = Terms(price=Decimal(1))
    (piece,) = pieces(month("2026-02"), [Rate(day("2025-01-01"), rate)])
    assert (piece.start, piece.end, piece.days, piece.terms) == (
        day("2026-02-01"),
        day("2026-03-01"),
        28,
        rate,
    )


def test_a_month_with_three_rates_has_three_pieces() -> None:
    first, second, third, later = (Terms(price=Decimal(price)) for price in (1, 2, 3, 4))
    found = pieces(
        month("2026-10"),
        [
            Rate(day("2026-11-01"), later),
            Rate(day("2026-10-31"), third),
            Rate(day("2026-10-11"), second),
            Rate(day("2026-09-30"), first),
        ],
    )
    assert [(each.start.day, each.days, each.terms) for each in found] == [
        (1, 10, first),
        (11, 20, second),
        (31, 1, third),
    ]


def test_only_the_last_rate_before_a_month_holds() -> None:
    old, new = Terms(price=Decimal(1)), Terms(price=Decimal(2))
    assert [
        each.terms
        for each in pieces(month("2026-10"), [Rate(day("2026-01-01"), old), Rate(day("2026-10-01"), new)])
    ] == [new]


def test_days_before_the_first_rate_have_none() -> None:
    rate = Terms(price=Decimal(1))
    assert [each.terms for each in pieces(month("2026-10"), [Rate(day("2026-10-02"), rate)])] == [None, rate]
    assert [each.terms for each in pieces(month("2026-10"), [Rate(day("2026-11-01"), rate)])] == [None]


def test_two_rates_on_one_day_are_a_fault() -> None:
    rate = Rate(day("2026-10-05"), Terms())
    with pytest.raises(ValueError, match="two rates begin on 2026-10-05"):
        pieces(month("2026-10"), [rate, rate])


@given(
    of=st.dates(datetime.date(2000, 1, 1), datetime.date(2090, 1, 1)).map(Month.of),
    days=st.sets(st.integers(-40, 40), max_size=6),
)
def test_pieces_cover_a_month_each_day_once(of: Month, days: set[int]) -> None:
    found = pieces(of, [Rate(of.first + datetime.timedelta(days=each), Terms()) for each in days])
    assert found[0].start == of.first
    assert found[-1].end == of.end
    assert [each.end for each in found[:-1]] == [each.start for each in found[1:]]
    assert all(each.days > 0 for each in found)
    assert sum(each.days for each in found) == of.days
