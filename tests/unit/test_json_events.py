"""A log in JSON: one object a line, whatever is in it."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr

import pytest

from radmeter import output
from radmeter.json_events import JsonFormatter

HARMFUL = "a\nb\r\x1b[31m\u2028\u202e\udc80\x00"


@pytest.fixture(autouse=True)
def text_afterwards() -> Iterator[None]:
    yield
    output.log_as("text")


def formatted(record: logging.LogRecord) -> dict[str, object]:
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    event = json.loads(line)
    assert isinstance(event, dict)
    return event


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("radmeter.ingest.shipper", logging.WARNING, "x.py", 1, message, arguments, None)
    made.__dict__.update(more)
    return made


def test_an_event_says_when_who_and_what() -> None:
    event = formatted(record("%s shipped", "7 packets"))
    assert {name: event[name] for name in ("level", "logger", "message")} == {
        "level": "warning",
        "logger": "radmeter.ingest.shipper",
        "message": "7 packets shipped",
    }
    assert str(event["time"]).endswith("+00:00")
    assert isinstance(event["process"], int)


def test_hostile_text_stays_on_its_line() -> None:
    assert formatted(record("%s", HARMFUL))["message"] == HARMFUL


def test_fields_are_kept_apart() -> None:
    event = formatted(record("a request", fields={"path": "/x", "status": 200, "odd": object}))
    assert isinstance(event["fields"], dict)
    assert event["fields"] | {"odd": ""} == {"path": "/x", "status": 200, "odd": ""}


def test_a_traceback_is_in_the_event() -> None:
    try:
        raise ValueError(HARMFUL)
    except ValueError:
        made = record("it failed")
        made.exc_info = sys.exc_info()
    assert "ValueError: a" in str(formatted(made)["exception"])


def test_what_commands_say_is_one_event() -> None:
    stream = io.StringIO()
    output.log_as("json")
    with redirect_stderr(stream):
        output.say("Usage: radmeter ship", "", "error: there is no journal", err=True)
        output.say("problem: the disk is full", err=True)
        output.say(err=True)
        output.say("note: a standby", err=True)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(event["level"], event["message"]) for event in events] == [
        ("error", "Usage: radmeter ship\n\nerror: there is no journal"),
        ("warning", "the disk is full"),
        ("info", "note: a standby"),
    ]


def test_a_fault_of_the_program_is_one_event() -> None:
    stream = io.StringIO()
    output.log_as("json")
    with redirect_stderr(stream):
        try:
            raise KeyError("x")
        except KeyError as error:
            output._report(KeyError, error, error.__traceback__)
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event["level"] == "critical"
    assert "Traceback" in event["exception"]


def test_standard_output_is_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    output.log_as("json")
    output.say("a line")
    assert capsys.readouterr().out == "a line\n"
