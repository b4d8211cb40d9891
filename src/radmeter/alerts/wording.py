"""Alerts in words, for mails and the command line."""

from datetime import UTC, datetime, tzinfo
from typing import Any

from radmeter.printable import printable
from radmeter.units import counted, interval, volume

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


def explained(alert: dict[str, Any], zone: tzinfo = UTC) -> str:
    """Return what more is known of an alert, with times of a zone; empty: nothing."""
    detail = alert["detail"] or {}
    if alert["kind"] == "router_silent" and "interim_seconds" in detail:
        return f"nothing since {_time(detail['heard_at'], zone)}; it sends every {interval(detail['interim_seconds'])}"
    if alert["kind"] == "site_down" and "routers" in detail:
        routers = counted(detail["routers"], "router") + _named(detail)
        return f"{routers}, down since {_time(alert['began_at'], zone)}"
    if alert["kind"] == "traffic_spike" and detail.get("usual_octets") is not None:
        octets, usual = volume(detail["octets"]), volume(detail["usual_octets"])
        return f"{octets} in the hour of {_time(detail['hour'], zone)}; usual are {usual}"
    if alert["kind"] == "quota" and "percent" in detail:
        beyond = " or more" if _is_over(alert) else ""
        return f"{detail['percent']} %{beyond} in the period from {detail['period_start']}"
    if alert["kind"] in ("ship_lag", "no_packets"):
        return f"the last packet that is counted came {_time(alert['began_at'], zone)}"
    return ""


def _what(alert: dict[str, Any]) -> str:
    if _is_over(alert):
        return "has used all of the quota"
    return WHAT.get(alert["kind"], printable(str(alert["kind"])))


def _is_over(alert: dict[str, Any]) -> bool:
    return alert["kind"] == "quota" and (alert["detail"] or {}).get("percent") == 100


def _named(detail: dict[str, Any]) -> str:
    """Return the routers that the alert of a site names; empty: none, as in one of an older release."""
    names = [printable(str(each)) for each in detail.get("router_names") or ()]
    more = detail["routers"] - len(names)
    return f" ({', '.join(names)}{f' and {more} more' if more > 0 else ''})" if names else ""


def _time(at: datetime | str, zone: tzinfo) -> str:
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
