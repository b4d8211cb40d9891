"""The blocks of a page that a test runs from top to bottom, and what it shows below them."""

import pytest
from support.documents import as_shown, blocks

SHOWN = """added 'basic'
..
Received Access-Reject Id 61 from 127.0.0.1:1812 to 127.0.0.1:51730 length 53
    Reply-Message = "used up"
2026-11-01      12 MB  2026-11-23 16:21
"""


def test_the_first_day_is_from_the_package_to_an_empty_database() -> None:
    found = blocks("operators/install.md", "## Put it behind your FreeRADIUS")
    names = [name for name, _, _ in found]
    assert names[0] == "install"
    assert names[-3:] == ["stop", "anew", "all is well"]
    shown = {name: text for name, _, text in found if text is not None}
    assert {"first packet", "refused", "invoice"} <= shown.keys()
    assert "Access-Reject" in shown["refused"]
    assert "issued 1 document" in shown["invoice"]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("..\n", "a line\nanother one\n", True),
        ("..\n", "", True),
        ("Id 61", "Id 7", True),
        ("127.0.0.1:51730", "127.0.0.1:40000", True),
        ("2026-11-01", "2031-02-01", True),
        ("2026-11-23 16:21", "2031-02-03 04:05", True),
        ("    Reply", "\tReply", True),
        ("12 MB", "13 MB", False),
        ("Reject", "Accept", False),
        ("127.0.0.1:1812", "127.0.0.1:1813", False),
        ("2026-11-01 ", "2026-11-01  ", False),
        ("2026-11-01", "2026-01-01", False),
    ],
)
def test_only_times_and_numbers_of_packets_may_be_others(old: str, new: str, same: bool) -> None:
    assert old in SHOWN
    assert as_shown(SHOWN, SHOWN.replace(old, new)) == same
