"""What a route of the API is: method, path, roles, and the types of what comes in and goes out. A route is a value.

From the routes come authorization, OpenAPI and the tests of every role.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from radmeter.api.callers import Caller
from radmeter.api.connection import ApiConnection
from radmeter.api.encoding import etag, same_etag
from radmeter.api.listing import Listing
from radmeter.api.problems import Problem, bad_request, invalid
from radmeter.config import Settings

EVERYBODY = frozenset({"reader", "noc", "billing", "tenant"})
STAFF = EVERYBODY - {"tenant"}
NOC = frozenset({"noc"})
OPERATORS = frozenset({"reader", "noc"})
MONEY = EVERYBODY

Bytes = Annotated[
    int | str,
    Meta(description="Octets: a number below 2^53, from there on its digits as text. Exact in both forms."),
]
# PostgreSQL's text has no NUL.
Text = Annotated[str, Meta(min_length=1, max_length=1000, pattern="^[^\\x00]*$")]
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]


def check_spelling(name: str, text: str, value: object) -> None:
    """Check that a number of an address is written as we would write it. msgspec also takes 1e3 and 5.0.

    Raises
    ------
    Problem
        It has another spelling: caches, logs and rules of a proxy would take it for something else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and text != str(value):
        raise bad_request(f"{name}: a number has digits only: {value}")


class NoQuery(Struct, forbid_unknown_fields=True):
    """A route without parameters."""


class PageQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every list takes."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Most items of a page.")] = 100
    cursor: (
        Annotated[
            str,
            Meta(max_length=2048, description="`next` of the page before. It holds with the same filters."),
        ]
        | None
    ) = None


class ListQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """What every list takes that can be had as a file."""

    format: Annotated[
        Literal["json", "csv"], Meta(description="csv: the whole list as a file, all rows, without pages.")
    ] = "json"


# What does not filter a list.
PAGING = ("limit", "cursor", "format")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer with a value, as JSON."""

    content: Struct
    status: int = 200


@dataclass(frozen=True, kw_only=True)
class FileReply:
    """An answer with a file. `made` is called in a thread, without a connection, and returns the bytes or a path."""

    name: str
    media_type: str
    made: Callable[[], bytes | Path]


@dataclass(frozen=True, kw_only=True)
class Page:
    """An answer with a page that the handler has read itself. `key` is that of its last row, if there are more."""

    items: list[Any]
    key: list[str | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Deferred:
    """An answer with a page that is read in a thread, without a connection: `made` returns its items and key."""

    made: Callable[[], tuple[list[Any], list[str | None] | None]]


Answer = Reply | FileReply | Page | Deferred | Listing[Any]


@dataclass(kw_only=True)
class Call:
    """A request, decoded: who calls, what comes in, and a connection in the transaction of the caller's role."""

    connection: ApiConnection
    caller: Caller
    settings: Settings
    path: Mapping[str, str]
    query: Any = None
    body: Any = None
    after: list[str | None] | None = None
    if_match: str | None = None

    def id(self, name: str = "id") -> int:
        """Return a number of the path. Raises Problem if it is none."""
        try:
            number = msgspec.convert(self.path[name], Id, strict=False)
        except msgspec.ValidationError as error:
            raise invalid(error, name) from None
        check_spelling(name, self.path[name], number)
        return number

    def match(self, content: Struct) -> None:
        """Check that the client has seen the thing as it is now, if it says which it has seen (If-Match).

        Raises
        ------
        Problem
            412: it has changed since.
        """
        if self.if_match is not None and not same_etag(
            self.if_match, etag(msgspec.json.encode(content)), weak=False
        ):
            raise Problem(412, "changed", "it has changed since you read it: read it again, and decide anew")


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route.

    Attributes
    ----------
    path
        Below /api/v1, such as ``/users/{name}/usage``.
    roles
        Whose keys may use it.
    query, body
        The types of the parameters, and of the body of a write.
    reply
        The type of the answer; of a list, that of an item.
    is_list
        The answer has items and next. It can be had as CSV.
    media_types
        Of an answer that is a file. Empty: JSON.
    if_match
        Of a write: it changes something that can be read, so `needed` or `optional`. None: it only adds.
    """

    method: str
    path: str
    handler: Handler
    roles: frozenset[str]
    summary: str
    reply: Any
    query: type[Struct] = NoQuery
    body: type[Struct] | None = None
    writes: bool = False
    is_list: bool = False
    status: int = 200
    media_types: tuple[str, ...] = ()
    if_match: Literal["needed", "optional"] | None = None
    description: str = ""
    segments: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.strip("/").split("/")))

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        """Return the path's parameters; None: it is another route's path."""
        if len(segments) != len(self.segments):
            return None
        found = {}
        for want, given in zip(self.segments, segments, strict=True):
            if want.startswith("{"):
                if not given:
                    return None
                found[want[1:-1]] = given
            elif want != given:
                return None
        return found
