"""What a tenant's month costs: an example for each rule."""

import datetime
from collections.abc import Mapping
from decimal import Decimal

import pytest

from radmeter.billing.lines import Line, Money, Tax, TaxMode, totals
from radmeter.billing.months import month
from radmeter.billing.pricing import Quantities, price_month
from radmeter.billing.rates import Rate, terms
from radmeter.billing.rounding import Rounding

EUR = Money(currency="EUR", digits=2)
OCTOBER = month("2026-10")
GB = 10**9
GIB = 2**30
NO_TAX = Tax(Decimal(0))


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def price(
    given: Mapping[str, object],
    octets: int = 0,
    *,
    routers: int = 0,
    users_net: str = "0",
    money: Money = EUR,
    tax: Tax = NO_TAX,
    of: str = "2026-10",
) -> list[Line]:
    """Price a month with one rate and the same number of routers on each day."""
    wanted = month(of)
    days = [wanted.first + datetime.timedelta(days=each) for each in range(wanted.days)]
    quantities = Quantities(
        octets={wanted.first: octets},
        router_days=dict.fromkeys(days, routers),
        users_net=Decimal(users_net),
    )
    return price_month(wanted, [Rate(day("2026-01-01"), terms(given))], quantities, tax, money)


def short(lines: list[Line]) -> list[tuple[str, int | None, str]]:
    return [(line.kind, line.usage_bytes, str(line.net)) for line in lines]


def test_gb_are_10_to_the_9_octets() -> None:
    (line,) = price({"price": "0.50"}, 123_456_789_012)
    assert line == Line(
        kind="usage",
        period_start=day("2026-10-01"),
        period_end=day("2026-11-01"),
        description="Usage",
        arithmetic="123,456,789,012 octets / 1,000,000,000 = 123.456789012 GB x 0.50 EUR per GB = 61.728394506 EUR, "
        "rounded half up: 61.73 EUR",
        usage_bytes=123_456_789_012,
        quantity=Decimal("123.456789012"),
        unit="GB",
        unit_price=Decimal("0.50"),
        net=Decimal("61.73"),
        tax=Tax(Decimal(0)),
    )


def test_gib_are_2_to_the_30_octets() -> None:
    (line,) = price({"price": "0.50", "unit": "GiB"}, 3 * GIB // 2)
    assert (line.quantity, line.unit, str(line.net)) == (Decimal("1.5"), "GiB", "0.75")


def test_the_volume_is_not_rounded_before_it_is_priced() -> None:
    # 1 octet more than the middle between two cents.
    assert short(price({"price": "1"}, 5_000_000)) == [("usage", 5_000_000, "0.01")]
    assert short(price({"price": "1"}, 4_999_999)) == [("usage", 4_999_999, "0.00")]
    (line,) = price({"price": "1", "unit": "GiB"}, 1)
    assert f"{line.quantity:f}" == "0.000000000931322574615478515625"


def test_a_price_may_be_finer_than_the_currency() -> None:
    yen = Money(currency="JPY", digits=0)
    assert short(price({"price": "4.5"}, 3 * GB, money=yen)) == [("usage", 3 * GB, "14")]
    even = Money(currency="JPY", digits=0, rounding=Rounding.HALF_EVEN)
    assert short(price({"price": "4.5"}, GB, money=even)) == [("usage", GB, "4")]
    dinar = Money(currency="KWD", digits=3)
    assert short(price({"price": "0.0015"}, GB, money=dinar)) == [("usage", GB, "0.002")]


TIERS = {"price": "0.50", "tiers": [{"from": "100", "price": "0.40"}, {"from": "500", "price": "0.30"}]}


@pytest.mark.parametrize(
    ("gigabytes", "expected"),
    [
        (0, []),
        (1, [("usage", 1, "0.50")]),
        (100, [("usage", 100, "50.00")]),
        (101, [("usage", 100, "50.00"), ("usage", 1, "0.40")]),
        (600, [("usage", 100, "50.00"), ("usage", 400, "160.00"), ("usage", 100, "30.00")]),
    ],
)
def test_graduated_tiers_have_their_own_units(gigabytes: int, expected: list[tuple[str, int, str]]) -> None:
    found = short(price(TIERS, gigabytes * GB))
    assert found == [(kind, octets * GB, net) for kind, octets, net in expected]


@pytest.mark.parametrize(
    ("octets", "net"),
    [
        (100 * GB - 1, "50.00"),
        (100 * GB, "40.00"),  # reached, so all units have its price
        (500 * GB - 1, "200.00"),
        (500 * GB, "150.00"),
    ],
)
def test_volume_tiers_have_one_price_for_all(octets: int, net: str) -> None:
    assert short(price({**TIERS, "tier_mode": "volume"}, octets)) == [("usage", octets, net)]


def test_an_octet_that_is_only_partly_beyond_a_tier_is_in_the_tier() -> None:
    # A tier of 0.0000000015 GB is 1.5 octets.
    tiny = {"price": "1000000000", "tiers": [{"from": "0.0000000015", "price": "0"}]}
    assert short(price(tiny, 3)) == [("usage", 2, "2.00"), ("usage", 1, "0.00")]
    assert short(price({**tiny, "tier_mode": "volume"}, 1)) == [("usage", 1, "1.00")]
    assert short(price({**tiny, "tier_mode": "volume"}, 2)) == [("usage", 2, "0.00")]


def test_included_volume_is_free_and_counts_for_the_tiers() -> None:
    assert short(price({**TIERS, "included": "10"}, 120 * GB)) == [
        ("included", 10 * GB, "0.00"),
        ("usage", 90 * GB, "45.00"),
        ("usage", 20 * GB, "8.00"),
    ]
    assert short(price({**TIERS, "included": "10", "tier_mode": "volume"}, 120 * GB)) == [
        ("included", 10 * GB, "0.00"),
        ("usage", 110 * GB, "44.00"),
    ]
    assert short(price({**TIERS, "included": "10"}, 9 * GB)) == [("included", 9 * GB, "0.00")]
    assert short(price({**TIERS, "included": "150"}, 200 * GB)) == [
        ("included", 150 * GB, "0.00"),
        ("usage", 50 * GB, "20.00"),
    ]


def test_usage_without_a_price_is_on_the_document_all_the_same() -> None:
    assert short(price({}, 7)) == [("usage", 7, "0.00")]
    assert "no price per GB" in price({}, 7)[0].arithmetic


def test_fewer_octets_than_none_cost_less_than_nothing() -> None:
    """A month whose counters were repaired below 0, in all."""
    assert short(price(TIERS, -2 * GB)) == [("usage", -2 * GB, "-1.00")]
    assert short(price({**TIERS, "tier_mode": "volume"}, -2 * GB)) == [("usage", -2 * GB, "-1.00")]
    assert short(price({**TIERS, "included": "10"}, -2 * GB)) == [("included", -2 * GB, "0.00")]


def test_a_base_fee_is_for_each_router_and_day_of_the_real_month() -> None:
    (line,) = price({"base_fee": "5"}, routers=3)
    assert (line.quantity, line.unit, line.unit_price) == (Decimal(93), "router-day", Decimal(5))
    assert (line.per, str(line.net)) == (31, "15.00")
    assert line.arithmetic == "93 router-days x 5.00 EUR per router and month / 31 days = 15.00 EUR"
    quantities = Quantities(router_days={day("2026-02-01"): 10})
    (line,) = price_month(
        month("2026-02"),
        [Rate(day("2026-01-01"), terms({"base_fee": "5"}))],
        quantities,
        Tax(Decimal(0)),
        EUR,
    )
    assert str(line.net) == "1.79"  # 50 / 28


def test_a_share_of_what_users_pay() -> None:
    (line,) = price({"share": "12.5"}, users_net="100.01")
    assert str(line.net) == "12.50"
    assert line.arithmetic == (
        "12.5 % of 100.01 EUR, the net of what users are billed for 2026-10, = 12.50125 EUR, rounded half up: 12.50 EUR"
    )


def test_a_minimum_is_filled_up_to() -> None:
    lines = price({"price": "0.50", "minimum": "20", "base_fee": "3"}, 10 * GB, routers=1)
    assert short(lines) == [
        ("usage", 10 * GB, "5.00"),
        ("base-fee", None, "3.00"),
        ("minimum", None, "12.00"),
    ]
    assert lines[-1].arithmetic == "minimum 20.00 EUR = 20.00 EUR; less the lines so far, 8.00 EUR"
    assert short(price({"price": "0.50", "minimum": "20"}, 40 * GB)) == [("usage", 40 * GB, "20.00")]
    assert short(price({"minimum": "20"})) == [("minimum", None, "20.00")]


def test_a_maximum_is_gone_down_to() -> None:
    assert short(price({"price": "0.50", "maximum": "20"}, 50 * GB)) == [
        ("usage", 50 * GB, "25.00"),
        ("maximum", None, "-5.00"),
    ]
    assert short(price({"price": "0.50", "maximum": "20"}, 40 * GB)) == [("usage", 40 * GB, "20.00")]


def test_a_rate_that_changes_in_mid_month_prices_its_own_days() -> None:
    rates = [
        Rate(
            day("2026-01-01"), terms({"price": "0.50", "included": "31", "minimum": "31", "base_fee": "31"})
        ),
        Rate(
            day("2026-10-11"),
            terms({"price": "1", "tiers": [{"from": "31", "price": "0.10"}], "maximum": "31"}),
        ),
    ]
    quantities = Quantities(
        octets={day("2026-10-10"): 12 * GB, day("2026-10-11"): 40 * GB}, router_days={day("2026-10-01"): 2}
    )
    lines = price_month(OCTOBER, rates, quantities, NO_TAX, EUR)
    assert [(line.kind, line.period_start.day, line.usage_bytes, str(line.net)) for line in lines] == [
        ("included", 1, 10 * GB, "0.00"),  # 31 GB x 10 of 31 days
        ("usage", 1, 2 * GB, "1.00"),
        ("base-fee", 1, None, "2.00"),
        ("minimum", 1, None, "7.00"),  # 31 x 10 / 31 days
        ("usage", 11, 21 * GB, "21.00"),  # the tier begins at 31 GB x 21 of 31 days
        ("usage", 11, 19 * GB, "1.90"),
        ("maximum", 11, None, "-1.90"),
    ]
    assert lines[0].arithmetic.startswith("the first 31 GB x 10 of 31 days: 10,000,000,000 octets")
    assert {(line.period_start, line.period_end) for line in lines} == {
        (day("2026-10-01"), day("2026-10-11")),
        (day("2026-10-11"), day("2026-11-01")),
    }


def test_a_share_is_divided_by_days_when_the_rate_changes() -> None:
    rates = [Rate(day("2026-01-01"), terms({"share": "10"})), Rate(day("2026-10-11"), terms({"share": "20"}))]
    lines = price_month(OCTOBER, rates, Quantities(users_net=Decimal("310.00")), NO_TAX, EUR)
    assert short(lines) == [("share", None, "10.00"), ("share", None, "42.00")]


def test_days_without_a_rate_cost_nothing_and_are_on_the_document() -> None:
    rates = [Rate(day("2026-10-02"), terms({"price": "1"}))]
    quantities = Quantities(
        octets={day("2026-10-01"): 5 * GB, day("2026-10-02"): GB}, router_days={day("2026-10-01"): 1}
    )
    assert short(price_month(OCTOBER, rates, quantities, NO_TAX, EUR)) == [
        ("usage", 5 * GB, "0.00"),
        ("usage", GB, "1.00"),
    ]


@pytest.mark.parametrize("other", ["2026-09-30", "2026-11-01"])
def test_a_day_of_another_month_is_a_fault(other: str) -> None:
    for quantities in (Quantities(octets={day(other): 1}), Quantities(router_days={day(other): 1})):
        with pytest.raises(ValueError, match=f"{other} is not in 2026-10"):
            price_month(OCTOBER, [], quantities, NO_TAX, EUR)


def test_lines_have_the_tax_of_the_tenant() -> None:
    (line,) = price({"price": "1"}, GB, tax=Tax(Decimal(0), "reverse charge"))
    assert line.tax == Tax(Decimal(0), "reverse charge")


def test_a_rate_may_have_a_tax_of_its_own() -> None:
    tenant = Tax(Decimal(0), "reverse charge")
    (line,) = price({"price": "1", "tax_rate": "19"}, GB, tax=tenant)
    # The rule of another rate of tax would be wrong.
    assert line.tax == Tax(Decimal(19), None)
    (line,) = price({"price": "1", "tax_rule": "exempt"}, GB, tax=tenant)
    assert line.tax == Tax(Decimal(0), "exempt")


def net(amount: str, rate: str = "20", rule: str | None = None) -> Line:
    return Line(
        kind="usage",
        period_start=day("2026-10-01"),
        period_end=day("2026-11-01"),
        description="",
        arithmetic="",
        net=Decimal(amount),
        tax=Tax(Decimal(rate), rule),
    )


def test_tax_of_the_sum() -> None:
    found = totals([net("68.33"), net("68.33"), net("57.50"), net("85.00")], EUR)
    assert (str(found.net), str(found.tax), str(found.gross)) == ("279.16", "55.83", "334.99")


def test_tax_of_each_line() -> None:
    by_line = Money(currency="EUR", digits=2, tax=TaxMode.LINE)
    found = totals([net("68.33"), net("68.33"), net("57.50"), net("85.00")], by_line)
    assert (str(found.net), str(found.tax), str(found.gross)) == ("279.16", "55.84", "335.00")


def test_each_rate_and_rule_is_taxed_by_itself() -> None:
    found = totals(
        [
            net("10.05", "19"),
            net("3.33", "7"),
            net("0.05", "19.0"),
            net("5.00", "0", "exempt"),
            net("-1.00", "7"),
        ],
        EUR,
    )
    assert [(each.tax, str(each.net), str(each.amount)) for each in found.taxes] == [
        (Tax(Decimal(0), "exempt"), "5.00", "0.00"),
        (Tax(Decimal(7)), "2.33", "0.16"),
        (Tax(Decimal(19)), "10.10", "1.92"),
    ]
    assert (str(found.net), str(found.tax), str(found.gross)) == ("17.43", "2.08", "19.51")


def test_nothing_comes_to_nothing() -> None:
    found = totals([], EUR)
    assert (str(found.net), str(found.tax), str(found.gross), found.usage_bytes, found.taxes) == (
        "0.00",
        "0.00",
        "0.00",
        0,
        (),
    )
