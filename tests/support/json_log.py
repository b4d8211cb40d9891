"""Reads a log of JSON: one event a line."""

import json
from typing import Any

KEYS = {"time", "level", "logger", "message", "process"}


def events(text: str) -> list[dict[str, Any]]:
    """Return the events of a log. A line that is none is an error."""
    found = []
    for line in text.splitlines():
        event = json.loads(line)
        assert event.keys() >= KEYS, line
        assert event.keys() <= KEYS | {"fields", "exception"}, line
        assert event["level"] in ("debug", "info", "warning", "error", "critical")
        found.append(event)
    return found
