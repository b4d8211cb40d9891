"""Reads a list of users from CSV, line by line. A bad line is reported and does not stop the others. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from radmeter import csv_lines
from radmeter.csv_lines import BadLine
from radmeter.errors import ConfigurationError, RadmeterError
from radmeter.quotas.passwords import Stored, stored

COLUMNS = ("username", "plan", "also", "password", "tenant")
LONGEST_REASON = 400
LONGEST_NAME_OCTETS = 253  # RFC 2865 section 5
MOST_PLANS = 64
# In the column also: the user has no further plans.
NO_PLANS = "none"
# Names are compared with those of the lines before, by a digest of 8 bytes: 10 million lines take some 600 MB.
MOST_USERS = 10_000_000


class BadList(RadmeterError):
    """A file is not a list of users."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A user as a line of a list has it. None: not given."""

    number: int
    username: str
    plan: str | None
    also: tuple[str, ...] | None
    password: Stored | None
    tenant: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the line as radmeter.import_subscribers takes it."""
        attribute, value = self.password or (None, None)
        return {
            "line": self.number,
            "username": self.username,
            "plan": self.plan,
            "also": None if self.also is None else list(self.also),
            "attribute": attribute,
            "password": value,
            "tenant": self.tenant,
        }


def read(lines: Iterable[bytes], *, cleartext: bool = False) -> Iterator[Line | tuple[int, str]]:
    """Read a list. Yield each user, or for a bad line its number and the reason. Empty lines are skipped.

    Each line is read on its own, so that a forgotten quote spoils only one line.
    A line as `csv_lines.lines_of` gives it.

    Raises
    ------
    BadList
        The first line is not the header, or there are more than `MOST_USERS` users.
    """
    numbered = enumerate(lines, start=1)
    columns = _header(next(numbered, (1, b""))[1])
    seen: set[int] = set()
    for number, raw in numbered:
        if not raw.strip(b" \t\r\n,"):
            continue
        try:
            line = _line(number, raw, columns, cleartext)
            # One of two lines of the same user is wrong, and nobody can know which.
            key = hash(line.username)
            if key in seen:
                raise BadLine(f"the user {line.username!r} is on a line before already")
            seen.add(key)
        except ConfigurationError as error:
            reason = str(error)
            yield number, reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + ".."
        else:
            if len(seen) > MOST_USERS:
                raise BadList(f"it has more than {MOST_USERS:,} users: split the file")
            yield line


def _line(number: int, raw: bytes, columns: list[str], cleartext: bool) -> Line:
    if len(raw) > csv_lines.LONGEST_LINE:
        raise BadLine(f"it is longer than {csv_lines.LONGEST_LINE} bytes")
    fields = csv_lines.fields(raw)
    if len(fields) != len(columns):
        raise BadLine(f"it has {len(fields)} fields, the header has {len(columns)}")
    given = dict(zip(columns, fields, strict=True))
    for column, text in given.items():
        if not text.isprintable() and column != "password":
            raise BadLine(f"{column} {text!r} has characters that cannot be printed")
    username = given["username"]
    check_name(username)
    plan, also, password, tenant = (given.get(column, "") for column in COLUMNS[1:])
    return Line(
        number=number,
        username=username,
        plan=plan.strip() or None,
        also=_also(also),
        password=stored(password, cleartext=cleartext) if password else None,
        tenant=tenant.strip() or None,
    )


def check_name(username: str) -> None:
    """Check that a text can be a user's name.

    Raises
    ------
    BadLine
        It cannot; the message is the reason.
    """
    if not username:
        raise BadLine("it has no user name")
    if not username.isprintable():
        raise BadLine(f"the user name {username!r} has characters that cannot be printed")
    if username != username.strip():
        raise BadLine(f"the user name {username!r} begins or ends with a blank")
    if len(username.encode()) > LONGEST_NAME_OCTETS:
        raise BadLine(
            f"the user name has {len(username.encode())} octets, and RADIUS carries {LONGEST_NAME_OCTETS} at most"
        )


def _also(text: str) -> tuple[str, ...] | None:
    names = [name.strip() for name in text.split(";") if name.strip()]
    if not names:
        return None
    if len(names) > MOST_PLANS:
        raise BadLine(f"it has {len(names)} further plans, more than {MOST_PLANS}")
    return () if names == [NO_PLANS] else tuple(dict.fromkeys(names))


def _header(raw: bytes) -> list[str]:
    expected = f"the first line must be the header: {','.join(COLUMNS)}"
    try:
        columns = [name.strip().lower() for name in csv_lines.fields(raw.removeprefix(b"\xef\xbb\xbf"))]
    except BadLine as error:
        raise BadList(f"{expected} ({error})") from None
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        remedy = ": separate the columns by commas" if re.search(r"[;\t]", unknown[0]) else ""
        raise BadList(f"{expected} (it has {unknown[0]!r}{remedy})")
    if "username" not in columns or len(set(columns)) < len(columns):
        raise BadList(f"{expected} (columns other than username may be left out, and none may come twice)")
    return columns
