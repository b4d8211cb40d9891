"""Pages without a login: an address may ask for some, and no more."""

from typing import Any, cast

import pytest
from starlette.requests import Request

from radmeter.api.access import Access
from radmeter.api.noc.logins import STRANGERS_RATE, Logins
from radmeter.api.problems import Problem


def test_an_address_without_a_login_has_a_rate() -> None:
    nothing = cast("Any", None)
    access = Access(nothing, nothing, now=lambda: 0.0)
    logins = Logins(nothing, nothing, access, b"key")

    def asked(address: str) -> Request:
        return Request({"type": "http", "client": (address, 1), "headers": []})

    for _ in range(STRANGERS_RATE):
        logins.take(asked("192.0.2.1"), None)
    with pytest.raises(Problem) as refused:
        logins.take(asked("192.0.2.1"), None)
    assert (refused.value.status, refused.value.kind) == (429, "rate-limited")
    assert int(refused.value.headers["retry-after"]) >= 1
    logins.take(asked("192.0.2.2"), None)
