"""What a rate has, in a line, to see a slip at once. Amounts are in the tenant's currency. Pure."""

from radmeter.billing.rates import Terms
from radmeter.billing.wording import ENGLISH


def summary(terms: Terms) -> str:
    """Return the terms in words."""
    number = ENGLISH.number
    octets = "10^9" if terms.unit == "GB" else "2^30"
    parts = []
    if terms.price is not None:
        parts.append(f"{number(terms.price)} per {terms.unit} ({octets} bytes, both directions)")
    parts += [f"{number(tier.price)} from {number(tier.start)} {terms.unit} on" for tier in terms.tiers]
    if terms.tiers:
        parts.append(f"tiers {terms.tier_mode}")
    for value, text in (
        (terms.included, f"{{}} {terms.unit} a month included"),
        (terms.base_fee, "{} per router and month"),
        (terms.share, "{} % of what its users are billed"),
        (terms.minimum, "{} a month at least"),
        (terms.maximum, "{} a month at most"),
        (terms.tax_rate, "tax {} %"),
    ):
        if value is not None:
            parts.append(text.format(number(value)))
    return ", ".join(parts) or "nothing"
