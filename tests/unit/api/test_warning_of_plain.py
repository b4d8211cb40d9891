"""Without TLS, `serve` warns where others may listen."""

import logging

import pytest

from radmeter.api.server import _warn_of_plain
from radmeter.config import Settings


@pytest.mark.parametrize(
    ("listen", "warned"),
    [
        ("127.0.0.1:8320", False),
        ("[::1]:8320", False),
        ("0.0.0.0:8320", True),
        ("[::]:8320", True),
        ("192.0.2.1:8320", True),
    ],
)
def test_it_warns(caplog: pytest.LogCaptureFixture, listen: str, warned: bool) -> None:
    with caplog.at_level(logging.WARNING):
        _warn_of_plain(Settings.load({"RADMETER_HTTP_LISTEN": listen}))
    assert ("can be read on their way" in caplog.text) == warned
