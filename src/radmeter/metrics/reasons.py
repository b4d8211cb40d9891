"""The reasons of rejected packets, in few words: a label must not have the values of packets."""

from typing import Final

# By what the reason begins with, or has in it. The first that fits counts.
REASONS: Final = (
    ("status ", "status"),
    ("Acct-Status-Type", "status"),
    ("Acct-Session-Id", "session id"),
    ("nothing in the packet names its router", "no router"),
    ("a field that every record has is missing", "field missing"),
    (" octets in,", "octets"),
    ("session_time ", "session time"),
    ("Acct-Session-Time", "session time"),
    ("interim_interval ", "interim interval"),
    ("Acct-Interim-Interval", "interim interval"),
    ("event_us ", "event time"),
    ("Event-Timestamp", "event time"),
    ("Octets", "octets"),
    ("Gigawords", "octets"),
    ("not a list of attributes", "not readable"),
    ("is not an attribute", "not readable"),
    ("no Timestamp", "not readable"),
    ("Timestamp", "not readable"),
    ("stanza", "not readable"),
    ("without an empty line", "not readable"),
    ("without an empty one", "not readable"),
    ("no closing quote", "not readable"),
    ("is not an integer", "not a number"),
)
OTHER: Final = "other"


def label(reason: str) -> str:
    """Return the label of a reason."""
    return next((name for text, name in REASONS if text in reason), OTHER)
