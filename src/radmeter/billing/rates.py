"""The terms of a rate: what usage costs, as an operator writes them and as the database keeps them. Pure."""

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from radmeter.billing.months import Month
from radmeter.billing.rounding import plain
from radmeter.errors import ConfigurationError

UNITS = {"GB": 10**9, "GiB": 2**30}
TIER_MODES = ("graduated", "volume")
# What takes a term away.
NONE = ("none", "off")
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
MOST_TIERS = 100
LONGEST_RULE = 200


class BadTerms(ConfigurationError):
    """Terms that are none, or that do not go together. The message has a remedy."""


class Tier(NamedTuple):
    """A price that holds from so many units of a month on."""

    start: Decimal
    price: Decimal


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a tenant's usage costs. Each term is optional; amounts of money are in the tenant's currency, without tax.

    Attributes
    ----------
    unit
        ``GB`` (10^9 octets) or ``GiB`` (2^30 octets). Both directions count.
    price
        Of one unit. May be finer than the currency.
    tiers
        Other prices from so many units of a month on, in ascending order.
    tier_mode
        ``graduated``: each price holds for the units of its own tier. ``volume``: the price of the tier that the month
        reaches holds for all its units.
    included
        So many units of a month cost nothing. They count for the tiers.
    minimum, maximum
        Of all lines of a month together.
    share
        Percent of the net of the month's documents of the tenant's users.
    base_fee
        Of each router and month, by the days on which the router is the tenant's.
    tax_rate, tax_rule
        Percent, and why it is that. None: as the tenant has them.
    """

    unit: Literal["GB", "GiB"] = "GB"
    price: Decimal | None = None
    tiers: tuple[Tier, ...] = ()
    tier_mode: Literal["graduated", "volume"] = "graduated"
    included: Decimal | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    share: Decimal | None = None
    base_fee: Decimal | None = None
    tax_rate: Decimal | None = None
    tax_rule: str | None = None

    @property
    def octets(self) -> int:
        """Octets of a unit."""
        return UNITS[self.unit]

    @property
    def steps(self) -> tuple[Tier, ...]:
        """The tiers with the one that begins at 0. Empty: usage has no price."""
        return self.tiers if self.price is None else (Tier(Decimal(0), self.price), *self.tiers)


_AMOUNTS = ("price", "included", "minimum", "maximum", "share", "base_fee", "tax_rate")
_PERCENT = ("share", "tax_rate")
KEYS = tuple(field.name for field in fields(Terms))


def terms(document: Mapping[str, Any] | str) -> Terms:
    """Return the terms of a JSON document, with amounts as text.

    Raises
    ------
    BadTerms
        A key is unknown, a value is none, or values do not go together. The message begins with the key.
    """
    given = _object(document)
    if unknown := sorted(given.keys() - set(KEYS)):
        raise BadTerms(f"{unknown[0]!r} is not a term: the terms are {', '.join(KEYS)}")
    found: dict[str, Any] = {key: _amount(given[key], key) for key in _AMOUNTS if given.get(key) is not None}
    for key, allowed in (("unit", tuple(UNITS)), ("tier_mode", TIER_MODES)):
        if given.get(key) is not None:
            if given[key] not in allowed:
                raise BadTerms(f"{key}: {given[key]!r} is none of {', '.join(allowed)}")
            found[key] = given[key]
    if given.get("tax_rule") is not None:
        found["tax_rule"] = _rule(given["tax_rule"])
    found["tiers"] = _tiers(given.get("tiers") or ())
    return _together(Terms(**found))


def from_options(options: Mapping[str, str | Sequence[str] | None]) -> Terms:
    """Return the terms that options of a command say. An option that is None or ``none`` is no term.

    Parameters
    ----------
    options
        Texts by key of the terms, where ``per_gb`` and ``per_gib`` stand for price and unit, and ``tiers`` is a
        sequence of texts such as ``100:0.40``.

    Raises
    ------
    BadTerms
        As `terms`.
    """
    given: dict[str, Any] = {key: value for key, value in options.items() if not _is_none(value)}
    prices = {unit: given.pop(f"per_{unit.lower()}") for unit in UNITS if f"per_{unit.lower()}" in given}
    if len(prices) > 1:
        raise BadTerms("a rate is per GB (10^9 octets) or per GiB (2^30 octets): give one of the two prices")
    for unit, price in prices.items():
        if given.get("unit", unit) != unit:
            raise BadTerms(
                f"a price per {unit} does not go with the unit {given['unit']}: give one of the two"
            )
        given |= {"unit": unit, "price": price}
    if "tiers" in given:
        given["tiers"] = [_tier(text) for text in given["tiers"] if not _is_none(text)]
    return terms(given)


def canonical(rate: Terms) -> dict[str, Any]:
    """Return terms as the database keeps them: the same terms are the same document. Amounts are text."""
    found: dict[str, Any] = {"unit": rate.unit}
    for key in _AMOUNTS:
        if (value := getattr(rate, key)) is not None:
            found[key] = plain(value)
    if rate.tiers:
        found["tiers"] = [{"from": plain(tier.start), "price": plain(tier.price)} for tier in rate.tiers]
        found["tier_mode"] = rate.tier_mode
    if rate.tax_rule is not None:
        found["tax_rule"] = rate.tax_rule
    return found


def as_json(rate: Terms) -> str:
    """Return `canonical` as text, with its keys sorted."""
    return json.dumps(canonical(rate), sort_keys=True, ensure_ascii=False)


class Rate(NamedTuple):
    """Terms that hold from a day on, until the next rate."""

    from_day: datetime.date
    terms: Terms


@dataclass(frozen=True)
class Piece:
    """Days of a month with one rate.

    Attributes
    ----------
    start, end
        The first day, and the first one after it.
    terms
        None: there is no rate yet.
    """

    month: Month
    start: datetime.date
    end: datetime.date
    terms: Terms | None

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days


def pieces(month: Month, rates: Iterable[Rate]) -> list[Piece]:
    """Return the parts of a month in which one rate holds, in order. They cover the month, each day once.

    Raises
    ------
    ValueError
        Two rates begin on the same day.
    """
    ordered = sorted(rates, key=lambda rate: rate.from_day)
    begins: dict[datetime.date, Terms | None] = {month.first: None}
    for before, rate in zip([None, *ordered], ordered, strict=False):
        if before is not None and before.from_day == rate.from_day:
            raise ValueError(f"two rates begin on {rate.from_day}")
        if rate.from_day < month.end:
            begins[max(rate.from_day, month.first)] = rate.terms
    starts = sorted(begins)
    return [
        Piece(month, start, end, begins[start])
        for start, end in zip(starts, [*starts[1:], month.end], strict=True)
    ]


def _object(document: Mapping[str, Any] | str) -> Mapping[str, Any]:
    if isinstance(document, str):
        try:
            # Numbers stay the text that they are: never through a binary fraction.
            document = json.loads(document, parse_float=str, parse_int=str)
        except ValueError:
            raise BadTerms('terms are a JSON object, such as {"price": "0.50"}') from None
    if not isinstance(document, Mapping):
        raise BadTerms('terms are a JSON object, such as {"price": "0.50"}')
    return document


def _amount(value: object, key: str) -> Decimal:
    # A number of JSON that a driver has read already may be an int. A binary fraction is never taken.
    text = str(value) if isinstance(value, Decimal) or type(value) is int else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise BadTerms(
            f"{key}: {value!r} is not an amount: write it like 0.50, twelve digits at most each side"
        )
    amount = Decimal(text)
    if key in _PERCENT and amount > 100:
        raise BadTerms(f"{key}: {text} is more than 100 percent")
    return amount


def _rule(value: object) -> str:
    if (
        not isinstance(value, str)
        or not value.strip()
        or value != value.strip()
        or len(value) > LONGEST_RULE
        or not value.isprintable()
    ):
        raise BadTerms(
            f"tax_rule: {value!r} is not a rule: 1 to {LONGEST_RULE} characters, no blanks at its ends, no control "
            "characters"
        )
    return value


def _tier(text: str) -> dict[str, str]:
    start, colon, price = text.partition(":")
    if not colon:
        raise BadTerms(f"tiers: {text!r} is not a tier: write FROM:PRICE, such as 100:0.40")
    return {"from": start, "price": price}


def _tiers(given: object) -> tuple[Tier, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise BadTerms('tiers: a list of {"from": "100", "price": "0.40"} is wanted')
    if len(given) > MOST_TIERS:
        raise BadTerms(f"tiers: {len(given)} are more than {MOST_TIERS}")
    found: dict[Decimal, Tier] = {}
    for each in given:
        if not isinstance(each, Mapping) or each.keys() != {"from", "price"}:
            raise BadTerms(f'tiers: {each!r} is not a tier such as {{"from": "100", "price": "0.40"}}')
        tier = Tier(_amount(each["from"], "tiers"), _amount(each["price"], "tiers"))
        if tier.start in found:
            raise BadTerms(f"tiers: two tiers begin at {plain(tier.start)}: give one")
        found[tier.start] = tier
    return tuple(found[start] for start in sorted(found))


def _together(rate: Terms) -> Terms:
    """Return terms that go together, with a tier from 0 as the price."""
    if rate.tiers and rate.tiers[0].start == 0:
        if rate.price is not None:
            raise BadTerms("tiers: the price holds from 0 on already: leave it or the tier from 0 out")
        first, *others = rate.tiers
        rate = replace(rate, price=first.price, tiers=tuple(others))
    if rate.tiers and rate.price is None:
        start = plain(rate.tiers[0].start)
        raise BadTerms(
            f"tiers: nothing says what the first {start} {rate.unit} cost: give a price, or a tier from 0"
        )
    if rate.included is not None and rate.price is None:
        raise BadTerms("included: there is no price from which volume could be free: give one")
    if rate.minimum is not None and rate.maximum is not None and rate.minimum > rate.maximum:
        raise BadTerms(f"minimum: {plain(rate.minimum)} is more than the maximum of {plain(rate.maximum)}")
    if not rate.tiers and rate.tier_mode != "graduated":
        rate = replace(rate, tier_mode="graduated")
    return rate


def _is_none(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in NONE)
