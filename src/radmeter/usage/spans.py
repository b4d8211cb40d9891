"""Adds up days to weeks and months, and finds the users and routers with the most."""

from collections.abc import Mapping
from datetime import date, timedelta

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import Row
from radmeter.usage.subject import NOTHING, Octets

ONE_DAY = timedelta(days=1)
BY = ("day", "week", "month")
TOP_USERS = """
SELECT username, count(*) AS periods, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
       sum(bytes_in::numeric + bytes_out) AS bytes_total
FROM public.user_quota_usage WHERE period_start BETWEEN %(first)s AND %(last)s
GROUP BY username ORDER BY bytes_total DESC, username LIMIT %(most)s"""
TOP_ROUTERS = """
SELECT usage.router_id, router.name AS router, count(*) AS days, sum(usage.bytes_in) AS bytes_in,
       sum(usage.bytes_out) AS bytes_out, sum(usage.bytes_in::numeric + usage.bytes_out) AS bytes_total
FROM public.router_daily_usage AS usage JOIN radmeter.router_list AS router ON router.id = usage.router_id
WHERE usage.usage_date BETWEEN %(first)s AND %(last)s
GROUP BY usage.router_id, router.name ORDER BY bytes_total DESC, usage.router_id LIMIT %(most)s"""


def begin(day: date, by: str) -> date:
    """Return the first day of the day's week (Monday) or month."""
    if by == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if by == "week" else day


def following(first: date, by: str) -> date:
    """Return the first day after the span that begins with `first`."""
    if by == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if by == "week" else 1)


def added_up(days: Mapping[date, Octets], first: date, last: date, by: str) -> list[Row]:
    """Return a row for each span from `first` to `last`, both included. The outer ones are cut to these days."""
    rows: list[Row] = []
    at = begin(first, by)
    while at <= last:
        end = following(at, by) - ONE_DAY
        rows.append({"first": max(at, first), "last": min(end, last), **NOTHING._asdict()})
        at = end + ONE_DAY
    number = {begin(row["first"], by): row for row in rows}
    for day, octets in days.items():
        row = number[begin(day, by)]
        row["bytes_in"] += octets.bytes_in
        row["bytes_out"] += octets.bytes_out
    for row in rows:
        row["bytes_total"] = row["bytes_in"] + row["bytes_out"]
    return rows


def top_users(connection: Connection, first: date, last: date, most: int) -> list[Row]:
    """Return the users with the most usage in the quota periods that began on these days."""
    return views.rows(connection, TOP_USERS, {"first": first, "last": last, "most": most})


def top_routers(connection: Connection, first: date, last: date, most: int) -> list[Row]:
    """Return the routers with the most usage on these days."""
    return views.rows(connection, TOP_ROUTERS, {"first": first, "last": last, "most": most})
