"""Reads the values of a plan as an operator writes them, and adds, changes and retires plans."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from radmeter.database import views
from radmeter.database.connection import Connection
from radmeter.database.views import NotKnown, Row
from radmeter.quotas.amounts import BadAmount, bits_per_second, octets, seconds
from radmeter.quotas.calls import call

# What takes a limit away.
NONE = ("unlimited", "off", "none")
LARGEST_INTEGER = 2**31 - 1
# A period begins on the day on which each user got the plan. Stored as 0.
JOINED = "joined"

LIST = """
SELECT plan.*, coalesce(holders.users, 0) AS users,
       (SELECT coalesce(json_agg(json_build_object(
                   'from_bytes', tier.from_bytes, 'speed_down', tier.speed_down, 'speed_up', tier.speed_up,
                   'role', tier.role) ORDER BY tier.from_bytes), '[]')
        FROM public.plan_tiers AS tier WHERE tier.plan_id = plan.id) AS tiers
FROM public.plans AS plan
LEFT JOIN (SELECT plan_id, count(*) AS users
           FROM (SELECT username, plan_id FROM public.subscribers
                 UNION ALL
                 SELECT username, further.plan_id
                 FROM public.subscriber_plans AS further JOIN public.subscribers AS subscriber USING (username)
                 WHERE further.plan_id <> subscriber.plan_id) AS held
           -- Not the pseudonyms of erased people (radmeter.is_pseudonym).
           WHERE NOT (starts_with(username, 'erased-') AND length(username) = 39)
           GROUP BY plan_id) AS holders ON holders.plan_id = plan.id
WHERE (%(name)s::text IS NULL OR plan.name = %(name)s) AND (%(retired)s OR plan.retired_at IS NULL)
ORDER BY plan.name"""


class Change(NamedTuple):
    """What a change of a plan did, and how many users have the plan."""

    changed: bool
    users: int
    period_changed: bool


def values(given: Mapping[str, str | None], tiers: Sequence[str] = ()) -> dict[str, Any]:
    """Return columns of a plan for `add` and `change`.

    Parameters
    ----------
    given
        Texts by column. None: not given.
    tiers
        Fair-use tiers, such as ``8GB:1M/512k`` and ``9GB:off``. A single ``none`` takes all away.

    Raises
    ------
    BadAmount
        A value is not one. The message begins with the option.
    """
    found: dict[str, Any] = {}
    for column, text in given.items():
        if text is not None:
            option, read = _READ[column]
            try:
                found[column] = read(text)
            except BadAmount as error:
                raise BadAmount(f"{option}: {error}") from None
    if tiers:
        try:
            found["tiers"] = [] if [each.lower() for each in tiers] == ["none"] else _tiers(tiers)
        except BadAmount as error:
            raise BadAmount(f"--tier: {error}") from None
    return found


def _tiers(texts: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for text in texts:
        start, colon, rest = text.partition(":")
        speeds, named, role = rest.partition(":")
        down, slash, up = speeds.partition("/")
        if not colon or not (slash or speeds.lower() == "off"):
            raise BadAmount(f"{text!r} is not a tier: write FROM:DOWN/UP, such as 8GB:1M/512k, or FROM:off")
        tier: dict[str, Any] = {
            "from_bytes": octets(start),
            "speed_down": None,
            "speed_up": None,
            "role": None,
        }
        if slash:
            tier |= {"speed_down": bits_per_second(down), "speed_up": bits_per_second(up)}
        if named:
            if not slash:
                raise BadAmount(f"{text!r}: a tier that is off has no role")
            tier["role"] = _role(role)
        if tier["from_bytes"] in found:
            raise BadAmount(f"two tiers begin at {start}: give one")
        found[octets(start)] = tier
    return [found[start] for start in sorted(found)]


def _or_none(read: Callable[[str], int | str]) -> Callable[[str], int | str | None]:
    return lambda text: None if text.strip().lower() in NONE else read(text)


def _timeout(text: str) -> int:
    span = seconds(text, bare=True)
    if not 0 < span <= LARGEST_INTEGER:
        raise BadAmount(f"{text!r} is not from 1 s to {LARGEST_INTEGER} s: `off` takes it away")
    return span


def _validity(text: str) -> int:
    if not (span := seconds(text)):
        raise BadAmount(f"{text!r} is no time: `off` takes the validity away")
    return span


def _sessions(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) == 0:
        raise BadAmount(f"{text!r} is not a number of sessions from 1 to 999999, nor `unlimited`")
    return int(text)


def _anchor(text: str) -> int:
    if text.lower() == JOINED:
        return 0
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 31:
        raise BadAmount(
            f"{text!r} is not a day: monthly 1 to 31 (31 is the last day of a shorter month), weekly 1 (Monday) to 7; "
            f"or {JOINED}"
        )
    return int(text)


def _role(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:/@ +-]{0,99}", text):
        raise BadAmount(
            f"{text!r} is not a role: 1 to 100 of A-Z, a-z, 0-9, blank and _.:/@+-, the first a letter or a digit"
        )
    return text


def price(text: str) -> str:
    """Return a price without tax, as text. Raises BadAmount if it is none, or is finer than any currency."""
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,4})?", text):
        raise BadAmount(f"{text!r} is not a price with at most four decimals, such as 19.90")
    return text


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 200 or text != text.strip():
        raise BadAmount(
            f"{text!r} is not a name: 1 to 200 characters, no blanks at its ends, no control characters"
        )
    return text


def _zone(text: str) -> str | None:
    return None if text.lower() in ("default", "") else text


_READ: dict[str, tuple[str, Callable[[str], Any]]] = {
    "name": ("the name", _name),
    "quota_type": ("--period", str),
    "anchor_day": ("--anchor", _anchor),
    "timezone": ("--timezone", _zone),
    "quota_bytes": ("--quota", _or_none(octets)),
    "quota_bytes_in": ("--quota-up", _or_none(octets)),
    "quota_bytes_out": ("--quota-down", _or_none(octets)),
    "quota_seconds": ("--time", _or_none(seconds)),
    "speed_down": ("--down", _or_none(bits_per_second)),
    "speed_up": ("--up", _or_none(bits_per_second)),
    "max_sessions": ("--max-sessions", _or_none(_sessions)),
    "session_timeout": ("--session-timeout", _or_none(_timeout)),
    "idle_timeout": ("--idle-timeout", _or_none(_timeout)),
    "valid_seconds": ("--valid", _or_none(_validity)),
    "rollover_bytes": ("--rollover", _or_none(octets)),
    "price": ("--price", price),
    "role": ("--role", _or_none(_role)),
}


def add(connection: Connection, plan: Mapping[str, Any]) -> int:
    """Add a plan and return its id. Raises StoreError if the name is taken or the values do not go together."""
    ((plan_id,),) = call(
        connection, "SELECT radmeter.add_plan(%(plan)s::jsonb)", {"plan": json.dumps(dict(plan))}
    )
    return int(plan_id)


def change(connection: Connection, name: str, changes: Mapping[str, Any]) -> Change:
    """Change a plan for all users who have it, at once. None takes a value away."""
    (row,) = call(
        connection,
        "SELECT changed, users, period_changed FROM radmeter.change_plan(%(name)s, %(changes)s::jsonb)",
        {"name": name, "changes": json.dumps(dict(changes))},
    )
    return Change(*row)


def retire(connection: Connection, name: str, *, undo: bool) -> Change:
    """Take a plan out of use, or with `undo` into use again."""
    (row,) = call(
        connection,
        "SELECT changed, users, false FROM radmeter.retire_plan(%(name)s, %(undo)s)",
        {"name": name, "undo": undo},
    )
    return Change(*row)


def list_plans(connection: Connection, *, retired: bool) -> list[Row]:
    """Return the plans in the order of their names, with their tiers and how many users have each."""
    return views.rows(connection, LIST, {"name": None, "retired": retired})


def find(connection: Connection, name: str) -> Row:
    """Return a plan. Raises NotKnown if there is none of exactly this name."""
    found = views.rows(connection, LIST, {"name": name, "retired": True})
    if not found:
        raise NotKnown(f"there is no plan {name!r}: `radmeter plans list --retired` lists all")
    return found[0]
