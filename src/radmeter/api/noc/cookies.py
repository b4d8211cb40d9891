"""Reads a cookie of ours.

Not by starlette's `request.cookies`: it reads what is in quotes as Python's http.cookies does. Before Python 3.12.6 the
time of that grows with the square of the length (CVE-2024-7592), and whoever sends it needs no key.
"""

from starlette.requests import Request


def cookie(request: Request, name: str) -> str:
    """Return the value of a cookie (RFC 6265 section 4.2); empty: it was not sent, or not as we have set it."""
    found = ""
    for pair in request.headers.get("cookie", "").split(";"):
        given, _, value = pair.partition("=")
        if given.strip() == name:
            found = value.strip()
    if len(found) > 1 and found[0] == found[-1] == '"':
        # A value of ours has no character that is escaped in quotes.
        found = found[1:-1]
    return found
