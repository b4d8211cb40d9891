"""A value of the wrong type is refused in words of those who write addresses, and not of Python."""

from datetime import date, datetime

import msgspec
import pytest

from radmeter.api.problems import invalid


class Query(msgspec.Struct):
    open: bool | None = None
    limit: int = 50
    first: date | None = None
    since: datetime | None = None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("open", "it takes `true` or `false`"),
        ("limit", "it takes a whole number"),
        ("first", "it takes a day such as `2026-01-31`"),
        ("since", "it takes an instant such as `2026-01-31T10:00:00Z`"),
    ],
)
def test_the_words_are_plain(name: str, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({name: "x"}, Query, strict=False)
    said = invalid(raised.value, "parameters", Query).detail
    assert words in said
    assert name in said
    assert "Expected" not in said
    assert "RFC3339" not in said
