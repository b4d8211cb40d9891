"""Wrong options and values, in plain words. click's own messages speak of formats and types of Python."""

import re

import click

from radmeter.printable import printable

# What strptime's directives are to people.
_DIRECTIVES = {"%Y": "YYYY", "%m": "MM", "%d": "DD"}


def message(error: click.ClickException) -> str:
    """Return the message of a usage error, as one line."""
    text = " ".join(error.format_message().split())
    kind = error.param.type if isinstance(error, click.BadParameter) and error.param else None
    if isinstance(kind, click.IntRange | click.FloatRange):
        number = "a whole number" if isinstance(kind, click.IntRange) else "a number"
        wanted = f"is not {number}{_span(kind)}"
        text = re.sub(r"is not a valid (integer|float)( range)?\.?$", wanted, text)
        text = re.sub(r"is not in the range \S+?\.?$", wanted, text)
    text = re.sub(r"is not a valid integer\.?$", "is not a whole number", text)
    text = re.sub(r"is not a valid float\.?$", "is not a number", text)
    text = re.sub(r"does not match the formats? (.+?)\.?$", _as_date, text)
    return printable(text)


def _span(kind: click.IntRange | click.FloatRange) -> str:
    """Return the limits of a range: `` from 1 to 10``, `` above 0``."""
    low = high = ""
    if kind.min is not None:
        low = f" above {kind.min:,}" if kind.min_open else f" from {kind.min:,}"
    if kind.max is not None:
        high = (
            f" below {kind.max:,}"
            if kind.max_open
            else f" to {kind.max:,}"
            if low
            else f" up to {kind.max:,}"
        )
    if low and not high and not kind.min_open:
        return f"{low} up"
    return f"{low}{high}" if not kind.min_open or not high else f"{low} and at most {kind.max:,}"


def _as_date(match: re.Match[str]) -> str:
    form = match[1].strip("'")
    for directive, letters in _DIRECTIVES.items():
        form = form.replace(directive, letters)
    return f"is not a date: write {form}"
