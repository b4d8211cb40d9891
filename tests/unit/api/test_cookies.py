"""Cookies are read as a browser sends back what the pages have set."""

from http.cookies import SimpleCookie

import pytest
from starlette.requests import Request

from radmeter.api.noc.cookies import cookie


def sent(text: str) -> Request:
    return Request({"type": "http", "headers": [(b"cookie", text.encode("latin-1"))]})


@pytest.mark.parametrize("value", ["a" * 32, "Europe/Madrid", "c2lnbmF0dXJl==", "UTC", "dark"])
def test_what_was_set_is_read(value: str) -> None:
    ours: SimpleCookie = SimpleCookie()
    ours["radmeter-x"] = value
    pair = ours.output(header="").strip()
    assert cookie(sent(pair), "radmeter-x") == value
    assert cookie(sent(f"other=1; {pair};radmeter-xy=2"), "radmeter-x") == value


@pytest.mark.parametrize("text", ["", "radmeter-x", "radmeter-x=", ";;=;", 'radmeter-x=""', "Radmeter-X=1"])
def test_none_is_empty(text: str) -> None:
    assert cookie(sent(text), "radmeter-x") == ""
    assert cookie(Request({"type": "http", "headers": []}), "radmeter-x") == ""
