"""Alerts in words, for mails and the command line."""

from datetime import UTC, datetime
from typing import Any

from radmeter.printable import printable
from radmeter.units import counted, duration, human_bytes

WHAT = {
    "router_silent": "is silent",
    "site_down": "is down",
    "traffic_spike": "has more traffic than usual",
    "quota": "has used much of the quota",
    "ship_lag": "are counted late",
    "no_packets": "send nothing",
}


def headline(alert: dict[str, Any]) -> str:
    """Return what is wrong, such as ``site Hotel is down``."""
    return f"{printable(str(alert['subject']))} {_what(alert)}"


def in_short(alert: dict[str, Any]) -> str:
    """Return what is wrong with the subject, for a line that names it and says since when: ``is down (6 routers)``."""
    detail = alert["detail"] or {}
    more = ""
    if alert["folded"]:
        more = counted(alert["folded"], "router")
    elif alert["kind"] == "router_silent" and "interim_seconds" in detail:
        more = f"interims every {duration(detail['interim_seconds'])}"
    elif alert["kind"] == "quota" and "percent" in detail:
        more = f"{detail['percent']} %"
    elif alert["kind"] == "traffic_spike" and "octets" in detail:
        more = f"{human_bytes(detail['octets'])} in an hour"
    return f"{_what(alert)} ({more})" if more else _what(alert)


def explained(alert: dict[str, Any]) -> str:
    """Return what more is known of an alert; empty: nothing."""
    detail = alert["detail"] or {}
    if alert["kind"] == "router_silent" and "interim_seconds" in detail:
        return (
            f"nothing since {_time(detail['heard_at'])}; it sends every {duration(detail['interim_seconds'])}"
        )
    if alert["kind"] == "site_down" and "routers" in detail:
        return f"{counted(detail['routers'], 'router')}, down since {_time(alert['began_at'])}"
    if alert["kind"] == "traffic_spike" and detail.get("usual_octets") is not None:
        octets, usual = human_bytes(detail["octets"]), human_bytes(detail["usual_octets"])
        return f"{octets} in the hour of {_time(detail['hour'])}; usual are {usual}"
    if alert["kind"] == "quota" and "percent" in detail:
        return f"{detail['percent']} % in the period from {detail['period_start']}"
    if alert["kind"] in ("ship_lag", "no_packets"):
        return f"the last packet that is counted came {_time(alert['began_at'])}"
    return ""


def _what(alert: dict[str, Any]) -> str:
    return WHAT.get(alert["kind"], printable(str(alert["kind"])))


def _time(at: datetime | str) -> str:
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
