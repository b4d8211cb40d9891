"""What cannot be parsed or counted is set aside and holds up nothing."""

from dataclasses import replace

import pytest
from support.events import (
    WRAP,
    Example,
    example,
    interim,
    one,
)
from support.outcomes import Counted

EXAMPLES = [
    example(
        "cannot be parsed: one bad packet never blocks the others",
        interim("10:10", 1, 2, 600),
        interim("10:10", 1, 2, 600, without=("Acct-Session-Id",)),
        interim("10:10", None, None, 600, more=(("Acct-Input-Octets", "many"),)),
        interim("10:10", None, None, 600, without=("Acct-Status-Type",)),
        interim("10:20", 10, 20, 1200),
        rejected=3,
        **one("10:00 ..", "10/20"),
    ),
    example(
        "cannot be counted: exabytes in a session do not block the others",
        interim("10:10", 1, 2, 600),
        interim("10:20", (WRAP - 1) << 32, (WRAP - 1) << 32, 1200),
        interim("10:30", 3, 4, 1800),
        rejected=1,
        **one("10:00 ..", "3/4"),
    ),
    example(
        "no usage: Failed and Tunnel-Start are ignored, an unknown status is kept",
        replace(interim("10:10", 1, 2, 600), status="Failed"),
        replace(interim("10:10", 1, 2, 600), status="Tunnel-Start"),
        replace(interim("10:10", 1, 2, 600), status="17"),
        interim("10:20", 10, 20, 1200),
        rejected=1,
        **one("10:00 ..", "10/20"),
    ),
]


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.rule)
def test_not_counted(counted: Counted, case: Example) -> None:
    assert counted(case) == case.outcome
