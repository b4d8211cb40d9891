"""Texts of ours on pages: commands are between backticks, and all else is text."""

import pytest

from radmeter.api.noc.templating import environment


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run `radmeter jobs run` now", "run <code>radmeter jobs run</code> now"),
        ("`a <b>` of <i>", "<code>a &lt;b&gt;</code> of &lt;i&gt;"),
        ("a name with ` in it", "a name with ` in it"),
        ("\x1b", "\\u001b"),
    ],
)
def test_a_command_is_code(text: str, shown: str) -> None:
    assert environment().from_string("{{ text|prose }}").render(text=text) == shown
