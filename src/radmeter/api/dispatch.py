"""The ASGI application below /api/v1: from a request to a route's handler, and from its answer to bytes."""

import asyncio
import io
import logging
import tempfile
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import msgspec
from starlette.types import Receive, Scope, Send

from radmeter.api import encoding, idempotency, rates
from radmeter.api.access import Access
from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.cursors import Cursors
from radmeter.api.listing import Listing, Row, reader
from radmeter.api.pools import Pools
from radmeter.api.problems import MEDIA_TYPE, Problem, bad_request, invalid, not_found
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
from radmeter.api.transactions import CSV_SECONDS, READ_SECONDS, transaction
from radmeter.config import Settings

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
LARGEST_BODY = 64 << 10
LONGEST_PATH = 4096
BODY_SECONDS = 10.0
# Files of statements and of archived months are made beside each other, in threads.
SLOW_AT_ONCE = 2
# A client that takes nothing for so long is gone.
SEND_SECONDS = 60.0
PART_BYTES = 64 << 10
# CSV files are read beside each other, and written into files when they are larger.
CSV_AT_ONCE = 2
IN_MEMORY_BYTES = 4 << 20
# A key may have so many files under way: each lies on the disk until a client that is slow has taken it.
MOST_FILES_OF_A_KEY = 20
# Larger answers are compressed in a thread.
THREAD_FROM_BYTES = 128 << 10


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
        self._csv = asyncio.Semaphore(CSV_AT_ONCE)
        self._slow = asyncio.Semaphore(SLOW_AT_ONCE)
        self._files_of_keys: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        state = scope.setdefault("state", {})
        extra: dict[str, str] = {}
        try:
            await self._answer(scope, receive, send, extra, state)
        except Problem as problem:
            headers = {**extra, "content-type": MEDIA_TYPE, "cache-control": "no-store", **problem.headers}
            await _send(send, scope, problem.status, headers, problem.body())

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, extra: dict[str, str], state: dict[str, Any]
    ) -> None:
        headers = _headers(scope)
        method = scope["method"]
        segments = _segments(scope)
        if len(segments) == 1 and segments[0] in self._documents and method in ("GET", "HEAD"):
            document = self._documents[segments[0]]
            await self._send_body(send, scope, headers, 200, {"content-type": encoding.JSON}, document)
            return
        caller = await self._access.caller(headers, self._access.address(scope))
        state["key"] = caller.name
        decision = self._access.rate(caller)
        extra.update(rates.headers(decision, caller.rate_count, caller.rate_seconds))
        if not decision.allowed:
            raise Problem(
                429,
                "rate-limited",
                f"this key may make {caller.rate_count} requests in {caller.rate_seconds} seconds",
                {"retry-after": str(max(1, decision.seconds))},
            )
        route, path = self._route(method, segments)
        if caller.role not in route.roles:
            roles = ", ".join(sorted(route.roles))
            raise Problem(
                403, "forbidden", f"this is for keys of the roles {roles}; this key has {caller.role}"
            )
        query = _query(scope, route)
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
            with self._one_file_more(caller):
                await self._send_csv(send, scope, headers, caller, route, call, extra)
            return
        async with transaction(self._pools, caller, seconds=READ_SECONDS) as connection:
            answer = await route.handler(call(connection))
            if isinstance(answer, Listing):
                items, key = await answer.page(connection, query.limit, after, last=True)
                answer = Page(items=items, key=key)
        # Nothing is sent before the connection is free again: a slow client holds none.
        if isinstance(answer, Deferred):
            async with self._slow:
                items, key = await asyncio.to_thread(answer.made)
            answer = Page(items=items, key=key)
        if isinstance(answer, FileReply):
            with self._one_file_more(caller):
                async with self._slow:
                    content = await asyncio.to_thread(answer.made)
                with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
                    await self._send_file(
                        send, scope, headers, {**extra, **_download(answer.name, answer.media_type)}, file
                    )
            return
        status, body = self._body(answer, bound_to)
        await self._send_body(send, scope, headers, status, {**extra, "content-type": encoding.JSON}, body)

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
        _check_if_match(headers, route)
        text = await _received(receive, headers)
        body = _decoded(text, headers, route)

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

        request = f"{route.method} /{'/'.join(_segments(scope))}"
        answered = await idempotency.once(self._pools, caller, key, request, text, write)
        if answered.again:
            extra["idempotency-replayed"] = "true"
        await self._send_body(
            send, scope, headers, answered.status, {**extra, "content-type": encoding.JSON}, answered.body
        )

    @contextmanager
    def _one_file_more(self, caller: Caller) -> Iterator[None]:
        if self._files_of_keys[caller.key_id] >= MOST_FILES_OF_A_KEY:
            raise Problem(
                429,
                "too-many-files",
                f"a key may have {MOST_FILES_OF_A_KEY} files under way: take those first",
                {"retry-after": "10"},
            )
        self._files_of_keys[caller.key_id] += 1
        try:
            yield
        finally:
            self._files_of_keys[caller.key_id] -= 1
            if not self._files_of_keys[caller.key_id]:
                del self._files_of_keys[caller.key_id]

    async def _send_csv(
        self,
        send: Send,
        scope: Scope,
        headers: Mapping[str, str],
        caller: Caller,
        route: Route,
        call: Any,
        extra: dict[str, str],
    ) -> None:
        name = "-".join(each for each in route.segments if not each.startswith("{"))
        async with self._csv_file(caller, route, call) as file:
            await self._send_file(
                send, scope, headers, {**extra, **_download(f"{name}.csv", encoding.CSV)}, file
            )

    @asynccontextmanager
    async def _csv_file(self, caller: Caller, route: Route, call: Any) -> AsyncIterator[IO[bytes]]:
        """Yield a file with a whole list as CSV. The database is read to its end first."""
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
            async with self._csv, transaction(self._pools, caller, seconds=CSV_SECONDS) as connection:
                answer = await route.handler(call(connection))
                if isinstance(answer, Listing):
                    file.write(encoding.csv_header(answer.item).encode())
                    read = reader(answer.item)

                    def write(found: list[Row]) -> None:
                        file.write(encoding.csv_lines([read(row) for row in found]).encode())

                    async for found in answer.everything(connection):
                        # In a thread, since it takes a tenth of a second: others are answered meanwhile.
                        await asyncio.to_thread(write, found)
                else:
                    assert isinstance(answer, Page)
                    file.write(encoding.csv_header(route.reply).encode())
                    file.write(encoding.csv_lines(answer.items).encode())
            file.seek(0)
            yield file

    async def _send_body(
        self,
        send: Send,
        scope: Scope,
        headers: Mapping[str, str],
        status: int,
        reply: dict[str, str],
        body: bytes,
    ) -> None:
        reply = {"cache-control": "private, no-cache", "vary": "Accept-Encoding, Authorization", **reply}
        tag = encoding.etag(body)
        if status == 200 and scope["method"] in ("GET", "HEAD"):
            reply["etag"] = tag
            if encoding.same_etag(headers.get("if-none-match", ""), tag, weak=True):
                await _send(
                    send, scope, 304, {name: reply[name] for name in reply if name != "content-type"}, b""
                )
                return
        if len(body) >= encoding.GZIP_FROM_BYTES and encoding.takes_gzip(headers.get("accept-encoding", "")):
            body = (
                await asyncio.to_thread(encoding.compressed, body)
                if len(body) >= THREAD_FROM_BYTES
                else encoding.compressed(body)
            )
            reply["content-encoding"] = "gzip"
            if "etag" in reply:
                reply["etag"] = encoding.gzip_etag(tag)
        await _send(send, scope, status, reply, body)

    async def _send_file(
        self, send: Send, scope: Scope, headers: Mapping[str, str], reply: dict[str, str], file: IO[bytes]
    ) -> None:
        """Send a file in parts, as fast as the client takes them."""
        tag, size = await asyncio.to_thread(encoding.etag_and_size, file)
        reply = {
            "cache-control": "private, no-cache",
            "vary": "Accept-Encoding, Authorization",
            "etag": tag,
            **reply,
        }
        if encoding.same_etag(headers.get("if-none-match", ""), tag, weak=True):
            kept = ("content-type", "content-disposition")
            await _send(send, scope, 304, {name: reply[name] for name in reply if name not in kept}, b"")
            return
        packer = None
        if encoding.takes_gzip(headers.get("accept-encoding", "")) and reply["content-type"].startswith(
            "text/"
        ):
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            reply |= {"content-encoding": "gzip", "etag": encoding.gzip_etag(tag)}
        else:
            reply["content-length"] = str(size)
        await _start(send, 200, reply)
        if scope["method"] != "HEAD":
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                if packer is not None:
                    part = packer.compress(part)
                if part:
                    await _part(send, part, more=True)
            if packer is not None:
                await _part(send, packer.flush(), more=True)
        await _part(send, b"", more=False)


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers. Of those that may come once, a second one is refused: two programs could read another one."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1")
        if key in found:
            if key in ("authorization", "idempotency-key", "content-length", "content-type"):
                raise bad_request(f"the header {key} comes twice")
            found[key] = f"{found[key]}, {value.decode('latin-1')}"
        else:
            found[key] = value.decode("latin-1")
    return found


def _segments(scope: Scope) -> tuple[str, ...]:
    """Return the parts of the path below the prefix. Each is decoded on its own: a user name may have a slash.

    Raises
    ------
    Problem
        The path is not UTF-8, or has a character that PostgreSQL cannot store.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.partition(b"?")[0]
    if len(raw) > LONGEST_PATH:
        raise Problem(414, "too-long", "the address is too long")
    prefix = f"{PREFIX}/".encode()
    if not raw.startswith(prefix):
        raise not_found()
    try:
        parts = tuple(unquote_to_bytes(part).decode() for part in raw[len(prefix) :].split(b"/"))
    except UnicodeDecodeError:
        raise bad_request("the address is not UTF-8") from None
    if any("\0" in part for part in parts):
        raise bad_request("the address has a NUL character")
    return parts


def _check_if_match(headers: Mapping[str, str], route: Route) -> None:
    """Check that a write has If-Match where it is needed, and only where it says something."""
    given = headers.get("if-match")
    if given is None and route.if_match == "needed":
        raise Problem(
            428,
            "if-match-missing",
            "this write needs the header If-Match with the ETag of what you have read, so that you change nothing that "
            "you have not seen; * takes it as it is",
        )
    if given is not None and route.if_match is None:
        raise bad_request("this write changes nothing that has an ETag: leave If-Match out")


def _query(scope: Scope, route: Route) -> Any:
    """Return the parameters, decoded. Raises Problem for those that the route does not know."""
    try:
        text = scope["query_string"].decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=50
        )
    except (UnicodeDecodeError, ValueError):
        raise bad_request("the parameters behind the question mark are not name=value in UTF-8") from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise bad_request(f"the parameter {name!r} comes twice")
        if "\0" in value:
            raise bad_request(f"the parameter {name!r} has a NUL character")
        given[name] = value
    try:
        found = msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, "parameters", _names(route.query)) from None
    for field in msgspec.structs.fields(route.query):
        if field.encode_name in given and getattr(found, field.name) is None:
            # msgspec takes the text null for no value. Who wrote it meant something.
            raise bad_request(
                f"the parameter {field.encode_name!r} cannot be {given[field.encode_name]!r}: leave it out"
            )
    return found


async def _received(receive: Receive, headers: Mapping[str, str]) -> bytes:
    """Return the body of a request. Raises Problem if it is too large or too slow."""
    if int(headers.get("content-length", "0") or 0) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise bad_request("the connection was closed")
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise _too_large()
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Problem(
            408,
            "too-slow",
            f"the body did not come within {BODY_SECONDS:.0f} seconds",
            {"connection": "close"},
        ) from None


def _too_large() -> Problem:
    return Problem(413, "too-large", f"a body has {LARGEST_BODY} bytes at most", {"connection": "close"})


def _decoded(text: bytes, headers: Mapping[str, str], route: Route) -> Any:
    if route.body is None:
        if text.strip():
            raise bad_request("this write takes no body")
        return None
    if headers.get("content-type", "").partition(";")[0].strip().lower() != encoding.JSON:
        raise Problem(415, "unsupported-media-type", f"the body must be {encoding.JSON}")
    try:
        return msgspec.convert(_with_whole_numbers(msgspec.json.decode(text)), route.body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(error, "body", _names(route.body)) from None
    except RecursionError:
        raise bad_request("body: it is nested too deeply") from None


def _names(struct: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def _with_whole_numbers(value: Any) -> Any:
    """Return a value of JSON with 5.0 as 5: to JSON Schema both are integers."""
    if isinstance(value, dict):
        return {
            name: int(each) if isinstance(each, float) and each.is_integer() else each
            for name, each in value.items()
        }
    return value


def _download(name: str, media_type: str) -> dict[str, str]:
    # RFC 6266: a name with other letters, such as that of a tenant, is written as RFC 8187 says.
    given = f'filename="{name}"' if name.isascii() else f"filename*=UTF-8''{quote(name)}"
    return {"content-type": media_type, "content-disposition": f"attachment; {given}"}


async def _send(send: Send, scope: Scope, status: int, headers: Mapping[str, str], body: bytes) -> None:
    if status != 304:
        headers = {**headers, "content-length": str(len(body))}
    await _start(send, status, headers)
    await _part(send, b"" if scope["method"] == "HEAD" else body, more=False)


async def _start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    encoded = [
        (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _part(send: Send, part: bytes, *, more: bool) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": part, "more_body": more})
