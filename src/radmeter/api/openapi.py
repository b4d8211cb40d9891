"""The OpenAPI 3.1 document, made from the routes."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from radmeter import __version__
from radmeter.api.incoming import PREFIX
from radmeter.api.problems import MEDIA_TYPE, ProblemDetails
from radmeter.api.route import OPERATORS, PAGING, ListQuery, Route

VERSION = "3.1.0"
TEMPLATE = "#/components/schemas/{name}"
NUMBERED = ("id",)
DESCRIPTION = (
    "Exact usage counters from RADIUS accounting. Octets are numbers below 2^53 and text from there; money is text with"
    " a currency. Lists have `items` and `next`, a cursor for the next page or null. Errors are problem details "
    "(RFC 9457). Answers have an ETag. A write needs an Idempotency-Key: sent again with the same key, it is done once."
)
PROBLEMS = {
    400: "The request is not understood",
    401: "There is no key, or it does not hold",
    403: "The key has another role",
    404: "There is no such thing, or it is another tenant's",
    405: "The address takes other methods",
    408: "The body came too slowly",
    409: "The same request is in progress",
    412: "It has changed since it was read (If-Match)",
    413: "The body is too large",
    414: "The address is too long",
    415: "The body has another media type",
    422: "It is refused: the detail says why",
    428: "The header If-Match is missing",
    429: "The key is over its rate, or the address tried too many keys",
    503: "The database cannot be reached now",
    504: "The database did not answer in time",
}
OF_READS = (400, 401, 403, 404, 405, 414, 422, 429, 503, 504)
OF_WRITES = (*OF_READS, 408, 409, 413, 415)
OF_IF_MATCH = {None: (), "optional": (412,), "needed": (412, 428)}
RATES = {
    "RateLimit": {"schema": {"type": "string"}, "description": "What is left of the key's rate."},
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": "The key's rate."},
}
ETAG = {"schema": {"type": "string"}, "description": "For If-None-Match and If-Match."}
# The text of a path's parameter.
NAME = {"type": "string", "minLength": 1, "maxLength": 253}


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document."""
    types = _types(routes)
    schemas, components = msgspec.json.schema_components(types, ref_template=TEMPLATE)
    by_type = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(f"{PREFIX}{route.path}", {})[route.method.lower()] = _operation(
            route, by_type, components
        )
    paths[f"{PREFIX}/stream"] = {"get": _stream()}
    return {
        "openapi": VERSION,
        "info": {
            "title": "radmeter",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(components.items())),
            "responses": {
                f"Problem{status}": {
                    "description": description,
                    "content": {MEDIA_TYPE: {"schema": by_type[id(ProblemDetails)]}},
                }
                for status, description in PROBLEMS.items()
            },
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "rm_<id>_<secret>",
                    "description": "A key of `radmeter keys add`.",
                }
            },
        },
    }


def _stream() -> dict[str, Any]:
    """Return the operation of the stream, which is no route: its answer has no end."""
    roles = ", ".join(sorted(OPERATORS))
    return {
        "operationId": "get_stream",
        "summary": "Figures, routers and alerts as they change: server-sent events",
        "description": "Events are figures, routers, alerts, resync (something was missed: read the lists again) and "
        f"end (the key does not hold any more).\n\nFor keys of the roles {roles}.",
        "tags": ["stream"],
        "parameters": [
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "description": "The id of the last event that came: those since are sent again.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": {
                "description": "Events",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **{
                str(status): {"$ref": f"#/components/responses/Problem{status}"}
                for status in (401, 403, 405, 429, 503)
            },
        },
    }


def _types(routes: Sequence[Route]) -> list[Any]:
    found: list[Any] = [ProblemDetails]
    for route in routes:
        found += [each for each in (route.reply, route.query, route.body) if each is not None]
    unique = {id(each): each for each in found}
    return list(unique.values())


def _operation(route: Route, by_type: dict[int, Any], components: dict[str, Any]) -> dict[str, Any]:
    roles = ", ".join(sorted(route.roles))
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": f"{route.description}\n\nFor keys of the roles {roles}.".strip(),
        "tags": [route.segments[0]],
        "parameters": [*_path_parameters(route), *_query_parameters(route, by_type, components)],
        "responses": {str(route.status): _success(route, by_type)},
    }
    if route.writes:
        operation["parameters"] += [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "New for each write, such as a UUID.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
            },
        ]
    else:
        operation["parameters"].append(
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "The ETag of the answer that is known already: 304, if it is the same.",
                "schema": {"type": "string"},
            }
        )
        operation["responses"]["304"] = {
            "description": "The answer is the one that has this ETag",
            "headers": {**RATES, "ETag": ETAG},
        }
    if route.if_match is not None:
        operation["parameters"].append(
            {
                "name": "If-Match",
                "in": "header",
                "required": route.if_match == "needed",
                "description": "The ETag of what was read: the write is refused if it has changed since. "
                "* takes it as it is.",
                "schema": {"type": "string"},
            }
        )
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": by_type[id(route.body)]}},
        }
    for status in sorted((*(OF_WRITES if route.writes else OF_READS), *OF_IF_MATCH[route.if_match])):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    return operation


def _success(route: Route, by_type: dict[int, Any]) -> dict[str, Any]:
    headers = dict(RATES) if route.writes else {**RATES, "ETag": ETAG}
    if route.media_types:
        content = {each: {"schema": {"type": "string", "format": "binary"}} for each in route.media_types}
        return {"description": "The file", "headers": headers, "content": content}
    schema = by_type[id(route.reply)]
    if route.is_list:
        schema = {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": {"type": "array", "items": schema},
                "next": {
                    "type": ["string", "null"],
                    "description": "The cursor of the next page; null: there is none.",
                },
            },
        }
    content = {"application/json": {"schema": schema}}
    if issubclass(route.query, ListQuery):
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"description": route.summary, "headers": headers, "content": content}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", route.path)
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1} if name in NUMBERED else NAME,
        }
        for name in names
    ]


def _query_parameters(
    route: Route, by_type: dict[int, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    reference = by_type[id(route.query)]["$ref"].rpartition("/")[2]
    schema = components[reference]
    required = schema.get("required", ())
    found = []
    for name, about in schema.get("properties", {}).items():
        about = dict(about)
        parameter = {"name": name, "in": "query", "required": name in required}
        if "description" in about:
            parameter["description"] = about.pop("description")
        # A parameter that is left out has no value: null cannot be sent.
        if "anyOf" in about:
            kinds = [each for each in about["anyOf"] if each != {"type": "null"}]
            about = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
            parameter.setdefault(
                "description", about.pop("description", "")
            ) if "description" in about else None
        if about.get("default", 0) is None:
            about.pop("default")
        found.append({**parameter, "schema": about})
    return sorted(found, key=lambda each: (each["name"] in PAGING, each["name"]))


def _operation_id(route: Route) -> str:
    parts = [each.strip("{}") for each in route.segments]
    return "_".join([route.method.lower(), *parts]).replace("-", "_")
