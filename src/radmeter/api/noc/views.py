"""The pages of the NOC. Each reads in one transaction, as the role of who looks."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.cursors import Cursors
from radmeter.api.hub import Hub
from radmeter.api.listing import Row, rows
from radmeter.api.noc.cached import Cached
from radmeter.api.noc.examining import Examiner, in_short
from radmeter.api.noc.templating import chart
from radmeter.api.pools import Pools
from radmeter.api.problems import bad_request, not_found
from radmeter.api.reads import alerts, finding, over, pipeline, requesting, states
from radmeter.api.transactions import transaction
from radmeter.metrics.figures import Figures
from radmeter.packet.router_key import normal_mac
from radmeter.quotas.over import STATUSES
from radmeter.usage.sessions import sessions_query

# What all viewers share for a moment.
SHARED_SECONDS, LATE_SECONDS, COUNTED_SECONDS, JOURNAL_SECONDS = 2.0, 10.0, 5.0, 5.0
LATE_TIMEOUT = 10
LATEST_JOURNAL_SECONDS = 15.0
SHORT, FINDINGS, PAGE = 10, 5, 50
DAYS = 31
MUTES = 200
LONGEST = 253
_DAYS = """
SELECT usage_date, bytes_in, bytes_out FROM public.router_daily_usage
WHERE router_id = %(router)s AND usage_date > (now() AT TIME ZONE %(zone)s)::date - %(days)s ORDER BY usage_date"""
_TODAY = "SELECT (now() AT TIME ZONE %(zone)s)::date AS today"
_PERIODS = """
SELECT period_start, bytes_in, bytes_out, last_updated FROM radmeter.user_usage
WHERE username = %(name)s ORDER BY period_start DESC LIMIT 12"""
_NAMED = """
SELECT id FROM public.routers
WHERE (name = %(text)s OR nas_identifier = %(text)s OR mac = %(mac)s::macaddr OR id = %(id)s) AND merged_into IS NULL
ORDER BY name <> %(text)s, id LIMIT 1"""
ZONE = "SELECT radmeter.setting_value('timezone') AS zone"

Query = Mapping[str, str]


class Views:
    """Reads what the pages show."""

    def __init__(
        self, pools: Pools, hub: Hub, examiner: Examiner, figures: Callable[[], Figures], key: bytes
    ) -> None:
        self._pools = pools
        self._hub = hub
        self._examiner = examiner
        self._figures = figures
        self._cached = Cached()
        self._cursors = Cursors(key)

    async def zone(self, caller: Caller | None) -> str:
        """Return the installation's time zone: that of the pages, until another one is chosen."""

        async def read() -> str:
            async with transaction(self._pools, _reader()) as connection:
                (row,) = await rows(connection, ZONE)
                return str(row["zone"])

        return str(await self._cached.get("zone", 300, read)) if caller is not None else "UTC"

    async def overview(self, caller: Caller) -> Row:
        """Return what the first page shows."""
        names = ("routers", "sites", "alerts", "quotas", "pipeline", "doctor")
        parts = await asyncio.gather(*(self.part(caller, name) for name in names))
        return dict(zip(names, parts, strict=True)) | {"full": False}

    async def part(self, caller: Caller, name: str) -> Any:
        """Return what a part of the first page shows. All who may see it share it for a moment."""
        if name == "doctor":
            return await self.doctor(full=False)

        async def read() -> Any:
            if name == "pipeline":
                # It is read with all figures of /metrics. With 100,000 routers on a busy machine that takes seconds.
                journal, fault = await self._cached.get(
                    "journal", JOURNAL_SECONDS, self._read_journal, meanwhile=LATEST_JOURNAL_SECONDS
                )
                async with transaction(self._pools, _reader()) as connection:
                    found = await pipeline.pipeline(connection)
                return {**found, "journal": journal, "journal_fault": fault}
            late = await self.late() if name in ("routers", "sites") else []
            async with transaction(self._pools, _reader()) as connection:
                return await self._read_part(connection, name, late)

        # Not what was read before a router fell silent.
        return await self._cached.get(("part", name, self._hub.version), SHARED_SECONDS, read)

    async def _read_part(self, connection: ApiConnection, name: str, late: Sequence[int]) -> Any:
        if name == "routers":
            found, _ = await states.routers(connection, late, in_trouble=True, limit=SHORT)
            return {"rows": found, "jobs_fault": await states.jobs_fault(connection)}
        if name == "sites":
            sites, _ = await states.sites(connection, late, limit=SHORT)
            return {"rows": sites}
        if name == "alerts":
            return {"rows": await alerts.open_alerts(connection, SHORT), "next": None, "first": None}
        users, _ = await over.users_over(connection, limit=SHORT)
        return {"rows": users}

    async def _read_journal(self) -> tuple[Any, str | None]:
        figures = await asyncio.to_thread(self._figures)
        return figures.journal, figures.journal_fault

    async def late(self) -> list[int]:
        """Return the routers that are late."""

        async def read() -> list[int]:
            async with transaction(self._pools, _reader(), seconds=LATE_TIMEOUT) as connection:
                return await states.late_routers(connection)

        known = self._hub.late
        return known if known is not None else list(await self._cached.get("late", LATE_SECONDS, read))

    async def counts(self) -> Row:
        """Return how many routers are in each state."""
        if self._hub.counts is not None:
            return self._hub.counts
        late = await self.late()

        async def read() -> Row:
            async with transaction(self._pools, _reader()) as connection:
                return await states.counts(connection, late)

        return dict(await self._cached.get(("counts", self._hub.version), COUNTED_SECONDS, read))

    async def doctor(self, *, full: bool) -> Row:
        """Return doctor's findings: all of them, or those that somebody has to do something about."""
        latest = await self._examiner.latest()
        short, more = in_short(latest, FINDINGS)
        words = latest.words + (f", {more}" if more and not full else "")
        return {
            "at": latest.at,
            "words": words,
            "fault": latest.fault,
            "findings": latest.findings if full else short,
        }

    async def routers(self, caller: Caller, query: Query) -> Row:
        """Return a page of routers."""
        state, site, text = query.get("state", ""), query.get("site", ""), _text(query)
        if state and state not in states.STATES:
            raise bad_request(f"there is no state {state!r}: the states are {', '.join(states.STATES)}")
        filters = {"state": state, "site": site, "q": text}
        after = self._after(query, "routers", filters)
        late, counts = await self.late(), await self.counts()
        async with transaction(self._pools, caller) as connection:
            found, key = await states.routers(
                connection,
                late,
                state=state or None,
                site=site or None,
                text=text,
                mac=normal_mac(text),
                after=after,
                limit=PAGE,
            )
            fault = await states.jobs_fault(connection)
        chips = [
            {
                "name": each or "all",
                "path": _path("/routers", {**filters, "state": each}),
                "on": each == state,
                "count": None if site or text else counts[each] if each else sum(counts.values()),
            }
            for each in ("", *states.STATES)
        ]
        listed = {
            "rows": found,
            "jobs_fault": fault,
            **self._paged("/routers", filters, "routers", key, after),
        }
        return {"routers": listed, "chips": chips, "state": state, "site": site, "q": text}

    async def sites(self, caller: Caller, query: Query) -> Row:
        """Return a page of sites."""
        text = _text(query)
        after = self._after(query, "sites", {"q": text})
        late = await self.late()
        async with transaction(self._pools, caller) as connection:
            found, key = await states.sites(connection, late, text=text, after=after, limit=PAGE)
        return {
            "sites": {"rows": found, **self._paged("/sites", {"q": text}, "sites", key, after)},
            "q": text,
        }

    async def router_now(self, caller: Caller, router_id: int) -> Row:
        """Return a router as it is now."""
        late = await self.late()
        async with transaction(self._pools, caller) as connection:
            return {"router": await _router(connection, late, router_id)}

    async def router(self, caller: Caller, router_id: int) -> Row:
        """Return what the page of a router shows."""
        late = await self.late()
        async with transaction(self._pools, caller) as connection:
            router = await _router(connection, late, router_id)
            values = {"router": router_id, "zone": router["timezone"], "days": DAYS}
            (today,) = await rows(connection, _TODAY, values)
            counted = {row["usage_date"]: row for row in await rows(connection, _DAYS, values)}
            found, _ = await _sessions(connection, router_id=router_id, open_only=True, limit=PAGE)
        days = [
            counted.get(day, {"usage_date": day, "bytes_in": 0, "bytes_out": 0})
            for day in (today["today"] - timedelta(days=number) for number in range(DAYS - 1, -1, -1))
        ]
        drawn = chart(days, f"Octets of {router['router_name']} by day")
        return {"router": router, "days": days, "chart": drawn, "sessions": {"rows": found}}

    async def sessions(self, caller: Caller, query: Query) -> Row:
        """Return a page of sessions: open ones, unless all are asked for."""
        username, router = _text(query, "username"), _text(query, "router")
        is_open = query.get("open", "true" if not username and not router else "") == "true"
        filters = {"username": username, "router": router, "open": "true" if is_open else ""}
        after = self._after(query, "sessions", filters)
        async with transaction(self._pools, caller) as connection:
            router_id = None
            if router:
                router_id = await _named_router(connection, router)
            found, key = await _sessions(
                connection,
                username=username or None,
                router_id=router_id,
                open_only=is_open,
                after=after,
                limit=PAGE,
            )
        listed = {"rows": found, **self._paged("/sessions", filters, "sessions", key, after, keep_empty=True)}
        return {"sessions": listed, "asked": {"username": username, "router": router, "open": is_open}}

    async def user(self, caller: Caller, name: str) -> Row:
        """Return what the page of a user shows."""
        if not name or len(name) > LONGEST or "\0" in name:
            raise not_found()
        async with transaction(self._pools, caller) as connection:
            state = await over.user_state(connection, name)
            periods = await rows(connection, _PERIODS, {"name": name})
            found, _ = await _sessions(connection, username=name, limit=20)
        if state is None and not periods and not found:
            raise not_found("no subscriber, counter or session has exactly this name")
        return {"name": name, "user": {"state": state, "periods": periods}, "sessions": {"rows": found}}

    async def search(self, caller: Caller, query: Query) -> Row:
        """Return what is found."""
        text = _text(query)
        if not text:
            return {"found": {"users": [], "routers": [], "sessions": []}, "most": finding.MOST}
        late = await self.late()
        async with transaction(self._pools, caller) as connection:
            routers, _ = await states.routers(
                connection, late, text=text, mac=normal_mac(text), limit=finding.MOST
            )
            return {
                "most": finding.MOST,
                "found": {
                    "users": await finding.users(connection, text),
                    "routers": routers,
                    "sessions": await _named(connection, await finding.sessions_of_device(connection, text)),
                },
            }

    async def quotas(self, caller: Caller, query: Query) -> Row:
        """Return a page of users at a limit, a tier or a warning."""
        status = query.get("status", "")
        if status and status not in STATUSES:
            raise bad_request(f"there is no status {status!r}: they are {', '.join(STATUSES)}")
        after = self._after(query, "quotas", {"status": status})
        async with transaction(self._pools, caller) as connection:
            found, key = await over.users_over(connection, status=status or None, after=after, limit=PAGE)
        chips = [
            {"name": each or "all", "path": _path("/quotas", {"status": each}), "on": each == status}
            for each in ("", *STATUSES)
        ]
        paged = self._paged("/quotas", {"status": status}, "quotas", key, after)
        return {"quotas": {"rows": found, **paged}, "chips": chips}

    async def pipeline(self, caller: Caller) -> Row:
        """Return what the page of the pipeline shows."""
        async with transaction(self._pools, caller) as connection:
            details = await pipeline.details(connection)
        return {"pipeline": await self.part(caller, "pipeline"), "details": details}

    async def alerts(self, caller: Caller, query: Query) -> Row:
        """Return a page of alerts."""
        resolved = query.get("which") == "all"
        filters = {"which": "all" if resolved else ""}
        after = self._after(query, "alerts", filters)
        async with transaction(self._pools, caller) as connection:
            found, key = await alerts.alerts(connection, resolved=resolved, after=after, limit=PAGE)
            mutes = await alerts.mutes(connection, MUTES)
        chips = [
            {"name": "open", "path": "/alerts", "on": not resolved},
            {"name": "all", "path": "/alerts?which=all", "on": resolved},
        ]
        return {
            "alerts": {"rows": found, **self._paged("/alerts", filters, "alerts", key, after)},
            "chips": chips,
            "mutes": mutes,
        }

    def _after(self, query: Query, name: str, filters: Query) -> list[str | None] | None:
        given = query.get("cursor", "")
        return self._cursors.read(given, {"page": name, **filters}) if given else None

    def _paged(
        self,
        path: str,
        filters: Query,
        name: str,
        key: Sequence[str | None] | None,
        after: object,
        *,
        keep_empty: bool = False,
    ) -> Row:
        following = None
        if key is not None:
            cursor = self._cursors.made(key, {"page": name, **filters})
            following = _path(path, {**filters, "cursor": cursor}, keep_empty=keep_empty)
        return {"next": following, "first": _path(path, filters, keep_empty=keep_empty) if after else None}


def _reader() -> Caller:
    """Return who reads what many viewers share: it is what every operator sees."""
    return Caller(key_id="pages", name="pages", role="reader")


async def _router(connection: ApiConnection, late: Sequence[int], router_id: int) -> Row:
    found, _ = await states.routers(connection, late, router_id=router_id, limit=1)
    if not found:
        raise not_found("there is no such router, or it was retired or merged")
    return found[0]


async def _named_router(connection: ApiConnection, text: str) -> int:
    number = text.removeprefix("#")
    is_id = number.isascii() and number.isdigit() and len(number) < 19
    values = {"text": text, "mac": normal_mac(text), "id": int(number) if is_id else None}
    found = await rows(connection, _NAMED, values)
    if not found:
        raise not_found(f"there is no router {text!r}")
    return int(found[0]["id"])


async def _sessions(
    connection: ApiConnection,
    *,
    username: str | None = None,
    router_id: int | None = None,
    open_only: bool = False,
    after: Sequence[str | None] | None = None,
    limit: int,
) -> tuple[list[Row], list[str | None] | None]:
    before = (after[0], int(after[1] or 0)) if after is not None else None
    query, values = sessions_query(open_only=open_only, username=username, router_id=router_id, before=before)
    # The key is compared as the server wrote it.
    query = query.replace("SELECT ", "SELECT acctstarttime::text AS start_written, ", 1)
    found = await rows(connection, f"{query} LIMIT %(most)s", {**values, "most": limit + 1})
    more = len(found) > limit
    found = await _named(connection, found[:limit])
    return found, [found[-1]["start_written"], str(found[-1]["id"])] if more else None


async def _named(connection: ApiConnection, found: Sequence[Row]) -> list[Row]:
    """Return sessions with what links and buttons say: the router's name, and whether it can be asked to end them."""
    ids = sorted({row["router_id"] for row in found} - {None})
    known = {router["id"]: router for router in await requesting.routers(connection, ids)}
    unknown = {"name": "", "has_secret": False}
    return [
        {**row, "router_name": router["name"], "has_secret": router["has_secret"]}
        for row in found
        for router in [known.get(row["router_id"], unknown)]
    ]


def _text(query: Query, name: str = "q") -> str:
    text = query.get(name, "").strip()
    if len(text) > LONGEST or "\0" in text:
        raise bad_request(f"{name}: at most {LONGEST} characters, none of them NUL")
    return text


def _path(path: str, filters: Query, *, keep_empty: bool = False) -> str:
    given = {name: value for name, value in filters.items() if value or keep_empty}
    return path + (f"?{urlencode(given)}" if given else "")
