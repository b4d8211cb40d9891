"""Who writes a word that a parameter does not take is told those that it takes."""

from typing import Literal, get_args

import msgspec
import pytest

from radmeter.api import incoming
from radmeter.api.problems import Problem
from radmeter.api.route import Route
from radmeter.api.routes import all_routes


def choices() -> list[tuple[Route, str, list[str]]]:
    """Return each parameter of each route that takes certain words only, and the words."""
    return [
        (route, field.encode_name, words)
        for route in all_routes()
        for field in msgspec.structs.fields(route.query)
        if (words := _words(field.type))
    ]


def _words(type_: object) -> list[str]:
    if getattr(type_, "__origin__", None) is Literal:
        return [str(word) for word in get_args(type_)]
    return [word for part in get_args(type_) for word in _words(part)]


def test_there_are_such_parameters() -> None:
    assert {name for _, name, _ in choices()} >= {"status", "severity", "format"}


@pytest.mark.parametrize(
    ("route", "name", "words"),
    [pytest.param(*each, id=f"{each[0].path}-{each[1]}") for each in choices()],
)
def test_a_wrong_word_is_answered_with_the_right_ones(route: Route, name: str, words: list[str]) -> None:
    with pytest.raises(Problem) as found:
        incoming.query({"type": "http", "query_string": f"{name}=bogus".encode()}, route)
    assert found.value.status == 400
    for word in words:
        assert f"`{word}`" in found.value.detail
