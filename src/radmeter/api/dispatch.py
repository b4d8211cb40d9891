"""The ASGI application below /api/v1: from a request to a route's handler, and from its answer to bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from radmeter.api import encoding, idempotency, incoming, outgoing, rates
from radmeter.api.access import Access
from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.cursors import Cursors
from radmeter.api.files import Files
from radmeter.api.listing import Listing
from radmeter.api.pools import Pools
from radmeter.api.problems import MEDIA_TYPE, Problem, not_found
from radmeter.api.route import (
    PAGING,
    Answer,
    Call,
    Deferred,
    FileReply,
    ListQuery,
    Page,
    PageQuery,
    Reply,
    Route,
)
from radmeter.api.transactions import READ_SECONDS, transaction
from radmeter.config import Settings


class Api:
    """The application."""

    def __init__(
        self,
        settings: Settings,
        pools: Pools,
        access: Access,
        cursors: Cursors,
        routes: Sequence[Route],
        documents: Mapping[str, bytes],
    ) -> None:
        self._settings = settings
        self._pools = pools
        self._access = access
        self._cursors = cursors
        self._routes = routes
        self._documents = documents
        self._files = Files(pools)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        state = scope.setdefault("state", {})
        extra: dict[str, str] = {}
        try:
            await self._answer(scope, receive, send, extra, state)
        except Problem as problem:
            headers = {**extra, "content-type": MEDIA_TYPE, "cache-control": "no-store", **problem.headers}
            await outgoing.send_bytes(send, scope, problem.status, headers, problem.body())

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, extra: dict[str, str], state: dict[str, Any]
    ) -> None:
        headers = incoming.headers(scope)
        method = scope["method"]
        segments = incoming.segments(scope)
        if len(segments) == 1 and segments[0] in self._documents and method in ("GET", "HEAD"):
            document = self._documents[segments[0]]
            await outgoing.send_body(send, scope, headers, 200, {"content-type": encoding.JSON}, document)
            return
        caller = await self._access.caller(headers, self._access.address(scope))
        state["key"] = caller.name
        decision = self._access.rate(caller)
        extra.update(rates.headers(decision, caller.rate_count, caller.rate_seconds))
        self._access.refuse_beyond_rate(caller, decision)
        route, path = self._route(method, segments)
        if caller.role not in route.roles:
            roles = ", ".join(sorted(route.roles))
            raise Problem(
                403, "forbidden", f"this is for keys of the roles {roles}; this key has {caller.role}"
            )
        query = incoming.query(scope, route)
        if route.writes:
            await self._write(scope, receive, send, extra, headers, caller, route, path, query)
        else:
            await self._read(scope, send, extra, headers, caller, route, path, query)

    def _route(self, method: str, segments: tuple[str, ...]) -> tuple[Route, dict[str, str]]:
        allowed = []
        for route in self._routes:
            path = route.match(segments)
            if path is None:
                continue
            if route.method == method or (method == "HEAD" and route.method == "GET"):
                return route, path
            allowed.append(route.method)
        if not allowed:
            raise not_found()
        methods = sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])})
        raise Problem(
            405,
            "method-not-allowed",
            f"this address takes {', '.join(methods)}",
            {"allow": ", ".join(methods)},
        )

    async def _read(
        self,
        scope: Scope,
        send: Send,
        extra: dict[str, str],
        headers: Mapping[str, str],
        caller: Caller,
        route: Route,
        path: Mapping[str, str],
        query: Any,
    ) -> None:
        after = None
        bound_to: dict[str, object] = {}
        as_csv = False
        if isinstance(query, PageQuery):
            given = msgspec.structs.asdict(query)
            # What makes the rows others: the address, the filters, and whose rows the caller sees.
            bound_to = {f"?{name}": value for name, value in given.items() if name not in PAGING}
            bound_to |= {
                "/": "/".join((*route.segments, *path.values())),
                "role": caller.role,
                "of": caller.tenant_id,
            }
            after = None if query.cursor is None else self._cursors.read(query.cursor, bound_to)
            as_csv = isinstance(query, ListQuery) and query.format == "csv"

        def call(connection: ApiConnection) -> Call:
            return Call(
                connection=connection,
                caller=caller,
                settings=self._settings,
                path=path,
                query=query,
                after=after,
                if_match=headers.get("if-match"),
            )

        if as_csv:

            async def read(connection: ApiConnection) -> Answer:
                return await route.handler(call(connection))

            name = "-".join(each for each in route.segments if not each.startswith("{"))
            with self._files.one_more(caller):
                async with self._files.csv(caller, route, read) as file:
                    reply = {**extra, **outgoing.download(f"{name}.csv", encoding.CSV)}
                    await outgoing.send_file(send, scope, headers, reply, file)
            return
        async with transaction(self._pools, caller, seconds=READ_SECONDS) as connection:
            answer = await route.handler(call(connection))
            if isinstance(answer, Listing):
                items, key = await answer.page(connection, query.limit, after, last=True)
                answer = Page(items=items, key=key)
        # Nothing is sent before the connection is free again: a slow client holds none.
        if isinstance(answer, Deferred):
            items, key = await self._files.made(caller, answer.made)
            answer = Page(items=items, key=key)
        if isinstance(answer, FileReply):
            with self._files.one_more(caller):
                content = await self._files.made(caller, answer.made)
                reply = {**extra, **outgoing.download(answer.name, answer.media_type)}
                with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as opened:
                    await outgoing.send_file(send, scope, headers, reply, opened)
            return
        status, body = self._body(answer, bound_to)
        await outgoing.send_body(send, scope, headers, status, {**extra, "content-type": encoding.JSON}, body)

    def _body(self, answer: Answer, bound_to: Mapping[str, object]) -> tuple[int, bytes]:
        if isinstance(answer, Page):
            cursor = None if answer.key is None else self._cursors.made(answer.key, bound_to)
            return 200, msgspec.json.encode({"items": answer.items, "next": cursor})
        assert isinstance(answer, Reply)
        return answer.status, msgspec.json.encode(answer.content)

    async def _write(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        extra: dict[str, str],
        headers: Mapping[str, str],
        caller: Caller,
        route: Route,
        path: Mapping[str, str],
        query: Any,
    ) -> None:
        key = idempotency.key_of(headers)
        incoming.check_if_match(headers, route)
        text = await incoming.received(receive, headers)
        body = incoming.decoded(text, headers, route)

        async def write(connection: ApiConnection) -> tuple[int, bytes]:
            answer = await route.handler(
                Call(
                    connection=connection,
                    caller=caller,
                    settings=self._settings,
                    path=path,
                    query=query,
                    body=body,
                    if_match=headers.get("if-match"),
                )
            )
            return self._body(answer, {})

        request = f"{route.method} /{'/'.join(incoming.segments(scope))}"
        answered = await idempotency.once(self._pools, caller, key, request, text, write)
        if answered.again:
            extra["idempotency-replayed"] = "true"
        await outgoing.send_body(
            send, scope, headers, answered.status, {**extra, "content-type": encoding.JSON}, answered.body
        )
