"""Errors as problem details (RFC 9457)."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is wrong with a request (RFC 9457).

    `type` is stable, for programs. `detail` is for people.
    """

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):
    """A request is answered with an error.

    Parameters
    ----------
    status
        The status code.
    kind
        The last part of the type, such as ``rate-limited``.
    detail
        What is wrong with this request, and what to do.
    headers
        Further headers of the answer.
    """

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the answer's body."""
        return msgspec.json.encode(
            ProblemDetails(
                type=f"urn:radmeter:problem:{self.kind}",
                title=HTTPStatus(self.status).phrase,
                status=self.status,
                detail=self.detail,
            )
        )


def bad_request(detail: str) -> Problem:
    """Return the problem of a request that is not understood."""
    return Problem(400, "bad-request", detail)


def not_found(detail: str = "there is nothing at this address") -> Problem:
    """Return the problem of a thing that does not exist, or that is another tenant's: nobody can tell which."""
    return Problem(404, "not-found", detail)


def unavailable(detail: str = "the database cannot be reached now", seconds: int = 2) -> Problem:
    """Return the problem of a request that may succeed soon."""
    return Problem(503, "unavailable", detail, {"retry-after": str(seconds)})


def too_slow(seconds: float) -> Problem:
    """Return the problem of a request that the database does not answer in time."""
    detail = f"the database did not answer within {seconds:g} seconds: ask for less, or again later"
    return Problem(504, "too-slow", detail)


# What msgspec says of a type, in words of those who write addresses.
_IN_WORDS = (
    (r"Expected `bool(?: \| null)?`, got `\w+`", "it takes `true` or `false`"),
    (r"Expected `int(?: \| null)?`, got `\w+`", "it takes a whole number"),
    (r"Invalid RFC3339 encoded datetime", "it takes an instant such as `2026-01-31T10:00:00Z`"),
    (r"Invalid RFC3339 encoded date", "it takes a day such as `2026-01-31`"),
)


def invalid(error: Exception, what: str, struct: type[msgspec.Struct] | None = None) -> Problem:
    """Return the problem of a value that has the wrong type or is out of its range.

    Parameters
    ----------
    struct
        What was to be read. Who has written a name or a word that it does not know is told those that it takes.
    """
    said = str(error)
    takes = _takes(said, struct) if struct is not None else ""
    for pattern, words in _IN_WORDS:
        said = re.sub(pattern, words, said)
    return bad_request(f"{what}: {said}{takes}")


def _takes(said: str, struct: type[msgspec.Struct]) -> str:
    fields = msgspec.structs.fields(struct)
    if "unknown field" in said:
        return _listed([field.encode_name for field in fields])
    # What msgspec says of a word that is none of a Literal's, with the place of it.
    found = re.fullmatch(r"Invalid enum value .* - at `\$\.(\w+)`", said, re.DOTALL)
    words = [
        word for field in fields if found and field.encode_name == found[1] for word in _words(field.type)
    ]
    return _listed(words) if words else ""


def _words(type_: Any) -> list[str]:
    about = msgspec.inspect.type_info(type_)
    kinds = about.types if isinstance(about, msgspec.inspect.UnionType) else (about,)
    return [str(value) for each in kinds for value in _values(each)]


def _values(about: msgspec.inspect.Type) -> tuple[object, ...]:
    if isinstance(about, msgspec.inspect.Metadata):
        about = about.type
    return about.values if isinstance(about, msgspec.inspect.LiteralType) else ()


def _listed(names: list[str]) -> str:
    return f": it takes {', '.join(f'`{name}`' for name in names)}" if names else ": it takes none"


JSON_SCHEMA: dict[str, Any] = {"$ref": "#/components/schemas/ProblemDetails"}
