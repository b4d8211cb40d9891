"""Reads the file of rules (TOML). An error names the line, and what to write."""

import errno
import os
import re
import stat
import tomllib
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from radmeter.alerts.rules import DEFAULTS, KINDS, SEVERITIES, SITE, THRESHOLDS, TLS, Mail, Rule, Rules
from radmeter.errors import ConfigurationError

LARGEST_BYTES = 1 << 20
MOST_RULES = 200
LONGEST_SECONDS = 31 * 86_400.0
_ADDRESS = re.compile(r"[^\s@<>,;\"\x00-\x1f]+@[^\s@<>,;\"\x00-\x1f]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

Check = Callable[[Any], Any]


class _Bad(ValueError):
    """A value cannot be used; the message says what is allowed."""


def read(path: Path | None) -> Rules:
    """Return the rules in a file; without one, those that are built in.

    Raises
    ------
    ConfigurationError
        It cannot be read or used. The message names the file, the line and the remedy.
    """
    return DEFAULTS if path is None else parse(content(path), path)


def content(path: Path) -> str:
    """Return the text of a file.

    Raises
    ------
    ConfigurationError
        It cannot be read, is no regular file, too large, or not UTF-8.
    """
    try:
        # O_NONBLOCK: opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            raw = file.read(LARGEST_BYTES + 1)
        if len(raw) > LARGEST_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {LARGEST_BYTES} bytes")
        return raw.decode()
    except OSError as error:
        raise ConfigurationError(f"the rules of alerts: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}, line {line}: it is not UTF-8") from None


def parse(text: str, path: Path) -> Rules:
    """Return the rules in the text of a file. Raises as `read` does."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        said = str(error)
        where = re.search(r" \(at line (\d+), column \d+\)$", said)
        line = f", line {where[1]}" if where else ""
        said = said[: where.start()] if where else said
        raise ConfigurationError(
            f'{path}{line}: it is not TOML: {said}. Text is written between quotes, as in name = "router-silent"'
        ) from None
    places = _Places(text, path)
    for key in document:
        if key not in ("mail", "rule"):
            raise places.error(key, None, f"unknown key {_short(key)!r}: there are [mail] and [[rule]]")
    mail = None
    if "mail" in document:
        if not isinstance(document["mail"], dict):
            raise places.error("mail", None, "the mail server is a table: write [mail]")
        mail = _mail(document["mail"], places)
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise places.error("rule", None, "each rule is a table of a list: write [[rule]]")
    if len(tables) > MOST_RULES:
        raise places.error(
            "rule", MOST_RULES, f"more than {MOST_RULES} rules: give patterns of routers or sites"
        )
    rules: list[Rule] = []
    for number, table in enumerate(tables):
        rule = _rule(table, places, number)
        if any(each.name == rule.name for each in rules):
            raise places.error(
                "rule", number, f"there are two rules {rule.name!r}: give this one another name", "name"
            )
        if (rule.mail or table.get("mail")) and mail is None:
            raise places.error("rule", number, "there is no mail server: write a table [mail]", "mail")
        rules.append(rule)
    return Rules(rules=tuple(rules), mail=mail, file=path)


def _rule(table: Mapping[str, Any], places: "_Places", number: int) -> Rule:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _RULE:
            raise places.error("rule", number, f"unknown key {_short(key)!r}{_nearest(key, _RULE)}", key)
        try:
            values[_FIELDS.get(key, key)] = _RULE[key](value)
        except _Bad as error:
            raise places.error("rule", number, f"{key}: {error}", key) from None
    for key in ("name", "kind"):
        if key not in values:
            raise places.error("rule", number, f'the rule has no {key}: write {key} = ".."')
    if foreign := sorted((table.keys() & _OF_KIND.keys()) - _KEYS_OF[values["kind"]]):
        key = foreign[0]
        kinds = " and ".join(kind for kind in KINDS if key in _KEYS_OF[kind])
        raise places.error(
            "rule", number, f"{key} is for rules of the kind {kinds}, not {values['kind']}", key
        )
    if values["kind"] == SITE and "routers" in values:
        raise places.error("rule", number, "a rule about sites is given sites, not routers", "routers")
    return Rule(**values)


def _mail(table: Mapping[str, Any], places: "_Places") -> Mail:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _MAIL:
            raise places.error("mail", None, f"unknown key {_short(key)!r}{_nearest(key, _MAIL)}", key)
        try:
            values[_FIELDS.get(key, key)] = _MAIL[key](value)
        except _Bad as error:
            raise places.error("mail", None, f"{key}: {error}", key) from None
    for key in ("host", "from", "to"):
        if _FIELDS.get(key, key) not in values:
            raise places.error("mail", None, f"the mail server has no {key}: write {key} = ..")
    if ("user" in values) != ("password_file" in values):
        raise places.error("mail", None, "user and password_file go together: write both or none")
    if "user" in values and values.get("tls") == "none":
        raise places.error(
            "mail", None, 'a password is not sent in the clear: write tls = "starttls" or "implicit"', "tls"
        )
    return Mail(**{"port": {"implicit": 465, "none": 25}.get(values.get("tls", ""), 587), **values})


class _Places:
    """Finds the line of a table or of a key in it, for messages. tomllib does not tell."""

    def __init__(self, text: str, path: Path) -> None:
        self._lines = text.splitlines()
        self._path = path

    def error(
        self, table: str, number: int | None, message: str, key: str | None = None
    ) -> ConfigurationError:
        line = self._line(table, number, key)
        return ConfigurationError(f"{self._path}{'' if line is None else f', line {line}'}: {message}")

    def _line(self, table: str, number: int | None, key: str | None) -> int | None:
        header = re.compile(rf"\s*\[+\s*[\"']?{re.escape(table)}[\"']?\s*\]+")
        bare = re.compile(rf"\s*[\"']?{re.escape(table)}[\"']?\s*[=.]")
        headers = [at for at, line in enumerate(self._lines) if header.match(line)]
        if not headers:
            return next((at + 1 for at, line in enumerate(self._lines) if bare.match(line)), None)
        begin = headers[min(number or 0, len(headers) - 1)]
        if key is not None:
            wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
            for at in range(begin + 1, len(self._lines)):
                if wanted.match(self._lines[at]):
                    return at + 1
                if re.match(r"\s*\[", self._lines[at]):
                    break
        return begin + 1


def _short(word: str) -> str:
    return word if len(word) <= 80 else word[:80] + ".."


def _nearest(word: str, known: Collection[str]) -> str:
    near = get_close_matches(word, sorted(known), 1) if len(word) <= 80 else []
    return f"; the nearest is {near[0]}" if near else f"; known are {', '.join(sorted(known))}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 1000:
        raise _Bad("allowed is text in one line, between quotes")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _Bad(
            "a name has 1 to 100 letters, digits, dots, hyphens and underscores, and begins with one of the first two"
        )
    return value


def _one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if value not in allowed:
            raise _Bad(f"allowed is one of {', '.join(allowed)}")
        return str(value)

    return check


def _number(lowest: float, highest: float, unit: str) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise _Bad(f"allowed is a number of {unit} from {lowest:g} to {highest:g}")
        return float(value)

    return check


def _whole(lowest: int, highest: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _Bad(f"allowed is a whole number from {lowest} to {highest}")
        return value

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Bad("allowed is true or false, without quotes")
    return value


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(each, str) and each and len(each) <= 200 for each in value
    ):
        raise _Bad('allowed is a list of patterns, such as ["Hotel *", "lobby"]')
    return tuple(value)


def _addresses(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(each, str) and _ADDRESS.fullmatch(each) for each in value
    ):
        raise _Bad('allowed is a list of addresses, such as ["noc@example.org"]')
    return tuple(value)


def _told(value: Any) -> tuple[str, ...] | None:
    """Return whom a rule tells by e-mail: true: as the table mail says; false: nobody."""
    if isinstance(value, bool):
        return None if value else ()
    return _addresses(value)


def _address(value: Any) -> str:
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise _Bad("allowed is an address, such as radmeter@example.org")
    return value


def _file(value: Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise _Bad("allowed is an absolute path")
    return Path(value)


def _thresholds(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or any(each not in THRESHOLDS for each in value):
        raise _Bad(f"allowed is a list of {', '.join(map(str, THRESHOLDS))} (percent)")
    return tuple(sorted(value))


# What only rules of some kinds have.
_OF_KIND: dict[str, Check] = {
    "interims": _number(1, 1000, "interims"),
    "discovered": _flag,
    "factor": _number(1.1, 1_000_000, "times what is usual"),
    "floor_bytes": _whole(0, 1 << 60),
    "thresholds": _thresholds,
    "seconds": _number(1, LONGEST_SECONDS, "seconds"),
    "routers": _patterns,
    "sites": _patterns,
    "fire_after_seconds": _number(0, LONGEST_SECONDS, "seconds"),
    "resolve_after_seconds": _number(0, LONGEST_SECONDS, "seconds"),
}
_TOLERANT = {"fire_after_seconds", "resolve_after_seconds"}
_KEYS_OF = {
    "router_silent": {"interims", "discovered", "routers", "sites", *_TOLERANT},
    "site_down": {"sites", "routers", *_TOLERANT},
    "traffic_spike": {"factor", "floor_bytes", "discovered", "routers", "sites", *_TOLERANT},
    "quota": {"thresholds"},
    "ship_lag": {"seconds", *_TOLERANT},
    "no_packets": {"seconds", *_TOLERANT},
}
_RULE: dict[str, Check] = {
    "name": _name,
    "kind": _one_of(*KINDS),
    "severity": _one_of(*SEVERITIES),
    "webhooks": _flag,
    "mail": _told,
    **_OF_KIND,
}
_MAIL: dict[str, Check] = {
    "host": _text,
    "port": _whole(1, 65_535),
    "tls": _one_of(*TLS),
    "ca_file": _file,
    "user": _text,
    "password_file": _file,
    "from": _address,
    "to": _addresses,
    "every_seconds": _number(1, 86_400, "seconds"),
}
_FIELDS = {"from": "sender", "fire_after_seconds": "fire_seconds", "resolve_after_seconds": "resolve_seconds"}
