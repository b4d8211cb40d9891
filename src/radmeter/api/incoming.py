"""What comes in: the head of a request, its path, its parameters and its body, bounded and decoded."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from starlette.types import Receive, Scope

from radmeter.api import encoding
from radmeter.api.problems import Problem, bad_request, invalid, not_found
from radmeter.api.route import Route, check_spelling

PREFIX = "/api/v1"
LARGEST_BODY = 64 << 10
LONGEST_PATH = 4096
BODY_SECONDS = 10.0


def headers(scope: Scope) -> dict[str, str]:
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


def segments(scope: Scope) -> tuple[str, ...]:
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


def check_if_match(headers: Mapping[str, str], route: Route) -> None:
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


def query(scope: Scope, route: Route) -> Any:
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
        raise invalid(error, "parameters", route.query) from None
    for field in msgspec.structs.fields(route.query):
        if field.encode_name not in given:
            continue
        value = getattr(found, field.name)
        check_spelling(field.encode_name, given[field.encode_name], value)
        if value is None:
            # msgspec takes the text null for no value. Who wrote it meant something.
            raise bad_request(
                f"the parameter {field.encode_name!r} cannot be {given[field.encode_name]!r}: leave it out"
            )
    return found


async def received(receive: Receive, headers: Mapping[str, str]) -> bytes:
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


def decoded(text: bytes, headers: Mapping[str, str], route: Route) -> Any:
    """Return the body of a write as the route's type. Raises Problem if it is none."""
    if route.body is None:
        if text.strip():
            raise bad_request("this write takes no body")
        return None
    if headers.get("content-type", "").partition(";")[0].strip().lower() != encoding.JSON:
        raise Problem(415, "unsupported-media-type", f"the body must be {encoding.JSON}")
    try:
        return msgspec.convert(_with_whole_numbers(msgspec.json.decode(text)), route.body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(error, "body", route.body) from None
    except RecursionError:
        raise bad_request("body: it is nested too deeply") from None


def _with_whole_numbers(value: Any) -> Any:
    """Return a value of JSON with 5.0 as 5: to JSON Schema both are integers."""
    if isinstance(value, dict):
        return {
            name: int(each) if isinstance(each, float) and each.is_integer() else each
            for name, each in value.items()
        }
    return value
