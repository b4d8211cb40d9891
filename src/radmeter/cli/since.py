"""The value of `--since`: a time, or a span before now."""

import datetime
import re
from typing import Any

import click

SPAN = re.compile(r"(\d{1,6})([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.types.StringParamType):
    """A time, or a span before now."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an aware datetime. A time without an offset is in the machine's local time."""
        try:
            if match := SPAN.fullmatch(value):
                span = datetime.timedelta(**{UNITS[match[2]]: int(match[1])})
                return datetime.datetime.now(datetime.UTC) - span
            return datetime.datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a time (2026-11-20, 2026-11-20T10:00+01:00) nor a span (30m, 12h, 7d)"
            )
