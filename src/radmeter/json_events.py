"""Log records as JSON: one object a line, for programs that collect logs."""

import json
import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# The key of a record's own fields: ``log.info("..", extra={"fields": {"node": "radius1"}})``.
FIELDS = "fields"


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON: time, level, logger, message, process, and what else is known.

    The time is UTC. Characters other than ASCII are escaped, so a line has no control character and is always UTF-8.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        fields = getattr(record, FIELDS, None)
        if isinstance(fields, Mapping):
            event[FIELDS] = dict(fields)
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        return json.dumps(event, default=str)


def level_of(text: str) -> int:
    """Return the level of a line that a command says on standard error."""
    if text.startswith("error: "):
        return logging.ERROR
    return logging.WARNING if text.startswith(("problem: ", "warning: ")) else logging.INFO
