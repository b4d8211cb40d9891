"""The document names every field that a message about an alert may have."""

import re
from pathlib import Path

from radmeter.alerts.opening import MESSAGES

ALERTS = Path(__file__).parents[3] / "docs" / "operators" / "alerts.md"


def test_each_field_of_a_message_is_in_the_document() -> None:
    fields = re.findall(r"'(\w+)', (?:alert|router)\.", MESSAGES)
    assert len(fields) > 10
    (paragraph,) = re.findall(
        r"^\*A message to a webhook\*.*?(?=\n\n)", ALERTS.read_text(), re.DOTALL | re.MULTILINE
    )
    assert set(fields) <= set(re.findall(r"`(\w+)`", paragraph))
