"""Templates, and how they write amounts, times and text of others. Everything is escaped."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from radmeter import __version__, charts, units
from radmeter.alerts import wording
from radmeter.printable import printable
from radmeter.quotas.percent import percent_of

STATIC = files("radmeter.api.noc") / "static"


@lru_cache
def environment() -> Environment:
    """Return the environment of all templates."""
    made = Environment(
        loader=PackageLoader("radmeter.api.noc"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": _shown,
        "percent": percent_of,
        "prose": _prose,
        "headline": wording.headline,
        "explained": pass_context(_explained),
        "volume": units.volume,
        "disk_size": units.disk_size,
        "number": _number,
        "counted": units.counted,
        "duration": units.duration,
        "interval": units.interval,
        "ago": _ago,
        "iso": _iso,
        "clock": pass_context(_clock),
        "full": pass_context(_full),
        "whole_time": pass_context(_whole_time),
        "abbreviation": pass_context(_abbreviation),
    }
    made.globals |= {"static": static_path, "version": __version__}
    return made


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo | None:
    """Return a time zone; None: there is none with this name."""
    # A file of the zones that is no zone, or a path, is no name either.
    if not name or len(name) > 64 or name.startswith("/") or ".." in name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


@lru_cache(maxsize=64)
def static_path(name: str) -> str:
    """Return the address of a file. It changes with the file, so browsers may keep it."""
    content = STATIC.joinpath(*name.split("/")).read_bytes()
    return f"/static/{hashlib.sha256(content).hexdigest()[:12]}/{name}"


def chart(rows: Sequence[Mapping[str, Any]], title: str) -> Markup:
    """Return a chart of octets by day, for a broad place and for a slim one. The style sheet shows one of them."""
    # As in tables: ISO 8601, without the year where it says nothing.
    bars = [
        charts.Bar(label=f"{row['usage_date']:%m-%d}", octets=(int(row["bytes_in"]), int(row["bytes_out"])))
        for row in rows
    ]
    parts = []
    for width, name in ((charts.WIDTH, "broad"), (charts.NARROW, "slim")):
        drawn = charts.bar_chart(bars, title=title, legend=("from users", "to users"), width=width)
        parts.append(drawn[drawn.index("<svg") :].replace("<svg ", f'<svg class="{name}" ', 1))
    # It escapes the texts that it gets.
    return Markup("".join(parts))  # noqa: S704


def _shown(text: object) -> str:
    return printable(str(text))


def _prose(text: object) -> Markup:
    """Return a text of ours, in which a command is between backticks."""
    parts = printable(str(text)).split("`")
    if len(parts) % 2 == 0:
        return escape(printable(str(text)))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )


def _explained(context: Context, alert: dict[str, Any]) -> str:
    return wording.explained(alert, _zone(context))


def _number(value: int | Decimal | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _zone(context: Context) -> ZoneInfo:
    found = zone(context["page"].zone)
    return found if found is not None else ZoneInfo("UTC")


def _clock(context: Context, at: datetime) -> str:
    """Return the time of a recent moment, and the date of one that is longer ago."""
    page = context["page"]
    there, now = at.astimezone(_zone(context)), page.now.astimezone(_zone(context))
    if there.date() == now.date():
        return f"{there:%H:%M:%S}"
    return f"{there:%m-%d %H:%M}" if there.year == now.year else f"{there:%Y-%m-%d}"


def _full(context: Context, at: datetime) -> str:
    return f"{at.astimezone(_zone(context)):%Y-%m-%d %H:%M:%S %z}"


def _whole_time(context: Context, at: datetime) -> str:
    """Return a moment where the zone is named beside it."""
    return f"{at.astimezone(_zone(context)):%Y-%m-%d %H:%M:%S}"


def _abbreviation(context: Context, at: datetime) -> str:
    """Return the short name of the page's zone at a moment: it is beside each time."""
    return at.astimezone(_zone(context)).tzname() or ""


def _ago(at: datetime, now: datetime) -> str:
    return units.duration(max(timedelta(), now - at).total_seconds())
