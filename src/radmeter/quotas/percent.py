"""How much of a quota is used, as people read it: also beyond all of it."""

from collections.abc import Mapping
from typing import Any

# What is used, and of what.
_KINDS = (
    ("used_bytes", "quota_bytes"),
    ("used_bytes_in", "quota_bytes_in"),
    ("used_bytes_out", "quota_bytes_out"),
    ("used_seconds", "quota_seconds"),
)


def percent_of(row: Mapping[str, Any]) -> int:
    """Return a percentage, such as 180 for 9 MB of 5 MB.

    That of radmeter.quota_state, by which a user is judged, ends at 100: more than all cannot be announced.
    """
    percent = int(row["percent"])
    if percent >= 100:
        kinds = ((row.get(used), row.get(quota)) for used, quota in _KINDS)
        percent = max(
            percent,
            *(int(used) * 100 // int(quota) for used, quota in kinds if used is not None and quota),
            0,
        )
    return percent
